"""Reads hooks again that were put aside: after a mapping was mended, or a setting."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import RowMapping, select, update

from integrations.store import Verdict
from integrations.untrusted import NotJson, load_json
from webhooks import recording
from webhooks.audit import Entry
from webhooks.questions import PAGE
from webhooks.recording import Judged
from webhooks.relay import Relay
from webhooks.schema import hooks
from webhooks.tombstones import ERASED
from webhooks.vault import Sealed

ASIDE = ("quarantined", "not_an_event")
"""The verdicts that may be thought over. An incomplete hook is being fetched, an event is told already."""

_OUTLINED = 60


class Unreadable(Exception):
    """A hook that cannot be read again; the message says why."""


class Reread(msgspec.Struct, frozen=True):
    """What became of a hook. ``is_new``: the ledger knows an event now (a sale or a refund) that is new."""

    hook: int
    verdict: Verdict
    reason: str
    order_id: str
    is_new: bool = False


def quarantined(relay: Relay, shop: str = "") -> Iterator[int]:
    """The ids of everything in quarantine whose content is kept, the oldest first."""
    chosen = select(hooks.c.id).where(hooks.c.verdict == "quarantined", hooks.c.sealed.is_not(None))
    if shop:
        chosen = chosen.where(hooks.c.shop == shop)
    last = 0
    while True:
        with relay.database.read() as db:
            page = db.execute(chosen.where(hooks.c.id > last).order_by(hooks.c.id).limit(PAGE))
            ids = page.scalars().all()
        if not ids:
            return
        yield from ids
        last = ids[-1]


def judge_again(relay: Relay, number: int) -> Judged:
    """What the hook would be if it came now; changes nothing. Raises `Unreadable`."""
    return _judge(relay, _row(relay, number))


def map_again(relay: Relay, numbers: Iterable[int]) -> Iterator[Reread]:
    """Reads hooks again and writes down what they are now, with their event if they tell of one.

    One that cannot be read stays as it is. The caller wakes the workers for what is new.
    """
    entry = Entry("quarantine retry", "hooks")
    for number in numbers:
        try:
            row = _row(relay, number)
            reread = _write(relay, row, _judge(relay, row))
        except Unreadable as error:
            reread = Reread(number, "quarantined", str(error), "")
        else:
            with relay.database.write() as db:
                entry.add(db, 1)
        yield reread


def outline(relay: Relay, number: int) -> dict[str, str]:
    """The names on the first level of the hook's body, and what kind of value each has; no value itself.
    Raises `Unreadable`."""
    row = _row(relay, number)
    try:
        body = load_json(relay.vault.open_hook(row["sealed"]).body)
    except NotJson as error:
        return {"": str(error)}
    except Sealed as error:
        raise Unreadable(str(error)) from error
    if not isinstance(body, dict):
        return {"": _kind(body)}
    return {str(name)[:80]: _kind(value) for name, value in list(body.items())[:_OUTLINED]}


def _kind(value: Any) -> str:
    match value:
        case None | bool():
            return str(value).lower()
        case str():
            return f"text of {len(value)}" if value else "empty text"
        case list():
            return f"list of {len(value)}"
        case dict():
            return f"object of {len(value)}"
        case _:
            return "number"


def _row(relay: Relay, number: int) -> RowMapping:
    with relay.database.read() as db:
        row = db.execute(select(hooks).where(hooks.c.id == number)).mappings().first()
    if row is None:
        raise Unreadable(f"there is no hook {number}")
    if row["sealed"] is None:
        raise Unreadable(f"the content of hook {number} was forgotten")
    if row["verdict"] not in ASIDE:
        raise Unreadable(f"hook {number} is {row['verdict'].replace('_', ' ')}: there is nothing to retry")
    return row


def _judge(relay: Relay, row: Mapping[Any, Any]) -> Judged:
    shop = relay.settings.shop(row["store"], row["shop"])
    if shop is None:
        raise Unreadable(f"the shop {row['shop']} is no longer configured")
    try:
        hook = relay.vault.open_hook(row["sealed"])
    except Sealed as error:
        raise Unreadable(str(error)) from error
    return recording.judge(relay, shop, hook, row["received_at"])


def _write(relay: Relay, row: RowMapping, judged: Judged) -> Reread:
    shop = relay.settings.shop(row["store"], row["shop"])
    if judged.event is not None and shop is not None:
        recorded = recording.record_event(relay, shop, judged.event, dict(row), judged.refunds)
        if recorded.is_erased:
            return Reread(row["id"], "not_an_event", ERASED, judged.event.order_id)
        verdict: Verdict = "event" if recorded.is_new else "duplicate"
        is_new = recorded.is_new or recorded.new_refunds > 0
        return Reread(row["id"], verdict, "", judged.event.order_id, is_new)
    traces = recording.traces_of_row(relay, dict(row), None, judged.people)
    if relay.ledger.empty_hook(row["id"], traces):
        return Reread(row["id"], "not_an_event", ERASED, row["order_id"])
    refunds = recording.record_refunds(relay, shop, judged.refunds, dict(row)) if shop is not None else 0
    if judged.wish is not None:
        recording.record_wish(relay, judged, dict(row))
    new = judged.arrival
    order_id = new.order_id or row["order_id"]
    values = {"verdict": new.verdict, "reason": new.reason, "due_at": new.due_at}
    with relay.database.write() as db:
        same = (hooks.c.id == row["id"], hooks.c.verdict == row["verdict"])
        db.execute(update(hooks).where(*same).values(**values, order_id=order_id, tries=0))
    return Reread(row["id"], new.verdict, new.reason, order_id, refunds > 0)
