"""The commands about people's data: copies, erasure, and what was asked for."""

import sys
from pathlib import Path
from typing import Any

import click

from integrations.privacy import Wish
from webhooks import copying, erasure, privacy, telling
from webhooks.commands.frame import Failure, as_json, console, opened, print_json, say
from webhooks.questions import Questions, as_plain, spellings
from webhooks.relay import Relay

HIDDEN = "Asked for, or read from stdin: an argument would stay in the shell's history."
_NO_ARGUMENT = (
    "write - and give it when you are asked, or on stdin: arguments are kept in the shell's history and "
    "shown in the list of processes."
)


class Hidden(click.ParamType[str]):
    """``-`` alone: what it stands for is read from elsewhere."""

    name = "-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Reads it; refuses it as an argument, without repeating it."""
        if value == "":  # the default
            return ""
        if value != "-":
            self.fail(_NO_ARGUMENT, param, ctx)
        what = (param.name or "it").replace("_", " ") if param else "it"
        read = (
            click.prompt(f"The customer's {what}", err=True) if sys.stdin.isatty() else sys.stdin.readline()
        )
        if not str(read).strip():
            self.fail("nothing was given.", param, ctx)
        return str(read).strip()


def _about(command: Any) -> Any:
    options = (
        click.option("--shop", default="", help="Slug of a shop; not needed where there is only one."),
        click.option("--order", "orders", multiple=True, help="Id or name of an order. May be repeated."),
        click.option("--email", type=Hidden(), default="", help=f"{HIDDEN} Write -."),
        click.option("--phone", type=Hidden(), default="", help=f"{HIDDEN} Write -."),
        click.option("--customer-id", default="", help="The store's own number of the customer."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("privacy")
def privacy_group() -> None:
    """What is kept about people: copies for them, and erasure.

    Shopify's own requests are acted upon by themselves; the other stores send none.
    """


@privacy_group.command("list")
@as_json
def list_wishes(json: bool) -> None:
    """List what was asked for and what came of it, the newest first.

    An erasure is looked at twice, some minutes apart, before it is done.
    """
    with opened() as relay:
        told = privacy.listed(relay)
        waiting = [one for one in told if one.state == "waiting"]
        files = {one.id: str(copying.path(relay, one.id, one.passes)) for one in waiting}
    if json:
        print_json([as_plain(one) | {"file": files.get(one.id)} for one in told])
        return
    heads = ["Id", "Shop", "Asked by", "For", "Received", "State", "Orders", "Records", "Not sent", "Done"]
    names = ("id", "shop", "origin", "action", "received_at", "state", "orders", "records", "suppressed")
    rows = [[_shown(one, name) for name in (*names, "done_at")] for one in told]
    console().print(telling.table(heads, rows))
    for number, file in files.items():
        say(f"Request {number} waits for its reader: {file} on the machine of the sweeper.")


def _shown(one: privacy.WishTold, name: str) -> Any:
    value = getattr(one, name)
    return telling.moment(value) if name.endswith("_at") else value


@privacy_group.command()
@_about
@click.option("--all", "everything", is_flag=True, help="Everything of the shop.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def erase(everything: bool, dry_run: bool, yes: bool, json: bool, **about: Any) -> None:
    """Erase what is personal about a customer or an order.

    In hooks, events, what is quarantined and what waits to be sent. No replay and no later copy of the order
    brings it back. The facts of the sale stay: number, amount, times, and who was told of it.
    """
    with opened() as relay:
        shop, wish = _wish(relay, "erase", about, everything=everything)
        if not wish:
            raise click.UsageError("Say whom: --order, --email -, --phone -, --customer-id, or --all.")
        found = erasure.find(relay, shop, wish)
        if dry_run:
            _tell_found(found, json)
            return
        _confirm(found, everything=everything, yes=yes, json=json)
        number = privacy.take(relay, _store(relay, shop), shop, wish)
        done = privacy.work(relay, number)
    if done is None:
        raise Failure("the sweep was faster; see `purchase-relay privacy list`")
    told = done.erased
    if json:
        print_json({"request": number, "orders": len(done.found.orders)} | as_plain(told))
        return
    click.echo(
        f"{telling.counted(told.records, 'record')} of {telling.counted(len(done.found.orders), 'order')} "
        f"erased, {telling.counted(told.suppressed, 'delivery', 'deliveries')} will not be sent."
    )
    if told.in_flight:
        say(f"{telling.counted(told.in_flight, 'delivery', 'deliveries')} cannot be called back any more.")
    say(f"The sweep looks once more in a few minutes: `purchase-relay privacy list`, request {number}.")


@privacy_group.command()
@_about
@click.option("--request", type=int, help="Instead: a request of `privacy list` that waits for its reader.")
@click.option("--output", type=click.Path(dir_okay=False), help="File to write, readable by you alone.")
def export(request: int | None, output: str | None, **about: Any) -> None:
    """Print everything that is kept about a customer, as JSON.

    It holds their data in clear: keep it as safe as they would.
    """
    with opened() as relay:
        shop, wish = _asked(relay, request) if request else _wish(relay, "export", about)
        if not wish:
            raise click.UsageError("Say whom: --order, --email -, --phone -, --customer-id, or --request.")
        found = erasure.find(relay, shop, wish)
        if not found.events and not found.hooks:
            raise Failure("nothing is kept about them")
        if output:
            copying.write_to(Path(output), copying.document(relay, shop, found))
        else:
            click.echo(copying.document(relay, shop, found))


@privacy_group.command("handed-over")
@click.argument("request", type=int)
def hand_over(request: int) -> None:
    """Remove a copy that its reader has.

    REQUEST is its id in `privacy list`.
    """
    with opened() as relay:
        if not privacy.handed_over(relay, request):
            raise Failure(f"request {request} does not wait for its reader")
    click.echo(f"The copy of request {request} is removed with the sweep's next round.")


def _wish(relay: Relay, action: Any, about: dict[str, Any], *, everything: bool = False) -> tuple[str, Wish]:
    shops = [one.slug for one in relay.settings.shops]
    shop = about.pop("shop") or (shops[0] if len(shops) == 1 else "")
    if not shop:
        raise click.UsageError(f"Name a shop: --shop {'|'.join(shops) or 'SHOP'}.")
    orders = tuple(one for order in about.pop("orders") for one in _ids(relay, shop, order))
    return shop, Wish(action=action, orders=orders, everything=everything, **about)


def _ids(relay: Relay, shop: str, order: str) -> set[str]:
    """The store's ids of an order that was named as people name it. An unknown one may come yet."""
    story = Questions(relay.database).story(shop, order)
    known = {event.order_id for event in story.events} | {hook.order_id for hook in story.hooks}
    return known or set(spellings(order)[:1])


def _asked(relay: Relay, number: int) -> tuple[str, Wish]:
    asked = privacy.waiting(relay, number)
    if asked is None:
        raise Failure(f"request {number} does not wait for its reader")
    return asked


def _store(relay: Relay, shop: str) -> str:
    return next((one.store for one in relay.settings.shops if one.slug == shop), "")


def _tell_found(found: erasure.Found, json: bool) -> None:
    told = {"orders": sorted(found.orders), "events": len(found.events), "hooks": len(found.hooks)}
    if json:
        print_json(told)
    else:
        orders = ", ".join(telling.plain(order) for order in sorted(found.orders)) or "no order"
        click.echo(f"{orders}: {len(found.events)} events and {len(found.hooks)} hooks")


def _confirm(found: erasure.Found, *, everything: bool, yes: bool, json: bool) -> None:
    if yes:
        return
    if json or not sys.stdin.isatty():
        raise click.UsageError("Add --yes to erase it, or --dry-run to only look.")
    what = "everything of the shop" if everything else telling.counted(len(found.orders), "order")
    click.confirm(f"Erase what is personal in {what}? It cannot be undone.", abort=True, err=True)
