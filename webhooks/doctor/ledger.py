"""The ledger: the database is there, takes what is written, keeps it, and the keys open it."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import Table, select
from sqlalchemy.exc import DBAPIError

from webhooks import discretion, migrations, settings
from webhooks.database import Database, Unavailable
from webhooks.doctor.findings import Finding, fault, warning
from webhooks.doctor.ground import Ground
from webhooks.schema import sealed_tables
from webhooks.vault import Sealed

LINK, KEYS = "database", "keys"

LITTLE, VERY_LITTLE = 1_000_000_000, 100_000_000
"""Bytes left on the disk of a SQLite file."""

NEARLY_ALL = 0.8
"""Share of the connections that a PostgreSQL allows."""

SAMPLE = 3
"""So many of the oldest and of the newest records of each table are opened."""

_DURABLE: Mapping[str, str] = {
    "fsync": "a power cut can destroy the ledger",
    "full_page_writes": "a power cut can tear a page of the ledger",
    "synchronous_commit": "orders that were acknowledged can be lost in a crash",
}
"""What PostgreSQL must not have switched off, and what comes of it."""


def examine(ground: Ground) -> Iterator[Finding]:
    """Whether the database answers, has our tables, and keeps what it is told."""
    database = ground.relay.database
    file = Path(database.url.database or "") if database.is_sqlite else None
    if file is not None and not file.exists():
        yield fault(LINK, "there is no ledger yet", "run `purchase-relay db upgrade`", ends=True)
        return
    try:
        is_current = migrations.is_current(database)
    except Unavailable as error:
        yield fault(
            LINK,
            f"does not answer ({discretion.describe(error)})",
            "start it, or correct DATABASE_URL; hooks are answered with 503 until then",
            ends=True,
        )
        return
    if not is_current:
        yield fault(LINK, "its tables are not up to date", "run `purchase-relay db upgrade`", ends=True)
        return
    yield from (_of_postgresql(database) if file is None else _of_sqlite(database, file))


# --- SQLite ----------------------------------------------------------------------------------------------


def _of_sqlite(database: Database, file: Path) -> Iterator[Finding]:
    try:
        with database.write():
            pass  # to be allowed to write is all that is asked
    except DBAPIError as error:
        word = getattr(error.orig, "sqlite_errorname", "")
        what, remedy = _REFUSALS.get(word, ("cannot be written", "see that the disk is there and not full"))
        yield fault(LINK, f"{what} ({word})" if word else what, remedy)
    free = shutil.disk_usage(file.parent).free
    if free < LITTLE:
        make = fault if free < VERY_LITTLE else warning
        yield make(
            LINK,
            f"only {free // 1_000_000} MB are left on its disk",
            "make room or give it a larger disk; lower RELAY_RETENTION_DAYS keeps it from growing",
        )
    if host := settings.ephemeral_host():
        yield fault(
            LINK,
            f"it is a file on {host}, which forgets its disk at every restart",
            "set DATABASE_URL to a PostgreSQL",
        )


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "SQLITE_BUSY": (
        "is locked by another process",
        "end whatever writes to the file: a backup, a shell",
    ),
    "SQLITE_READONLY": ("can be read but not written", "let the relay's user write the file and its folder"),
    "SQLITE_READONLY_DIRECTORY": ("can be read but not written", "let the relay's user write its folder"),
    "SQLITE_FULL": ("has no room left on its disk", "make room or give it a larger disk"),
}


# --- PostgreSQL ------------------------------------------------------------------------------------------


def _of_postgresql(database: Database) -> Iterator[Finding]:
    with database.read() as db:
        if db.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
            yield fault(
                LINK,
                "can be read but not written",
                "DATABASE_URL must name the primary, and default_transaction_read_only must be off",
            )
        for name, meaning in _DURABLE.items():
            if db.exec_driver_sql(f"SHOW {name}").scalar_one() == "off":
                yield fault(
                    LINK, f"{name} is off: {meaning}", f"set {name} = on in PostgreSQL's configuration"
                )
        used, limit = db.exec_driver_sql(_CONNECTIONS).one()
    if used > NEARLY_ALL * limit:
        yield warning(
            LINK,
            f"{used} of {limit} connections are in use",
            "lower WEB_CONCURRENCY or RELAY_WORKERS, or get a plan with more connections",
        )


_CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND (datname = current_database() OR usename = current_user)),
       (SELECT min(most) FROM (
          SELECT current_setting('max_connections')::int
                 - current_setting('superuser_reserved_connections')::int
          UNION SELECT datconnlimit FROM pg_database WHERE datname = current_database()
          UNION SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS limits (most)
        WHERE most >= 0)
"""


# --- keys ------------------------------------------------------------------------------------------------


def examine_keys(ground: Ground) -> Iterator[Finding]:
    """Whether the present keys open what is kept."""
    seen, closed = 0, 0
    for table in sealed_tables():
        for token in _sample(ground.relay.database, table):
            seen += 1
            try:
                ground.relay.vault.open(token)
            except Sealed:
                closed += 1
    if closed:
        yield fault(
            KEYS,
            f"{closed} of {seen} records that were tried open with none of the configured keys",
            "put the key that sealed them back into RELAY_SECRET_KEYS, behind the newest one",
        )


def _sample(database: Database, table: Table) -> list[bytes]:
    kept = select(table.c.sealed).where(table.c.sealed.is_not(None)).limit(SAMPLE)
    age = table.c.get("received_at", table.c.id)  # what is kept stands in an index by it
    with database.read() as db:
        oldest = db.execute(kept.order_by(age)).scalars().all()
        newest = db.execute(kept.order_by(age.desc())).scalars().all()
    return [*oldest, *newest]
