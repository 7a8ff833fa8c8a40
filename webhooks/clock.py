"""Time in the ledger: whole milliseconds since 1970 in UTC, the same on every database and machine.

A lease is a time that several processes compare with theirs. So whoever speaks to a PostgreSQL goes by its
clock, counted on by a clock of ours that nobody sets: a machine whose time is wrong, or jumps, harms nobody.
SQLite is on the same machine as all of its users.
"""

import time
from datetime import UTC, datetime

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


ODD = 5 * SECOND
"""So far apart two clocks are worth telling of."""

_JITTER = 100  # milliseconds that a question to the database may take longer one way than the other
_TICKS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps

_told: tuple[int, int] | None = None  # the ledger's time, and our ticks when it was told


def now_ms() -> int:
    """The present, in milliseconds."""
    if _told is None:
        return time.time_ns() // 1_000_000
    then, ticks = _told
    return then + (time.clock_gettime_ns(_TICKS) - ticks) // 1_000_000


def follow(present: int) -> int:
    """Goes by the ledger's clock, which says ``present`` now; returns by how much that changes ours."""
    global _told  # noqa: PLW0603 - a process has one time
    change = present - now_ms()
    if _told is None or abs(change) > _JITTER:
        _told = present, time.clock_gettime_ns(_TICKS)
    return change


def milliseconds(seconds: float) -> int:
    """Seconds as whole milliseconds."""
    return round(seconds * SECOND)


def rfc3339(moment: int | None) -> str | None:
    """Milliseconds as RFC 3339 in UTC (``2026-11-22T09:30:12.395Z``); None stays None."""
    if moment is None:
        return None
    written = datetime.fromtimestamp(moment / SECOND, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")
