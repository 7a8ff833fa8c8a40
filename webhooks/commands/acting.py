"""The commands that change what happens to an order: replay, release, quarantine retry."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
import msgspec

from webhooks import backfill, replay, rereading, telling
from webhooks.audit import Entry
from webhooks.backfill import Found, Missing
from webhooks.clock import now_ms
from webhooks.commands.frame import (
    MOMENT,
    Failure,
    as_json,
    opened,
    print_json,
    print_lines,
    progress,
    wake,
)
from webhooks.commands.looking import quarantine
from webhooks.questions import STATES, Questions
from webhooks.relay import Relay
from webhooks.replay import BadQuestion, Question
from webhooks.rereading import Reread

# --- replay ----------------------------------------------------------------------------------------------


@click.command("replay")
@click.option("--shop", default="", help="Slug of a shop; not needed where there is only one.")
@click.option("--order", default="", help="Id or name of one order.")
@click.option("--account", default="", help="Slug of an account.")
@click.option("--destination", default="", help="Slug of a destination: all its accounts.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="May be repeated.")
@click.option("--since", type=MOMENT, help="Events received since: 3d, 12h, 2026-11-20 (UTC).")
@click.option("--delivered", is_flag=True, help="Also what arrived. Needs --order.")
@click.option("--missing", is_flag=True, help="What --account never got, as it was added later.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def send_again(missing: bool, dry_run: bool, yes: bool, json: bool, **asked: Any) -> None:
    """Choose deliveries and send them again.

    Under the same event_id, and with as many tries as a new one. Without --state: what waits for its next
    try, was refused, or broke. What is held waits for `release`. What may have been counted, and what was
    delivered, is sent again only by --order. What is too old for its destination, or forgotten, is never
    chosen.
    """
    mode = _Mode(dry_run=dry_run, ask=not yes, json=json)
    try:
        with opened() as relay:
            if missing:
                _fill(relay, _missing(asked), mode)
            else:
                _replay(relay, Question(**_in_the_only_shop(relay, asked)), mode)
    except BadQuestion as error:
        raise click.UsageError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error


class _Mode(msgspec.Struct, frozen=True, kw_only=True):
    dry_run: bool
    ask: bool
    json: bool


def _in_the_only_shop(relay: Relay, asked: dict[str, Any]) -> dict[str, Any]:
    shops = [shop.slug for shop in relay.settings.shops]
    if asked["order"] and not asked["shop"] and len(shops) == 1:
        return asked | {"shop": shops[0]}
    return asked


def _replay(relay: Relay, question: Question, mode: _Mode) -> None:
    plan = replay.plan(relay, question)
    standings = Questions(relay.database).standings()
    closed = {slug: standings[slug].state for slug in sorted(standings.keys() & plan.accounts.keys())}
    told = {"chosen": plan.states, "left_out": plan.left_out, "closed_accounts": closed}
    if not mode.json:
        _explain(plan.states, plan.left_out, closed)
    _must_find(len(plan.ids), told, mode)
    if _may_go_on(mode, told):
        with progress("Making due", len(plan.ids)) as bar:
            done = replay.apply(relay, plan, lambda so_far, _: bar.update(bar.task_ids[0], completed=so_far))
        _done(relay, done, told, mode)


def _missing(asked: dict[str, Any]) -> Missing:
    if not asked["account"] or asked["since"] is None:
        raise BadQuestion("--missing needs an account and a time: --account ACCOUNT --since 3d")
    if others := [name for name in ("order", "destination", "states", "delivered") if asked[name]]:
        raise BadQuestion(f"--missing goes with --account, --since and --shop, not with {', '.join(others)}")
    return Missing(account=asked["account"], since=asked["since"], shop=asked["shop"])


def _fill(relay: Relay, missing: Missing, mode: _Mode) -> None:
    found: Found = backfill.plan(relay, missing)
    told = {"chosen": {"missing": found.count}, "left_out": dict(found.left_out), "closed_accounts": {}}
    if not mode.json:
        _explain({"missing": found.count} if found.count else {}, found.left_out, {})
    _must_find(found.count, told, mode)
    if _may_go_on(mode, told):
        _done(relay, backfill.apply(relay, missing), told, mode)


def _explain(chosen: dict[str, int], left_out: dict[str, int], closed: dict[str, str]) -> None:
    click.echo(f"To send again: {telling.counts(chosen)}")
    if left_out:
        click.echo(f"Left out: {telling.counts(left_out)}")
    for account, state in closed.items():
        click.echo(f"{account} is {state}: it sends little before `purchase-relay release {account}`.")


def _must_find(count: int, told: dict[str, Any], mode: _Mode) -> None:
    if count:
        return
    if mode.json:
        print_json({**told, "applied": False, "count": 0})
    raise Failure("nothing to send again")


def _may_go_on(mode: _Mode, told: dict[str, Any]) -> bool:
    """Whether to change anything. Who cannot be asked must have said so before."""
    if mode.dry_run:
        if mode.json:
            print_json({**told, "applied": False, "count": 0})
        return False
    if mode.ask and not (sys.stdin.isatty() and not mode.json):
        raise click.UsageError("Add --yes to send them again, or --dry-run to only look.")
    if mode.ask:
        click.confirm("Send them again?", abort=True, err=True)
    return True


def _done(relay: Relay, count: int, told: dict[str, Any], mode: _Mode) -> None:
    wake(relay)
    if mode.json:
        print_json({**told, "applied": True, "count": count})
    else:
        click.echo(f"{telling.counted(count, 'delivery', 'deliveries')} made due.")


# --- release ---------------------------------------------------------------------------------------------


@click.command()
@click.argument("account")
@as_json
def release(account: str, json: bool) -> None:
    """Let a held or resting account go on.

    Once what its destination refused is mended, or it is up again. New credentials in the settings do it
    by themselves.
    """
    with opened() as relay:
        if account not in Questions(relay.database).standings():
            _is_open(relay, account)
        count = relay.holds.release_all(account, now_ms())
        with relay.database.write() as db:
            Entry("release", f"account={account}").add(db, count)
        wake(relay)
    if json:
        print_json({"account": account, "released": count})
    else:
        click.echo(f"{account} is open; {telling.counted(count, 'delivery', 'deliveries')} made due.")


def _is_open(relay: Relay, account: str) -> NoReturn:
    known = [one.slug for one in relay.settings.accounts]
    if account in known:
        raise Failure(f"{account} is open: nothing holds it")
    raise Failure(f"there is no account {account}; the settings have {', '.join(known) or 'none'}")


# --- quarantine retry ------------------------------------------------------------------------------------


@quarantine.command()
@click.argument("hooks", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="Every quarantined hook.")
@click.option("--shop", default="", help="With --all: of this shop only.")
@as_json
def retry(hooks: tuple[int, ...], everything: bool, shop: str, json: bool) -> None:
    """Read hooks again, after something was mended.

    HOOKS are their ids. What turns out to be an event is sent; the rest stays, with today's reason.
    """
    if bool(hooks) == everything:
        raise click.UsageError("Give the ids of hooks, or --all.")
    with opened() as relay:
        numbers = rereading.quarantined(relay, shop) if everything else iter(hooks)
        reread = []
        with progress("Reading again", None if everything else len(hooks)) as bar:
            for one in rereading.map_again(relay, numbers):
                reread.append(one)
                bar.advance(bar.task_ids[0])
        if any(one.is_new for one in reread):
            wake(relay)
    _tell(reread, json)


def _tell(reread: Sequence[Reread], json: bool) -> None:
    """The exit code says whether any of them is an event now."""
    if json:
        print_lines(reread)
    else:
        for one in reread:
            order = f", order {telling.plain(one.order_id)}" if one.order_id else ""
            why = f": {telling.plain(one.reason)}" if one.reason else ""
            click.echo(f"hook {one.hook}: {one.verdict.replace('_', ' ')}{order}{why}")
    if not any(one.verdict in {"event", "duplicate"} for one in reread):
        raise Failure("none of them is an event")
