"""Who is told of which alert: each channel when it begins, once a day while it lasts, and when it is over.

Kept in the ledger, so that two sweepers do not tell it twice, and nothing is told anew after a restart. What
belongs together goes in one message. A channel that fails is left alone for a while that doubles.
"""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import and_, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from webhooks import channels, noticing, reporting
from webhooks.alerts import CALM, Alert
from webhooks.channels import SECONDS, Channel, NotTold
from webhooks.clock import DAY, HOUR, MINUTE, milliseconds, now_ms
from webhooks.relay import Relay
from webhooks.schema import alerts, notices
from webhooks.schema import channels as table
from webhooks.telling import counted, moment
from webhooks.transport import Transport

log = reporting.logger(__name__)

LOOK_SECONDS = 60.0
"""How often the conditions are looked at; alerts that others raise are told sooner."""

TOGETHER = MINUTE // 2
"""After a message a channel waits this long: what comes meanwhile goes together."""

REMIND = DAY
FIRST_PAUSE, LONGEST_PAUSE = MINUTE // 2, HOUR
MOST = 20
"""Alerts of one message; the others are counted."""

ONE_OFF = ("expired",)
"""Causes that happen and are over: quiet for a day, they are cleared."""


class News(msgspec.Struct, frozen=True):
    """What a channel has to tell: what is wrong, and what is well again."""

    raised: list[Alert]
    cleared: list[Alert]

    def __bool__(self) -> bool:
        return bool(self.raised or self.cleared)


class Notices(threading.Thread):
    """The thread that looks and tells, beside a sweep. It holds nothing that matters."""

    def __init__(self, relay: Relay, stopping: threading.Event) -> None:
        super().__init__(name="notices", daemon=True)
        self.relay, self.stopping = relay, stopping
        self.transport = Transport(connections=1, total_seconds=SECONDS)
        self.channels = channels.configured(relay.settings, self.transport)
        self._wait = min(relay.settings.sweep_seconds, LOOK_SECONDS)

    def run(self) -> None:
        """Until we are to stop."""
        looked = LOOK_SECONDS
        while not self.stopping.is_set():
            try:
                if looked >= LOOK_SECONDS:
                    looked = 0.0
                    self.look()
                self.tell()
            except SQLAlchemyError as error:
                log.warning("the database did not answer; alerts are told later", error=error)
            except Exception as error:  # noqa: BLE001 - our bug must not silence all alerts
                reporting.alert("broken", "Telling of alerts failed", error=error)
            looked += self._wait
            self.stopping.wait(self._wait)
        self.transport.close()

    def look(self) -> None:
        """Raises and clears what the ledger shows, and forgets alerts that were over long ago."""
        now = now_ms()
        noticing.look_around(self.relay)
        for cause in ONE_OFF:
            for one in self.relay.alerts.open(cause):
                if one.last < now - DAY:
                    self.relay.alerts.clear(cause, one.subject)
        _forget(self.relay, now - self.relay.settings.retention_days * DAY)

    def tell(self) -> None:
        """Gives each channel its news, if it is its turn."""
        for channel in self.channels:
            if not self.stopping.is_set() and (news := pending(self.relay, channel.name)):
                _deliver(self.relay, channel, news)


# --- what is new to a channel ----------------------------------------------------------------------------


def pending(relay: Relay, channel: str) -> News:
    """What this channel has not been told yet, or must be reminded of."""
    now = now_ms()
    told = and_(notices.c.alert == alerts.c.id, notices.c.channel == channel)
    lately = and_(told, notices.c.raised_at > now - REMIND)
    raised = select(alerts).where(
        alerts.c.cleared_at.is_(None), ~select(notices.c.alert).where(lately).exists()
    )
    knows = select(notices.c.alert).where(told, notices.c.cleared_at.is_(None)).exists()
    cleared = select(alerts).where(alerts.c.cleared_at <= now - CALM, knows)
    with relay.database.read() as db:
        return News(
            [Alert(**row) for row in db.execute(raised.order_by(alerts.c.since)).mappings()],
            [Alert(**row) for row in db.execute(cleared.order_by(alerts.c.since)).mappings()],
        )


def _deliver(relay: Relay, channel: Channel, news: News) -> None:
    failures = _take(relay, channel.name)
    if failures is None:
        return
    try:
        channel.tell(*message(relay, news))
    except NotTold as error:
        log.warning("a channel for alerts does not work", error=error, subject=channel.name)
        pause = min(FIRST_PAUSE << min(failures, 10), LONGEST_PAUSE)
        _leave(relay, channel.name, now_ms() + pause, failures + 1)
        if failures == 0:
            reporting.alert("alert_channel", "Alerts cannot be told by this channel", subject=channel.name)
        return
    _note(relay, channel.name, news)
    _leave(relay, channel.name, now_ms() + TOGETHER, 0)


def _take(relay: Relay, channel: str) -> int | None:
    """How many times in a row it has failed, if it is its turn and nobody else's; None if not."""
    now = now_ms()
    new = relay.database.insert(table).values(channel=channel, due_at=now, failures=0)
    mine = update(table).where(table.c.channel == channel, table.c.due_at <= now)
    taken = mine.values(due_at=now + milliseconds(3 * SECONDS)).returning(table.c.failures)
    with relay.database.write() as db:
        db.execute(new.on_conflict_do_nothing())
        failures: int | None = db.execute(taken).scalar()
    return failures


def _leave(relay: Relay, channel: str, due_at: int, failures: int) -> None:
    with relay.database.write() as db:
        db.execute(update(table).where(table.c.channel == channel).values(due_at=due_at, failures=failures))


def _note(relay: Relay, channel: str, news: News) -> None:
    now = now_ms()
    insert = relay.database.insert(notices)
    again = insert.on_conflict_do_update(index_elements=["alert", "channel"], set_={"raised_at": now})
    with relay.database.write() as db:
        for one in news.raised:
            db.execute(again.values(alert=one.id, channel=channel, raised_at=now))
        told = [one.id for one in news.raised if one.told_at is None]
        db.execute(update(alerts).where(alerts.c.id.in_(told)).values(told_at=now))
        over = and_(notices.c.channel == channel, notices.c.alert.in_([one.id for one in news.cleared]))
        db.execute(update(notices).where(over).values(cleared_at=now))


def _forget(relay: Relay, before: int) -> None:
    over = select(alerts.c.id).where(alerts.c.cleared_at < before)
    with relay.database.read() as db:
        if db.execute(over.limit(1)).first() is None:
            return
    with relay.database.write() as db:
        db.execute(delete(notices).where(notices.c.alert.in_(over)))
        db.execute(delete(alerts).where(alerts.c.cleared_at < before))


# --- words -----------------------------------------------------------------------------------------------


def message(relay: Relay, news: News) -> tuple[str, str]:
    """Subject and text: sentences of our own, slugs, figures and times."""
    where = relay.settings.public_url or "purchase-relay"
    heads = [
        counted(len(news.raised), "alert") if news.raised else "",
        f"{len(news.cleared)} over" if news.cleared else "",
    ]
    subject = f"purchase-relay: {', '.join(filter(None, heads))}"
    lines = [where, "", *_lines(news.raised, _wrong), *_lines(news.cleared, _over)]
    return subject, "\n".join(lines).rstrip() + "\n"


def _lines(told: Sequence[Alert], words: Any) -> list[str]:
    lines = [line for one in told[:MOST] for line in words(one)]
    more = len(told) - MOST
    return [*lines, f"... and {more} more: purchase-relay alerts list", ""] if more > 0 else lines


def _wrong(one: Alert) -> list[str]:
    still = "STILL" if one.told_at else "ALERT"
    about = f" [{one.subject}]" if one.subject else ""
    count = f" ({one.count})" if one.count > 1 else ""
    return [f"{still}{about}: {one.sentence}{count}", f"  since {moment(one.since)}", f"  {one.remedy}", ""]


def _over(one: Alert) -> list[str]:
    about = f" [{one.subject}]" if one.subject else ""
    return [f"OVER{about}: {one.sentence}", f"  from {moment(one.since)} to {moment(one.cleared_at)}", ""]
