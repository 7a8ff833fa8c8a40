"""The ledger: hooks, events, deliveries, attempts, and the few sentences one may say to them.

The ledger is the truth; the queue only wakes somebody up to look here. Every sentence is one transaction,
and their order leaves evidence of a crash between any two: record before waking, an open attempt before
sending, a closed one afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, func, select, update

from integrations.event import Event
from integrations.store import Verdict
from webhooks.database import Database
from webhooks.schema import deliveries, events, hooks


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A verified hook, judged, as it is written down. Times in milliseconds."""

    store: str
    shop: str
    digest: bytes
    topic: str
    received_at: int
    sealed: bytes
    verdict: Verdict
    reason: str = ""
    order_id: str = ""
    due_at: int | None = None


class NewDelivery(msgspec.Struct, frozen=True):
    """One destination account's share of a new event."""

    account: str
    destination: str
    event_id: str
    expires_at: int


class Recorded(msgspec.Struct, frozen=True):
    """What was committed. ``is_new``: the event had not been known before."""

    hook: int
    event: int | None
    is_new: bool


class Ledger:
    """The sentences of intake and of time. Deliveries: `leases.py`, `holds.py`; questions: `questions.py`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # --- intake ------------------------------------------------------------------------------------------

    def record(
        self,
        arrival: Arrival,
        event: Event | None = None,
        sealed_event: bytes | None = None,
        shares: Sequence[NewDelivery] = (),
        *,
        source: str = "webhook",
    ) -> Recorded:
        """Writes the hook, and the event with its deliveries if no hook told of it before: all or nothing."""
        with self.database.write() as db:
            known, is_new = None, False
            if event is not None:
                known, is_new = self._record_event(
                    db, arrival.received_at, event, sealed_event, shares, source
                )
            hook = self._record_hook(db, arrival, known, is_new)
        return Recorded(hook, known, is_new)

    def record_of_hook(
        self, hook: int, received_at: int, event: Event, sealed_event: bytes, shares: Sequence[NewDelivery]
    ) -> Recorded:
        """Writes the event of a hook that stands in the ledger already, and the hook's new verdict."""
        with self.database.write() as db:
            known, is_new = self._record_event(db, received_at, event, sealed_event, shares, "webhook")
            verdict = "event" if is_new else "duplicate"
            db.execute(
                update(hooks)
                .where(hooks.c.id == hook)
                .values(verdict=verdict, reason="", order_id=event.order_id, event=known, due_at=None)
            )
        return Recorded(hook, known, is_new)

    def _record_event(
        self,
        db: Connection,
        received_at: int,
        event: Event,
        sealed: bytes | None,
        shares: Sequence[NewDelivery],
        source: str,
    ) -> tuple[int, bool]:
        row = {
            "store": event.store,
            "shop": event.shop,
            "event_name": event.event_name,
            "key": event.key,
            "order_id": event.order_id,
            "order_name": event.order_name,
            "event_time": event.event_time * 1_000,
            "value": f"{event.value:f}",
            "currency": event.currency,
            "origin": event.origin,
            "source": source,
            "received_at": received_at,
            "sealed": sealed,
        }
        inserted = self.database.insert(events).values(row).on_conflict_do_nothing().returning(events.c.id)
        new: int | None = db.execute(inserted).scalar()
        if new is not None:
            self._record_deliveries(db, new, received_at, shares)
            return new, True
        same = and_(
            events.c.shop == event.shop,
            events.c.event_name == event.event_name,
            events.c.key == event.key,
        )
        return db.execute(select(events.c.id).where(same)).scalar_one(), False

    def _record_deliveries(self, db: Connection, event: int, now: int, shares: Sequence[NewDelivery]) -> None:
        rows = [
            {
                **msgspec.structs.asdict(share),
                "event": event,
                "state": "due",
                "created_at": now,
                "due_at": now,
            }
            for share in shares
        ]
        if rows:
            db.execute(self.database.insert(deliveries).on_conflict_do_nothing(), rows)

    def _record_hook(self, db: Connection, arrival: Arrival, event: int | None, is_new: bool) -> int:
        row = msgspec.structs.asdict(arrival) | {
            "event": event,
            "verdict": "duplicate" if arrival.verdict == "event" and not is_new else arrival.verdict,
            "last_received_at": arrival.received_at,
        }
        insert = self.database.insert(hooks).values(row)
        again: dict[str, Any] = {
            "repeats": hooks.c.repeats + 1,
            "last_received_at": insert.excluded.last_received_at,
        }
        if is_new:  # the same bytes were of no use before (a mapping that has been mended since)
            again |= {name: insert.excluded[name] for name in ("verdict", "reason", "order_id", "event")}
        statement = insert.on_conflict_do_update(index_elements=["digest"], set_=again)
        hook: int = db.execute(statement.returning(hooks.c.id)).scalar_one()
        return hook

    # --- hooks that name an order which must be fetched --------------------------------------------------

    def lease_incomplete(self, now: int, until: int, limit: int = 20) -> list[Mapping[str, Any]]:
        """Takes incomplete hooks that are due; they come back by themselves at ``until``."""
        due = (
            select(hooks.c.id)
            .where(hooks.c.verdict == "incomplete", hooks.c.due_at <= now, hooks.c.sealed.is_not(None))
            .order_by(hooks.c.due_at)
            .limit(limit)
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
            return [dict(row) for row in db.execute(take).mappings()]

    def close_hook(self, hook: int, verdict: Verdict, reason: str, due_at: int | None = None) -> None:
        """Writes down what became of a hook after it was recorded."""
        with self.database.write() as db:
            db.execute(
                update(hooks).where(hooks.c.id == hook).values(verdict=verdict, reason=reason, due_at=due_at)
            )

    # --- time --------------------------------------------------------------------------------------------

    def expire(self, now: int) -> int:
        """Ends waiting deliveries that their destination would refuse by age; returns how many."""
        waiting = and_(
            deliveries.c.state.in_(("due", "held")),
            deliveries.c.batch.is_(None),
            deliveries.c.expires_at <= now,
        )
        with self.database.write() as db:
            ended = db.execute(
                update(deliveries)
                .where(waiting)
                .values(state="expired", reason="too_old", detail="older than the destination accepts")
            )
        return ended.rowcount

    def closing_soon(self, before: int) -> dict[str, int]:
        """How many waiting deliveries of each account become too old before that time."""
        waiting = and_(deliveries.c.state.in_(("due", "held")), deliveries.c.expires_at <= before)
        query = select(deliveries.c.account, func.count()).where(waiting).group_by(deliveries.c.account)
        with self.database.read() as db:
            return {account: int(count) for account, count in db.execute(query)}

    def forget(self, before: int, limit: int = 500) -> int:
        """Blanks what is personal in finished events and hooks older than ``before``; facts stay."""
        undone = select(deliveries.c.event).where(deliveries.c.state.in_(("due", "held")))
        old_events = (
            select(events.c.id)
            .where(events.c.received_at < before, events.c.sealed.is_not(None))
            .where(events.c.id.not_in(undone))
            .limit(limit)
        )
        old_hooks = (
            select(hooks.c.id)
            .where(hooks.c.received_at < before, hooks.c.sealed.is_not(None))
            .where(hooks.c.verdict != "incomplete")
            .limit(limit)
        )
        with self.database.write() as db:
            blanked = db.execute(update(events).where(events.c.id.in_(old_events)).values(sealed=None))
            emptied = db.execute(update(hooks).where(hooks.c.id.in_(old_hooks)).values(sealed=None))
        return blanked.rowcount + emptied.rowcount
