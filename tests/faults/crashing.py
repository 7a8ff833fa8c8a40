"""Our own processes, changed in one place: there they die, as by an out-of-memory kill."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from flask import Flask

from integrations.destinations.meta import Meta
from webhooks import app, settings
from webhooks.cli import main
from webhooks.jobs import Wake
from webhooks.leases import Leases
from webhooks.transport import Transport

MOMENTS: dict[str, tuple[type, str]] = {
    "claimed": (Leases, "open_attempts"),
    "sending": (Transport, "send"),
    "answered": (Leases, "close"),
}
"""Before which call a worker dies, once, if a file of the moment's name lies in the data folder."""


def die() -> None:
    """Nothing of this process runs afterwards."""
    os.kill(os.getpid(), signal.SIGKILL)


class _LastCall(Wake):
    def __call__(self) -> None:
        die()


def between_commit_and_wake() -> Flask:
    """The web application; it dies when an order was committed, before it says so to anybody."""
    made = app.create_app()
    relay = made.extensions["relay"]
    relay.wake = _LastCall(relay.redis_url)
    return made


def _dies_before(kind: type, method: str, fuse: Path) -> None:
    original = getattr(kind, method)

    def deadly(*args: Any, **named: Any) -> Any:
        if fuse.exists():
            fuse.unlink()
            die()
        return original(*args, **named)

    setattr(kind, method, deadly)


def _dies_of(order_id: str) -> None:
    """One order brings down the process each time, as a fault in a library's C code would."""
    build = Meta.build

    def deadly(self: Meta, deliveries: Any, *rest: Any) -> Any:
        if any(one.event.order_id == order_id for one in deliveries):
            die()
        return build(self, deliveries, *rest)

    setattr(Meta, "build", deadly)  # noqa: B010 - a method is replaced on purpose


if __name__ == "__main__":
    for culprit in sys.argv[1:]:
        _dies_of(culprit)
    for moment, (kind, method) in MOMENTS.items():
        _dies_before(kind, method, settings.load().data_dir / moment)
    main(["worker"])
