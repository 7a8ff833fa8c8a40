"""Seals everything anew under the newest key, so that the older ones may be thrown away."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, Table, bindparam, func, select, update

from webhooks.relay import Relay
from webhooks.schema import sealed_tables
from webhooks.vault import Sealed

CHUNK = 200


class Rotated(msgspec.Struct):
    """How many sealed records were looked at, sealed anew, and could be opened with no configured key."""

    seen: int = 0
    renewed: int = 0
    unreadable: int = 0


def total(relay: Relay) -> int:
    """How many records are sealed."""
    with relay.database.read() as db:
        kept = [select(func.count()).where(table.c.sealed.is_not(None)) for table in sealed_tables()]
        return sum(db.execute(count).scalar_one() for count in kept)


def rotate(relay: Relay) -> Iterator[Rotated]:
    """Goes through all records in short transactions, and tells after each how far it is.

    Cut off, it is simply begun again: what the newest key has sealed is left alone.
    """
    so_far = Rotated()
    for table in sealed_tables():
        last: int | None = 0
        while last is not None:
            with relay.database.write() as db:
                last = _chunk(relay, db, table, last, so_far)
            yield so_far


def _chunk(relay: Relay, db: Connection, table: Table, after: int, so_far: Rotated) -> int | None:
    """Renews the records that follow ``after``; returns the last id, None at the end."""
    rows = db.execute(
        select(table.c.id, table.c.sealed)
        .where(table.c.id > after, table.c.sealed.is_not(None))
        .order_by(table.c.id)
        .limit(CHUNK)
        .with_for_update()  # nobody forgets one of them in between, only to have it brought back
    ).all()
    renewed = []
    for number, token in rows:
        so_far.seen += 1
        if relay.vault.is_current(token):
            continue
        try:
            renewed.append({"one": number, "token": relay.vault.renew(token)})
        except Sealed:
            so_far.unreadable += 1
    if renewed:
        one = update(table).where(table.c.id == bindparam("one"))
        db.execute(one.values(sealed=bindparam("token")), renewed)
    so_far.renewed += len(renewed)
    return rows[-1].id if rows else None
