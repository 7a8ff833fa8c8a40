"""The commands that stay: everything at once, the web process, the worker, the sweep."""

import gc
import os
import sys
import threading

import click

from webhooks import reporting, settings
from webhooks.commands.frame import require_current
from webhooks.settings import Settings


@click.command()
def up() -> None:
    """Run the whole relay on this machine.

    Web, workers and sweep, with whatever is not configured embedded: the ledger in SQLite, the queue in a
    Valkey of its own.
    """
    from webhooks import supervisor

    sys.exit(supervisor.up(settings.load()))


@click.command()
def demo() -> None:
    """Send one invented order all the way to a stand-in.

    From a signed hook to a destination. Needs no settings, and nothing leaves this machine.
    """
    from webhooks.sandbox import demo as sandboxed

    sys.exit(sandboxed.run())


@click.command()
def web() -> None:
    """Take hooks in, until SIGTERM.

    gunicorn with the settings of `webhooks/server.py`, in place of this process.
    """
    settings.load()  # what is wrong with them is told here, before gunicorn says it in its own way
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", "python:webhooks.server"])  # noqa: S606


@click.command()
@click.option("--with-sweeper", is_flag=True, help="Run the sweep beside it, too.")
@click.option("--processes", type=click.IntRange(1, 64), help="How many. Default: RELAY_WORKERS.")
def worker(with_sweeper: bool, processes: int | None) -> None:
    """Deliver what is due, until SIGTERM.

    A running call is finished first; nothing is lost if it is not.
    """
    configured = _begin("worker")
    count = processes or configured.worker_processes
    if count == 1 and not with_sweeper:
        _work(configured)
        return
    from webhooks.supervisor import Process, supervise

    ours = [sys.executable, "-m", "webhooks"]
    started = [Process(f"worker.{one + 1}", [*ours, "worker", "--processes", "1"]) for one in range(count)]
    if with_sweeper:
        started.append(Process("sweep", [*ours, "sweep"]))
    sys.exit(supervise(started))


@click.command()
def sweep() -> None:
    """Find what is due and wake workers, until SIGTERM.

    It also fetches what hooks only name, ends what is too old and forgets what is personal. Two of them do
    no harm; without any, nothing is tried again: keep one running.
    """
    from webhooks.relay import Relay
    from webhooks.sweep import Sweep

    configured = _begin("sweep")
    relay = Relay(configured)
    try:
        Sweep(relay).run()
    finally:
        relay.close()


def _begin(component: str) -> Settings:
    """Logs to stdout, and checks the ledger. A database that is away now is waited for later."""
    from webhooks.database import Unavailable
    from webhooks.relay import Relay

    configured = settings.load()
    reporting.configure_logs()
    reporting.init_sentry(configured, component)
    relay = Relay(configured)
    try:
        require_current(relay.database)
    except Unavailable as error:
        reporting.alert("database_away", "The database does not answer yet", error=error)
    finally:
        relay.close()
    return configured


def _work(configured: Settings) -> None:
    from webhooks import delivery, jobs
    from webhooks.relay import Relay

    relay, stopping = Relay(configured), threading.Event()
    drain = delivery.open_drain(relay, stopping)
    delivery.install(drain)
    _settle_in()
    try:
        jobs.work(relay.redis_url, stopping.set)
    finally:
        drain.close()
        delivery.install(None)
        relay.close()


def _settle_in() -> None:
    """What is loaded by now stays: to look for garbage in it again and again takes a tenth of our time."""
    gc.collect()
    gc.freeze()
