"""What runs leave behind: a file that grows by a JSON line, so that nothing is lost with the run."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]


def keep(file: Path, facts: Mapping[str, Any]) -> None:
    """Appends them, with when and with what they were found."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "python": platform.python_version(),
        **facts,
    }
    with file.open("ab") as results:
        results.write(msgspec.json.encode(line) + b"\n")


def revision() -> str:
    """What is tried, as git names it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"
