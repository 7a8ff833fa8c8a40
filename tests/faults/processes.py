"""Real processes, each started again soon after it ended, and none of them left behind."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

RESTART_SECONDS = 0.5
"""A host's supervisor is not faster."""

STOP_SECONDS = 25.0
"""A process that was told to stop has gone by then; most hosts send SIGKILL after thirty seconds."""

_POLITE = signal.SIGTERM

_LOOK_SECONDS = 0.02

# A process of its own, so that even a SIGKILL of the tests leaves nothing: its standard input ends with us.
_GUARD = """
import os, shutil, signal, sys
groups, said_goodbye = set(), False
for line in sys.stdin:
    match line.split():
        case ["+", group]: groups.add(int(group))
        case ["-", group]: groups.discard(int(group))
        case ["goodbye"]: said_goodbye = True
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
if not said_goodbye:
    shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and as whom. ``name`` is the log's, too."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    folder: Path
    owner: int | None = None


class Exit(msgspec.Struct, frozen=True):
    """A process that ended. ``by_us``: it was killed or told to stop by the tests."""

    name: str
    pid: int
    code: int
    by_us: bool


class _Process:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.running: subprocess.Popen[bytes] | None = None
        self.is_wanted = True
        self.start_at = 0.0


class Fleet:
    """Starts programs, watches them, starts again what has ended, and records every exit.

    Use it in a ``with`` block: behind it nothing runs any more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exits: list[Exit] = []
        self._processes: dict[str, _Process] = {}
        self._ours: set[int] = set()  # pids that the tests ended
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="fleet", daemon=True)

    def __enter__(self) -> Self:
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, str(self.folder)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._watching.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        self._watching.join()
        for process in self._processes.values():
            if process.running is not None:
                _signal(tree(process.running.pid), signal.SIGKILL)
                process.running.wait()
        self._tell_guard("goodbye")
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    # --- what runs -----------------------------------------------------------------------------------------

    def start(self, program: Program) -> None:
        """Runs it until the end of the block, however often it ends before."""
        with self._lock:
            process = self._processes[program.name] = _Process(program)
            self._spawn(process)

    def start_again(self, names: Iterable[str]) -> None:
        """Runs what was stopped."""
        with self._lock:
            for name in names:
                self._processes[name].is_wanted = True

    def change(self, name: str, environ: Mapping[str, str], command: tuple[str, ...] = ()) -> None:
        """Its environment, and perhaps another command, from the next start on."""
        with self._lock:
            process = self._processes[name]
            command = command or process.program.command
            process.program = msgspec.structs.replace(process.program, environ=environ, command=command)

    def pid(self, name: str) -> int | None:
        """The process, if it runs at this moment."""
        with self._lock:
            running = self._processes[name].running
            return running.pid if running is not None and running.poll() is None else None

    def log(self, name: str) -> Path:
        """Everything that it has written."""
        return self.folder / f"{name}.log"

    # --- what is done to it --------------------------------------------------------------------------------

    def kill(self, name: str) -> bool:
        """SIGKILL to that one process; False if it does not run."""
        with self._lock:
            return self._kill(self.pid(name))

    def kill_child(self, name: str, chance: random.Random) -> bool:
        """SIGKILL to one of its children; False if there is none."""
        with self._lock:
            pid = self.pid(name)
            young = [] if pid is None else tree(pid)[1:]
            return self._kill(chance.choice(young)) if young else False

    def kill_tree(self, name: str) -> bool:
        """SIGKILL to the process and all its children."""
        with self._lock:
            pid = self.pid(name)
            killed = [] if pid is None else [self._kill(one) for one in tree(pid)]
            return bool(killed) and all(killed)

    def signal_tree(self, name: str, number: signal.Signals) -> bool:
        """Any other signal to the process and all its children."""
        with self._lock:
            pid = self.pid(name)
            return pid is not None and _signal(tree(pid), number)

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Any other signal to that one process."""
        with self._lock:
            pid = self.pid(name)
            return pid is not None and _signal([pid], number)

    def stop(
        self,
        names: Iterable[str],
        within: float = STOP_SECONDS,
        number: int = _POLITE,
    ) -> dict[str, float]:
        """SIGTERM (or another ``number``) to all of them and to their children at once, as hosts do it; they
        are not started again.

        Returns how many seconds each took. What is still there afterwards is killed and took infinitely long.
        """
        began = time.monotonic()
        told = list(names)
        with self._lock:
            for name in told:
                self._processes[name].is_wanted = False
            pids = {name: pid for name in told if (pid := self.pid(name)) is not None}
            self._ours |= set(pids.values())
            _signal([one for pid in pids.values() for one in tree(pid)], number)
        took: dict[str, float] = {}
        while len(took) < len(pids) and time.monotonic() - began < within:
            took |= {
                name: time.monotonic() - began for name in pids.keys() - took.keys() if self.pid(name) is None
            }
            time.sleep(_LOOK_SECONDS)
        for name in pids.keys() - took.keys():
            took[name] = float("inf")
            self.kill_tree(name)
        return took

    def _kill(self, pid: int | None) -> bool:
        if pid is None:
            return False
        self._ours.add(pid)
        return _signal([pid], signal.SIGKILL)

    # --- how it is watched ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with self._lock:
                for process in self._processes.values():
                    self._look_at(process)

    def _look_at(self, process: _Process) -> None:
        running = process.running
        if running is None:
            if process.is_wanted and time.monotonic() >= process.start_at:
                self._spawn(process)
        elif (code := running.poll()) is not None:
            self.exits.append(Exit(process.program.name, running.pid, code, running.pid in self._ours))
            if not _group_lives(running.pid):
                self._tell_guard(f"- {running.pid}")
            process.running = None
            process.start_at = time.monotonic() + RESTART_SECONDS

    def _spawn(self, process: _Process) -> None:
        program = process.program
        with self.log(program.name).open("ab") as log:
            process.running = subprocess.Popen(
                program.command,
                env=dict(program.environ),
                cwd=program.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=program.owner,
                group=program.owner,
            )
        self._tell_guard(f"+ {process.running.pid}")

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{line}\n")
        self._guard.stdin.flush()


def tree(pid: int) -> list[int]:
    """The process and everything below it, itself first."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    children: dict[int, list[int]] = {}
    for line in table.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def _signal(pids: Iterable[int], number: int) -> bool:
    """Whether all of them were still there."""
    alive = True
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            alive = False
    return alive


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
