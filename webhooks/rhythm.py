"""Whether a shop has been silent for longer than is usual for it.

A shop is compared with itself. The time since its last hook is laid over the same hours of the weeks before:
a shop that sells nothing on Sunday nights never did, and one that sold at that time in each of the weeks, and
many times, has lost its hooks or its checkout. The median does not mind one week of a campaign, a single week
of silence is enough not to alarm, and so many sales do not fail to happen by chance: where 15 are usual, none
comes about once in three million times.
"""

from statistics import median

import msgspec
from sqlalchemy import Connection, func, select

from webhooks.clock import DAY, MINUTE
from webhooks.comparing import SOURCE
from webhooks.database import Database
from webhooks.schema import events

WEEK = 7 * DAY
WEEKS = 4
FEWEST_WEEKS = 2
USUAL = 15
"""Sales that a silence must have cost before it is unusual."""

SHORTEST = 30 * MINUTE
LONGEST = 3 * DAY
"""So far back a hook is looked for: a longer silence is as unusual."""


class Silence(msgspec.Struct, frozen=True):
    """No hook since ``since`` (milliseconds), if not longer. ``usual``: the median of sales at the same time
    of the weeks before."""

    since: int
    usual: int


def silence(database: Database, shop: str, now: int) -> Silence | None:
    """The shop's silence if it is unusual, else None."""
    with database.read() as db:
        last = _last_hook(db, shop, now - LONGEST)
        if now - last < SHORTEST:
            return None
        span = now - last
        weeks = [_sales(db, shop, last - number * WEEK, span) for number in range(1, WEEKS + 1)]
    while weeks and weeks[-1] == 0:  # before the shop's first order, as far as we know
        weeks.pop()
    if len(weeks) < FEWEST_WEEKS or min(weeks) == 0 or median(weeks) < USUAL:
        return None
    return Silence(last, int(median(weeks)))


def _last_hook(db: Connection, shop: str, since: int) -> int:
    """When the shop's last hook came that told of a sale; ``since`` if none has come since then."""
    hooks = (
        select(events.c.received_at)
        .where(events.c.received_at >= since, events.c.shop == shop, events.c.source != SOURCE)
        .order_by(events.c.received_at.desc())
        .limit(1)
    )
    last: int | None = db.execute(hooks).scalar()
    return since if last is None else last


def _sales(db: Connection, shop: str, since: int, span: int) -> int:
    """What was sold in that time, however we heard of it: that is the shop's rhythm."""
    sold = select(func.count()).where(
        events.c.received_at > since,
        events.c.received_at <= since + span,
        events.c.shop == shop,
        events.c.event_name == "Purchase",
    )
    return int(db.execute(sold).scalar_one())
