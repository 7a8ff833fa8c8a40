"""A migration that is killed again and again: ``python -m tests.faults.cutting URL this|next STRIDE``.

Each of our children begins it; the first one is killed (SIGKILL, by itself) after its first statement, the
next one so many statements later, and so on, until one lives to the end. Prints how many were killed.
"""

import os
import signal
import sys
from itertools import count, takewhile

from tests.faults import newer
from webhooks import migrations
from webhooks.database import Database


def main(address: str, version: str, stride: str) -> None:
    """For a database that nobody has brought to that version yet."""
    if version == "next":
        newer.install()
    killed = list(takewhile(lambda point: _dies(address, point), count(1, int(stride))))
    sys.stdout.write(f"{len(killed)}\n")


def _dies(address: str, point: int) -> bool:
    """Whether a child that begins the migration gets as far as that statement, and is killed there."""
    child = os.fork()
    if child == 0:
        newer.die_at(point)
        migrations.upgrade(Database(address))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in {0, -signal.SIGKILL}:
        raise SystemExit(f"the migration failed with {code}")
    return code != 0


if __name__ == "__main__":
    main(*sys.argv[1:])
