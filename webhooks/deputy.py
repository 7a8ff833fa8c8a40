"""In place of the workers: delivers what is due while Redis takes no calls, so that nobody can be woken."""

import threading
import time

from webhooks import reporting
from webhooks.delivery import Drain, open_drain
from webhooks.relay import Relay

SILENT_SECONDS = 10.0
"""How long nobody could be woken before somebody else delivers. A Redis that restarts is back by then."""

DELIVER_SECONDS = 10.0
"""How long a round of it takes: whoever does it has more to do."""


class Deputy:
    """Of the sweep's process. Leases keep it apart from workers that are awake all the same."""

    def __init__(self, relay: Relay, stopping: threading.Event) -> None:
        self._relay, self._stopping = relay, stopping
        self._silent_since: float | None = None
        self._drain: Drain | None = None

    def rest(self) -> None:
        """The workers can be woken."""
        self._silent_since = None

    def step_in(self) -> None:
        """They cannot; if that has lasted, delivers for a while."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since < SILENT_SECONDS:
            return
        reporting.alert("redis_away", "Redis takes no wake-up calls; the sweep delivers meanwhile")
        if self._drain is None:
            self._drain = open_drain(self._relay, self._stopping)
        self._drain.run(DELIVER_SECONDS)

    def close(self) -> None:
        """Gives back what it holds."""
        if self._drain is not None:
            self._drain.close()
