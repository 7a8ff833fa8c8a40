"""Connections to PostgreSQL that give up on a server which hangs.

The server's own timeouts mean nothing when it is the server that stands still (a frozen machine, a failing
disk, a fail-over that cut a connection without a word): its kernel goes on to confirm what we send. So time
is kept on this side, wherever psycopg waits.
"""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

LONGEST_STATEMENT = 90.0
"""Seconds, for who has time: more than the server itself takes for any statement, see `database.py`."""

T = TypeVar("T")


class Hangs(psycopg.OperationalError):
    """The server did not answer in time. The connection is closed; whether it commits is unknown."""


class _Mine(threading.local):
    until: float | None = None


_mine = _Mine()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """All that this thread does with PostgreSQL in the block must be over by then; None: whatever it takes,
    `LONGEST_STATEMENT` for each statement. A block within another has the time of the outer one."""
    if seconds is None or _mine.until is not None:
        yield
        return
    _mine.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _mine.until = None


def is_over() -> bool:
    """Whether this thread's time is up: connecting takes two seconds at least until it is given up."""
    return _mine.until is not None and time.monotonic() >= _mine.until


class Connection(psycopg.Connection[Any]):
    """psycopg's, with a deadline in everything that waits for the server."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **named: Any) -> T:
        """Raises `Hangs` when the time is up."""
        until = _mine.until or time.monotonic() + LONGEST_STATEMENT
        try:
            return super().wait(_until(until, gen), *args, **named)
        except Hangs:
            self.close()
            raise


def _until(moment: float, steps: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
    """The same steps. psycopg looks in every tenth of a second, also when nothing has come."""
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= moment:
                raise Hangs("the database server did not answer in time")
            wanted = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
