"""One child process: it cannot outlive us, is heard line by line, and is asked to end before it is made to.

Each child leads a session of its own, so that Ctrl+C in a terminal reaches its parent alone, who then ends
its children in order. On Linux the kernel ends a child whose parent was killed.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import IO

import msgspec

LONGEST_LINE = 65_536
REMEMBERED = 12

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process(msgspec.Struct, frozen=True):
    """What to run. ``env`` None is our own environment. ``ready`` says when those after it may start."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] | None = None
    ready: Callable[[], bool] = lambda: True


def spawn(process: Process, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts the process, tethered to this thread's life. What it says goes to ``output``.

    To be called in the main thread, and where no other thread holds a lock that the child would need.
    """
    return subprocess.Popen(  # noqa: S603 - our own commands
        process.command,
        env=process.env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=partial(_tether, os.getpid()),  # noqa: PLW1509 - see above
    )


def _tether(parent: int) -> None:
    """In the child, before its program begins: SIGTERM when the parent dies, however it dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died in between
        os._exit(1)


def adopt_orphans() -> None:
    """Makes a grandchild whose parent died our child, as it is for the first process of a container."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def bury_orphans(ours: set[int]) -> None:
    """Takes note of the end of adopted processes, so that none stays as a zombie."""
    with suppress(ChildProcessError):  # there is nobody at all
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if dead.si_pid in ours:
                return  # its own child object wants to know
            os.waitpid(dead.si_pid, 0)


class Child:
    """A process that is started again and again. ``output`` is the reading end of its current pipe."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.name = process.name
        self.failures = 0  # in a row
        self.early = 0  # of them, those right after a start
        self.was_up = False  # once, for longer than that
        self.started_at = 0.0
        self.due_at = 0.0
        self.last_words: deque[str] = deque(maxlen=REMEMBERED)
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running process."""
        return self._popen.pid if self._popen else None

    def start(self, now: float) -> "Output":
        """Starts it and returns its voice."""
        reading, writing = os.pipe()
        output = Output(self, reading)
        try:
            self._popen = spawn(self.process, writing)
        except OSError:
            output.close()
            raise
        finally:
            os.close(writing)
        self.started_at = now
        return output

    def ended(self) -> int | None:
        """The exit code (a signal's number below zero) if it has ended since the last call, else None."""
        if self._popen is None or not _has_ended(self._popen.pid):
            return None
        # Until it is buried nobody else can have its number: what it left behind can be told to go.
        self._signal_group(signal.SIGTERM)
        code = self._popen.wait()
        self._popen = None
        return code

    def terminate(self) -> None:
        """Asks it to end; whom it started is its own matter."""
        if self._popen is not None:
            self._popen.terminate()

    def kill(self) -> None:
        """Ends it and everybody whom it started."""
        if self._popen is not None:
            self._signal_group(signal.SIGKILL)
            self._popen.wait()
            self._popen = None

    def _signal_group(self, number: signal.Signals) -> None:
        if self._popen is not None:
            with suppress(ProcessLookupError, PermissionError):  # macOS says so of a group of zombies
                os.killpg(self._popen.pid, number)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Output:
    """What a child says, by lines. It may end later than the child, whose own children speak here too."""

    def __init__(self, child: Child, reading: int) -> None:
        self.child = child
        self._reading = reading
        self._rest = b""
        os.set_blocking(reading, False)

    def fileno(self) -> int:
        """For a selector."""
        return self._reading

    def lines(self) -> Iterator[str] | None:
        """The lines that are complete by now; None when nothing will follow."""
        try:
            heard = os.read(self._reading, LONGEST_LINE)
        except BlockingIOError:
            return iter(())
        if not heard and not self._rest:
            return None
        *complete, self._rest = (self._rest + (heard or b"\n")).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            complete, self._rest = [*complete, self._rest], b""
        return self._told(complete)

    def _told(self, lines: Sequence[bytes]) -> Iterator[str]:
        for line in lines:
            if words := line.decode("utf-8", "replace").rstrip():
                self.child.last_words.append(words)
                yield words

    def close(self) -> None:
        """Gives the pipe back."""
        os.close(self._reading)
