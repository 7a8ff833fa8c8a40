"""Destination accounts that wait for their owner: held after a credential error, probed, released.

The state is in the database, so that all workers see it and the operator does.
"""

import msgspec
from sqlalchemy import and_, or_, select, update

from integrations.destination import Outcome
from webhooks.database import Database
from webhooks.schema import accounts, deliveries

FIRST_PROBE = 60_000
LONGEST_PROBE = 900_000
"""A held account is tried again with one delivery after the first pause, which doubles up to the longest
(milliseconds): what was mended at the destination itself needs no new token here."""


class Held(msgspec.Struct, frozen=True):
    """A held account: with which settings it was refused, and when one delivery may try again."""

    fingerprint: str
    probe_at: int


class Holds:
    """The sentences about held accounts."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def held(self) -> dict[str, Held]:
        """Every held account by its slug."""
        columns = (accounts.c.account, accounts.c.fingerprint, accounts.c.probe_at)
        with self.database.read() as db:
            rows = db.execute(select(*columns).where(accounts.c.state == "held")).all()
        return {row.account: Held(row.fingerprint, row.probe_at) for row in rows}

    def hold(self, account: str, destination: str, outcome: Outcome, fingerprint: str, now: int) -> bool:
        """Stops an account after a credential error. True if it was not held before: time to alert once."""
        row = {
            "account": account,
            "destination": destination,
            "state": "held",
            "reason": outcome.reason,
            "detail": outcome.detail,
            "since": now,
            "probe_at": now + FIRST_PROBE,
            "fingerprint": fingerprint,
        }
        with self.database.write() as db:
            insert = self.database.insert(accounts).values(row).on_conflict_do_nothing()
            if db.execute(insert.returning(accounts.c.account)).scalar() is not None:
                return True
            fresh = or_(accounts.c.state != "held", accounts.c.fingerprint != fingerprint)
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
        """Opens a held account and makes everything that waited for it due; returns how many."""
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

    def probe(self, account: str, now: int) -> bool:
        """Whether we are the one who may try a held account now. If so, one of its deliveries is due."""
        held = and_(accounts.c.account == account, accounts.c.state == "held", accounts.c.probe_at <= now)
        with self.database.write() as db:
            pauses = db.execute(select(accounts.c.pauses).where(held).with_for_update()).scalar()
            if pauses is None:
                return False
            pause = min(FIRST_PROBE * 2 ** (pauses + 1), LONGEST_PROBE)
            db.execute(update(accounts).where(held).values(probe_at=now + pause, pauses=pauses + 1))
            oldest = (
                select(deliveries.c.id)
                .where(deliveries.c.account == account, deliveries.c.state == "held")
                .order_by(deliveries.c.due_at)
                .limit(1)
            )
            db.execute(update(deliveries).where(deliveries.c.id.in_(oldest)).values(state="due", due_at=now))
        return True
