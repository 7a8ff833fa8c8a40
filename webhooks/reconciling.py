"""Holds the orders that a shop's own list has against the ledger, and takes in what is missing.

Hooks are lost: a store gives up after hours, or at once, and may delete its subscription. Its list of orders
is complete. It is read in slices of time, by when an order changed; each window overlaps with the one before,
since a shop's clock may be wrong and an order may change while the pages are read. Up to where is kept in the
ledger, with the page to go on from.

Only what changed some time ago is asked for: a hook that is on its way tells more than the list.
"""

import threading
from collections.abc import Callable, Iterator

import msgspec

from integrations.access import Away, Page
from integrations.store import Shop
from webhooks import reporting
from webhooks.clock import DAY, HOUR, MINUTE, SECOND, milliseconds, now_ms
from webhooks.comparing import Comparison, Tally
from webhooks.cursors import Cursor, Cursors, Slice
from webhooks.relay import Relay
from webhooks.shops import Opened, Shops

log = reporting.logger(__name__)

OVERLAP = HOUR
"""By so much a shop's clock may be behind ours, and nothing is missed."""

SLICE = 6 * HOUR
LONGEST = 60 * DAY
"""No store tells of more without special leave, and no destination takes what is older."""

LEASE = 10 * MINUTE

PAUSE_SECONDS = 0.2
"""Between two pages: the shop's server has customers to wait on."""

TRIES = 5
"""Of a page, while the shop is away for a moment."""

LONGEST_WAIT_SECONDS = 60.0


class Found(msgspec.Struct, frozen=True):
    """What a comparison found from ``since`` to ``until``; ``is_done``: it was not cut off.

    ``lacks``: what an order from the list tells less than its hook, in words.
    """

    shop: str
    since: int
    until: int
    tally: Tally
    lacks: tuple[str, ...] = ()
    is_done: bool = True


Tell = Callable[[float, Tally], None]
"""Is told of the share that is done (0 to 1), and what was seen by then."""


class Reconciling:
    """One shop's comparison. Raises `NoAccess` and `Away`; what was done by then is done."""

    def __init__(
        self,
        relay: Relay,
        shops: Shops,
        shop: Shop,
        *,
        stopping: threading.Event | None = None,
        tell: Tell = lambda _share, _tally: None,
    ) -> None:
        self.relay, self.shops, self.shop = relay, shops, shop
        self.stopping = stopping or threading.Event()
        self.tell = tell
        self.cursors = Cursors(relay.database)

    # --- what is compared ----------------------------------------------------------------------------------

    def go_on(self) -> Found | None:
        """From where the last comparison ended. The first begins now: None, there is nothing to compare.
        None as well while somebody else compares."""
        now = now_ms()
        if not self.cursors.lease(self.shop.slug, now, now + LEASE):
            return None
        try:
            cursor = self.cursors.read(self.shop.slug, now)
            if cursor is None:
                self.cursors.begin(self.shop.slug, now)
                return None
            return self._run(_due(cursor, now), self._until(now), cursor.compared_from, cursor.begun)
        finally:
            self.cursors.keep(self.shop.slug, 0)

    def window(self, since: int, until: int | None = None, *, dry_run: bool = False) -> Found:
        """From then on, or up to ``until``. Without an end the shop's orders are ours from then on, and
        whatever is cut off here goes on later."""
        now = now_ms()
        cursor = self.cursors.read(self.shop.slug, now)
        sold_from = min(since, cursor.compared_from) if cursor else since
        if until is None and not dry_run:
            self.cursors.begin(self.shop.slug, since)
        end = self._until(now) if until is None else min(until, now)
        begun = cursor.begun if cursor else None
        return self._run(since, end, sold_from, begun, dry_run=dry_run)

    def _until(self, now: int) -> int:
        return now - milliseconds(self.relay.settings.reconcile_delay)

    # --- the slices ----------------------------------------------------------------------------------------

    def _run(
        self, since: int, until: int, sold_from: int, begun: Slice | None, *, dry_run: bool = False
    ) -> Found:
        with self.shops.open(self.shop) as api:
            work = Comparison(self.relay, self.shop, sold_from, api.complete, dry_run=dry_run)
            if api.reaches_back:
                since = max(since, now_ms() - milliseconds(api.reaches_back) + MINUTE)
            for one in _slices(since, until, None if dry_run else begun):
                share = (one.since - since) / max(until - since, 1)
                if not self._compare(api, work, one, share):
                    return Found(self.shop.slug, since, until, work.tally, api.lacks, is_done=False)
            self.tell(1.0, work.tally)
            return Found(self.shop.slug, since, until, work.tally, api.lacks)

    def _compare(self, api: Opened, work: Comparison, one: Slice, share: float) -> bool:
        """One slice to its end; False if we are to stop."""
        while True:
            self.tell(share, work.tally)
            read = self._read(api, one)
            if read is None:
                return False
            if work.compare(read.orders):
                self.relay.wake()
            one = msgspec.structs.replace(one, page=read.next)
            if not work.dry_run:
                self._note(one)
            if not read.next:
                return True
            if self.stopping.wait(PAUSE_SECONDS):
                return False

    def _note(self, one: Slice) -> None:
        now = now_ms()
        if one.page:
            self.cursors.turn(self.shop.slug, one, now)
            self.cursors.keep(self.shop.slug, now + LEASE)
        else:
            self.cursors.close(self.shop.slug, one, now)

    def _read(self, api: Opened, one: Slice) -> Page | None:
        """The page, however often that takes a shop that is away for a moment; None if we are to stop."""
        for number in range(1, TRIES + 1):
            if self.stopping.is_set():
                return None
            try:
                return api.pull(one.since // SECOND, one.until // SECOND, one.page)
            except Away as away:
                if number == TRIES:
                    raise
                asked = 2.0**number if away.retry_after is None else away.retry_after
                seconds = min(asked, LONGEST_WAIT_SECONDS)
                log.info("a shop is away for a moment", shop=self.shop.slug, seconds=seconds)
                self.stopping.wait(seconds)
        return None


def _due(cursor: Cursor, now: int) -> int:
    """From when on to compare: with what was compared last once more, but not before our time. If that was
    cut off just now, where it was."""
    if cursor.begun is not None and cursor.begun.since == cursor.compared_until:
        return cursor.begun.since
    return max(cursor.compared_until - OVERLAP, cursor.compared_from, now - LONGEST)


def _slices(since: int, until: int, begun: Slice | None) -> Iterator[Slice]:
    """From one time to another; the first one is the one that was cut off, if that fits."""
    at = since
    if begun is not None and begun.since == since and begun.until <= until:
        yield begun
        at = begun.until
    while at // SECOND < until // SECOND:
        yield Slice(at, min(at + SLICE, until))
        at = min(at + SLICE, until)
