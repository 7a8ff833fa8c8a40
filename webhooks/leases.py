"""Deliveries under a lease: claim what is due, open an attempt before the wire, close it afterwards.

A lease is nothing but a later `due_at` plus the batch that holds it. What a dead worker held is due again
by itself, and its crash is counted by whoever takes it next.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)

from integrations.destination import Outcome, Restriction
from webhooks.among import among
from webhooks.database import Database
from webhooks.schema import CRASHED, DUE, attempts, deliveries, events

CRASH_LIMIT = 5
"""After so many workers died while they held it, a delivery is `broken`. After two it travels alone, so that
only the culprit gets there."""


class Claimed(msgspec.Struct, frozen=True):
    """A delivery under our lease. ``sealed`` is the event's, None when it was forgotten. ``basis`` and
    ``restricted`` are empty until it is judged: see `consenting.py`. The others stand in the order of the
    columns that `_lease` and `_EVENTS` ask for, and are filled by it: two hundred names a batch cost."""

    id: int
    account: str
    event_id: str
    attempts: int
    crashes: int
    ambiguous: bool
    first_sent_at: int | None
    expires_at: int
    order_id: str
    shop: str
    sealed: bytes | None
    is_erased: bool = False
    basis: str = ""
    restricted: Restriction = ""


class Look(msgspec.Struct, frozen=True):
    """The accounts that have something due, and those of them with something that has seen workers die."""

    due: frozenset[str]
    suspected: frozenset[str]


class Settled(msgspec.Struct, frozen=True):
    """The end of an attempt: the delivery's next state, and when it is due if that is `due`. A ``basis`` is
    written down with it."""

    delivery: int
    outcome: Outcome
    state: str
    due_at: int
    basis: str = ""


class Leases:
    """The sentences of a worker."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def look(self, of_accounts: Iterable[str], now: int) -> Look:
        """What is due of these accounts: a look into the index, cheap enough to repeat."""
        slugs = tuple(of_accounts)
        if not slugs:
            return Look(frozenset(), frozenset())
        with self.database.glance() as db:
            rows = db.execute(_look_at(slugs), {"now": now}).all()
        due, suspected = (frozenset(row.account for row in rows if row[place]) for place in (1, 2))
        return Look(due, suspected)

    def claim(
        self, account: str, limit: int, batch: str, now: int, until: int, *, alone: bool = False
    ) -> list[Claimed]:
        """Takes up to ``limit`` due deliveries of an account under a lease that runs out at ``until``.

        ``alone`` takes one of those that have seen workers die instead.

        A delivery that was under a lease which ran out has lost a worker: its crash is counted, and if
        an attempt was open then, that one is closed as `interrupted` and the delivery is ambiguous.
        """
        with self.database.write(lasting=False) as db:  # what a power cut takes back is due as before
            wanted = {"of": account, "now": now, "most": 1 if alone else limit}
            rows = db.execute(_LEASE[alone], {**wanted, "with_batch": batch, "until": until})
            taken = rows.all()
            lost = {one: before for one, *_, before in taken if before}
            uncertain = self._interrupt(db, lost, now) if lost else set()
            told = self._events_of(db, {event for _, event, *_ in taken})
        return [
            Claimed(
                one, account, event_id, attempts, crashes, ambiguous or one in uncertain, *facts, *told[event]
            )
            for one, event, event_id, attempts, crashes, ambiguous, *facts, _ in taken
        ]

    def _interrupt(self, db: Connection, lost: Mapping[int, str], now: int) -> set[int]:
        left_open = and_(
            attempts.c.delivery.in_(lost),
            attempts.c.batch.in_(set(lost.values())),
            attempts.c.closed_at.is_(None),
        )
        close = (
            update(attempts)
            .where(left_open)
            .values(closed_at=now, outcome="interrupted", reason="the worker died while it was sending")
            .returning(attempts.c.delivery)
        )
        uncertain = set(db.execute(close).scalars())
        if uncertain:
            db.execute(update(deliveries).where(deliveries.c.id.in_(uncertain)).values(ambiguous=True))
        return uncertain

    def _events_of(self, db: Connection, ids: Iterable[int]) -> dict[int, Sequence[Any]]:
        return {event: told for event, *told in db.execute(_EVENTS, {"ids": ids}).all()}

    def open_attempts(self, batch: str, claimed: Sequence[Claimed], now: int, until: int) -> set[int]:
        """Writes the attempt down before the wire, with why it may be made, and renews the lease.

        Returns the deliveries that are still ours: a worker that slept past its lease finds them gone
        and must not send them.
        """
        alike: dict[tuple[str, str], list[int]] = {}
        for one in claimed:
            alike.setdefault((one.basis, one.restricted), []).append(one.id)
        ours: set[int] = set()
        with self.database.write() as db:
            for (basis, restricted), ids in alike.items():
                renewed = {"ids": ids, "of_batch": batch, "until": until, "now": now}
                reasons = {"on_basis": basis, "so_restricted": restricted}
                ours.update(db.execute(_RENEW, renewed | reasons).scalars().all())
            db.execute(_OPEN, {"ids": ours, "of_batch": batch, "together": len(ours), "now": now})
        return ours

    def renew(self, batch: str, ids: Sequence[int], until: int) -> set[int]:
        """Prolongs the lease of what must wait; returns the deliveries that are still ours."""
        with self.database.write() as db:
            prolonged = {"ids": ids, "of_batch": batch, "until": until}
            return set(db.execute(_PROLONG, prolonged).scalars())

    def close(
        self,
        batch: str,
        settled: Sequence[Settled],
        now: int,
        http_status: int | None = None,
        confirm_at: int | None = None,
    ) -> None:
        """Completes the attempts and gives each delivery its next state; the lease ends.

        Only what is still under this batch's lease is touched. ``confirm_at``: when to ask what became of
        what was delivered, if acceptance is not the end.
        """
        alike: dict[tuple[Outcome, str, str], list[Settled]] = {}
        for one in settled:
            alike.setdefault((one.outcome, one.state, one.basis), []).append(one)
        with self.database.write() as db:
            for (outcome, state, basis), group in alike.items():
                ending = _ending(batch, outcome, state, basis)
                ids = [one.delivery for one in group]
                if state == "due":  # each with its own next try: a spread of times
                    again = [ending | {"one": one.delivery, "then": one.due_at} for one in group]
                    db.execute(_AGAIN, again)
                elif state == "delivered":
                    done = {"ids": ids, "now": now, "traced": outcome.trace, "ask_at": confirm_at}
                    db.execute(_DELIVERED, ending | done)
                else:
                    db.execute(_OVER, ending | {"ids": ids})
                # Last, as in `claim`: two that lock the same rows in another order wait in a circle.
                _close_attempts(db, batch, ids, outcome, now, http_status)

    def note(
        self, batch: str, ids: Sequence[int], outcome: Outcome, now: int, http_status: int | None
    ) -> None:
        """Completes attempts whose deliveries go out again at once, under the same lease."""
        with self.database.write() as db:
            _close_attempts(db, batch, ids, outcome, now, http_status)

    def let_go(self, batch: str, ids: Sequence[int], now: int) -> None:
        """Gives back deliveries that were claimed but not sent: due again at once, nothing consumed."""
        with self.database.write() as db:
            db.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(ids), deliveries.c.batch == batch, deliveries.c.state == "due")
                .values(batch=None, previous_batch=None, due_at=now)
            )


# --- statements, made once: making one costs more than executing it -----------------------------------------

_IS_DUE = and_(
    deliveries.c.account == bindparam("of"),
    DUE,
    deliveries.c.due_at <= bindparam("now"),
)


@lru_cache(maxsize=16)
def _look_at(slugs: tuple[str, ...]) -> Executable:
    """One statement for all accounts, so that it costs one trip to the database."""
    return union_all(*map(_look_at_one, slugs))


def _look_at_one(slug: str) -> Select[str, bool, bool]:
    due = select(deliveries.c.id).where(
        deliveries.c.account == literal(slug), DUE, deliveries.c.due_at <= bindparam("now")
    )
    return select(literal(slug).label("account"), due.exists(), due.where(CRASHED).exists())


def _lease(which: ColumnElement[bool]) -> Update:
    """Takes the longest waiting due deliveries of an account, skipping what others look at."""
    chosen = (
        select(deliveries.c.id)
        .where(_IS_DUE, which)
        .order_by(deliveries.c.due_at)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    died = case((deliveries.c.batch.is_not(None), 1), else_=0)
    return (
        update(deliveries)
        .where(deliveries.c.id.in_(select(chosen.c.id)))
        .values(
            batch=bindparam("with_batch"),
            previous_batch=deliveries.c.batch,
            due_at=bindparam("until"),
            crashes=deliveries.c.crashes + died,
        )
        .returning(
            deliveries.c.id,
            deliveries.c.event,
            deliveries.c.event_id,
            deliveries.c.attempts,
            deliveries.c.crashes,
            deliveries.c.ambiguous,
            deliveries.c.first_sent_at,
            deliveries.c.expires_at,
            deliveries.c.previous_batch,
        )
    )


_LEASE = {False: _lease(~CRASHED), True: _lease(CRASHED)}

_EVENTS = select(
    events.c.id,
    events.c.order_id,
    events.c.shop,
    events.c.sealed,
    events.c.erased_at.is_not(None).label("is_erased"),
).where(among(events.c.id, "ids"))

_OURS = and_(
    among(deliveries.c.id, "ids"),
    deliveries.c.batch == bindparam("of_batch"),
    deliveries.c.state == "due",
)
_PROLONG = update(deliveries).where(_OURS).values(due_at=bindparam("until")).returning(deliveries.c.id)
_RENEW = _PROLONG.values(
    first_sent_at=func.coalesce(deliveries.c.first_sent_at, bindparam("now")),
    basis=bindparam("on_basis"),
    restricted=bindparam("so_restricted"),
)

_OPEN = attempts.insert().from_select(
    ["delivery", "batch", "size", "opened_at"],
    select(
        deliveries.c.id,
        bindparam("of_batch", type_=Text),
        bindparam("together", type_=Integer),
        bindparam("now", type_=BigInteger),
    )
    .where(among(deliveries.c.id, "ids"))
    .order_by(deliveries.c.id),
)

_ENDS = (
    update(deliveries)
    .where(deliveries.c.batch == bindparam("of_batch"), deliveries.c.state == "due")
    .values(
        state=bindparam("then_state"),
        reason=bindparam("told_reason"),
        detail=bindparam("told_detail"),
        batch=None,
        previous_batch=None,
        attempts=deliveries.c.attempts + bindparam("spent"),
        ambiguous=or_(deliveries.c.ambiguous, bindparam("in_doubt", type_=Boolean)),
        basis=func.coalesce(func.nullif(bindparam("on_basis"), ""), deliveries.c.basis),
    )
)
_THESE = among(deliveries.c.id, "ids")
_OVER = _ENDS.where(_THESE)
_DELIVERED = _OVER.values(
    delivered_at=bindparam("now"), trace=bindparam("traced"), confirm_at=bindparam("ask_at")
)
_AGAIN = _ENDS.where(deliveries.c.id == bindparam("one")).values(
    due_at=bindparam("then"),
    crashes=0,  # whoever built, sent and heard it is alive: it was not to blame
)
_ATTEMPTS_END = (
    update(attempts)
    .where(
        attempts.c.batch == bindparam("of_batch"),
        among(attempts.c.delivery, "ids"),
        attempts.c.closed_at.is_(None),
    )
    .values(
        closed_at=bindparam("now"),
        outcome=bindparam("came_of_it"),
        reason=bindparam("told_reason"),
        detail=bindparam("told_detail"),
        http_status=bindparam("status"),
        trace=bindparam("traced"),
    )
)


def _ending(batch: str, outcome: Outcome, state: str, basis: str) -> dict[str, Any]:
    return {
        "of_batch": batch,
        "then_state": state,
        "told_reason": outcome.reason,
        "told_detail": outcome.detail,
        "spent": int(outcome.spent),
        "in_doubt": outcome.ambiguous,
        "on_basis": basis,
    }


def _close_attempts(
    db: Connection, batch: str, ids: Sequence[int], outcome: Outcome, now: int, http_status: int | None
) -> None:
    what = {"came_of_it": outcome.state, "told_reason": outcome.reason, "told_detail": outcome.detail}
    when = {"now": now, "status": http_status, "traced": outcome.trace}
    db.execute(_ATTEMPTS_END, {"of_batch": batch, "ids": ids, **what, **when})
