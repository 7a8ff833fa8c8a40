"""Alerts: what a person must look at, one row per cause and subject for as long as it lasts.

    relay.alerts.raise_("subscription_missing", shop.slug, "A shop's webhook is gone", "Run ...")
    relay.alerts.clear("subscription_missing", shop.slug)

Both may be called again and again: raising what is raised already only counts, clearing what is not does
nothing. Who is told, and when, is not the caller's business. ``sentence`` and ``remedy`` are constants of our
source; what varies is the subject (a slug) and a count. None of them is personal, or a secret.
"""

from typing import Any

import msgspec
from sqlalchemy import and_, func, select, update

from webhooks import reporting
from webhooks.clock import MINUTE, now_ms
from webhooks.database import Database
from webhooks.schema import alerts

log = reporting.logger(__name__)

CALM = 5 * MINUTE
"""So long it must be quiet before a recovery counts: what comes back earlier is the same alert going on."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert, open as long as ``cleared_at`` is None. Times in milliseconds; ``count`` is how many times it
    was raised, or how many orders it is about if whoever raised it said so."""

    id: int
    cause: str
    subject: str
    sentence: str
    remedy: str
    since: int
    last: int
    count: int
    told_at: int | None
    cleared_at: int | None


class Alerts:
    """The sentences about alerts. They raise SQLAlchemy's errors, as every sentence to the ledger does."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def raise_(
        self,
        cause: str,
        subject: str,
        sentence: str,
        remedy: str,
        *,
        count: int | None = None,
        is_known: bool = False,
    ) -> bool:
        """Notes that something is wrong; True if that is news.

        ``cause`` is a fixed word (``subscription_missing``), ``subject`` the slug of the shop or account
        that it is about, ``""`` if it is about the whole relay. ``sentence`` says what is wrong, ``remedy``
        what to do about it. ``count`` replaces the one before; without it, occurrences are counted.
        ``is_known``: log and Sentry have been told of it by somebody else.
        """
        now = now_ms()
        row = {"cause": cause, "subject": subject, "sentence": sentence, "remedy": remedy}
        with self.database.write() as db:
            known = update(alerts).where(_same(cause, subject), _goes_on(now)).returning(alerts.c.id)
            again = known.values(**row, last=now, cleared_at=None, count=_count(count))
            if db.execute(again).first() is not None:
                return False
            new = self.database.insert(alerts).values(**row, since=now, last=now, count=count or 1)
            made = db.execute(new.on_conflict_do_nothing().returning(alerts.c.id)).first()
        if made is None:  # somebody else was first
            return False
        if not is_known:
            reporting.alert(cause, sentence, subject=subject, count=count)
        return True

    def clear(self, cause: str, subject: str) -> bool:
        """Notes that it is well again; True if something was wrong."""
        is_open = and_(_same(cause, subject), alerts.c.cleared_at.is_(None))
        with self.database.read() as db:  # mostly there is none, and nobody has to wait for that
            if db.execute(select(alerts.c.id).where(is_open)).first() is None:
                return False
        with self.database.write() as db:
            end = update(alerts).where(is_open).values(cleared_at=now_ms()).returning(alerts.c.id)
            cleared = db.execute(end).first() is not None
        if cleared:
            log.info("an alert was cleared", kind=cause, subject=subject)
        return cleared

    def ended(self, cause: str, subject: str) -> int | None:
        """When it was last cleared (milliseconds); None if it never was."""
        with self.database.read() as db:
            latest: int | None = db.execute(
                select(func.max(alerts.c.cleared_at)).where(_same(cause, subject))
            ).scalar()
        return latest

    def listed(self, limit: int = 500) -> list[Alert]:
        """The newest alerts, open or not."""
        newest = select(alerts).order_by(alerts.c.since.desc(), alerts.c.id.desc()).limit(limit)
        with self.database.read() as db:
            return [Alert(**row) for row in db.execute(newest).mappings()]

    def open(self, cause: str = "") -> list[Alert]:
        """The open alerts, of one cause or of all, the oldest first."""
        chosen = select(alerts).where(alerts.c.cleared_at.is_(None)).order_by(alerts.c.since, alerts.c.id)
        if cause:
            chosen = chosen.where(alerts.c.cause == cause)
        with self.database.read() as db:
            return [Alert(**row) for row in db.execute(chosen).mappings()]


def _same(cause: str, subject: str) -> Any:
    return and_(alerts.c.cause == cause, alerts.c.subject == subject)


def _goes_on(now: int) -> Any:
    return alerts.c.cleared_at.is_(None) | (alerts.c.cleared_at > now - CALM)


def _count(given: int | None) -> Any:
    return alerts.c.count + 1 if given is None else given
