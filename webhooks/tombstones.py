"""Tombstones: what was erased and must not come back, by whichever way a copy arrives.

An order's tombstone stands for good. A person's, and a shop's, stands for what was ordered up to the time
of the request: whoever orders again afterwards is welcome. Both are marks (`marks.py`): nobody can read a
name off them, and they outlive what they are about.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, Text, bindparam, case, select

from webhooks.database import Database
from webhooks.prepared import Prepared
from webhooks.schema import tombstones

ERASED = "erased"
"""The reason of a hook that tells of what was erased, and of a delivery that was not sent because of it."""


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """By what a hook can be found, and be recognised as a copy of what was erased.

    ``marks`` are written beside it, ``orders`` and ``people`` are looked up among the tombstones;
    ``ordered_at`` is in milliseconds. ``digest`` stands for the hook's own if it is such a copy.
    """

    marks: str
    orders: tuple[str, ...]
    people: tuple[str, ...]
    ordered_at: int
    digest: bytes


NO_TRACES = Traces(marks="", orders=(), people=(), ordered_at=0, digest=b"")


class Tombstones:
    """Asks for many hooks at once."""

    def __init__(self, database: Database) -> None:
        self._covering = {size: Prepared(database, _covering(size), _names(size)) for size in _SIZES}

    def cover(self, db: Connection, several: Sequence[Traces]) -> list[bool]:
        """Of each, whether it tells of something that was erased."""
        sought = sorted({mark for traces in several for mark in (*traces.orders, *traces.people)})
        until: dict[str, int | None] = {}
        while sought:
            size = next((size for size in _SIZES if len(sought) <= size), _SIZES[-1])
            some, sought = sought[:size], sought[size:]
            padded = some + [""] * (size - len(some))
            until.update(self._covering[size].rows(db, dict(zip(_names(size), padded, strict=True))))
        return [_is_covered(traces, until) for traces in several]


def _is_covered(traces: Traces, until: Mapping[str, int | None]) -> bool:
    laid = [until[mark] for mark in (*traces.orders, *traces.people) if mark in until] if until else ()
    return any(last is None or traces.ordered_at <= last for last in laid)


_SIZES = (8, 64)
"""As many marks as an order mostly has, and those of several. A list of any length would be compiled anew."""


def _names(size: int) -> list[str]:
    return [f"mark_{number}" for number in range(size)]


def _covering(size: int) -> Select[Any]:
    sought = [bindparam(name, type_=Text) for name in _names(size)]
    return select(tombstones.c.mark, tombstones.c.until).where(tombstones.c.mark.in_(sought))


def lay(
    database: Database, db: Connection, shop: str, marks: Iterable[str], at: int, why: str, until: int | None
) -> None:
    """Lays tombstones, for good or for what was ordered ``until`` then. Those that are there stay, and never
    cover less than before."""
    rows = [{"shop": shop, "mark": mark, "at": at, "why": why, "until": until} for mark in sorted(set(marks))]
    if not rows:
        return
    insert = database.insert(tombstones)
    then, now = tombstones.c.until, insert.excluded.until
    longest = case((then.is_(None) | now.is_(None), None), (then > now, then), else_=now)
    db.execute(insert.on_conflict_do_update(index_elements=["mark"], set_={"until": longest}), rows)
