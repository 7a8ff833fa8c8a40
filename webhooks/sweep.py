"""The sweep: finds what is due, stuck or forgotten, and wakes somebody. Runs as its own process.

It holds nothing that matters: it may be killed, and two of them do no harm.
"""

import signal
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from webhooks import completion, confirming, reporting
from webhooks.clock import DAY, now_ms
from webhooks.relay import Relay
from webhooks.tokens import Tokens
from webhooks.transport import Transport

log = reporting.logger(__name__)

TIDY_SECONDS = 600
FORGET_AT_ONCE = 500


class Sweep:
    """One sweeping process. `once` is one round; `run` repeats it until the process is told to stop."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.transport = Transport(connections=1)
        self.tokens = Tokens(self.transport)
        self.stopping = threading.Event()
        self._tidied = 0.0

    def run(self) -> None:
        """Sweeps until SIGTERM or SIGINT. A database that is away is waited for."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        while not self.stopping.is_set():
            try:
                self.once()
            except SQLAlchemyError as error:
                log.warning("the database did not answer; sweeping again later", error=error)
            self.stopping.wait(self.relay.settings.sweep_seconds)
        self.transport.close()

    def once(self) -> None:
        """One round: wake for what is due, fetch what hooks only named, end what is too old, tidy up, ask
        what became of what was accepted."""
        fetched = completion.complete_due(self.relay, self.transport)
        if fetched or self._anything_to_do():
            self._wake()
        if ended := self.relay.ledger.expire(now_ms()):
            reporting.alert("expired", "Deliveries became too old while they waited", count=ended)
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            self._warn()
            self.tidy()
            self._tidied = time.monotonic()
        confirming.confirm_due(self.relay, self.tokens)

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
            count = self.relay.ledger.forget(before, FORGET_AT_ONCE)
            total += count
            if count == 0:
                break
            time.sleep(0.05)  # others want to write, too
        if total:
            log.info("forgot what is older than the retention", count=total)
        return total

    def _anything_to_do(self) -> bool:
        slugs = [account.slug for account in self.relay.settings.accounts]
        waiting = self.relay.holds.waiting()  # a held one has nothing due, but may be tried
        return bool(self.relay.leases.due(slugs, now_ms()) or waiting.keys() & set(slugs))

    def _wake(self) -> None:
        # A flag may stand for a call that was lost; an empty queue says so at once.
        waiting = self.relay.wake.waiting()
        if waiting is not None:
            self.relay.wake.now(unless_flagged=waiting > 0)
