"""Finds what belongs to a person, an order or a shop, and takes away what is personal in it.

What stays are facts of the sale: number, amount, times, and to whom it was sent. Short transactions: cut
off, it is simply begun again, and begun again it does no harm.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, or_, select, update

from integrations.privacy import Wish
from webhooks import enriching
from webhooks.clock import now_ms
from webhooks.relay import Relay
from webhooks.schema import attempts, bridges, deliveries, events, hooks, sealed_tables, twins
from webhooks.tombstones import ERASED, lay

CHUNK = 200
"""Events or hooks of one transaction."""

ROUNDS = 5
"""An order leads to its hooks, and these may lead to another order of the same sale."""


class Found(msgspec.Struct):
    """All that belongs to a wish: ids of orders, as the store has them, and of rows."""

    orders: set[str] = msgspec.field(default_factory=set)
    events: set[int] = msgspec.field(default_factory=set)
    hooks: set[int] = msgspec.field(default_factory=set)

    def size(self) -> int:
        """Grows with every finding."""
        return len(self.orders) + len(self.events) + len(self.hooks)


class Erased(msgspec.Struct):
    """How many sealed records were emptied and deliveries suppressed; ``in_flight``: deliveries that are
    being sent at this moment, which nobody can call back."""

    records: int = 0
    suppressed: int = 0
    in_flight: int = 0


# --- find --------------------------------------------------------------------------------------------------


def find(relay: Relay, shop: str, wish: Wish) -> Found:
    """Everything about the people and orders of a wish: what names them, and what belongs to that."""
    found = Found(orders={order for order in wish.orders if order})
    people = relay.marks.sought(shop, wish.identities())
    with relay.database.read() as db:
        if people:
            _look_for_marks(db, shop, people, found)
        for _ in range(ROUNDS):
            before = found.size()
            _look_around(db, shop, found)
            if found.size() == before:
                break
    return found


def _look_for_marks(db: Connection, shop: str, people: Sequence[str], found: Found) -> None:
    named = or_(*(hooks.c.marks.contains(mark) for mark in people))
    chosen = select(hooks.c.id).where(hooks.c.shop == shop, hooks.c.marks.is_not(None), named)
    found.hooks.update(db.execute(chosen).scalars())


def _look_around(db: Connection, shop: str, found: Found) -> None:
    """What shares an order or an event with what was found."""
    for chunk in _chunks(found.hooks):
        for order, event in db.execute(select(hooks.c.order_id, hooks.c.event).where(hooks.c.id.in_(chunk))):
            found.orders.update(filter(None, [order]))
            found.events.update(filter(None, [event]))
    for chunk in _chunks(found.orders):
        of_orders = select(events.c.id).where(events.c.shop == shop, events.c.order_id.in_(chunk))
        found.events.update(db.execute(of_orders).scalars())
        by_key = select(events.c.id).where(
            events.c.shop == shop, events.c.event_name == "Purchase", events.c.key.in_(chunk)
        )
        found.events.update(db.execute(by_key).scalars())
        named = select(hooks.c.id).where(hooks.c.shop == shop, hooks.c.order_id.in_(chunk))
        found.hooks.update(db.execute(named).scalars())
    for chunk in _chunks(found.events):
        told = select(events.c.order_id).where(events.c.id.in_(chunk))
        found.orders.update(filter(None, db.execute(told).scalars()))
        found.hooks.update(db.execute(select(hooks.c.id).where(hooks.c.event.in_(chunk))).scalars())


def everything(relay: Relay, shop: str) -> Iterator[Found]:
    """All that a shop has still sealed, or has still to send, in chunks. What is erased meanwhile does not
    come again, so that the end is reached."""
    waits = select(deliveries.c.id).where(deliveries.c.event == events.c.id, deliveries.c.state.in_(WAITING))
    for table, kept in (
        (events, events.c.sealed.is_not(None) | waits.exists()),
        (hooks, hooks.c.sealed.is_not(None)),
    ):
        last = 0
        while True:
            chosen = select(table.c.id).where(table.c.shop == shop, table.c.id > last, kept)
            with relay.database.read() as db:
                ids = db.execute(chosen.order_by(table.c.id).limit(CHUNK)).scalars().all()
            if not ids:
                break
            last = ids[-1]
            yield Found(events=set(ids)) if table is events else Found(hooks=set(ids))


# --- erase -------------------------------------------------------------------------------------------------


WAITING = ("due", "held")


def bury(relay: Relay, shop: str, wish: Wish, found: Found, at: int, why: str) -> None:
    """Lays the tombstones: first of all, so that no copy arrives behind our back."""
    marks = relay.marks
    people = marks.sought(shop, wish.identities()) + (marks.of_shop(shop) if wish.everything else [])
    with relay.database.write() as db:
        lay(relay.database, db, shop, people, at, why, until=at)
    for chunk in _chunks(found.orders | names(relay, found)):
        with relay.database.write() as db:
            lay(relay.database, db, shop, marks.of_orders(shop, chunk), at, why, until=None)


def names(relay: Relay, found: Found) -> set[str]:
    """All names of the orders: a copy may come by another one, and whoever looks again needs them, as the
    marks are gone by then."""
    told: set[str] = set()
    for chunk in _chunks(found.events):
        with relay.database.read() as db:
            for pair in db.execute(select(events.c.key, events.c.order_id).where(events.c.id.in_(chunk))):
                told.update(filter(None, pair))
    return told


def erase(relay: Relay, shop: str, found: Found) -> Erased:
    """Empties what was found. What waits to be sent will not be."""
    erased = Erased()
    for chunk in _chunks(found.events):
        with relay.database.write() as db:
            _erase_events(db, chunk, erased)
    for chunk in _chunks(found.hooks):
        with relay.database.write() as db:
            erase_hooks(relay, db, chunk, erased)
    for chunk in _chunks(found.orders):
        with relay.database.write() as db:
            _erase_beacons(db, shop, chunk, erased)
    return erased


def erase_late(relay: Relay) -> int:
    """Empties what was noted beside an event after it had been erased; returns how many records that were."""
    gone, late = select(events.c.id).where(events.c.erased_at.is_not(None)), Erased()
    with relay.database.write() as db:
        for table in _beside_events():
            _empty(db, table, table.c.event.in_(gone), late)
    return late.records


def _erase_events(db: Connection, ids: Sequence[int], erased: Erased) -> None:
    """Deliveries before attempts, as workers lock them."""
    _suppress(db, ids, erased)
    of_these = select(deliveries.c.id).where(deliveries.c.event.in_(ids))
    db.execute(
        update(deliveries).where(deliveries.c.event.in_(ids), deliveries.c.detail != "").values(detail="")
    )
    told = and_(attempts.c.delivery.in_(of_these), attempts.c.detail != "")
    db.execute(update(attempts).where(told).values(detail=""))
    kept = and_(events.c.id.in_(ids), events.c.sealed.is_not(None))
    erased.records += len(db.execute(select(events.c.id).where(kept)).all())
    fresh = and_(events.c.id.in_(ids), events.c.erased_at.is_(None) | events.c.sealed.is_not(None))
    db.execute(update(events).where(fresh).values(sealed=None, erased_at=now_ms()))
    for table in _beside_events():
        _empty(db, table, table.c.event.in_(ids), erased)


def _beside_events() -> list[Table]:
    """Whatever else is sealed and belongs to an event."""
    return [table for table in sealed_tables() if table is not hooks and "event" in table.c]


def _erase_beacons(db: Connection, shop: str, orders: Sequence[str], erased: Erased) -> None:
    """What a browser told of an order that never came."""
    told = [digest for order in orders for digest in enriching.bridges(shop, {"order_id": order})]
    beside = select(bridges.c.twin).where(bridges.c.digest.in_(told), bridges.c.twin.is_not(None))
    _empty(db, twins, twins.c.id.in_(beside), erased)


def _suppress(db: Connection, ids: Sequence[int], erased: Erased) -> None:
    """A lease without an open attempt is taken away: whoever holds it asks once more before the wire. What
    is on the wire stays as it is, and is not sent again."""
    waiting = and_(deliveries.c.event.in_(ids), deliveries.c.state.in_(WAITING))
    rows = db.execute(select(deliveries.c.id, deliveries.c.batch).where(waiting).with_for_update()).all()
    batches = {row.batch for row in rows} - {None}
    on_the_wire = select(attempts.c.delivery).where(
        attempts.c.delivery.in_([row.id for row in rows]),
        attempts.c.batch.in_(batches),
        attempts.c.closed_at.is_(None),
    )
    out = set(db.execute(on_the_wire).scalars()) if batches else set()
    erased.in_flight += len(out)
    ends = [row.id for row in rows if row.id not in out]
    erased.suppressed += len(ends)
    if ends:
        values = {
            "state": "suppressed",
            "reason": ERASED,
            "detail": "",
            "batch": None,
            "previous_batch": None,
        }
        db.execute(update(deliveries).where(deliveries.c.id.in_(ends)).values(values))


def erase_hooks(relay: Relay, db: Connection, ids: Sequence[int], erased: Erased) -> None:
    """Empties hooks; one that waits for its order, or for a person, waits no more."""
    columns = (hooks.c.id, hooks.c.digest, hooks.c.sealed.is_not(None).label("kept"))
    rows = db.execute(select(*columns).where(hooks.c.id.in_(ids)).with_for_update()).all()
    for row in rows:
        if row.kept:  # of its digest somebody who knows the rest of the body could find out who was named
            erased.records += 1
            digest = relay.marks.digest(b"%s hook %d" % (row.digest, row.id))
            empty = {"sealed": None, "marks": None, "digest": digest}
            db.execute(update(hooks).where(hooks.c.id == row.id).values(empty))
    unfinished = and_(hooks.c.id.in_(ids), hooks.c.verdict.in_(("quarantined", "incomplete")))
    db.execute(
        update(hooks).where(unfinished).values(verdict="not_an_event", reason=ERASED, due_at=None, marks=None)
    )


def _empty(db: Connection, table: Table, which: Any, erased: Erased) -> None:
    """Another table's rows."""
    kept = and_(which, table.c.sealed.is_not(None))
    erased.records += db.execute(update(table).where(kept).values(sealed=None)).rowcount


def _chunks(things: Iterable[Any]) -> Iterator[list[Any]]:
    ordered = sorted(things)
    for first in range(0, len(ordered), CHUNK):
        yield ordered[first : first + CHUNK]
