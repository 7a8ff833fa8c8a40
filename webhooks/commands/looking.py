"""The commands that look: orders, deliveries, quarantine, figures, export."""

from typing import Any

import click
from rich.text import Text

from webhooks import rereading, storytelling, telling
from webhooks.clock import now_ms
from webhooks.commands.frame import MOMENT, Failure, as_json, console, opened, print_json, print_lines, say
from webhooks.figures import figures
from webhooks.questions import PAGE, STATES, HookTold, Questions, Wanted, as_plain
from webhooks.relay import Relay
from webhooks.rereading import Unreadable

limit = click.option(
    "--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="Rows of one page."
)
before = click.option("--before", type=int, help="Only smaller ids: the next page.")

# --- orders ----------------------------------------------------------------------------------------------


@click.group()
def orders() -> None:
    """One order, from the shop to every destination."""


@orders.command()
@click.argument("shop")
@click.argument("order")
@as_json
def show(shop: str, order: str, json: bool) -> None:
    """Tell everything about an order.

    Its hooks, deliveries, attempts, and what it waits for. ORDER is its id or its name, with or without
    #. SHOP is the slug of the settings.
    """
    with opened() as relay:
        questions = Questions(relay.database)
        story, standings = questions.story(shop, order), questions.standings()
        if not story:
            raise Failure(_unheard_of(relay, shop, order))
    if json:
        held = {one.account for event in story.events for one in event.deliveries} & standings.keys()
        print_json(as_plain(story) | {"accounts": as_plain([standings[one] for one in sorted(held)])})
        return
    page = console()
    for chapter in storytelling.tell(story, standings, now_ms()):
        page.print(telling.chapter(chapter.head, chapter.lines), soft_wrap=True)


def _unheard_of(relay: Relay, shop: str, order: str) -> str:
    known = [one.slug for one in relay.settings.shops]
    lines = [f"no hook that was taken told of order {order} of shop {shop}. Check:"]
    if shop not in known:
        lines.append(f"  - the shop: the settings have {', '.join(known) or 'none'}")
    lines += [
        "  - the order's number: its id, or its name as the shop shows it",
        "  - the store's webhook: does it point to the address that `settings check` prints?",
        "  - the web process's log: a hook with a wrong signature is refused, and not kept",
        f"  - `quarantine list --shop {shop}`: hooks that were put aside may not say of which order they are",
    ]
    return "\n".join(lines)


# --- deliveries ------------------------------------------------------------------------------------------


@click.group()
def deliveries() -> None:
    """What was sent, what waits, what failed."""


@deliveries.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="May be repeated.")
@click.option("--account", default="", help="Slug of an account.")
@click.option("--destination", default="", help="Slug of a destination: all its accounts.")
@click.option("--shop", default="", help="Slug of a shop.")
@click.option("--since", type=MOMENT, help="Events received since: 3d, 12h, 2026-11-20 (UTC).")
@before
@limit
@as_json
def list_deliveries(json: bool, **wanted: Any) -> None:
    """List deliveries, the newest first.

    With --json one object per line, as `ledger export` writes it.
    """
    asked = Wanted(**wanted)
    with opened() as relay:
        rows = Questions(relay.database).deliveries(asked)
    if not rows:
        raise Failure("no delivery is like that")
    if json:
        print_lines(rows)
        return
    console().print(telling.deliveries(rows))
    if len(rows) == asked.limit:
        say(f"The next page: --before {rows[-1]['delivery']}")


# --- quarantine ------------------------------------------------------------------------------------------


@click.group()
def quarantine() -> None:
    """Signed hooks that could not be used, kept."""


@quarantine.command("list")
@click.option("--shop", default="", help="Slug of a shop.")
@before
@limit
@as_json
def list_quarantine(shop: str, before: int | None, limit: int, json: bool) -> None:
    """List them, the newest first."""
    with opened() as relay:
        hooks = Questions(relay.database).quarantine(shop=shop, before=before, limit=limit)
    if json:
        print_lines(as_plain(hooks))
    elif not hooks:
        click.echo("The quarantine is empty.")
    else:
        console().print(telling.quarantine(hooks))
        if len(hooks) == limit:
            say(f"The next page: --before {hooks[-1].id}")


@quarantine.command("show")
@click.argument("hook", type=int)
@as_json
def show_hook(hook: int, json: bool) -> None:
    """Tell why a hook was put aside.

    And how its body is built, and what it would be if it came now. The body's values are personal and are
    not shown.
    """
    with opened() as relay:
        found = Questions(relay.database).hook(hook)
        if found is None:
            raise Failure(f"there is no hook {hook}")
        outline, now = _look_inside(relay, found)
    if json:
        print_json(as_plain(found) | {"body": outline, "now": now})
        return
    facts = [(name.replace("_", " "), value) for name, value in as_plain(found).items() if value is not None]
    page = console()
    page.print(telling.table(["Hook", str(hook)], facts))
    page.print(telling.table(["Body", ""], outline.items()))
    page.print(Text(f"Read again now: {telling.plain(now)}"))


def _look_inside(relay: Relay, hook: HookTold) -> tuple[dict[str, str], str]:
    try:
        judged = rereading.judge_again(relay, hook.id).arrival
        verdict = f"{judged.verdict.replace('_', ' ')} {judged.reason}".rstrip()
        return rereading.outline(relay, hook.id), verdict
    except Unreadable as error:
        return {}, str(error)


# --- everything ------------------------------------------------------------------------------------------


@click.command()
@as_json
def stats(json: bool) -> None:
    """Count what stands in the ledger, and what waits.

    Deliveries by account and state, events and hooks by shop, wake-up calls in the queue.
    """
    with opened() as relay:
        told = figures(relay)
    if json:
        print_json(as_plain(told))
    else:
        console().print(telling.figures(told))


@click.group()
def ledger() -> None:
    """The whole ledger."""


@ledger.command()
@click.option("--hooks", is_flag=True, help="The hooks instead of the deliveries.")
def export(hooks: bool) -> None:
    """Print one JSON object per delivery and line.

    May run while everything works. Holds nothing personal. Times are RFC 3339 in UTC, amounts are text.
    An event that was sent to nobody has no delivery: `stats` counts those.
    """
    with opened() as relay:
        questions = Questions(relay.database)
        for chunk in questions.export_hooks() if hooks else questions.export():
            print_lines(chunk)
