"""Watches over shops: whether their stores still send the hooks, and whether these are worth anything.

What can be mended is mended at once; of everything a person is told once, with the remedy, and again when
it is over. Subscriptions are looked after only where `shops connect` has made them.
"""

from collections.abc import Iterable

import msgspec
from sqlalchemy import select

from integrations import discovery
from integrations.access import Away, NoAccess
from integrations.store import Incomplete, Malformed, NotAnEvent, Shop
from webhooks import connecting, reporting, results, rhythm
from webhooks.clock import DAY, SECOND, now_ms
from webhooks.connecting import Need
from webhooks.cursors import Cursors
from webhooks.relay import Relay
from webhooks.schema import events, hooks
from webhooks.shops import Opened, Shops
from webhooks.vault import Sealed

log = reporting.logger(__name__)

VERSION_DAYS = 60
"""So long before its end an API version is worth telling of."""

_LOOKED_AT = 5
"""Hooks in quarantine, the newest ones."""


class Trouble(msgspec.Struct, frozen=True):
    """What a person is told: the cause's word, what is wrong, what to do."""

    cause: str
    sentence: str
    remedy: str


_MENDED = "It is subscribed anew by itself; if this comes again, look at the relay's answers in the store."

MISSING = Trouble(
    "subscription", "The store no longer sends a shop's hooks: a subscription is gone.", _MENDED
)
DISABLED = Trouble(
    "subscription", "The store no longer sends a shop's hooks: a subscription is switched off.", _MENDED
)
ELSEWHERE = Trouble("subscription", "The store sends a shop's hooks to another address.", _MENDED)
UNSIGNED = Trouble(
    "subscription",
    "The store no longer sends a shop's hooks, and would sign them with a secret that is not known here.",
    "Run `purchase-relay shops connect` for the shop: it tells the new secret, once.",
)
VERSION = Trouble(
    "api_version",
    "A shop's hooks come in a version that its store soon supports no longer.",
    "Upgrade the relay, choose a newer version in the store, and run `purchase-relay shops connect`.",
)
NO_ORDERS = Trouble(
    "store_needs_you",
    "A shop's hooks are signed, but hold no usable order: its store withholds it, or leaves fields out.",
    "See `purchase-relay quarantine list`; where the store lost the hook's owner, `shops connect --renew` "
    "with an administrator's credentials helps.",
)
SILENT = Trouble(
    "silence",
    "No hook has come from a shop for longer than is usual for it.",
    "Look whether the shop sells; see `purchase-relay shops list --check` and the store's own page of hooks.",
)
NOTHING_SOLD = Trouble(
    "silence",
    "A shop has sold nothing for longer than is usual for it: its own list has no order either.",
    "Try its checkout.",
)
LOST = Trouble(
    "hooks_lost",
    "Many of a shop's sales come without a hook; they were found in its own list.",
    "See `purchase-relay reconcile` for the figures, and the store's own page of hooks for failures.",
)
REFUSED = "A shop's own API refuses us: its subscriptions are not looked after."
REFUSED_ORDERS = "A shop's own API does not show its orders: what hooks do not tell is not found."


class Watching:
    """One shop. Raises SQLAlchemy's errors alone."""

    def __init__(self, relay: Relay, shops: Shops, shop: Shop) -> None:
        self.relay, self.shops, self.shop = relay, shops, shop
        self._given_up = False

    # --- subscriptions -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Looks at the subscriptions, and mends them. Raises `Away`."""
        if connecting.connected_at(self.relay.database, self.shop.slug) is None:
            return
        try:
            with self.shops.open(self.shop) as api:
                self._look(api)
        except NoAccess as no:
            self.relay.alerts.raise_("shop_access", self.shop.slug, REFUSED, no.remedy)
        else:
            self.relay.alerts.clear("shop_access", self.shop.slug)

    def _look(self, api: Opened) -> None:
        seen = connecting.view(self.relay.settings, self.shop, api.subscriptions())
        self._judge_versions(seen.needs)
        if seen.is_whole:
            self._given_up = False
            self._clear(MISSING)
            return
        lacking = [need for need in seen.needs if need.state != "active"]
        self._raise(UNSIGNED if self._given_up else _worst(lacking))
        if not self._given_up:
            self._mend(api, lacking)

    def _mend(self, api: Opened, lacking: Iterable[Need]) -> None:
        for need in lacking:
            made = api.subscribe(need.topic, self.relay.settings.hook_address(self.shop))
            log.warning("a subscription was made again", shop=self.shop.slug, topic=need.topic)
            if not connecting.is_known(self.shop, made):
                # Its hooks would be refused, and its secret could not be told to anybody: only `connect` can.
                self._given_up = True
                api.unsubscribe(made)
                self._raise(UNSIGNED)
                return

    def _judge_versions(self, needs: Iterable[Need]) -> None:
        store = discovery.stores()[self.shop.store]
        ends = [store.supported_until(need.api_version) for need in needs if need.api_version]
        soon = now_ms() // SECOND + VERSION_DAYS * DAY // SECOND
        if any(end is not None and end < soon for end in ends):
            self._raise(VERSION)
        elif ends:
            self._clear(VERSION)

    # --- what the ledger tells -----------------------------------------------------------------------------

    def listen(self) -> None:
        """Looks at what has come, and what has not."""
        if not self.is_alarmed():
            self._clear(NO_ORDERS)
        elif self._raise(NO_ORDERS):
            self._renew()
        silent = rhythm.silence(self.relay.database, self.shop.slug, now_ms())
        if silent is None:
            self._clear(SILENT)
        else:
            self._raise(NOTHING_SOLD if self._sold_nothing(silent.since) else SILENT)

    def _renew(self) -> None:
        """Has the hooks made anew, once: they then belong to whom our credentials belong to. Where that would
        change the secret, only a person can."""
        store, database = discovery.stores()[self.shop.store], self.relay.database
        if store.makes_secret or connecting.connected_at(database, self.shop.slug) is None:
            return
        try:
            connecting.connect(self.relay, self.shops, self.shop, renew=True)
        except (NoAccess, Away) as error:
            log.warning("a shop's hooks could not be made anew", error=error, shop=self.shop.slug)

    def is_alarmed(self) -> bool:
        """Whether the newest hooks ask for somebody at the store, and no sale has come since."""
        newest = (
            select(hooks.c.sealed, hooks.c.last_received_at)
            .where(hooks.c.shop == self.shop.slug, hooks.c.verdict == "quarantined")
            .where(hooks.c.last_received_at > now_ms() - 7 * DAY, hooks.c.sealed.is_not(None))
            .order_by(hooks.c.id.desc())
            .limit(_LOOKED_AT)
        )
        with self.relay.database.read() as db:
            alarms = [
                row.last_received_at for row in db.execute(newest) if self._asks_for_somebody(row.sealed)
            ]
            if not alarms:
                return False
            good = select(events.c.id).where(
                events.c.received_at > max(alarms),
                events.c.shop == self.shop.slug,
                events.c.source == "webhook",
            )
            return db.execute(good.limit(1)).first() is None

    def _asks_for_somebody(self, sealed: bytes) -> bool:
        try:
            hook = self.relay.vault.open_hook(sealed)
            discovery.stores()[self.shop.store].read(hook, self.shop)
        except Malformed as no:
            return no.alarm
        except (Sealed, NotAnEvent, Incomplete):
            return False
        return False

    def _sold_nothing(self, since: int) -> bool:
        cursor = Cursors(self.relay.database).read(self.shop.slug, now_ms())
        if cursor is None or not cursor.compared_from <= since < cursor.compared_until - rhythm.SHORTEST:
            return False
        found = select(events.c.id).where(events.c.received_at > since, events.c.shop == self.shop.slug)
        with self.relay.database.read() as db:
            return db.execute(found.limit(1)).first() is None

    def weigh(self) -> None:
        """Looks how many of the newest sales came without a hook. A cause that is known is not told twice."""
        slug, alerts = self.shop.slug, self.relay.alerts
        if any(one.subject == slug for one in alerts.open(MISSING.cause)):
            return
        since = alerts.ended(MISSING.cause, slug) or 0
        losses = results.losses(self.relay.database, slug, since, now_ms())
        if losses.exceed(self.relay.settings.reconcile_alert):
            alerts.raise_(LOST.cause, slug, LOST.sentence, LOST.remedy, count=losses.lost)
        else:
            self._clear(LOST)

    # --- alerts --------------------------------------------------------------------------------------------

    def _raise(self, trouble: Trouble) -> bool:
        return self.relay.alerts.raise_(trouble.cause, self.shop.slug, trouble.sentence, trouble.remedy)

    def _clear(self, trouble: Trouble) -> None:
        self.relay.alerts.clear(trouble.cause, self.shop.slug)


def _worst(lacking: Iterable[Need]) -> Trouble:
    states = {need.state for need in lacking}
    if "missing" in states:
        return MISSING
    return DISABLED if "inactive" in states else ELSEWHERE
