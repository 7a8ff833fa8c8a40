"""Group commit: everybody gets an own answer, after the commit, and nobody is left waiting."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from webhooks.database import Database
from webhooks.together import MOST, Together

THREADS = 8


class Counted(Database):
    """Counts its transactions, and can keep them waiting or fail to begin one."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"sqlite:///{file}", connections=THREADS)
        self.transactions = 0
        self.door = threading.Event()
        self.door.set()
        self.is_away = False

    @contextmanager
    def write(self, *, lasting: bool = True) -> Iterator[Connection]:
        self.door.wait()
        if self.is_away:
            raise OperationalError("BEGIN", {}, Exception("away"))
        self.transactions += 1
        with super().write(lasting=lasting) as db:
            yield db

    def written(self) -> list[int]:
        with self.read() as db:
            return sorted(db.execute(text("SELECT number FROM wishes")).scalars())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Counted]:
    made = Counted(tmp_path / "wishes.db")
    with made.write() as db:
        db.execute(text("CREATE TABLE wishes (number INTEGER PRIMARY KEY)"))
    made.transactions = 0
    yield made
    made.close()


def write(db: Connection, numbers: Sequence[int]) -> list[str]:
    for number in numbers:
        db.execute(text("INSERT INTO wishes VALUES (:number)"), {"number": number})
    return [f"wrote {number}" for number in numbers]


def all_at_once(
    database: Counted, together: Callable[[int], str], numbers: list[int]
) -> dict[int, Future[str]]:
    """One thread has begun; the others come before it may write."""
    database.door.clear()
    with ThreadPoolExecutor(len(numbers)) as threads:
        told = {number: threads.submit(together, number) for number in numbers}
        time.sleep(0.2)
        database.door.set()
    return told


def test_who_is_alone_writes_at_once(database: Counted) -> None:
    together = Together(database, write, order=int)
    assert together(1) == "wrote 1"
    assert together(2) == "wrote 2"
    assert (database.transactions, database.written()) == (2, [1, 2])


def test_who_waits_is_written_with_the_others(database: Counted) -> None:
    told = all_at_once(database, Together(database, write, order=int), list(range(THREADS)))
    assert {number: one.result() for number, one in told.items()} == {
        number: f"wrote {number}" for number in range(THREADS)
    }
    assert (database.transactions, database.written()) == (1, list(range(THREADS)))


def test_the_order_is_kept(database: Counted) -> None:
    written: list[int] = []

    def note(db: Connection, numbers: Sequence[int]) -> list[str]:
        written.extend(numbers)
        return write(db, numbers)

    all_at_once(database, Together(database, note, order=lambda number: -number), [3, 1, 2])
    assert written == [3, 2, 1]


def test_there_is_an_end_to_a_transaction(database: Counted) -> None:
    numbers = list(range(MOST + 1))
    all_at_once(database, Together(database, write, order=int), numbers)
    assert (database.transactions, database.written()) == (2, numbers)


def test_an_answer_is_given_after_the_commit(database: Counted) -> None:
    together = Together(database, write, order=int)
    with ThreadPoolExecutor(THREADS) as threads:
        for number in threads.map(lambda number: (together(number), number)[1], range(200)):
            assert number in database.written()
    assert database.written() == list(range(200))


def test_a_bad_wish_fails_alone(database: Counted) -> None:
    together = Together(database, write, order=int)

    def twice(number: int) -> str:
        return together(number // 2)  # 6 and 7 wish the same

    told = all_at_once(database, twice, [0, 2, 4, 6, 7])
    errors = [one.exception() for one in told.values()]
    assert sum(error is not None for error in errors) == 1
    assert "UNIQUE" in str(next(error for error in errors if error))
    assert database.written() == [0, 1, 2, 3]


def test_a_database_that_is_away_is_told_to_everybody_at_once(database: Counted) -> None:
    together = Together(database, write, order=int)
    database.is_away = True
    told = all_at_once(database, together, [1, 2, 3])
    assert all(isinstance(one.exception(), OperationalError) for one in told.values())
    database.is_away = False
    assert together(4) == "wrote 4"
    assert database.written() == [4]


def test_whatever_ends_a_leader_the_others_go_on(database: Counted) -> None:
    def end_one(db: Connection, numbers: Sequence[int]) -> list[str]:
        if 1 in numbers:
            raise SystemExit
        return write(db, numbers)

    together = Together(database, end_one, order=int)
    told = all_at_once(database, together, [1, 2, 3])
    assert all(isinstance(one.exception(), SystemExit) for one in told.values()), "none was committed"
    assert database.written() == []
    assert together(5) == "wrote 5"
