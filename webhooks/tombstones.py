"""Tombstones: what was erased and must not come back, by whichever way a copy arrives.

An order's tombstone stands for good. A person's, and a shop's, stands for what was ordered up to the time
of the request: whoever orders again afterwards is welcome. Both are marks (`marks.py`): nobody can read a
name off them, and they outlive what they are about.
"""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, bindparam, case, select

from webhooks.database import Database
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


def covers(db: Connection, traces: Traces) -> bool:
    """Whether it tells of something that was erased."""
    sought = (*traces.orders, *traces.people)
    for first in range(0, len(sought), len(_NO_MARKS)):
        some = dict(zip(_NO_MARKS, sought[first : first + len(_NO_MARKS)], strict=False))
        rows = db.execute(_COVERING, _NO_MARKS | some)
        if any(until is None or traces.ordered_at <= until for (until,) in rows):
            return True
    return False


_NO_MARKS = {f"mark_{number}": "" for number in range(8)}
"""As many as an order mostly has. Every hook asks: a list of any length would take twice the time."""

_COVERING = select(tombstones.c.until).where(tombstones.c.mark.in_([bindparam(name) for name in _NO_MARKS]))


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
