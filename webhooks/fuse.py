"""A fuse before the database: what is known to be away is asked by one at a time, and the others hear so at
once. Else all threads would wait for it, and every request for a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Away(PoolTimeout):
    """Somebody has just asked in vain, and somebody is asking now."""


_SENTENCE = "the database does not answer at the moment"

BLOWS = (OperationalError, InterfaceError, PoolTimeout)
"""The database is away, locked or full: what one heard, the next would hear as well."""


class Fuse:
    """Shared by the threads of one process."""

    def __init__(self) -> None:
        self._is_blown = False
        self._trial = threading.Lock()

    def check(self) -> None:
        """Raises `Away` if somebody else finds out already."""
        if self._is_blown and self._trial.locked():
            raise Away(_SENTENCE)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Around what asks the database; raises `Away` instead while another one tries."""
        if not self._is_blown:
            with self._observed():
                yield
            return
        if not self._trial.acquire(blocking=False):
            raise Away(_SENTENCE)
        try:
            with self._observed():
                yield
        finally:
            self._trial.release()

    @contextmanager
    def _observed(self) -> Iterator[None]:
        try:
            yield
        except BLOWS:
            self._is_blown = True
            raise
        self._is_blown = False
