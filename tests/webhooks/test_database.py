"""The database: a lock is waited for as long as was asked, no longer, and not in vain."""

import sqlite3
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, text

from webhooks import migrations
from webhooks.database import Database, Unavailable


@pytest.fixture
def file(tmp_path: Path) -> Path:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrations.upgrade(database)
    database.close()
    return tmp_path / "ledger.db"


def hold(file: Path, seconds: float) -> threading.Thread:
    """Somebody else writes for that long."""
    held = threading.Event()

    def write() -> None:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held.set()
        time.sleep(seconds)
        other.execute("ROLLBACK")
        other.close()

    thread = threading.Thread(target=write)
    thread.start()
    held.wait()
    return thread


def test_a_locked_file_is_waited_for(file: Path) -> None:
    database = Database(f"sqlite:///{file}", patience=5)
    other = hold(file, 0.4)
    with database.write() as db:
        db.execute(text("DELETE FROM audit"))
    other.join()
    database.close()


def test_a_file_that_stays_locked_is_unavailable_in_time(file: Path) -> None:
    database = Database(f"sqlite:///{file}", patience=0.3)
    other = hold(file, 4)
    began = time.monotonic()
    with pytest.raises(Unavailable), database.write():
        pytest.fail("somebody else holds the lock")
    assert time.monotonic() - began < 3.5
    with database.read() as db:
        assert db.execute(text("SELECT count(*) FROM events")).scalar_one() == 0, "readers never wait"
    other.join()
    database.close()


def test_an_error_does_not_repeat_what_was_to_be_written(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    with pytest.raises(Unavailable) as caught, database.write() as db:
        db.execute(text("INSERT INTO nowhere VALUES (:email)"), {"email": "jane@example.com"})
    assert "jane" not in str(caught.value)
    database.close()


def test_a_file_that_cannot_be_written_is_not_waited_for(file: Path) -> None:
    database = Database(f"sqlite:///{file}", patience=5)
    event.listen(database.engine, "connect", lambda made, _: made.execute("PRAGMA query_only=1"))
    began = time.monotonic()
    with pytest.raises(Unavailable), database.write():
        pytest.fail("nobody can write there")
    assert time.monotonic() - began < 4
    database.close()


def cut(postgres_url: str, pid: int) -> None:
    """Ends a connection of somebody else's, as a fail-over does."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def server_process(database: Database) -> int:
    with database.glance() as db:
        number: int = db.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return number


def test_a_connection_that_was_cut_while_it_lay_idle_is_replaced_unseen(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.database.PING_SECONDS", 0.0)
    database = Database(postgres_url, connections=1)
    first = server_process(database)
    cut(postgres_url, first)
    assert server_process(database) != first
    database.close()


def test_a_connection_that_was_just_used_is_not_tried_and_fails_once_at_most(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.database.PING_SECONDS", 60.0)
    database = Database(postgres_url, connections=1)
    first = server_process(database)
    assert server_process(database) == first
    cut(postgres_url, first)
    with pytest.raises(Unavailable):
        server_process(database)
    assert server_process(database) != first
    database.close()


def test_a_glance_leaves_no_transaction_behind(database_url: str) -> None:
    database = Database(database_url, connections=1)
    with database.glance() as db:
        assert db.execute(text("SELECT count(*) FROM events")).scalar_one() == 0
    with database.write() as db:
        db.execute(text("INSERT INTO keys (made_at, sealed) VALUES (1, '')"))
    with database.glance() as db, Database(database_url).write() as other:
        assert db.execute(text("SELECT count(*) FROM keys")).scalar_one() == 1
        other.execute(text("DELETE FROM keys"))
    with database.read() as db:
        assert db.execute(text("SELECT count(*) FROM keys")).scalar_one() == 0
    database.close()


def test_only_what_need_not_last_is_not_waited_for(file: Path) -> None:
    """2 is FULL, 1 is NORMAL."""
    database = Database(f"sqlite:///{file}", connections=1)

    def waits(**manner: bool) -> int:
        with database.write(**manner) as db:
            level: int = db.execute(text("PRAGMA synchronous")).scalar_one()
        return level

    assert [waits(), waits(lasting=False), waits()] == [2, 1, 2]
    with pytest.raises(ZeroDivisionError), database.write(lasting=False):
        raise ZeroDivisionError
    assert waits() == 2
    database.close()
