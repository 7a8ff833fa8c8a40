"""Statements that go past SQLAlchemy: the same answers, the same errors, on both databases."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from webhooks.database import Database
from webhooks.prepared import Prepared

SECRET = "buyer@example.com"
words = Table("words", MetaData(), Column("id", Integer, primary_key=True), Column("word", Text, unique=True))
ALL = select(words.c.id, words.c.word).order_by(words.c.id)


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    made = Database(empty_database_url)
    with made.write() as db:
        words.create(db)
    yield made
    made.close()


def rows(*told: str) -> list[dict[str, object]]:
    return [{"id": number, "word": word} for number, word in enumerate(told, 1)]


def test_each_is_answered_in_turn(database: Database) -> None:
    insert = database.insert(words).on_conflict_do_nothing().returning(words.c.id)
    prepared = Prepared(database, insert, ("id", "word"))
    with database.write() as db:
        assert prepared.each(db, rows("one", "two", "one", "four")) == [(1,), (2,), None, (4,)]
        assert prepared.each(db, []) == []
        assert prepared.each(db, rows("one")) == [None]
    with database.read() as db:
        assert Prepared(database, ALL).rows(db, {}) == [(1, "one"), (2, "two"), (4, "four")]


def test_many_are_written(database: Database) -> None:
    prepared = Prepared(database, database.insert(words).inline(), ("id", "word"))
    with database.write() as db:
        prepared.many(db, rows("one", "two"))
        prepared.many(db, [])
    with database.read() as db:
        assert [tuple(row) for row in db.execute(ALL)] == [(1, "one"), (2, "two")]


def test_a_value_of_the_statements_own_stands(database: Database) -> None:
    greater = select(words.c.word).where(words.c.id > 1, words.c.word != "three")
    insert = Prepared(database, database.insert(words).inline(), ("id", "word"))
    with database.write() as db:
        insert.many(db, rows("one", "two", "three"))
        assert Prepared(database, greater).rows(db, {}) == [("two",)]


def one_by_one(database: Database, prepared: Prepared) -> None:
    with database.write() as db:
        for values in rows(SECRET, SECRET):
            prepared.rows(db, values)


def in_one_trip(database: Database, prepared: Prepared) -> None:
    with database.write() as db:
        prepared.each(db, rows(SECRET, SECRET))


def unanswered(database: Database, _prepared: Prepared) -> None:
    with database.write() as db:
        Prepared(database, database.insert(words).inline(), ("id", "word")).many(db, rows(SECRET, SECRET))


@pytest.mark.parametrize("write", [one_by_one, in_one_trip, unanswered])
def test_an_error_is_told_as_sqlalchemy_tells_it(
    database: Database, write: Callable[[Database, Prepared], None]
) -> None:
    prepared = Prepared(database, database.insert(words).returning(words.c.id), ("id", "word"))
    with pytest.raises(IntegrityError) as caught:
        write(database, prepared)
    assert (caught.value.hide_parameters, caught.value.params) == (True, None)
    with database.read() as db:
        assert db.execute(ALL).all() == [], "nothing of it was committed"


def test_a_connection_that_was_cut_is_used_no_more(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("there is no connection to cut")
    prepared = Prepared(database, ALL)
    with pytest.raises(DBAPIError) as caught:
        cut_and_ask(database, prepared)
    assert caught.value.connection_invalidated
    with database.read() as db:
        assert prepared.rows(db, {}) == []


def cut_and_ask(database: Database, prepared: Prepared) -> None:
    with database.write() as db:
        pid = db.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.write() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 2000)"), {"pid": pid})
        prepared.rows(db, {})
