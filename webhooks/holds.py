"""Destination accounts that wait: held (credentials: for their owner), resting (for the destination).

The state is in the database, so that all workers see it and the operator does. A waiting account is tried
with one delivery at a time, by one worker, at growing intervals; what waits costs no attempt.
"""

from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, and_, case, select, update

from integrations.destination import Outcome
from webhooks.database import Database
from webhooks.schema import DUE, UNDONE, accounts, deliveries

CHUNK = 500
"""Deliveries that change their state in one transaction: nobody waits long for what it locks."""


class Waiting(msgspec.Struct, frozen=True):
    """An account that waits: why, with which settings it was stopped and when, and when one delivery may
    try."""

    state: Literal["held", "resting"]
    fingerprint: str
    since: int
    probe_at: int
    pauses: int


# Made once: every turn of a worker asks it.
_STOPPED = select(accounts.c.account, *(accounts.c[name] for name in Waiting.__struct_fields__)).where(
    accounts.c.state != "open"
)


class Holds:
    """The sentences about waiting accounts. Pauses are in milliseconds."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def waiting(self) -> dict[str, Waiting]:
        """Every account that is not open, by its slug."""
        with self.database.glance() as db:
            return {account: Waiting(*facts) for account, *facts in db.execute(_STOPPED)}

    def stop(
        self,
        account: str,
        destination: str,
        state: Literal["held", "resting"],
        outcome: Outcome,
        fingerprint: str,
        now: int,
        pause: int,
    ) -> bool:
        """Stops an account. True if it was not stopped so before: time to tell, once."""
        row = {
            "account": account,
            "destination": destination,
            "state": state,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "since": now,
            "probe_at": now + pause,
            "fingerprint": fingerprint,
        }
        fresh = accounts.c.state == "open"
        if state == "held":  # graver than resting, and renewed settings may be refused, too
            fresh = (accounts.c.state != "held") | (accounts.c.fingerprint != fingerprint)
        with self.database.write() as db:
            insert = self.database.insert(accounts).values(row).on_conflict_do_nothing()
            if db.execute(insert.returning(accounts.c.account)).scalar() is not None:
                return True
            again = update(accounts).where(accounts.c.account == account, fresh).values(**row, pauses=0)
            return db.execute(again.returning(accounts.c.account)).scalar() is not None

    def postpone(self, account: str, until: int) -> None:
        """Leaves a resting account alone at least until then: its destination has asked for it."""
        resting = and_(accounts.c.account == account, accounts.c.state == "resting")
        with self.database.write() as db:
            later = update(accounts).where(resting, accounts.c.probe_at < until)
            db.execute(later.values(probe_at=until))

    def park(self, account: str, now: int) -> int:
        """Shows what waits for a held account as `held`, `CHUNK` of it at a time; returns how many.

        What a dead worker left stays due: whoever takes it next has to count the crash.
        """
        waiting = and_(
            DUE, deliveries.c.account == account, deliveries.c.due_at <= now, deliveries.c.batch.is_(None)
        )
        with self.database.write() as db:
            # Locked: an account that is released at the same moment must not leave anything behind as held.
            held = select(accounts.c.reason).where(accounts.c.account == account, accounts.c.state == "held")
            why = db.execute(held.with_for_update()).scalar()
            if why is None:
                return 0
            chosen = _some(waiting, deliveries.c.due_at)
            park = update(deliveries).where(chosen).values(state="held", reason=why)
            return len(db.execute(park.returning(deliveries.c.id)).all())

    def open(self, account: str, now: int) -> None:
        """Opens an account. What is held for it is for `release`."""
        with self.database.write() as db:
            db.execute(
                update(accounts)
                .where(accounts.c.account == account)
                .values(state="open", reason="", detail="", since=now, probe_at=0, pauses=0)
            )

    def release(self, account: str, now: int) -> int:
        """Makes due what is held for an account, the oldest first, `CHUNK` of it at a time; returns how
        many: 0 when nothing is left."""
        held = and_(deliveries.c.state == "held", deliveries.c.account == account, UNDONE)
        due_at = case((deliveries.c.due_at > now, now), else_=deliveries.c.due_at)  # in their old order
        with self.database.write() as db:
            chosen = _some(held, deliveries.c.id)
            free = update(deliveries).where(chosen).values(state="due", due_at=due_at, reason="", detail="")
            return len(db.execute(free.returning(deliveries.c.id)).all())

    def release_all(self, account: str, now: int) -> int:
        """Opens an account and makes everything due that was held for it; returns how many. Short
        transactions: what is left when it is cut off, the sweep releases."""
        self.open(account, now)
        total = 0
        while count := self.release(account, now):
            total += count
        return total

    def has_held(self, account: str) -> bool:
        """Whether anything is held for the account."""
        held = and_(deliveries.c.state == "held", deliveries.c.account == account, UNDONE)
        with self.database.read() as db:
            return db.execute(select(deliveries.c.id).where(held).limit(1)).first() is not None

    def probe(self, account: str, seen: Waiting, now: int, pause: int) -> bool:
        """Whether we are the one who may try this account now; of a held one a delivery is then due."""
        unchanged = and_(
            accounts.c.account == account,
            accounts.c.state == seen.state,
            accounts.c.probe_at == seen.probe_at,
        )
        with self.database.write() as db:
            won = db.execute(
                update(accounts)
                .where(unchanged)
                .values(probe_at=now + pause, pauses=seen.pauses + 1)
                .returning(accounts.c.account)
            ).scalar()
            if won is None:
                return False
            held = and_(deliveries.c.state == "held", deliveries.c.account == account, UNDONE)
            oldest = select(deliveries.c.id).where(held).order_by(deliveries.c.id).limit(1)
            db.execute(update(deliveries).where(deliveries.c.id.in_(oldest)).values(state="due", due_at=now))
        return True


def _some(which: ColumnElement[bool], first: ColumnElement[int]) -> ColumnElement[bool]:
    """Those deliveries, at most `CHUNK` of them and none that somebody else looks at."""
    chosen = select(deliveries.c.id).where(which).order_by(first).limit(CHUNK)
    return deliveries.c.id.in_(select(chosen.with_for_update(skip_locked=True).cte("chosen").c.id))
