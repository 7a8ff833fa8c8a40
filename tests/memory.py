"""How much memory this process has, and the most that it has had since a moment of one's own choosing.

Linux's own account of resident memory, in megabytes; 0 where it keeps none that can be begun anew.
"""

import re
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = b"5"


def resident() -> float:
    """What it has now."""
    return _told(b"VmRSS")


def forget_peak() -> float:
    """Has `peak` count from now on; returns what it has now. What is left over from earlier is used first,
    and is not seen."""
    if _FORGET.exists():
        _FORGET.write_bytes(_FORGET_THE_PEAK)
    return peak()


def peak() -> float:
    """The most that it has had."""
    return _told(b"VmHWM")


def _told(name: bytes) -> float:
    if not _FORGET.exists():
        return 0.0
    found = re.search(name + rb":\s+([0-9]+) kB", _STATUS.read_bytes())
    return int(found[1]) / 1_024 if found else 0.0
