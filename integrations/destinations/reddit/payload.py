"""What Reddit is told of one event: an element of ``data.events``."""

import re
from collections.abc import Mapping
from typing import Any

from integrations import identity, money
from integrations.destination import Account, Delivery
from integrations.event import Event, Line, Origin
from integrations.payload import captured, catalogued, filled, item_count, page_url

# "Match keys": dots and +tag go from every address, the phone starts with a plus, ids are trimmed.
RULES = identity.Rules(email="every_domain", phone_plus=True, external_id="as_written")

# "Omnichannel attribution". PHYSICAL_STORE stands in the changelog, the others in examples.
_ACTION_SOURCES: Mapping[Origin, str] = {"web": "WEBSITE", "pos": "PHYSICAL_STORE"}

_CLICK = re.compile(r"[\w.~-]{1,200}", re.ASCII)
# The cookie _rdt_uuid: milliseconds and a UUID of RFC 4122; Reddit refuses the event for any other.
_UUID = re.compile(r"[0-9]{10,13}\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

SOURCES: Mapping[str, tuple[str, ...]] = {
    "click_id": ("rdt_cid",),
    "uuid": ("rdt_uuid",),
    "email": ("email",),
    "phone_number": ("phone",),
    "external_id": ("customer_id",),
    "ip_address": ("ip",),
    "user_agent": ("user_agent",),
}
"""Reddit's match keys and where an order has them. ``click_id`` stands beside the user, not in it."""


def match_data(event: Event) -> dict[str, Any]:
    """Every match key that the order carries. What a browser knows belongs to an event of the website."""
    person = identity.person(event.buyer, RULES)
    hashed = {
        "email": person.email,
        "phone_number": person.phone,
        "external_id": person.external_id,
    }
    keys = {key: identity.sha256(value) for key, value in hashed.items() if value}
    if event.origin == "web":
        keys |= {
            "ip_address": person.ip and identity.sha256(person.ip),
            "user_agent": person.user_agent,
            "uuid": captured(event, _UUID, "rdt_uuid"),
            "click_id": captured(event, _CLICK, "rdt_cid"),
        }
    return filled(keys)


def conversion(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``data.events``."""
    event = delivery.event
    keys = match_data(event)
    source = _ACTION_SOURCES.get(event.origin, "OTHER")
    return filled(
        {
            "event_at": event.event_time * 1000,
            "action_source": source,
            "event_source_url": page_url(event, account) if source == "WEBSITE" else "",
            "click_id": keys.pop("click_id", ""),
            "type": {"tracking_type": "PURCHASE"},
            "user": {**keys, **_processing(delivery)},
            "metadata": _metadata(delivery, account),
        }
    )


def _metadata(delivery: Delivery, account: Account) -> dict[str, Any]:
    """A purchase must have products: one whose lines name no item is told of as a single one."""
    event = delivery.event
    products = [_product(item, line) for item, line in catalogued(event, account)]
    return {
        "conversion_id": delivery.event_id,
        "currency": event.currency,
        "value": money.number(event.value),
        "item_count": item_count(event) or 1,
        "products": products
        or [{"id": event.order_id, "quantity": 1, "item_price": money.number(event.value)}],
    }


def _product(item: str, line: Line) -> dict[str, Any]:
    price = line.unit_price
    return filled(
        {
            "id": item,
            "name": line.title,
            "quantity": line.quantity,
            "item_price": None if price is None else money.number(price),
        }
    )


def _processing(delivery: Delivery) -> dict[str, Any]:
    """ "Opt out (LDU)", with the place where the buyer lives."""
    event = delivery.event
    if not delivery.restricted:
        return {}
    country = identity.country(event.buyer.country, RULES).upper()
    region = identity.region(event.buyer.region, country, RULES).upper() if country == "US" else ""
    options = {"modes": ["LDU"], "country": country, "region": region and f"US-{region}"}
    return {"data_processing_options": filled(options)}
