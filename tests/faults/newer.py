"""Our own processes of the version to come: ``python -m tests.faults.newer web``, and so on.

It differs by its migration, in `newer_versions`. With ``--die-at N`` before the command, the process is
killed when it has sent its N-th statement to the database.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from alembic.config import Config
from sqlalchemy import Engine, event

from webhooks import migrations
from webhooks.cli import main

OURS = Path(migrations.__file__).parent / "versions"
NEWER = Path(__file__).parent / "newer_versions"

_ours = migrations._config


def install() -> None:
    """From here on this process is of the version to come."""
    migrations._config = _newer


def die_at(number: int) -> None:
    """SIGKILL to ourselves as soon as that many statements were sent: nothing is rolled back by us."""
    left = number

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", count)


def _newer() -> Config:
    config = _ours()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{OURS}\n{NEWER}")
    return config


if __name__ == "__main__":
    install()
    if sys.argv[1] == "--die-at":
        die_at(int(sys.argv[2]))
        del sys.argv[1:3]
    main(sys.argv[1:])
