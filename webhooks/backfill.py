"""Deliveries that an account never got, because it was added after their events had come.

Only what its destination still takes is made; all the rest is judged by the worker, as always.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, select, tuple_

from integrations import event as events_of
from webhooks.audit import Entry
from webhooks.clock import now_ms, rfc3339
from webhooks.entries import NewDelivery
from webhooks.recording import shares_of
from webhooks.relay import Relay
from webhooks.replay import CHUNK, PAUSE, BadQuestion
from webhooks.schema import deliveries, events
from webhooks.vault import Sealed


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Events received ``since`` (milliseconds), of one shop or of all that send to ``account``."""

    account: str
    since: int
    shop: str = ""

    def __str__(self) -> str:
        shop = f" shop={self.shop}" if self.shop else ""
        return f"missing account={self.account}{shop} since={rfc3339(self.since)}"


class Found(msgspec.Struct):
    """How many deliveries are missing, and how many events were left out for which reason."""

    count: int = 0
    left_out: Counter[str] = msgspec.field(default_factory=Counter)


def plan(relay: Relay, missing: Missing) -> Found:
    """Looks, and changes nothing. Raises `BadQuestion`."""
    found = Found()
    for chunk in _chunks(relay, missing):
        found.count += len(list(_shares(relay, missing, chunk, found.left_out)))
    return found


def apply(relay: Relay, missing: Missing) -> int:
    """Makes what is missing; returns how many. Short transactions: cut off, it may be asked again."""
    entry, due_at, total = Entry("replay", str(missing)), now_ms(), 0
    for chunk in _chunks(relay, missing):
        shares = list(_shares(relay, missing, chunk, Counter()))
        if not shares:
            continue
        with relay.database.write() as db:
            made = _insert(relay, db, shares, due_at)
            entry.add(db, made)
        total += made
        due_at += PAUSE  # orders that come in meanwhile go first, as in a replay
    return total


def _insert(relay: Relay, db: Connection, shares: Sequence[tuple[int, NewDelivery]], due_at: int) -> int:
    rows = [
        {
            **msgspec.structs.asdict(share),
            "event": event,
            "state": "due",
            "created_at": now_ms(),
            "due_at": due_at,
        }
        for event, share in shares
    ]
    statement = relay.database.insert(deliveries).on_conflict_do_nothing().returning(deliveries.c.id)
    return len(db.execute(statement, rows).all())


def _chunks(relay: Relay, missing: Missing) -> Iterator[Sequence[RowMapping]]:
    """The events without a delivery for the account, in the order in which they came."""
    there = (deliveries.c.event == events.c.id) & (deliveries.c.account == missing.account)
    place = tuple_(events.c.received_at, events.c.id)
    asked = (
        select(events.c.id, events.c.store, events.c.shop, events.c.received_at, events.c.sealed)
        .where(events.c.received_at >= missing.since, events.c.shop.in_(_shops(relay, missing)))
        .where(~select(deliveries.c.id).where(there).exists())
        .order_by(events.c.received_at, events.c.id)
        .limit(CHUNK)
    )
    last = (missing.since, 0)
    while True:
        with relay.database.read() as db:
            chunk = db.execute(asked.where(place > tuple_(*last))).mappings().all()
        if not chunk:
            return
        yield chunk
        last = (chunk[-1]["received_at"], chunk[-1]["id"])


def _shops(relay: Relay, missing: Missing) -> list[str]:
    if relay.settings.account(missing.account) is None:
        raise BadQuestion(f"there is no account {missing.account!r} in the settings")
    sending = [shop.slug for shop in relay.settings.shops if missing.account in shop.accounts]
    chosen = [slug for slug in sending if missing.shop in {"", slug}]
    if not chosen:
        raise BadQuestion(f"no such shop sends to {missing.account!r}")
    return chosen


def _shares(
    relay: Relay, missing: Missing, chunk: Sequence[Mapping[Any, Any]], left_out: Counter[str]
) -> Iterator[tuple[int, NewDelivery]]:
    for row in chunk:
        share = _share(relay, missing.account, row)
        if isinstance(share, NewDelivery):
            yield row["id"], share
        else:
            left_out[share] += 1


def _share(relay: Relay, account: str, row: Mapping[Any, Any]) -> NewDelivery | str:
    """The delivery to make, or why there is none."""
    shop = relay.settings.shop(row["store"], row["shop"])
    if row["sealed"] is None or shop is None:
        return "forgotten"
    try:
        event = events_of.decode(relay.vault.open(row["sealed"]))
    except Sealed:
        return "unreadable"
    share = next((one for one in shares_of(relay, shop, event) if one.account == account), None)
    if share is None:
        return "not_taken"
    return share if share.expires_at > now_ms() else "too_old"
