"""Has a shop's store send exactly the needed hooks here, and looks whether it does.

Ours is what points to this shop's own address; all other subscriptions belong to somebody else and are left
alone. What was connected is noted in the ledger, and that alone is looked after: hooks that were made by hand
may not be visible through the store's API.
"""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import select, update

from integrations import discovery
from integrations.access import Away, NoAccess, Subscription
from integrations.setting import Secret
from integrations.store import Shop
from webhooks.audit import Entry
from webhooks.clock import now_ms
from webhooks.cursors import Cursors
from webhooks.database import Database
from webhooks.relay import Relay
from webhooks.schema import shops as table
from webhooks.settings import Settings
from webhooks.shops import Opened, Shops

State = Literal["active", "inactive", "elsewhere", "missing"]


class Need(msgspec.Struct, frozen=True):
    """A topic that the shop needs, and how its subscription stands.

    ``inactive``: the store sends nothing; ``detail`` says why. ``elsewhere``: only one that points to the
    same path of another address, as that of a relay which has moved.
    """

    topic: str
    state: State
    detail: str = ""
    api_version: str = ""


class View(msgspec.Struct, frozen=True):
    """A shop's subscriptions as we see them. ``surplus`` are ours and not needed, or there twice."""

    needs: tuple[Need, ...]
    surplus: tuple[Subscription, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every needed hook is sent."""
        return all(need.state == "active" for need in self.needs)


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """What `connect` did, or with ``dry_run`` would do. ``subscribed`` and ``ended`` are topics; ``needs``
    tells how they stand then, as the store reads them back.

    ``unknown_secret``: the store signs with it, and the shop's settings do not have it.
    """

    name: str
    address: str
    needs: tuple[Need, ...]
    subscribed: tuple[str, ...]
    ended: tuple[str, ...]
    hints: tuple[str, ...] = ()
    unknown_secret: Secret = Secret("")


def view(settings: Settings, shop: Shop, subscriptions: Sequence[Subscription]) -> View:
    """What of these is ours, and what is missing."""
    topics = discovery.stores()[shop.store].topics_of(shop)
    ours = [one for one in subscriptions if _is_ours(settings, shop, one)]
    kept: dict[str, Subscription] = {}
    for one in sorted(ours, key=lambda one: (not one.active, one.url != settings.hook_address(shop))):
        kept.setdefault(one.topic, one)
    needs = tuple(_need(settings, shop, topic, kept.get(topic), subscriptions) for topic in topics)
    surplus = tuple(one for one in ours if one.topic not in topics or one is not kept[one.topic])
    return View(needs, surplus)


def connect(
    relay: Relay, shops: Shops, shop: Shop, *, dry_run: bool = False, renew: bool = False
) -> Connected:
    """Subscribes what is missing, repairs what is paused, ends what is ours and not needed, and reads it all
    back. Doing it twice changes nothing. With ``renew`` all is ended and made anew. Raises `NoAccess` and
    `Away`."""
    with shops.open(shop) as api:
        name = api.probe()
        there = api.subscriptions()
        seen = view(relay.settings, shop, there)
        if renew:
            ours = [one for one in there if _is_ours(relay.settings, shop, one)]
            seen = View(view(relay.settings, shop, []).needs, tuple(ours))
        lacking = [need.topic for need in seen.needs if need.state != "active"]
        ended = tuple(one.topic for one in seen.surplus)
        done = Connected(
            name=name,
            address=relay.settings.hook_address(shop),
            needs=seen.needs,
            subscribed=tuple(lacking),
            ended=ended,
            hints=api.hints,
        )
        if dry_run:
            return done
        for one in seen.surplus:
            api.unsubscribe(one)
        made = _subscribe(relay, api, shop, lacking)
        after = _read_back(api, made)
    _note(relay, shop, "shops connect", len(lacking) + len(ended), now_ms())
    needs, secret = view(relay.settings, shop, after).needs, _unknown(relay.settings, shop, [*made, *after])
    return msgspec.structs.replace(done, needs=needs, unknown_secret=secret)


def _subscribe(relay: Relay, api: Opened, shop: Shop, topics: Sequence[str]) -> list[Subscription]:
    """A secret that was made up is shown once: whatever happens after it must not lose it."""
    made: list[Subscription] = []
    try:
        for topic in topics:
            made.append(api.subscribe(topic, relay.settings.hook_address(shop)))  # noqa: PERF401 - see above
    except (NoAccess, Away):
        if all(is_known(shop, one) for one in made):
            raise
    return made


def _read_back(api: Opened, made: Sequence[Subscription]) -> list[Subscription]:
    unlisted = [one for one in made if not one.id]  # sent, although the store does not list it
    try:
        return [*api.subscriptions(), *unlisted]
    except (NoAccess, Away):
        if not any(one.secret for one in made):
            raise
        return unlisted


def disconnect(relay: Relay, shops: Shops, shop: Shop, *, dry_run: bool = False) -> tuple[str, ...]:
    """Ends every subscription of ours; the topics that were sent here. Raises `NoAccess` and `Away`."""
    with shops.open(shop) as api:
        ours = [one for one in api.subscriptions() if _is_ours(relay.settings, shop, one)]
        if not dry_run:
            for one in ours:
                api.unsubscribe(one)
    if not dry_run:
        _note(relay, shop, "shops disconnect", len(ours), None)
    return tuple(one.topic for one in ours)


def connected_at(database: Database, shop: str) -> int | None:
    """Since when we look after the shop's subscriptions (milliseconds); None if we do not."""
    with database.read() as db:
        return db.execute(select(table.c.connected_at).where(table.c.shop == shop)).scalar()


def is_known(shop: Shop, subscription: Subscription) -> bool:
    """Whether we can verify what the store signs for it. Most stores do not tell what they sign with."""
    return not subscription.secret or subscription.secret in shop.secrets


# --- what is ours ------------------------------------------------------------------------------------------


def _need(
    settings: Settings, shop: Shop, topic: str, ours: Subscription | None, there: Sequence[Subscription]
) -> Need:
    if ours is not None:
        return Need(topic, "active" if ours.active else "inactive", ours.detail, ours.api_version)
    path = _place(settings.hook_address(shop))[2]
    moved = next((one for one in there if one.topic == topic and _place(one.url)[2] == path), None)
    if moved is None:
        return Need(topic, "missing")
    return Need(topic, "elsewhere", f"it points to {urlsplit(moved.url).netloc}", moved.api_version)


def _is_ours(settings: Settings, shop: Shop, one: Subscription) -> bool:
    address = settings.hook_address(shop)
    of_store = [other for other in settings.shops if other.store == shop.store]
    # The store's only shop may be addressed without its slug.
    short = {_place(address.rpartition("/")[0])} if len(of_store) == 1 else set()
    return _place(one.url) in {_place(address), *short}


def _place(url: str) -> tuple[str, str, str]:
    """The parts of an address by which two are the same. Never raises for what a store has."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", "", url
    return parts.scheme.lower(), parts.netloc.lower(), parts.path.rstrip("/")


def _unknown(settings: Settings, shop: Shop, subscriptions: Sequence[Subscription]) -> Secret:
    ours = [one for one in subscriptions if _is_ours(settings, shop, one)]
    return next((one.secret for one in ours if not is_known(shop, one)), Secret(""))


# --- what is noted -----------------------------------------------------------------------------------------


def _note(relay: Relay, shop: Shop, action: str, count: int, at: int | None) -> None:
    """Its orders are ours from the connection on, unless they have been so before."""
    now = now_ms()
    cursors = Cursors(relay.database)
    if at is not None and cursors.read(shop.slug, now) is None:
        cursors.begin(shop.slug, now)
    with relay.database.write() as db:
        row = relay.database.insert(table).values(shop=shop.slug).on_conflict_do_nothing()
        db.execute(row)
        same = update(table).where(table.c.shop == shop.slug)
        if at is not None:
            same = same.where(table.c.connected_at.is_(None))
        db.execute(same.values(connected_at=at))
        Entry(action, f"shop={shop.slug}").add(db, count)
