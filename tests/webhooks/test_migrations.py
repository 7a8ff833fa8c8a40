"""Migrations: they make exactly the tables of the schema, may run twice and at the same time."""

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import inspect, text

from webhooks import migrations
from webhooks.database import Database
from webhooks.schema import metadata


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    made = Database(empty_database_url)
    yield made
    made.close()


def test_the_migrations_make_the_schema(database: Database) -> None:
    migrations.upgrade(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, metadata) == []


def test_every_index_and_its_condition_is_there(database: Database) -> None:
    migrations.upgrade(database)
    found = inspect(database.engine)
    for table in metadata.tables.values():
        names = {index["name"] for index in found.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= names
    dialect = database.engine.dialect.name
    for table in metadata.tables.values():
        made = {
            index["name"]
            for index in found.get_indexes(table.name)
            if index.get("dialect_options", {}).get(f"{dialect}_where") is not None
        }
        assert made == {
            index.name for index in table.indexes if index.dialect_options[dialect]["where"] is not None
        }


def test_it_may_run_again_and_at_the_same_time(database: Database) -> None:
    assert not migrations.is_current(database)
    threads = [threading.Thread(target=migrations.upgrade, args=(database,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert migrations.is_current(database)


def test_a_database_of_a_later_version_is_taken_as_it_is(database: Database) -> None:
    """Migrations only add: while a deploy goes on, or after it was taken back, the version before works."""
    migrations.upgrade(database)
    _say(database, "0002")
    assert migrations.is_current(database)
    migrations.upgrade(database)
    _say(database, "9999")
    assert migrations.is_current(database)


def test_a_database_of_somebody_else_is_not_ours(database: Database) -> None:
    migrations.upgrade(database)
    _say(database, "ae1027a6acf1")
    assert not migrations.is_current(database)
    with pytest.raises(CommandError):
        migrations.upgrade(database)


def test_revisions_are_numbered() -> None:
    """By their order a version knows that a database is ahead of it."""
    numbers = migrations.revisions()
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert migrations.newest() == numbers[-1]


def _say(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :told"), {"told": revision})
