"""The ledger's history, inside the package so that a release line finds it wherever it is installed.

Revisions are numbered, and each only adds: a table, an index, a column that may be empty or has a default. So
the version before goes on with a later one's database, while a deploy lasts and after it was taken back.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from webhooks.database import Database

if TYPE_CHECKING:  # every process looks whether the database is current, and that needs no Alembic
    from alembic.config import Config

FOLDERS = [Path(__file__).parent / "versions"]
"""Where the revisions are; the name of each file begins with its number."""

_NUMBERED = re.compile("[0-9]{4}")


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "webhooks:migrations")
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, FOLDERS)))
    return config


def upgrade(database: Database) -> None:
    """Brings the database to the newest revision; one of a later version stays as it is. May run twice, also
    at the same time, and again after it was cut off: all of it is one transaction."""
    with database.write() as connection:
        if not database.is_sqlite:  # SQLite's write lock is held already
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7092026)")
        if _is_there(connection):
            return
        from alembic import command

        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(database: Database) -> bool:
    """Whether the database has the newest revision, or one of a later version."""
    with database.read() as connection:
        return _is_there(connection)


def revisions() -> list[str]:
    """All of them, the first one first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    return [one.revision for one in script.walk_revisions()][::-1]


def newest() -> str:
    """The number of the last one."""
    return max(file.name[:4] for folder in FOLDERS for file in folder.glob("[0-9]*.py"))


def _is_there(connection: Connection) -> bool:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    # Another number of rows, or no number, is nobody's or somebody else's.
    return len(found) == 1 and bool(_NUMBERED.fullmatch(found[0])) and found[0] >= newest()
