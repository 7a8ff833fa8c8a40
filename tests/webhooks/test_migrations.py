"""Migrations: they make exactly the tables of the schema, may run twice and at the same time."""

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

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
