"""The command that compares shops with their own lists of orders."""

from collections.abc import Iterable
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from integrations.access import Away, NoAccess
from integrations.store import Shop
from webhooks import results, telling
from webhooks.clock import DAY, now_ms, rfc3339
from webhooks.commands.frame import MOMENT, Failure, as_json, console, opened, print_lines, progress, say
from webhooks.comparing import Tally
from webhooks.cursors import Cursors
from webhooks.reconciling import Found, Reconciling
from webhooks.relay import Relay
from webhooks.results import Result
from webhooks.shops import NotSetUp, Shops
from webhooks.transport import Transport


@click.command()
@click.option("--shop", default="", help="Slug of a shop; without it, all of them.")
@click.option("--since", type=MOMENT, help="Orders changed since: 3d, 12h, 2026-11-20 (UTC).")
@click.option("--until", type=MOMENT, help="Only up to then. Needs --since.")
@click.option("--dry-run", is_flag=True, help="Only count what is missing.")
@as_json
def reconcile(shop: str, since: int | None, until: int | None, dry_run: bool, json: bool) -> None:
    """Compare a shop's own list of orders with the ledger.

    What no hook told enters as if one had, under the same identity: a hook that comes late adds nothing.
    Without --since it goes on where the last comparison ended, as the sweep does by itself. A new relay
    begins with the present; --since also takes in what was sold before.
    """
    if until is not None and since is None:
        raise click.UsageError("--until needs --since.")
    with opened() as relay:
        transport = Transport(connections=1)
        asked = _Asked(since, until, dry_run)
        answers = [_one(relay, Shops(transport), one, asked) for one in _chosen(relay, shop)]
        transport.close()
        days = _results(relay, [one for one in answers if isinstance(one, Found)])
    if json:
        print_lines([_as_line(one, days) for one in answers])
    else:
        _tell(answers, days, dry_run=dry_run)
    if all(isinstance(one, _Refused) for one in answers):
        raise Failure("no shop could be asked")
    if any(isinstance(one, _Refused) and one.counts for one in answers):
        raise click.exceptions.Exit(1)


class _Asked(msgspec.Struct, frozen=True):
    since: int | None
    until: int | None
    dry_run: bool


class _Refused(msgspec.Struct, frozen=True):
    """``counts``: it could be asked before, or was to be."""

    shop: str
    reason: str
    remedy: str = ""
    counts: bool = True


class _Begins(msgspec.Struct, frozen=True):
    """The first comparison, or somebody else's: nothing was done."""

    shop: str


_Answer = Found | _Refused | _Begins


def _chosen(relay: Relay, slug: str) -> list[Shop]:
    shops = [one for one in relay.settings.shops if slug in {"", one.slug}]
    if not shops:
        raise Failure(f"there is no shop {slug}" if slug else "no shop is set up")
    return shops


def _one(relay: Relay, shops: Shops, shop: Shop, asked: _Asked) -> _Answer:
    with progress(f"{shop.slug}: asking", 100) as bar:

        def tell(share: float, tally: Tally) -> None:
            seen = f"{shop.slug}: {tally.orders} orders seen, {tally.missing} missing"
            bar.update(bar.task_ids[0], completed=round(100 * share), description=seen)

        try:
            return _compare(Reconciling(relay, shops, shop, tell=tell), asked)
        except NotSetUp as no:
            return _Refused(shop.slug, no.reason, no.remedy, counts=False)
        except NoAccess as no:
            return _Refused(shop.slug, no.reason, no.remedy)
        except Away as away:
            return _Refused(shop.slug, f"{away}; what was compared by then is kept, run it again later")


def _compare(work: Reconciling, asked: _Asked) -> _Answer:
    since = asked.since
    if since is None and not asked.dry_run:
        return work.go_on() or _Begins(work.shop.slug)
    if since is None:
        cursor = Cursors(work.relay.database).read(work.shop.slug, now_ms())
        if cursor is None:
            return _Begins(work.shop.slug)
        since = cursor.compared_until
    return work.window(since, asked.until, dry_run=asked.dry_run)


def _results(relay: Relay, found: Iterable[Found]) -> dict[str, list[Result]]:
    """The days of each window, whole."""
    return {
        one.shop: results.results(
            relay.database, one.since // DAY * DAY, (one.until // DAY + 1) * DAY, [one.shop]
        )
        for one in found
    }


# --- output ----------------------------------------------------------------------------------------------


def _as_line(answer: _Answer, days: dict[str, list[Result]]) -> dict[str, Any]:
    if isinstance(answer, _Begins):
        return {"shop": answer.shop, "ok": True, "compared": False}
    if isinstance(answer, _Refused):
        return {"shop": answer.shop, "ok": False, "reason": answer.reason, "remedy": answer.remedy}
    seen = msgspec.to_builtins(answer.tally)
    return {
        "shop": answer.shop,
        "ok": True,
        "compared": True,
        "since": rfc3339(answer.since),
        "until": rfc3339(answer.until),
        "done": answer.is_done,
        **seen,
        "lacks": answer.lacks,
        "results": [results.as_line(one) for one in days[answer.shop]],
    }


def _tell(answers: Iterable[_Answer], days: dict[str, list[Result]], *, dry_run: bool) -> None:
    page = console()
    for one in answers:
        if isinstance(one, _Begins):
            page.print(Text(f"{one.shop}: begins with the present; --since 3d takes in what was before."))
        elif isinstance(one, _Refused):
            page.print(Text(f"{one.shop}: {telling.plain(one.reason)}. {one.remedy}".strip(), "red"))
        else:
            page.print(_in_words(one, dry_run=dry_run), soft_wrap=True)
            if days[one.shop] and not dry_run:
                page.print(_table(days[one.shop]))
            if one.tally.missing and one.lacks:
                say(f"{one.shop}: an order from the list lacks {', '.join(one.lacks)}.")


def _in_words(one: Found, *, dry_run: bool) -> Text:
    seen = one.tally
    missing = telling.counted(seen.missing, "sale")
    what = f"{missing} would be taken in" if dry_run else f"{missing} without a hook taken in"
    more = [f"{seen.earlier} from before our time left out"] if seen.earlier else []
    more += [f"{seen.aside} put into quarantine"] if seen.aside else []
    span = f"{telling.moment(one.since)} to {telling.moment(one.until)}"
    words = f"{one.shop}: {span}: {telling.counted(seen.orders, 'order')}, {seen.sold} sold, {what}"
    return Text(", ".join([words, *more]), "yellow" if seen.missing else "green")


def _table(days: Iterable[Result]) -> Table:
    heads = ("Day (UTC)", "in its list", "by hook", "pulled", "without a hook", "What became of them")
    return telling.table(heads, [_row(one) for one in days])


def _row(one: Result) -> list[object]:
    share = "" if one.discrepancy is None else f"{100 * one.discrepancy:.0f} %"
    became = "; ".join(f"{slug}: {telling.counts(states)}" for slug, states in one.deliveries.items())
    return [one.day, one.listed, one.received, one.pulled, share, became or "sent to nobody"]
