"""The sweep: finds what is due, stuck or forgotten, and wakes somebody. Runs as its own process.

It holds nothing that matters: it may be killed, and two of them do no harm. While nobody can be woken, it
delivers itself what is due.
"""

import signal
import threading
import time
from collections.abc import Iterable

from sqlalchemy.exc import SQLAlchemyError

from webhooks import completion, confirming, dedup, erasure, privacy, reporting, retention
from webhooks.clock import DAY, now_ms
from webhooks.deputy import Deputy
from webhooks.notices import Notices
from webhooks.relay import Relay
from webhooks.rounds import Rounds
from webhooks.tokens import Tokens
from webhooks.transport import Transport

log = reporting.logger(__name__)

TIDY_SECONDS = 600
AUDIT_SECONDS = 60.0
FORGET_AT_ONCE = 500

_TOO_OLD = "Deliveries became too old while they waited"
_TOO_OLD_REMEDY = "`purchase-relay deliveries list --state expired` tells which; nothing can bring them back"


class Sweep:
    """One sweeping process. `once` is one round; `run` repeats it until the process is told to stop."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.transport = Transport(connections=1)
        self.tokens = Tokens(self.transport)
        self.stopping = threading.Event()
        self.deputy = Deputy(relay, self.stopping)
        self._tidied = 0.0
        self._audited = -AUDIT_SECONDS

    def run(self) -> None:
        """Sweeps until SIGTERM or SIGINT. A database that is away is waited for."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        rounds = Rounds(self.relay, self.stopping)
        rounds.start()
        notices = Notices(self.relay, self.stopping)
        notices.start()
        while not self.stopping.is_set():
            try:
                self.once()
            except SQLAlchemyError as error:
                log.warning("the database did not answer; sweeping again later", error=error)
            self.stopping.wait(self.relay.settings.sweep_seconds)
        rounds.end()
        notices.join(1.0)
        self.close()

    def close(self) -> None:
        """Gives back what it holds."""
        self.transport.close()
        self.deputy.close()

    def once(self) -> None:
        """One round: wake for what is due, end what is too old, tidy up, fetch what hooks only named, ask
        what became of what was accepted, do what people ask of their data, compare with what browsers told.
        A step that fails by our own mistake does not stop the others."""
        self.relay.database.tell_time()
        self.relay.wake.note_sweep(now_ms())
        steps = (self._wake_for_due, self._expire, self._tidy_sometimes, self._complete, self._confirm)
        for step in (*steps, self._do_wishes, self._audit_sometimes):
            try:
                step()
            except SQLAlchemyError:
                raise
            except Exception as error:  # noqa: BLE001 - our bug
                reporting.alert("broken", "A step of the sweep failed", error=error)

    def _wake_for_due(self) -> None:
        slugs = [account.slug for account in self.relay.settings.accounts]
        waiting = self.relay.holds.waiting()  # a held one has nothing due, but may be tried
        self._release_stranded(slug for slug in slugs if slug not in waiting)
        if self.relay.leases.look(slugs, now_ms()).due or waiting.keys() & set(slugs):
            self._wake()

    def _release_stranded(self, opened: Iterable[str]) -> None:
        """What is held for an account that is open: whoever released it was cut off, or another worker had
        a last answer of before."""
        for slug in opened:
            if self.relay.holds.has_held(slug):
                self.relay.holds.release_all(slug, now_ms())

    def _expire(self) -> None:
        total = 0
        while not self.stopping.is_set() and (count := self.relay.ledger.expire(now_ms())):
            total += count
        if total:
            reporting.alert("expired", _TOO_OLD, count=total)
            self.relay.alerts.raise_("expired", "", _TOO_OLD, _TOO_OLD_REMEDY, count=total, is_known=True)

    def _tidy_sometimes(self) -> None:
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            self._warn()
            self.tidy()
            erasure.erase_late(self.relay)
            self._tidied = time.monotonic()

    def _complete(self) -> None:
        if completion.complete_due(self.relay, self.transport, self.stopping):
            self._wake()

    def _confirm(self) -> None:
        confirming.confirm_due(self.relay, self.tokens, self.stopping)

    def _audit_sometimes(self) -> None:
        if time.monotonic() - self._audited > AUDIT_SECONDS:
            self._audited = time.monotonic()
            dedup.watch(self.relay)

    def _do_wishes(self) -> None:
        privacy.work_due(self.relay, self.stopping)

    def _warn(self) -> None:
        """Tells while something can still be done about it."""
        for account, count in self.relay.ledger.closing_soon(now_ms() + DAY).items():
            reporting.alert(
                "closing_soon",
                "Deliveries that wait will be too old for their destination within a day",
                account=account,
                count=count,
            )

    def tidy(self) -> int:
        """Forgets what is personal and older than the retention; returns how many records."""
        before = now_ms() - self.relay.settings.retention_days * DAY
        total = 0
        while not self.stopping.is_set():
            count = retention.forget(self.relay.database, before, FORGET_AT_ONCE)
            total += count
            if count == 0:
                break
            time.sleep(0.05)  # others want to write, too
        if total:
            log.info("forgot what is older than the retention", count=total)
        return total

    def _wake(self) -> None:
        # A flag may stand for a call that was lost; an empty queue says so at once.
        waiting = self.relay.wake.waiting()
        if waiting is not None:
            self.relay.wake.now(unless_flagged=waiting > 0)
        if waiting is None or self.relay.wake.rests_until > time.monotonic():
            self.deputy.step_in()
        else:
            self.deputy.rest()
