"""Our own processes of the version to come: ``python -m tests.faults.newer worker``, and so on.

It differs by its migration, in `newer_versions`. With ``--die-at N`` before the command, the process is
killed when it has sent its N-th statement to the database. For gunicorn there is `application`.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Engine, event

from webhooks import app, migrations
from webhooks.cli import main

NEWER = Path(__file__).parent / "newer_versions"


def install() -> None:
    """From here on this process is of the version to come."""
    migrations.FOLDERS.append(NEWER)


def application() -> Flask:
    """The web application of the version to come."""
    install()
    return app.create_app()


def die_at(number: int) -> None:
    """SIGKILL to ourselves as soon as that many statements were sent: nothing is rolled back by us."""
    left = number

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", count)


if __name__ == "__main__":
    install()
    if sys.argv[1] == "--die-at":
        die_at(int(sys.argv[2]))
        del sys.argv[1:3]
    main(sys.argv[1:])
