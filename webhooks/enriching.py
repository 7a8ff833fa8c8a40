"""Which order a beacon is about, and what it may add to that order's event. Pure.

It adds what the order does not carry: click ids, cookies, the browser's address and agent, the site, consent.
What was sold, for how much and to whom only the store says.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from integrations.event import Buyer, Consent, ConsentState, Event
from webhooks.beacon import Beacon

NUMBERS = ("order_id", "order_name", "order_number")
"""Names of an order that anybody can guess. All others are known to the shop and to the shopper's browser."""

Fit = Literal["", "named", "proved"]
"""How a beacon belongs to an order: not; by numbers alone; by all that could be asked for."""


def names_of(event: Event) -> dict[str, str]:
    """Every name that the order has."""
    known = {**event.names, "order_id": event.order_id, "order_name": event.order_name}
    return {name: value for name, value in known.items() if value}


def hardest(names: Mapping[str, str]) -> dict[str, str]:
    """Those of an order's names by which a beacon proves itself: what nobody can guess, if there is such."""
    return {name: value for name, value in names.items() if name not in NUMBERS} or dict(names)


def bridges(shop: str, names: Mapping[str, str]) -> list[bytes]:
    """By which an order and a beacon find each other: the hash of each name. The one that is hardest to guess
    comes first."""
    found = [name for name in sorted(names, key=lambda name: name in NUMBERS) if name != "order_number"]
    return [_bridge(shop, name, names[name]) for name in found]


def _bridge(shop: str, name: str, value: str) -> bytes:
    return hashlib.sha256(f"{shop}\n{name}\n{bare(name, value)}".encode("utf-8", "replace")).digest()[:16]


def bare(name: str, value: str) -> str:
    """The name's value without what pages add to it: ``#1042``, ``gid://shopify/OrderIdentity/1042``."""
    if name == "order_id" and value.startswith("gid://"):
        return value.rpartition("/")[2]
    return value.removeprefix("#") if name in NUMBERS else value


def fits(event: Event, told: Mapping[str, str]) -> Fit:
    """How a beacon that told these names belongs to the order.

    Order numbers are counted up and easily guessed. So an order with a name that only its shopper's browser
    can know is enriched by nobody who does not know it.
    """
    known = names_of(event)
    same = {name: bare(name, told[name]) == bare(name, known[name]) for name in told if name in known}
    secret = [is_same for name, is_same in same.items() if name not in NUMBERS]
    if secret:
        return "proved" if all(secret) else ""
    if not same or not all(same.values()):
        return ""
    return "named" if known.keys() - {*NUMBERS} else "proved"


# --- what is added ---------------------------------------------------------------------------------------


def lacks_all(event: Event, captures: Iterable[str]) -> bool:
    """Whether the storefront handed on nothing with the order: neither consent nor anything to match by."""
    return event.consent == Consent() and not any(event.captured(name) for name in captures)


def enriched(event: Event, beacon: Beacon, captures: Iterable[str], but: Collection[str] = ()) -> Event:
    """The event with what it lacked. ``captures`` are the names that destinations look up; ``but`` are
    attributes of which event ids are made, which stay as they are."""
    added = {
        spelling: value
        for name in captures
        if not event.captured(name)
        for spelling in (name, f"_{name}")
        if spelling not in but and (value := beacon.attributes.get(spelling, ""))
    }
    return msgspec.structs.replace(
        with_consent(event, beacon.consent),
        attributes=event.attributes | added if added else event.attributes,
        page_url=event.page_url or (beacon.site if event.origin == "web" else ""),
        buyer=_with_browser(event.buyer, beacon) if event.origin == "web" else event.buyer,
    )


def _with_browser(buyer: Buyer, beacon: Beacon) -> Buyer:
    return msgspec.structs.replace(
        buyer, ip=buyer.ip or beacon.ip, user_agent=buyer.user_agent or beacon.user_agent
    )


def with_consent(event: Event, told: Consent) -> Event:
    """The event with a browser's later word: a no always counts, a yes where nobody has said anything."""
    known = event.consent
    changed = msgspec.structs.replace(
        known,
        ad_storage=_later(known.ad_storage, told.ad_storage),
        ad_user_data=_later(known.ad_user_data, told.ad_user_data),
        ad_personalization=_later(known.ad_personalization, told.ad_personalization),
    )
    if changed == known:
        return event
    return msgspec.structs.replace(
        event, consent=msgspec.structs.replace(changed, source=f"beacon: {told.source}", at=told.at)
    )


def _later(known: ConsentState, told: ConsentState) -> ConsentState:
    return told if told == "denied" or not known else known
