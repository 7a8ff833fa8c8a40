"""The ledger's history, inside the package so that a release line finds it wherever it is installed."""

from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from webhooks.database import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "webhooks:migrations")
    return config


def upgrade(database: Database) -> None:
    """Brings the database to the newest revision. May run twice, also at the same time."""
    config = _config()
    with database.write() as connection:
        if not database.is_sqlite:  # SQLite's write lock is held already
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7092026)")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(database: Database) -> bool:
    """Whether the database has the newest revision."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    with database.read() as connection:
        context: Any = MigrationContext.configure(connection)
        return bool(context.get_current_revision() == newest)
