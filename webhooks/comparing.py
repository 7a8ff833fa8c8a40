"""The pages of a shop's own list of orders, held against the ledger.

What the ledger lacks enters by the way that a hook's order takes, under the same identity: a hook that comes
late adds nothing, and neither does a second look at the list.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select, update

from integrations.access import Away, Pulled
from integrations.event import Event
from integrations.store import Shop
from webhooks import recording, reporting
from webhooks.clock import SECOND, now_ms, rfc3339
from webhooks.recording import Judged
from webhooks.relay import Relay
from webhooks.schema import events, hooks

log = reporting.logger(__name__)

Complete = Callable[[Pulled], Pulled]

SOURCE = "pulled"
"""The source of an event that was found in its shop's list, and of which no hook had told."""


class Day(msgspec.Struct):
    """Sales of one day (UTC) as the store lists them, and how many of them the ledger lacked."""

    sold: int = 0
    missing: int = 0


class Tally(msgspec.Struct):
    """What was seen. ``orders`` of any kind; of the ``sold`` ones ``missing`` were unknown, and ``earlier``
    count to neither: they are older than our time. ``aside``: could not be read, and was quarantined."""

    orders: int = 0
    sold: int = 0
    missing: int = 0
    earlier: int = 0
    aside: int = 0
    days: dict[str, Day] = {}

    def count(self, event: Event, *, missing: bool) -> None:
        """A sale, and whether the ledger lacked it."""
        name = (rfc3339(event.event_time * SECOND) or "")[:10]
        day = self.days.setdefault(name, Day())
        for one in (self, day):
            one.sold += 1
            one.missing += missing


class Comparison:
    """One shop's list, page by page, and what was seen of it. With ``dry_run`` nothing is written."""

    def __init__(
        self, relay: Relay, shop: Shop, sold_from: int, complete: Complete, *, dry_run: bool
    ) -> None:
        """``sold_from`` (milliseconds): what was sold before, and is unknown, is not ours."""
        self.relay, self.shop, self.sold_from, self.dry_run = relay, shop, sold_from, dry_run
        self._complete = complete
        self.tally = Tally()
        self._orders: set[str] = set()
        self._sales: set[str] = set()

    def compare(self, orders: Sequence[Pulled]) -> bool:
        """Counts, and records what is missing; True if that is anything to deliver."""
        judged = [self._judge(one) for one in orders]
        known = self._known(judged)
        heard = self._heard(one.arrival.order_id for one in judged if one.event is None)
        self._orders.update(one.order_id for one in orders)
        self.tally.orders = len(self._orders)
        news = [
            self._of_another(one, known, heard)
            if one.event is None
            else self._of_sale(pulled, one, one.event, known)
            for pulled, one in zip(orders, judged, strict=True)
        ]
        self._note_listed(judged, known)
        return any(news)

    def _judge(self, pulled: Pulled) -> Judged:
        return recording.judge(self.relay, self.shop, pulled.hook, now_ms())

    def _of_sale(self, pulled: Pulled, judged: Judged, event: Event, known: "_Known") -> bool:
        is_known = (event.event_name, event.key) in known
        if not is_known and event.event_time * SECOND < self.sold_from:
            self.tally.earlier += event.key not in self._sales
            self._sales.add(event.key)
            return False
        if is_known and not _unknown_refunds(judged, known):
            self._count(event, missing=False)
            return False
        if self.dry_run:
            self._count(event, missing=not is_known)
            return False
        whole = judged if is_known else self._whole(pulled, judged)
        recorded = recording.record(self.relay, self.shop, whole, source=SOURCE)
        if recorded.event is not None:  # None: it was erased, and must not come back
            self._count(event, missing=recorded.is_new)
        return recorded.is_new or recorded.new_refunds > 0

    def _whole(self, pulled: Pulled, judged: Judged) -> Judged:
        """The order with what takes a call of its own. It is worth more without that than not at all."""
        try:
            completed = self._complete(pulled)
        except Away as away:
            log.warning("an order is taken in without its details", error=away, shop=self.shop.slug)
            return judged
        whole = judged if completed is pulled else self._judge(completed)
        return judged if whole.event is None else whole

    def _of_another(self, judged: Judged, known: "_Known", heard: set[str]) -> bool:
        """No sale, or none that can be read as it is: that is kept for an operator, unless a hook was."""
        arrival = judged.arrival
        is_odd = arrival.verdict != "not_an_event" and arrival.order_id not in heard
        if is_odd:
            self.tally.aside += arrival.verdict == "quarantined"
        if self.dry_run or not (is_odd or _unknown_refunds(judged, known)):
            return False
        return recording.record(self.relay, self.shop, judged, source=SOURCE).new_refunds > 0

    def _count(self, event: Event, *, missing: bool) -> None:
        """Each sale once: what changed at the end of one slice stands at the beginning of the next, too."""
        if event.key not in self._sales:
            self._sales.add(event.key)
            self.tally.count(event, missing=missing)

    # --- the ledger ---------------------------------------------------------------------------------------

    def _known(self, judged: Iterable[Judged]) -> "_Known":
        keys = [event.key for one in judged for event in (one.event, *one.refunds) if event is not None]
        asked = select(events.c.event_name, events.c.key, events.c.listed_at).where(
            events.c.shop == self.shop.slug,
            events.c.event_name.in_(("Purchase", "Refund")),
            events.c.key.in_(keys),
        )
        with self.relay.database.read() as db:
            return {(row.event_name, row.key): row.listed_at is not None for row in db.execute(asked)}

    def _heard(self, orders: Iterable[str]) -> set[str]:
        """Those of the orders of which the ledger has more than that they were no sale."""
        asked = select(hooks.c.order_id).where(
            hooks.c.shop == self.shop.slug,
            hooks.c.order_id.in_([order for order in orders if order]),
            hooks.c.verdict != "not_an_event",
        )
        with self.relay.database.read() as db:
            return set(db.execute(asked).scalars())

    def _note_listed(self, judged: Iterable[Judged], known: "_Known") -> None:
        sales = [one.event for one in judged if one.event is not None]
        new = [event.key for event in sales if not known.get((event.event_name, event.key))]
        if self.dry_run or not new:
            return
        listed: Any = update(events).where(
            events.c.shop == self.shop.slug,
            events.c.event_name == "Purchase",
            events.c.key.in_(new),
            events.c.listed_at.is_(None),
        )
        with self.relay.database.write() as db:
            db.execute(listed.values(listed_at=now_ms()))


_Known = dict[tuple[str, str], bool]
"""Events of the ledger by name and key, and whether the store's list was seen to have them."""


def _unknown_refunds(judged: Judged, known: _Known) -> bool:
    return any((refund.event_name, refund.key) not in known for refund in judged.refunds)
