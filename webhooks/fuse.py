"""A fuse before the database: once somebody has asked it in vain, everybody hears so at once, until it
answers again. Else all threads would wait for it, and every request for a thread.

Who finds out is a thread of the fuse's own: a request that has waited for its turn has no time for it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

PAUSE_SECONDS = 0.1
"""Between one try and the next."""


class Away(PoolTimeout):
    """Somebody has asked in vain, and it has not answered since."""


_SENTENCE = "the database does not answer at the moment"

BLOWS = (OperationalError, InterfaceError, PoolTimeout)
"""The database is away, locked or full: what one heard, the next would hear as well."""


class Fuse:
    """Shared by the threads of one process. ``attempt`` asks the database and raises what it raises."""

    def __init__(self, attempt: Callable[[], object]) -> None:
        self._attempt = attempt
        self._is_blown = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Raises `Away` while it is blown."""
        if self._is_blown:
            raise Away(_SENTENCE)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Around what asks the database; raises `Away` instead while it is blown."""
        self.check()
        try:
            yield
        except BLOWS:
            self._blow()
            raise

    def close(self) -> None:
        """Nobody wants to know any more; waits for a try that has begun."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _blow(self) -> None:
        with self._lock:
            if self._is_blown:
                return
            self._is_blown = True
            self._thread = threading.Thread(target=self._mend, name="fuse", daemon=True)
            self._thread.start()

    def _mend(self) -> None:
        """At once for the first time: most often it was one connection."""
        while not self._has_answered():
            if self._closed.wait(PAUSE_SECONDS):
                return
        self._is_blown = False

    def _has_answered(self) -> bool:
        try:
            self._attempt()
        except BLOWS:
            return False
        except DBAPIError:
            return True  # it does not like the question, but it is there
        return True
