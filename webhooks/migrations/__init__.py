"""The ledger's history, inside the package so that a release line finds it wherever it is installed.

Revisions are numbered, and each only adds: a table, an index, a column that may be empty or has a default. So
the version before goes on with a later one's database, while a deploy lasts and after it was taken back.
"""

import re
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from webhooks.database import Database

_NUMBERED = re.compile("[0-9]{4}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "webhooks:migrations")
    return config


def upgrade(database: Database) -> None:
    """Brings the database to the newest revision; one of a later version stays as it is. May run twice, also
    at the same time, and again after it was cut off: all of it is one transaction."""
    config = _config()
    with database.write() as connection:
        if not database.is_sqlite:  # SQLite's write lock is held already
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7092026)")
        if _is_there(connection, config):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(database: Database) -> bool:
    """Whether the database has the newest revision, or one of a later version."""
    with database.read() as connection:
        return _is_there(connection, _config())


def revisions() -> list[str]:
    """All of them, the first one first."""
    script = ScriptDirectory.from_config(_config())
    return [one.revision for one in script.walk_revisions()][::-1]


def _is_there(connection: Connection, config: Config) -> bool:
    newest = str(ScriptDirectory.from_config(config).get_current_head())
    context: Any = MigrationContext.configure(connection)
    found = context.get_current_revision()
    if found is None or not _NUMBERED.fullmatch(found):  # nothing, or somebody else's
        return False
    return bool(found >= newest)
