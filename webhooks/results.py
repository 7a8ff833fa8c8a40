"""What became of a shop's sales, day by day: told by hooks, found in its list, delivered or not.

Counted from the ledger alone. A day is one of UTC, and a sale belongs to the day on which it was made.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from webhooks.clock import DAY, rfc3339
from webhooks.comparing import SOURCE
from webhooks.database import Database
from webhooks.schema import deliveries, events

SAMPLE, SMALL_SAMPLE = 100, 20


class Result(msgspec.Struct, kw_only=True):
    """One day of one shop. ``listed``: so many of its sales the store's own list was seen to have;
    ``received``: by hook, ``pulled``: from the list, since no hook had told. ``deliveries`` counts by
    destination and state."""

    day: str
    shop: str
    listed: int = 0
    received: int = 0
    pulled: int = 0
    deliveries: dict[str, dict[str, int]] = {}

    @property
    def discrepancy(self) -> float | None:
        """The share of sales without a hook; None without sales."""
        sold = self.received + self.pulled
        return self.pulled / sold if sold else None


def results(database: Database, since: int, until: int, shops: Iterable[str]) -> list[Result]:
    """Each day with sales from then on (milliseconds), the first one first."""
    found: dict[tuple[str, int], Result] = {}

    def of(shop: str, day: int) -> Result:
        name = (rfc3339(day * DAY) or "")[:10]
        return found.setdefault((shop, day), Result(day=name, shop=shop))

    sold = _sold(since, until, shops)
    with database.read() as db:
        for row in db.execute(_BY_SOURCE.where(*sold)):
            one = of(row.shop, row.day)
            one.listed += row.listed
            if row.source == SOURCE:
                one.pulled += row.number
            else:
                one.received += row.number
        for row in db.execute(_BY_STATE.where(*sold)):
            states = of(row.shop, row.day).deliveries
            states[row.destination] = states.get(row.destination, {}) | {row.state: row.number}
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]


_DAY = events.c.event_time.op("/")(DAY).label("day")
_BY_SOURCE = select(
    events.c.shop,
    _DAY,
    events.c.source,
    func.count().label("number"),
    func.count(events.c.listed_at).label("listed"),
).group_by(events.c.shop, _DAY, events.c.source)
_BY_STATE = (
    select(events.c.shop, _DAY, deliveries.c.destination, deliveries.c.state, func.count().label("number"))
    .join_from(events, deliveries)
    .group_by(events.c.shop, _DAY, deliveries.c.destination, deliveries.c.state)
)


def _sold(since: int, until: int, shops: Iterable[str]) -> tuple[Any, ...]:
    return (
        events.c.received_at >= since,  # for its index: nothing is received before it is sold
        events.c.event_time >= since,
        events.c.event_time < until,
        events.c.event_name == "Purchase",
        events.c.shop.in_(list(shops)),
    )


# --- how many hooks are lost at present --------------------------------------------------------------------


class Losses(msgspec.Struct, frozen=True):
    """Of the newest ``sold`` sales, ``lost`` came without a hook."""

    sold: int
    lost: int

    def exceed(self, percent: int) -> bool:
        """Whether that is more than can be put down to chance: a single order or two are not."""
        return self.lost > 2 and self.lost * 100 > percent * self.sold


def losses(database: Database, shop: str, since: int, now: int) -> Losses:
    """Of the newest hundred sales of a day; in a small shop, the newest twenty of a week.

    So many that chance evens out. Once the newest twenty came with a hook it is over. What was sold before
    ``since`` (milliseconds) does not count: its cause is known, and over as well.
    """
    with database.read() as db:
        for span, size in ((DAY, SAMPLE), (7 * DAY, SMALL_SAMPLE)):
            sources = _newest(db, shop, max(now - span, since), size)
            if len(sources) >= SMALL_SAMPLE:
                break
    is_over = len(sources) >= SMALL_SAMPLE and SOURCE not in sources[:SMALL_SAMPLE]
    return Losses(len(sources), 0 if is_over else sources.count(SOURCE))


def _newest(db: Connection, shop: str, since: int, size: int) -> list[str]:
    newest = (
        select(events.c.source)
        .where(*_sold(since, _NEVER, [shop]))
        .order_by(events.c.event_time.desc(), events.c.id.desc())
        .limit(size)
    )
    return list(db.execute(newest).scalars())


_NEVER = 2**62


def as_line(one: Result) -> Mapping[str, Any]:
    """For JSON."""
    return {**msgspec.to_builtins(one), "discrepancy": one.discrepancy}
