"""The ledger: hooks, events, deliveries, attempts, and the few sentences one may say to them.

The ledger is the truth; the queue only wakes somebody up to look here. Every sentence is one transaction,
and their order leaves evidence of a crash between any two: record before waking, an open attempt before
sending, a closed one afterwards.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from integrations.store import Verdict
from webhooks.database import Database
from webhooks.entries import (
    DELIVERY,
    EVENT,
    HOOK,
    Arrival,
    NewEvent,
    NewWish,
    Sale,
    delivery_rows,
    event_row,
    hook_row,
)
from webhooks.prepared import Prepared
from webhooks.schema import INCOMPLETE, UNDONE, deliveries, events, hooks, wishes
from webhooks.together import Together
from webhooks.tombstones import ERASED, NO_TRACES, Tombstones, Traces
from webhooks.twins import expect


class Known(msgspec.Struct, frozen=True):
    """An event that stands in the ledger. ``sealed`` is None once it was forgotten."""

    sealed: bytes | None


class Recorded(msgspec.Struct, frozen=True):
    """What was committed. ``is_new``: the event had not been known before; ``new_refunds``: how many of the
    refunds had not; ``is_erased``: it is a copy of what was erased, of which nothing was kept. ``heard_at``:
    when the same bytes came first. ``is_released``: what was suppressed is due because of it."""

    hook: int
    event: int | None
    is_new: bool
    new_refunds: int = 0
    is_erased: bool = False
    heard_at: int = 0
    is_released: bool = False


class _Told(msgspec.Struct, frozen=True):
    """All that is written down of one hook."""

    arrival: Arrival
    new: NewEvent | None
    refunds: Sequence[NewEvent]
    source: str
    traces: Traces
    wish: NewWish | None

    def order(self) -> tuple[str, str, bytes]:
        """By the event, then by the hook: hooks of the same bytes tell of the same event."""
        return self.arrival.shop, self.new.event.key if self.new else "", self.arrival.digest


_NO_EVENT = (None, False)

_SAME = ("shop", "event_name", "key")
"""By which an event is known."""


class Ledger:
    """The sentences of intake and of time. Deliveries: `leases.py`, `holds.py`; questions: `questions.py`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        # Made once: making a statement costs more than executing it.
        self._new_event = Prepared(
            database, database.insert(events).on_conflict_do_nothing().returning(events.c.id), EVENT
        )
        same = [events.c[name] == bindparam(name) for name in _SAME]
        self._known = Prepared(database, select(events.c.id).where(*same), _SAME)
        self._new_delivery = Prepared(
            database, database.insert(deliveries).on_conflict_do_nothing().inline(), DELIVERY
        )
        self._new_hook = {is_new: self._hook_statement(is_new=is_new) for is_new in (False, True)}
        self._tombstones = Tombstones(database)
        self._together = Together(database, self._record, _Told.order)

    # --- intake ------------------------------------------------------------------------------------------

    def enter(
        self,
        arrival: Arrival,
        new: NewEvent | None = None,
        refunds: Sequence[NewEvent] = (),
        *,
        source: str = "webhook",
        traces: Traces = NO_TRACES,
        wish: NewWish | None = None,
    ) -> Callable[[], Recorded]:
        """Has the hook written, and the event with its deliveries if no hook told of it before, and so each
        of the refunds: all or nothing. Of a copy of what was erased only that it came. Waits for nothing:
        call what is returned for what was committed."""
        told = _Told(arrival, new, refunds, source, traces, wish)
        # Refunds are locked last, so such a hook does not fit into the order of the others.
        return partial(self._record_alone, told) if refunds else self._together.enter(told)

    def _record_alone(self, told: "_Told") -> Recorded:
        with self.database.write() as db:
            return self._record(db, [told])[0]

    def _record(self, db: Connection, several: Sequence["_Told"]) -> list[Recorded]:
        are_erased = self._tombstones.cover(db, [told.traces for told in several])
        kept = [
            _erased(told) if is_erased else told for told, is_erased in zip(several, are_erased, strict=True)
        ]
        events_told = [Sale(told.arrival.received_at, told.new, told.source) for told in kept if told.new]
        known = iter(self._record_events(db, events_told))
        found = [next(known) if told.new else _NO_EVENT for told in kept]
        hooks = self._record_hooks(db, kept, found)
        counts = [
            self._record_refunds(db, told.arrival.received_at, told.refunds, told.source) for told in kept
        ]
        return [
            Recorded(hook, event, is_new, count, is_erased, heard_at)
            for (event, is_new), (hook, heard_at), count, is_erased in zip(
                found, hooks, counts, are_erased, strict=True
            )
        ]

    def record_of_hook(
        self,
        hook: int,
        received_at: int,
        new: NewEvent,
        refunds: Sequence[NewEvent] = (),
        traces: Traces = NO_TRACES,
    ) -> Recorded:
        """Writes what a hook tells that stands in the ledger already, and the hook's new verdict."""
        with self.database.write() as db:
            if self._is_erased(db, traces):
                self._empty_hook(db, hook, traces)
                return Recorded(hook, None, False, is_erased=True)
            [(known, is_new)] = self._record_events(db, [Sale(received_at, new, "webhook")])
            count = self._record_refunds(db, received_at, refunds, "webhook")
            verdict, order_id = "event" if is_new else "duplicate", new.event.order_id
            db.execute(
                update(hooks)
                .where(hooks.c.id == hook)
                .values(verdict=verdict, reason="", order_id=order_id, event=known, due_at=None)
                .values(marks=traces.marks or None)
            )
        return Recorded(hook, known, is_new, count)

    def empty_hook(self, hook: int, traces: Traces) -> bool:
        """Empties a hook that stands in the ledger and tells of what was erased; False if it does not."""
        with self.database.write() as db:
            if not self._is_erased(db, traces):
                return False
            self._empty_hook(db, hook, traces)
        return True

    def _is_erased(self, db: Connection, traces: Traces) -> bool:
        return self._tombstones.cover(db, [traces])[0]

    def _empty_hook(self, db: Connection, hook: int, traces: Traces) -> None:
        values = {"verdict": "not_an_event", "reason": ERASED, "due_at": None}
        empty = {"sealed": None, "marks": None, "digest": traces.digest}
        db.execute(update(hooks).where(hooks.c.id == hook).values(**values, **empty))

    def record_refunds(self, received_at: int, refunds: Sequence[NewEvent]) -> int:
        """Writes the refunds of a hook that stands in the ledger already; returns how many were new."""
        with self.database.write() as db:
            return self._record_refunds(db, received_at, refunds, "webhook")

    def purchase(self, shop: str, key: str) -> Known | None:
        """The shop's Purchase with this key, None if it has none."""
        same = (events.c.shop == shop, events.c.event_name == "Purchase", events.c.key == key)
        with self.database.read() as db:
            row = db.execute(select(events.c.sealed).where(*same)).first()
        return None if row is None else Known(row.sealed)

    def _record_refunds(
        self, db: Connection, received_at: int, refunds: Sequence[NewEvent], source: str
    ) -> int:
        # Always in the same order: two hooks that tell of the same refunds at once must not wait for each
        # other in a circle.
        ordered = sorted(refunds, key=lambda refund: refund.event.key)
        recorded = self._record_events(db, [Sale(received_at, refund, source) for refund in ordered])
        return sum(is_new for _, is_new in recorded)

    def _record_events(self, db: Connection, sales: Sequence[Sale]) -> list[tuple[int, bool]]:
        """Of each its number, and whether it is new; with the deliveries of those that are."""
        rows = [event_row(sale) for sale in sales]
        made = self._new_event.each(db, rows)
        new = [(row[0], sale) for row, sale in zip(made, sales, strict=True) if row is not None]
        self._new_delivery.many(db, [row for number, sale in new for row in delivery_rows(number, sale)])
        for number, sale in new:
            expect(db, number, sale.new.expected)
        told = [sale.new.event for row, sale in zip(made, sales, strict=True) if row is None]
        same = [{name: getattr(event, name) for name in _SAME} for event in told]
        known = (row[0] for row in self._known.each(db, same) if row is not None)
        return [(next(known), False) if row is None else (row[0], True) for row in made]

    def _record_hooks(
        self, db: Connection, several: Sequence["_Told"], found: Sequence[tuple[int | None, bool]]
    ) -> list[tuple[int, int]]:
        """Of each its number, and when the same bytes came first. Of hooks with the same bytes the one whose
        event is new goes first; the rest are locked in the order of their digests."""
        rows = [hook_row(told.arrival, *event) for told, event in zip(several, found, strict=True)]
        places = sorted(range(len(rows)), key=lambda place: rows[place]["digest"])
        written: dict[int, tuple[int, int]] = {}
        for is_new in (True, False):
            some = [place for place in places if found[place][1] is is_new]
            answers = self._new_hook[is_new].each(db, [rows[place] for place in some])
            for place, (hook, repeats, heard_at) in zip(some, filter(None, answers), strict=True):
                written[place] = hook, heard_at
                if repeats == 0:
                    _record_wish(db, several[place], hook)
        return [written[place] for place in range(len(rows))]

    def _hook_statement(self, *, is_new: bool) -> Prepared:
        insert = self.database.insert(hooks)
        again: dict[str, Any] = {
            "repeats": hooks.c.repeats + 1,
            "last_received_at": insert.excluded.last_received_at,
        }
        if is_new:  # the same bytes were of no use before (a mapping that has been mended since)
            again |= {name: insert.excluded[name] for name in ("verdict", "reason", "order_id", "event")}
        statement = insert.on_conflict_do_update(index_elements=["digest"], set_=again)
        returned = statement.returning(hooks.c.id, hooks.c.repeats, hooks.c.received_at)
        return Prepared(self.database, returned, HOOK)

    # --- hooks that name an order which must be fetched --------------------------------------------------

    def lease_incomplete(self, now: int, until: int, but: Collection[str] = ()) -> Mapping[str, Any] | None:
        """Takes an incomplete hook that is due, of no shop among ``but``; it comes back by itself at
        ``until``. None if there is no such hook."""
        due = (
            select(hooks.c.id)
            .where(INCOMPLETE, hooks.c.due_at <= now, hooks.c.shop.not_in(but), hooks.c.sealed.is_not(None))
            .order_by(hooks.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        take = (
            update(hooks)
            .where(hooks.c.id.in_(select(due.c.id)))
            .values(due_at=until, tries=hooks.c.tries + 1)
            .returning(hooks)
        )
        with self.database.write() as db:
            row = db.execute(take).mappings().first()
        return None if row is None else dict(row)

    def close_hook(self, hook: int, verdict: Verdict, reason: str, due_at: int | None = None) -> None:
        """Writes down what became of an incomplete hook, unless somebody else has completed it meanwhile."""
        ours = and_(hooks.c.id == hook, INCOMPLETE)
        with self.database.write() as db:
            db.execute(update(hooks).where(ours).values(verdict=verdict, reason=reason, due_at=due_at))

    # --- time --------------------------------------------------------------------------------------------

    def expire(self, now: int, limit: int = 500) -> int:
        """Ends waiting deliveries that their destination would refuse by age; returns how many."""
        too_old = select(deliveries.c.id).where(WAITING, deliveries.c.batch.is_(None))
        some = too_old.where(deliveries.c.expires_at <= now).limit(limit).with_for_update(skip_locked=True)
        end = (
            update(deliveries)
            .where(deliveries.c.id.in_(select(some.cte("some").c.id)))
            .values(state="expired", reason="too_old", detail="older than the destination accepts")
        )
        with self.database.write() as db:
            return len(db.execute(end.returning(deliveries.c.id)).all())

    def closing_soon(self, before: int) -> dict[str, int]:
        """How many waiting deliveries of each account become too old before that time."""
        soon = and_(WAITING, deliveries.c.expires_at <= before)
        query = select(deliveries.c.account, func.count()).where(soon).group_by(deliveries.c.account)
        with self.database.read() as db:
            return {account: int(count) for account, count in db.execute(query)}


def insert_wish(
    db: Connection, wish: NewWish, *, store: str, origin: str, at: int, hook: int | None = None
) -> int:
    """Writes down what somebody asks for, due at once; returns its id."""
    row = {"store": store, "origin": origin, "hook": hook, "received_at": at, "due_at": at, "state": "open"}
    made = insert(wishes).values(**row, **msgspec.structs.asdict(wish)).returning(wishes.c.id)
    number: int = db.execute(made).scalar_one()
    return number


def _record_wish(db: Connection, told: _Told, hook: int) -> None:
    if told.wish is not None:
        at, origin = told.arrival.received_at, told.arrival.topic
        insert_wish(db, told.wish, store=told.arrival.store, origin=origin, at=at, hook=hook)


def _erased(told: _Told) -> _Told:
    """What may be written down of a copy of what was erased: that it came, and of which order."""
    digest = told.traces.digest
    nothing = {"verdict": "not_an_event", "reason": ERASED, "sealed": None, "marks": None, "due_at": None}
    arrival = msgspec.structs.replace(told.arrival, **nothing, digest=digest)
    return msgspec.structs.replace(told, arrival=arrival, new=None, refunds=(), wish=None)


WAITING = and_(deliveries.c.state.in_(("due", "held")), UNDONE)
"""Deliveries that will be sent yet, unless something comes between."""
