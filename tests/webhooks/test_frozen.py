"""A database that hangs: asked by one at a time, waited for by nobody for long, and used again at once."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.waiting import until
from webhooks.database import Database, Unavailable
from webhooks.together import Together

IN_TIME = 2.9
"""Seconds: what is promised to somebody who waits, with room for a busy machine."""


@pytest.fixture
def hasty(postgres_url: str) -> Iterator[Database]:
    """As the web process has it."""
    made = Database(postgres_url, patience=1.5, connections=2)
    yield made
    made.close()


def own_server_process(database: Database) -> int:
    """The server's process behind the one connection of the pool."""
    with database.read() as db:
        found: int = db.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return found


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_hangs_is_left_in_time_and_used_again(hasty: Database) -> None:
    with frozen(own_server_process(hasty)):
        began = time.monotonic()
        with pytest.raises(Unavailable), hasty.read() as db:
            db.execute(text("SELECT 1"))
        assert time.monotonic() - began < IN_TIME
        until(lambda: answers(hasty), seconds=5)  # on another connection


def test_a_server_that_hangs_in_the_middle_is_left_in_time(hasty: Database) -> None:
    def writing() -> None:
        with hasty.write() as db:
            db.execute(text("SELECT 1"))
            with frozen(pid):
                db.execute(text("SELECT 2"))

    pid = own_server_process(hasty)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        writing()
    assert time.monotonic() - began < IN_TIME


def test_whoever_has_time_waits_for_a_slow_server(postgres_url: str) -> None:
    """Workers and commands: their statements may be long."""
    database = Database(postgres_url)
    pid = own_server_process(database)
    with ThreadPoolExecutor(1) as pool:
        with frozen(pid):
            waiting = pool.submit(own_server_process, database)
            time.sleep(0.5)
            assert not waiting.done()
        assert waiting.result(10) == pid
    database.close()


def answers(database: Database) -> bool:
    try:
        with database.write() as db:
            return bool(db.execute(text("SELECT 1")).scalar_one())
    except Unavailable:
        return False


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else writes, until told to stop."""
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def write(database: Database) -> float:
    """Seconds until it is clear that it cannot be written."""
    began = time.monotonic()
    with pytest.raises(Unavailable), database.write():
        pytest.fail("somebody else holds the lock")
    return time.monotonic() - began


def write_together(database: Database) -> Callable[[Database], float]:
    """The same by group commit, as hooks are written."""
    together = Together[None, None](database, lambda _db, wishes: wishes, lambda _wish: 0)

    def write(_: Database) -> float:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            together(None)
        return time.monotonic() - began

    return write


@pytest.mark.parametrize("together", [False, True], ids=["each for itself", "together"])
def test_what_is_known_to_be_away_is_waited_for_by_nobody(
    tmp_path: Path, locked: sqlite3.Connection, *, together: bool
) -> None:
    """As many as there are threads would wait for their patience, and the others for a thread."""
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", patience=1.0, connections=8)
    ask = write_together(database) if together else write
    assert ask(database) >= 1.0
    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(lambda _: ask(database), range(8))) < 0.9
    locked.execute("ROLLBACK")
    until(lambda: answers(database), seconds=5)
    for _ in range(2):
        with database.write():
            pass
    database.close()


def test_what_cannot_be_written_can_be_asked(tmp_path: Path, locked: sqlite3.Connection) -> None:
    """Whether the ledger's tables are there, for one."""
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", patience=0.2)
    write(database)
    with database.read() as db:
        assert db.execute(text("SELECT 1")).scalar_one() == 1
    write(database)  # that it can be asked does not mean that it can be written
    database.close()


def test_whoever_has_time_is_told_nothing_by_others(tmp_path: Path, locked: sqlite3.Connection) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", patience=2.0)
    with ThreadPoolExecutor(2) as pool:
        assert all(took >= 2.0 for took in pool.map(write, [database] * 2))
    database.close()
