"""Our own processes on machines whose clocks are wrong, each by another ten minutes, and jump by an hour."""

import os
import random
import sys
import threading
import time

from webhooks.cli import main

JUMP_SECONDS = 3.0
MINUTE = 60 * 10**9

_right = time.time_ns
_wrong_by = random.Random(os.getpid()).choice((-10, 10)) * MINUTE


def _told() -> int:
    return _right() + _wrong_by


def _jump() -> None:
    global _wrong_by  # noqa: PLW0603 - a machine has one clock
    step = 60 * MINUTE
    while True:
        time.sleep(JUMP_SECONDS)
        step = -step
        _wrong_by += step


if __name__ == "__main__":
    time.time_ns = _told
    threading.Thread(target=_jump, daemon=True).start()
    main(sys.argv[1:])
