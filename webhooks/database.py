"""Opens the database and hides how SQLite and PostgreSQL differ. The ledger's sentences stand elsewhere."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from webhooks import clock, deadline, reporting
from webhooks.fuse import Fuse

log = reporting.logger(__name__)

HASTY = 2.0
"""Patience, in seconds, below which somebody waits for an answer, and every statement must be short."""

AT_MOST = 2.0
"""Seconds that all of a transaction may take then, on a server that hangs."""

PING_SECONDS = 1.0
"""A connection to PostgreSQL that lay idle for longer is tried before it is used: it may be cut."""

RECYCLE_SECONDS = 600
"""A connection to PostgreSQL is renewed when it is older: so are what it resolved to, and its time."""

Unavailable = (DBAPIError, PoolTimeout)
"""What is raised when the database is down, locked, full or out of connections."""


class Database:
    """An engine with two ways in: `read` and `write`. ``patience``: how many seconds a lock is waited for."""

    def __init__(self, url: str, *, patience: float = 5.0, connections: int = 5) -> None:
        self.url = make_url(url)
        self._patience = patience
        is_hasty = patience < HASTY
        self._at_most = AT_MOST if is_hasty else None
        self._fuse = Fuse(self._try) if is_hasty else None
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        arguments = _sqlite_arguments() if self.is_sqlite else _postgresql_arguments(patience)
        self.engine: Engine = create_engine(
            self.url,
            connect_args=arguments,
            hide_parameters=True,  # an error's text must not carry what was to be written
            pool_size=connections,
            max_overflow=0,
            pool_timeout=patience,
            pool_recycle=-1 if self.is_sqlite else RECYCLE_SECONDS,
        )
        event.listen(self.engine, "connect", _prepare_sqlite if self.is_sqlite else _prepare_postgresql)
        self._for_glances = self.engine
        if not self.is_sqlite:
            event.listen(self.engine, "do_connect", _connect_postgresql)
            event.listen(self.engine, "checkin", _note_use)
            event.listen(self.engine, "checkout", self._ping)
            self._for_glances = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # A forked child must not talk over its parent's connections.
        os.register_at_fork(after_in_child=lambda: self.engine.dispose(close=False))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for questions."""
        # SQLite answers them also while it cannot be written.
        fuse = None if self.is_sqlite else self._fuse
        with self._guarded(fuse), self.engine.connect() as connection, connection.begin():
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """A connection for questions of one statement each: no transaction, so each costs a single trip."""
        fuse = None if self.is_sqlite else self._fuse
        with self._guarded(fuse), self._for_glances.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, lasting: bool = True) -> Iterator[Connection]:
        """One transaction, committed at the end of the block.

        On SQLite it takes the write lock at once: a read that turns into a write later fails under load.
        Not ``lasting``: SQLite need not wait for the disk. A power cut may take such a commit back, and
        never without those that came after it; whoever is only killed loses nothing.
        """
        with self._guarded(self._fuse), self.engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            is_hurried = self.is_sqlite and not lasting
            manner = _pragma(raw, "synchronous=NORMAL", "synchronous=FULL") if is_hurried else nullcontext()
            with manner, connection.begin():
                if self.is_sqlite:
                    self._begin_sqlite(connection)
                yield connection

    @contextmanager
    def _guarded(self, fuse: Fuse | None) -> Iterator[None]:
        with fuse.guarded() if fuse else nullcontext(), deadline.within(self._at_most):
            yield

    def check(self) -> None:
        """Raises one of `Unavailable` if the database is known to be away."""
        if self._fuse is not None:
            self._fuse.check()

    def tell_time(self) -> None:
        """Has this process go by the database's clock, as every new connection does; see `clock.py`."""
        if not self.is_sqlite:
            with self.read() as db:
                _follow(lambda: db.exec_driver_sql(_PRESENT).scalar_one())

    def wipe(self) -> bool:
        """Has what was overwritten leave SQLite's files, too; False if somebody reads it yet. PostgreSQL
        keeps old versions of rows until its own vacuum."""
        if not self.is_sqlite:
            return True
        with self.engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
        return not busy

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT, in the database's own dialect."""
        builder: Insert = sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)
        return builder

    def _begin_sqlite(self, connection: Connection) -> None:
        # Not by an event of the engine: with one listener, every statement looks for listeners.
        raw: Any = connection.connection.dbapi_connection
        deadline = time.monotonic() + self._patience
        # SQLite is to say at once that somebody else writes.
        with _pragma(raw, "busy_timeout=0", f"busy_timeout={clock.milliseconds(SQLITE_WAIT)}"):
            while time.monotonic() < deadline:
                try:
                    raw.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        break  # it would say so again at once
                    time.sleep(SQLITE_TURN)
                    continue
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _ping(self, raw: Any, record: Any, _lent: object) -> None:
        """Tries a connection that lay idle. One that is dead takes all that are as old with it."""
        if time.monotonic() - record.info[_USED_AT] < PING_SECONDS:
            return
        try:
            self.engine.dialect.do_ping(raw)
        except psycopg.Error as error:
            raise InvalidatePoolError from error

    def _try(self) -> None:
        """Raises what a transaction would raise now."""
        with deadline.within(self._at_most), self.engine.connect() as connection, connection.begin():
            if self.is_sqlite:
                self._begin_sqlite(connection)
            else:
                connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        """Gives the connections back."""
        if self._fuse is not None:
            self._fuse.close()
        self.engine.dispose()


_USED_AT = "used_at"


def _note_use(_raw: object, record: Any) -> None:
    record.info[_USED_AT] = time.monotonic()


SQLITE_TURN = 0.001
"""Seconds until somebody who wants to write asks again. SQLite's own pauses grow to 100 ms, in which the
lock lies idle or is taken by others, again and again."""

SQLITE_WAIT = 0.05
"""Seconds that everything else waits for SQLite: it is locked as a whole while it recovers from a crash."""


def _sqlite_arguments() -> dict[str, Any]:
    # isolation_level None: the driver must not open transactions behind our back.
    return {"timeout": SQLITE_WAIT, "isolation_level": None, "check_same_thread": False}


def _postgresql_arguments(patience: float) -> dict[str, Any]:
    milliseconds = int(patience * 1_000)
    longest = milliseconds if patience < HASTY else 60_000
    return {
        "connect_timeout": max(2, int(patience)),
        "application_name": "purchase-relay",
        "options": f"-c lock_timeout={milliseconds} -c statement_timeout={longest}"
        " -c idle_in_transaction_session_timeout=60000 -c synchronous_commit=on -c timezone=UTC",
        "tcp_user_timeout": 10_000,  # without it a cable that was cut is waited for fifteen minutes
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


def _connect_postgresql(_dialect: object, _record: object, _args: object, settings: Any) -> Any:
    if deadline.is_over():
        raise deadline.Hangs("no time is left for a new connection")
    return deadline.Connection.connect(**settings)


def _prepare_postgresql(connection: Any, record: Any) -> None:
    _note_use(connection, record)
    _follow(lambda: connection.execute(_PRESENT).fetchone()[0])
    connection.rollback()


_PRESENT = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


def _follow(ask: Callable[[], int]) -> None:
    began = time.monotonic()
    told = ask()
    took = time.monotonic() - began
    change = clock.follow(told + clock.milliseconds(took / 2))
    if abs(change) > clock.ODD:
        log.warning(
            "this machine's clock was not the database's; we go by the latter", seconds=change / 1_000
        )


@contextmanager
def _pragma(connection: Any, meanwhile: str, afterwards: str) -> Iterator[None]:
    """Another setting of a connection to SQLite, for the block."""
    connection.execute(f"PRAGMA {meanwhile}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA {afterwards}")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last commits on a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # what is forgotten must not stay in the file
    cursor.close()
