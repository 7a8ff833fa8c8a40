"""What Pinterest is told of one event: ConversionEvents.data[] of its OpenAPI document."""

import re
from collections.abc import Mapping
from typing import Any

from integrations import identity, money, places
from integrations.destination import Account, Delivery
from integrations.event import Event, Line, Origin
from integrations.payload import captured, catalogued, filled, item_count, page_url

EVENT_NAME = "checkout"  # what the Pinterest tag calls a purchase

# ConversionEventsUserData: e-mail in lower case, digits of the phone with country code, names and places bare
RULES = identity.Rules(genders="fmn")

# action_source. An order that no browser placed has no better word than offline.
_ACTION_SOURCES: Mapping[Origin, str] = {"web": "web"}

_EPIK = re.compile(r"[\w+/=.~-]{1,500}", re.ASCII)

SOURCES: Mapping[str, tuple[str, ...]] = {
    "em": ("email",),
    "ph": ("phone",),
    "fn": ("first_name",),
    "ln": ("last_name",),
    "db": ("birth_date",),
    "ge": ("gender",),
    "ct": ("city",),
    "st": ("region",),
    "zp": ("postcode",),
    "country": ("country",),
    "external_id": ("customer_id",),
    "click_id": ("epik",),
    "client_ip_address": ("ip",),
    "client_user_agent": ("user_agent",),
}
"""Pinterest's match keys and where an order has them."""


def user_data(event: Event) -> dict[str, Any]:
    """Every match key that the order carries."""
    person = identity.person(event.buyer, RULES)
    hashed = {
        "em": person.email,
        "ph": person.phone,
        "fn": person.first_name,
        "ln": person.last_name,
        "db": person.birth_date,
        "ge": person.gender,
        "ct": person.city,
        "st": person.region,
        "zp": person.postcode,
        "country": person.country,
        "external_id": person.external_id,
    }
    plain = {
        "click_id": captured(event, _EPIK, "epik"),
        "client_ip_address": person.ip,
        "client_user_agent": person.user_agent,
    }
    return filled({key: [identity.sha256(value)] for key, value in hashed.items() if value} | plain)


def conversion(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``data``."""
    event = delivery.event
    source = _ACTION_SOURCES.get(event.origin, "offline")
    return filled(
        {
            "event_name": EVENT_NAME,
            "action_source": source,
            "event_time": event.event_time,
            "event_id": delivery.event_id,
            "event_source_url": page_url(event, account) if source == "web" else "",
            "opt_out": delivery.restricted == "measurement",
            "user_data": user_data(event),
            "custom_data": _custom_data(event, account) | _limited(delivery),
        }
    )


def _custom_data(event: Event, account: Account) -> dict[str, Any]:
    contents = [_content(item, line) for item, line in catalogued(event, account)]
    return filled(
        {
            "currency": event.currency,
            "value": money.exact(event.value),
            "order_id": event.order_id,
            "num_items": item_count(event) or None,
            "content_ids": list(dict.fromkeys(content["id"] for content in contents)),
            "contents": contents,
        }
    )


def _limited(delivery: Delivery) -> dict[str, str]:
    """use-limited-data-processing-flag, for people of the US."""
    is_american = places.country(delivery.event.buyer.country) == "US"
    return {"opt_out_type": "LDP"} if delivery.restricted and is_american else {}


def _content(item: str, line: Line) -> dict[str, Any]:
    """``item_price`` is meant before discounts; an order tells what was paid, which adds up to the value."""
    price = line.unit_price
    return filled(
        {
            "id": item,
            "item_name": line.title,
            "item_price": "" if price is None else money.exact(price),
            "quantity": line.quantity,
        }
    )
