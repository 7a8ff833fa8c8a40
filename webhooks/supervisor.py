"""Several processes as one: started in order, started again when they end, ended in order.

`supervise` is for any of them; `up` is the whole relay on one machine.
"""

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO, cast

from webhooks import reporting
from webhooks.children import Child, Output, Process, adopt_orphans, bury_orphans
from webhooks.settings import Settings

__all__ = ["Process", "supervise", "up"]

log = reporting.logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds before a process that ended is started again; doubled each time."""

STEADY_SECONDS = 60.0
"""A process that stayed up for so long has recovered: the pause begins anew."""

EARLY_SECONDS, GIVE_UP = 10.0, 5
"""A process that ended so early so many times in a row, and never stayed longer, will not do better. One that
did is started again for ever: a worker's trouble must not take the web process with it."""

STOP_SECONDS, ASK_SECONDS = 25.0, 15.0
"""Hosts kill 30 s after SIGTERM. Everybody has been asked to end after fifteen, and is killed after 25."""

TURN_SECONDS = 0.2

Tell = Callable[[str, str], None]
"""Shows a line of output: the process's name, the line."""


def supervise(processes: Sequence[Process], tell: Tell | None = None) -> int:
    """Runs the processes until SIGTERM, SIGINT or SIGHUP, and returns the exit code.

    They are started in the order given and ended in the opposite one. 0: we were asked to end. 1: one of
    them does not stay up. To be called in the main thread.
    """
    supervisor = _Supervisor(processes, tell or _print)
    with supervisor.listening():
        try:
            supervisor.watch()
        finally:
            supervisor.end()
    return int(supervisor.failed)


def _print(_name: str, line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Supervisor:
    def __init__(self, processes: Sequence[Process], tell: Tell) -> None:
        self.failed = False
        self._tell = tell
        self._children = [Child(process) for process in processes]
        self._waiting = list(self._children)
        self._asked: list[int] = []
        self._selector = selectors.DefaultSelector()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals end a wait at once: their arrival makes a pipe readable."""
        hearing, saying = os.pipe()
        os.set_blocking(hearing, False)
        os.set_blocking(saying, False)
        self._selector.register(hearing, selectors.EVENT_READ)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, self._hear) for number in numbers}
        earlier = signal.set_wakeup_fd(saying, warn_on_full_buffer=False)
        adopt_orphans()
        try:
            yield
        finally:
            signal.set_wakeup_fd(earlier)
            for number, then in before.items():
                signal.signal(number, then)
            self._selector.close()
            os.close(hearing)
            os.close(saying)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._asked.append(number)

    # --- while it runs -----------------------------------------------------------------------------------

    def watch(self) -> None:
        """Until somebody asks us to end, or a process does not stay up."""
        while not self._asked and not self.failed:
            now = time.monotonic()
            self._start_due(now)
            self._turn()
            for child in self._children:
                self._look_after(child)

    def _start_due(self, now: float) -> None:
        """The first time one after the other, each when the one before is ready; later on its own."""
        for child in self._children:
            first_time = child in self._waiting
            if child.pid is None and child.due_at <= now:
                self._start(child, now)
            if first_time:
                if not child.process.ready():
                    return
                self._waiting.remove(child)

    def _start(self, child: Child, now: float) -> None:
        self._selector.register(child.start(now), selectors.EVENT_READ)
        log.info("a process started", process=child.name, pid=child.pid)

    def _look_after(self, child: Child) -> None:
        code = child.ended()
        if code is None:
            return
        self._hear_out(child)
        up = time.monotonic() - child.started_at
        child.failures = 1 if up >= STEADY_SECONDS else child.failures + 1
        child.early = child.early + 1 if up < EARLY_SECONDS else 0
        child.was_up = child.was_up or up >= EARLY_SECONDS
        if child.early >= GIVE_UP and not child.was_up:
            self._give_up(child, code)
            return
        pause = min(FIRST_PAUSE * 2 ** (child.failures - 1), LONGEST_PAUSE)
        child.due_at = time.monotonic() + pause
        log.warning("a process ended and is started again", process=child.name, exit=code, seconds=pause)

    def _give_up(self, child: Child, code: int) -> None:
        self.failed = True
        log.error("a process does not stay up", process=child.name, exit=code, count=child.early)
        said = "\n  ".join(child.last_words)
        sys.stderr.write(
            f"{child.name} ended {child.early} times right after its start. It said:\n  {said}\n"
        )

    def _turn(self) -> None:
        """Waits for the next happening, passes on what is said, and buries the dead."""
        for key, _ in self._selector.select(TURN_SECONDS):
            if isinstance(key.fileobj, Output):
                self._pass_on(key.fileobj)
            else:
                os.read(key.fd, 1_024)
        bury_orphans({child.pid for child in self._children if child.pid is not None})

    def _pass_on(self, output: Output) -> None:
        lines = output.lines()
        if lines is None:
            self._selector.unregister(output)
            output.close()
            return
        for line in lines:
            try:
                self._tell(output.child.name, line)
            except OSError:  # whoever read what we say is gone; that is no reason to leave children behind
                self._tell = _say_nothing
                self._asked.append(signal.SIGPIPE)

    def _hear_out(self, child: Child) -> None:
        """Passes on what a child said before it ended."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, Output) and key.fileobj.child is child:
                self._pass_on(key.fileobj)

    # --- the end -----------------------------------------------------------------------------------------

    def end(self) -> None:
        """Asks one after the other, the last one started first, and kills who does not go in time."""
        log.info("ending all processes", count=sum(child.pid is not None for child in self._children))
        began = time.monotonic()
        share = ASK_SECONDS / max(len(self._children), 1)
        for number, child in enumerate(reversed(self._children), start=1):
            child.terminate()
            self._await([child], began + share * number)
        self._await(self._children, began + STOP_SECONDS)
        for child in self._children:
            if child.pid is not None:
                log.warning("a process did not end in time and was killed", process=child.name)
                child.kill()
        for child in self._children:
            self._hear_out(child)

    def _await(self, children: Sequence[Child], until: float) -> None:
        """Waits for their end; a second Ctrl+C is somebody who does not want to."""
        while time.monotonic() < until and self._asked.count(signal.SIGINT) < 2:
            for child in self._children:
                child.ended()
            if all(child.pid is None for child in children):
                return
            self._turn()


def _say_nothing(_name: str, _line: str) -> None:
    return


# --- the whole relay -------------------------------------------------------------------------------------


def up(settings: Settings) -> int:
    """Runs web, workers, sweep and, without a `REDIS_URL`, a Valkey; returns the exit code.

    Says first where stores send their hooks and what is missing. At a terminal logs are made readable,
    anywhere else they are JSON lines.
    """
    from rich.console import Console  # whoever only supervises needs none of these

    from webhooks import console, embedded, welcome

    if not _is_free(settings.port):
        sys.stderr.write(f"port {settings.port} is in use: end what listens there, or set PORT\n")
        return 1
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        processes = [*_valkey(settings), *_ours(settings)]
    except embedded.NoServer as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _upgrade(settings)
    Console(file=sys.stderr, highlight=False).print(welcome.page(settings))
    if not sys.stdout.isatty():
        reporting.configure_logs()
        return supervise(processes)
    terminal = console.Terminal()
    reporting.configure_logs(stream=cast("TextIO", console.Stream(terminal, "up")))
    return supervise(processes, terminal)


def _valkey(settings: Settings) -> list[Process]:
    """The embedded server, unless Redis is elsewhere or one for this folder runs already."""
    from webhooks import embedded

    folder = settings.data_dir
    if settings.redis_url or embedded.wait_until_up(folder, 0.05):
        return []
    command = embedded.server_command(folder)
    # It needs none of our environment, and so gets none of our secrets.
    return [Process("valkey", command, env={}, ready=lambda: embedded.wait_until_up(folder, 0.05))]


def _ours(settings: Settings) -> list[Process]:
    command = [sys.executable, "-m", "webhooks"]
    workers = [
        Process(f"worker.{number + 1}", [*command, "worker", "--processes", "1"])
        for number in range(settings.worker_processes)
    ]
    web = [sys.executable, "-m", "gunicorn", "-c", "python:webhooks.server"]
    return [*workers, Process("sweep", [*command, "sweep"]), Process("web", web)]


def _upgrade(settings: Settings) -> None:
    from webhooks import migrations
    from webhooks.database import Database

    database = Database(str(settings.database_url))
    try:
        migrations.upgrade(database)
    finally:
        database.close()


def _is_free(port: int) -> bool:
    """Whether the web process will be able to listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - as the web process does
        except OSError:
            return False
    return True
