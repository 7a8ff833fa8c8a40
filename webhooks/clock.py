"""Time in the ledger: whole milliseconds since 1970 in UTC, the same on every database."""

import time
from datetime import UTC, datetime

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now_ms() -> int:
    """The present, in milliseconds."""
    return time.time_ns() // 1_000_000


def milliseconds(seconds: float) -> int:
    """Seconds as whole milliseconds."""
    return round(seconds * SECOND)


def rfc3339(moment: int | None) -> str | None:
    """Milliseconds as RFC 3339 in UTC (``2026-11-22T09:30:12.395Z``); None stays None."""
    if moment is None:
        return None
    written = datetime.fromtimestamp(moment / SECOND, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")
