"""How far each shop's own list of orders was compared with the ledger, and where to go on.

Kept in the ledger, so that a comparison that is cut off goes on where it was. Times in milliseconds.
"""

from typing import Any

import msgspec
from sqlalchemy import and_, select, update

from webhooks.clock import HOUR
from webhooks.database import Database
from webhooks.schema import shops

GOOD_FOR = HOUR
"""So long a store can be expected to know what a page of its list was."""


class Slice(msgspec.Struct, frozen=True):
    """A piece of a shop's time, and the page of the store's list to go on from (``""``: the first)."""

    since: int
    until: int
    page: str = ""


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one shop; its orders are ours from ``compared_from`` on.

    ``begun`` is the slice that was cut off, if a store still knows its page.
    """

    compared_from: int
    compared_until: int
    compared_at: int | None = None
    begun: Slice | None = None


class Cursors:
    """The sentences about them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def read(self, shop: str, now: int) -> Cursor | None:
        """The shop's cursor; None before its first comparison."""
        with self.database.read() as db:
            row = db.execute(select(shops).where(shops.c.shop == shop)).mappings().first()
        if row is None or row["compared_from"] is None:
            return None
        begun = None
        if row["slice_at"] is not None and row["slice_at"] > now - GOOD_FOR:
            begun = Slice(row["slice_since"], row["slice_until"], row["slice_page"])
        names = ("compared_from", "compared_until", "compared_at")
        return Cursor(**{name: row[name] for name in names}, begun=begun)

    def begin(self, shop: str, since: int) -> None:
        """From then on the shop's orders are ours; one that begins earlier already stays as it is."""
        self._make(shop)
        later = shops.c.compared_from.is_(None) | (shops.c.compared_from > since)
        # What was compared began later: all from here on must be looked at once more.
        self._change(shop, later, compared_from=since, compared_until=since, slice_at=None)

    def lease(self, shop: str, now: int, until: int) -> bool:
        """Takes the shop for one comparison at a time; False if somebody else has it."""
        self._make(shop)
        return self._change(shop, shops.c.busy_until <= now, busy_until=until)

    def keep(self, shop: str, until: int) -> None:
        """Gives the lease back, or holds it for longer."""
        self._change(shop, busy_until=until)

    def turn(self, shop: str, begun: Slice, now: int) -> None:
        """Notes the page to go on from."""
        self._change(
            shop,
            slice_since=begun.since,
            slice_until=begun.until,
            slice_page=begun.page,
            slice_at=now,
        )

    def close(self, shop: str, done: Slice, now: int) -> None:
        """Notes that a slice was compared to its end. The cursor moves if nothing lies between."""
        self._change(shop, compared_at=now, slice_at=None)
        joins = and_(shops.c.compared_until >= done.since, shops.c.compared_until < done.until)
        self._change(shop, joins, compared_until=done.until)

    def _make(self, shop: str) -> None:
        with self.database.write() as db:
            db.execute(self.database.insert(shops).values(shop=shop).on_conflict_do_nothing())

    def _change(self, shop: str, *conditions: Any, **values: Any) -> bool:
        mine = update(shops).where(shops.c.shop == shop, *conditions).values(**values)
        with self.database.write() as db:
            return db.execute(mine.returning(shops.c.shop)).first() is not None
