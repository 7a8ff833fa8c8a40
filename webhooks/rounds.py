"""The rounds that the sweep makes to the shops: watching over each, and comparing its list with the ledger.

Each shop has a thread of its own: one whose API is slow keeps nobody waiting, neither the others nor the
wake-up calls. They hold nothing that matters and die with the process.
"""

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from integrations.access import Away, NoAccess
from integrations.store import Shop
from webhooks import reporting, watching
from webhooks.reconciling import Reconciling
from webhooks.relay import Relay
from webhooks.shops import NotSetUp, Shops
from webhooks.transport import Transport
from webhooks.watching import Watching

log = reporting.logger(__name__)

AWAY_SECONDS = 3_600.0
"""So long a shop may be away before a person is told."""

AWAY = "A shop's own API has not answered for an hour: nobody looks after its hooks."
AWAY_REMEDY = "Look whether the shop is up, and whether this machine may call it."


class Rounds:
    """All shops of one relay."""

    def __init__(self, relay: Relay, stopping: threading.Event) -> None:
        self.relay, self.stopping = relay, stopping
        self._transport = Transport(connections=2)
        self.shops = Shops(self._transport)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begins; returns at once."""
        for shop in self.relay.settings.shops:
            one = Round(self.relay, self.shops, shop, self.stopping)
            thread = threading.Thread(target=one.run, name=f"round {shop.slug}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self, seconds: float = 2.0) -> None:
        """Waits a moment for who is under way; whatever is cut off is gone on with later."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
        self._transport.close()


class Round:
    """One shop's."""

    def __init__(self, relay: Relay, shops: Shops, shop: Shop, stopping: threading.Event) -> None:
        self.relay, self.shop, self.stopping = relay, shop, stopping
        self.watching = Watching(relay, shops, shop)
        self.reconciling = Reconciling(relay, shops, shop, stopping=stopping)
        self._away: dict[str, float] = {}

    def run(self) -> None:
        """Until we are to stop. First it watches, then it compares: what was lost has a cause."""
        settings = self.relay.settings
        watch_at = compare_at = 0.0
        while not self.stopping.is_set():
            if time.monotonic() >= watch_at:
                watch_at = time.monotonic() + settings.watch_seconds
                self.watch()
            if time.monotonic() >= compare_at:
                compare_at = time.monotonic() + settings.reconcile_seconds
                self.compare()
            self.stopping.wait(max(min(watch_at, compare_at) - time.monotonic(), 0.05))

    def watch(self) -> None:
        """One look at the subscriptions and at what has come."""
        self._step("look", self.watching.look)
        self._step("listen", self.watching.listen)

    def compare(self) -> None:
        """One comparison, and what it means."""
        self._step("compare", self._compare)
        self._step("weigh", self.watching.weigh)

    def _compare(self) -> None:
        slug = self.shop.slug
        try:
            found = self.reconciling.go_on()
        except NotSetUp:
            return
        except NoAccess as no:
            self.relay.alerts.raise_("shop_orders", slug, watching.REFUSED_ORDERS, no.remedy)
            return
        self.relay.alerts.clear("shop_orders", slug)
        if found is not None and found.tally.missing:
            log.warning("sales were taken in of which no hook told", shop=slug, count=found.tally.missing)

    def _step(self, name: str, step: Callable[[], None]) -> None:
        """One step, whose failure stops none of the others."""
        try:
            try:
                step()
            except Away as error:
                log.warning("a shop's own API did not answer as it should", error=error, shop=self.shop.slug)
                self._is_away(name)
            else:
                self._is_back(name)
        except SQLAlchemyError as error:
            log.warning("the database did not answer; going round again later", error=error)
        except Exception as error:  # noqa: BLE001 - our bug, of this shop alone
            reporting.alert("broken", "A round to a shop failed", error=error, shop=self.shop.slug)

    def _is_away(self, step: str) -> None:
        self._away.setdefault(step, time.monotonic())
        if time.monotonic() - min(self._away.values()) >= AWAY_SECONDS:
            self.relay.alerts.raise_("shop_away", self.shop.slug, AWAY, AWAY_REMEDY)

    def _is_back(self, step: str) -> None:
        self._away.pop(step, None)
        if not self._away:
            self.relay.alerts.clear("shop_away", self.shop.slug)
