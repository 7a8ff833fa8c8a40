"""A list of ids as one parameter: the same answers on both databases, and from the index."""

from collections.abc import Iterable, Iterator

import pytest
from sqlalchemy import BigInteger, Column, ColumnElement, MetaData, Table, Text, insert, not_, or_, select

from webhooks.among import among
from webhooks.database import Database

FAR = 2**40
words = Table("words", MetaData(), Column("id", BigInteger, primary_key=True), Column("word", Text))
THESE = among(words.c.id, "ids")


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    made = Database(empty_database_url)
    with made.write() as db:
        words.create(db)
        db.execute(insert(words), [{"id": one, "word": str(one)} for one in (1, 2, 3, FAR)])
    yield made
    made.close()


def found(database: Database, which: ColumnElement[bool], ids: Iterable[int]) -> list[int]:
    with database.read() as db:
        return list(db.execute(select(words.c.id).where(which).order_by(words.c.id), {"ids": ids}).scalars())


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([], []), ([2], [2]), ({3, 1}, [1, 3]), ((FAR, 7), [FAR]), (range(5_000), [1, 2, 3])],
    ids=["none", "one", "a set", "far apart", "thousands"],
)
def test_those_are_found(database: Database, ids: Iterable[int], expected: list[int]) -> None:
    assert found(database, THESE, ids) == expected


def test_it_is_a_condition_like_any_other(database: Database) -> None:
    assert found(database, THESE & (words.c.word != "2"), [1, 2]) == [1]
    assert found(database, or_(THESE, words.c.word == "3"), [1]) == [1, 3]
    assert found(database, not_(THESE), [1, 2]) == [3, FAR]


def test_sqlite_looks_them_up(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("it goes by how much is in a table")
    with database.read() as db:
        sentence = str(select(words).where(THESE).compile(db.engine))
        plan = "\n".join(row[-1] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {sentence}", ("[1]",)))
    assert "SEARCH words" in plan
    assert "SCAN words" not in plan
