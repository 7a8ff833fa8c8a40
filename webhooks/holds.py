"""Destination accounts that wait: held (credentials: for their owner), resting (for the destination).

The state is in the database, so that all workers see it and the operator does. A waiting account is tried
with one delivery at a time, by one worker, at growing intervals; what waits costs no attempt.
"""

from typing import Literal

import msgspec
from sqlalchemy import and_, select, update

from integrations.destination import Outcome
from webhooks.database import Database
from webhooks.schema import accounts, deliveries


class Waiting(msgspec.Struct, frozen=True):
    """An account that waits: why, with which settings it was stopped, and when one delivery may try."""

    state: Literal["held", "resting"]
    fingerprint: str
    probe_at: int
    pauses: int


class Holds:
    """The sentences about waiting accounts. Pauses are in milliseconds."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def waiting(self) -> dict[str, Waiting]:
        """Every account that is not open, by its slug."""
        columns = (accounts.c.account, accounts.c.state, accounts.c.fingerprint)
        more = (accounts.c.probe_at, accounts.c.pauses)
        with self.database.read() as db:
            rows = db.execute(select(*columns, *more).where(accounts.c.state != "open")).all()
        return {row.account: Waiting(row.state, row.fingerprint, row.probe_at, row.pauses) for row in rows}

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

    def park(self, account: str, now: int) -> int:
        """Shows what waits for a held account as `held`; returns how many."""
        with self.database.write() as db:
            why = select(accounts.c.reason).where(accounts.c.account == account).scalar_subquery()
            parked = db.execute(
                update(deliveries)
                .where(deliveries.c.account == account, deliveries.c.state == "due")
                .where(deliveries.c.due_at <= now)
                .values(state="held", reason=why, batch=None, previous_batch=None)
            )
        return parked.rowcount

    def release(self, account: str, now: int) -> int:
        """Opens an account and makes what was held for it due; returns how many."""
        with self.database.write() as db:
            db.execute(
                update(accounts)
                .where(accounts.c.account == account)
                .values(state="open", reason="", detail="", since=now, probe_at=0, pauses=0)
            )
            released = db.execute(
                update(deliveries)
                .where(deliveries.c.account == account, deliveries.c.state == "held")
                .values(state="due", due_at=now, reason="", detail="")
            )
        return released.rowcount

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
            oldest = (
                select(deliveries.c.id)
                .where(deliveries.c.account == account, deliveries.c.state == "held")
                .order_by(deliveries.c.due_at)
                .limit(1)
            )
            db.execute(update(deliveries).where(deliveries.c.id.in_(oldest)).values(state="due", due_at=now))
        return True
