"""Our own processes, changed in one place: there they die, as by an out-of-memory kill."""

import os
import signal
import sys
from typing import Any

from flask import Flask

from integrations.destinations.meta import Meta
from webhooks import app
from webhooks.jobs import Wake


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


def worker_that_dies_of(order_id: str) -> None:
    """A worker in which one order brings down the process, as a fault in a library's C code would."""
    from webhooks.cli import main

    build = Meta.build

    def deadly(self: Meta, deliveries: Any, *rest: Any) -> Any:
        if any(one.event.order_id == order_id for one in deliveries):
            die()
        return build(self, deliveries, *rest)

    setattr(Meta, "build", deadly)  # noqa: B010 - a method is replaced on purpose
    main(["worker"])


if __name__ == "__main__":
    worker_that_dies_of(sys.argv[1])
