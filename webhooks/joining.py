"""Joins an order with what its shopper's browser told: enriches the event, and judges the pixel's ids.

One transaction: the event is sealed anew with what it lacked, the beacon is given to it, what was fired is
judged, and what waited is due. What was delivered already stays as it was sent.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from integrations import discovery
from integrations import event as events
from integrations.destination import Account
from integrations.event import DEFAULT_EVENT_ID, Event
from integrations.store import Shop
from webhooks import beacon, learning, mismatch, reporting
from webhooks.beacon import Beacon, Id
from webhooks.clock import SECOND, now_ms
from webhooks.enriching import bridges, enriched, fits, hardest, lacks_all, names_of
from webhooks.mismatch import Right
from webhooks.relay import Relay
from webhooks.twins import NOTHING_EXPECTED, Expected, Sighting
from webhooks.vault import Sealed

log = reporting.logger(__name__)

SOON = 2 * SECOND
"""How long an order waits for the join with a beacon that is here already: it takes milliseconds."""


def expected(relay: Relay, shop: Shop, event: Event) -> Expected:
    """Of an event that is about to be recorded."""
    if not shop.origins or event.event_name != "Purchase":
        return NOTHING_EXPECTED
    names = names_of(event)
    found = bridges(shop.slug, names)
    if relay.twins.any_alone(bridges(shop.slug, hardest(names))):
        return Expected(found, SOON)
    waits = event.origin == "web" and lacks_all(event, captures(relay, shop))
    return Expected(found, shop.beacon_wait * SECOND if waits else 0)


def captures(relay: Relay, shop: Shop) -> tuple[str, ...]:
    """The names that the shop's destinations look up among what a storefront hands on."""
    accounts = [account for slug in shop.accounts if (account := relay.settings.account(slug))]
    names = (name for account in accounts for name in relay.destination(account).captures(account))
    return tuple(dict.fromkeys(names))


def join(relay: Relay, shop: Shop, found: Sequence[bytes], order: int | None = None) -> bool:
    """Gives beacons without an order to the order that has the same bridges: this one, or whichever it is.
    True if deliveries became due. Raises SQLAlchemy's errors; may be called again and again."""
    if not found or not relay.twins.any_alone(found):
        return False
    orders = relay.twins.orders(shop.slug, found) if order is None else [order]
    return max([_join(relay, shop, number, found) for number in orders], default=False)


def _join(relay: Relay, shop: Shop, order: int, found: Sequence[bytes]) -> bool:
    with relay.database.write() as db:
        sealed = relay.twins.order(db, order)
        if sealed is None:
            relay.twins.empty(db, found, order)
            return False
        event = before = _opened(relay, sealed, events.decode)
        if event is None:
            return False
        is_proved = False
        for twin in relay.twins.alone(db, found):
            told = _opened(relay, twin["sealed"], beacon.decode)
            fit = fits(event, told.names) if told is not None else ""
            if told is None or not fit:
                continue
            relay.twins.give(db, twin["id"], order, fit)
            if fit == "proved":
                is_proved = True
                event = _learned(relay, shop, event, told)
                relay.twins.note(db, twin["id"], order, _judged(relay, db, shop, event, told, order))
        now, is_changed = now_ms(), event != before
        is_due = is_changed and learning.write(relay, db, order, event, "beacon", now)
        is_due |= is_proved and relay.twins.release(db, order, now)
    if is_changed:
        is_due |= learning.pass_on(relay, order, "beacon", now)
    return is_due


T = TypeVar("T")


def _opened(relay: Relay, sealed: bytes, decode: Callable[[bytes], T]) -> T | None:
    try:
        return decode(relay.vault.open(sealed))
    except (Sealed, msgspec.MsgspecError) as error:
        log.warning("a beacon and its order cannot be joined: one cannot be read", error=error)
        return None


def _learned(relay: Relay, shop: Shop, event: Event, told: Beacon) -> Event:
    """The event with what it lacked. Of what event ids are made a browser has no say."""
    keys = {key for template in shop.event_ids.values() for key in events.keys_in(template)}
    return enriched(event, told, captures(relay, shop), keys)


# --- the audit -------------------------------------------------------------------------------------------


def _judged(
    relay: Relay, db: Connection, shop: Shop, event: Event, told: Beacon, number: int
) -> list[Sighting]:
    """What the browser fired at each of the shop's accounts, and whether the server tells of the same."""
    seen: list[Sighting] = []
    for slug, event_id in relay.twins.ids(db, number).items():
        account = relay.settings.account(slug)
        if account is None:
            continue
        right = _right(relay, shop, event, account, event_id)
        seen += _own(relay, db, number, slug, right, told)
        seen += _others(account, right, told)
    return seen


def _right(relay: Relay, shop: Shop, event: Event, account: Account, event_id: str) -> Right:
    templates = {DEFAULT_EVENT_ID, *shop.event_ids.values()}
    others = [
        events.event_id(msgspec.structs.replace(event, shop=other.slug), template)
        for other in relay.settings.shops
        if other.slug != shop.slug and (template := other.event_ids.get(account.slug))
    ]
    return Right(
        event_id=event_id,
        event_name=relay.destination(account).browser_event(account),
        names=names_of(event),
        templates=tuple(events.event_id(event, template) for template in sorted(templates)),
        shops=tuple(others),
        native=discovery.stores()[shop.store].native_ids,
    )


def _own(
    relay: Relay, db: Connection, number: int, account: str, right: Right, told: Beacon
) -> Iterable[Sighting]:
    """What the shop's snippet fired itself. An id that the pixel was not called with says only that it was
    blocked."""
    if account not in told.fired:
        if account in told.event_ids:
            yield _sighting(account, "blocked", right, "", own=True)
        return
    fired = told.event_ids.get(account)
    kind = mismatch.cause(right, right.event_name, fired)
    digest = _digest(fired)
    if kind not in {"", "missing_id"}:
        if relay.twins.fired_before(db, number, account) - {digest}:
            kind = "fired_twice"
        elif relay.twins.fired_for_another(db, number, account, digest):
            kind = "one_id_for_all"
    yield _sighting(account, kind, right, fired, own=True)


def _others(account: Account, right: Right, told: Beacon) -> Iterable[Sighting]:
    """What other code of the page fired. The same as our own is our own."""
    own = told.event_ids.get(account.slug) if account.slug in told.fired else None
    for one in told.seen:
        if one.destination == account.destination and (one.event_id is None or one.event_id != own):
            kind = mismatch.cause(right, one.event_name, one.event_id)
            yield _sighting(account.slug, kind, right, one.event_id, own=False)


def _sighting(account: str, kind: str, right: Right, fired: Id, *, own: bool) -> Sighting:
    shape = "" if kind in mismatch.HARMLESS else mismatch.shape(fired, right.names)
    return Sighting(account=account, kind=kind, shape=shape, own=own, digest=_digest(fired))


def _digest(fired: Id) -> bytes:
    return hashlib.sha256(msgspec.json.encode(fired)).digest()[:16]
