"""Retention: what is personal is forgotten when it is old; facts, and tombstones, stay."""

from typing import Any

from sqlalchemy import Connection, Table, select, update

from webhooks.database import Database
from webhooks.ledger import WAITING
from webhooks.schema import deliveries, events, hooks, keys, sealed_tables, wishes

APART = (keys, wishes)
"""Tables with a column `sealed` of which retention forgets nothing: a key is nothing personal, and a wish
forgets who wished when it is done."""


def forget(database: Database, before: int, limit: int = 500) -> int:
    """Blanks what is personal in finished events, hooks, and whatever else is sealed, older than ``before``;
    returns how many records that were."""
    with database.write() as db:
        return sum(_forget(db, table, before, limit) for table in sealed_tables() if table not in APART)


def _forget(db: Connection, table: Table, before: int, limit: int) -> int:
    old = select(table.c.id).where(table.c.received_at < before, table.c.sealed.is_not(None))
    if table is events:
        old = old.where(~select(deliveries.c.id).where(deliveries.c.event == events.c.id, WAITING).exists())
    if table is hooks:
        old = old.where(hooks.c.verdict != "incomplete")
    values: dict[str, Any] = {"sealed": None} | ({"marks": None} if table is hooks else {})
    some = old.order_by(table.c.received_at).limit(limit)
    return db.execute(update(table).where(table.c.id.in_(some)).values(values)).rowcount
