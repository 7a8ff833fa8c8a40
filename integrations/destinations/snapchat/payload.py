"""What Snapchat is told of one event: server, user and custom data parameters."""

import re
from collections.abc import Mapping
from typing import Any

from integrations import identity, money
from integrations.destination import Account, Delivery
from integrations.event import Event, Line, event_id
from integrations.payload import captured, catalogued, filled, item_count, page_url

# Parameters: e-mail only trimmed and lower-cased, digits of the phone with country code, names and places
# without punctuation and spaces.
RULES = identity.Rules(email="as_written", phone_plus=False, names="letters", places="letters")

SOURCES: Mapping[str, tuple[str, ...]] = {
    "em": ("email",),
    "ph": ("phone",),
    "fn": ("first_name",),
    "ln": ("last_name",),
    "ge": ("gender",),
    "ct": ("city",),
    "st": ("region",),
    "zp": ("postcode",),
    "country": ("country",),
    "external_id": ("customer_id",),
    "client_ip_address": ("ip",),
    "client_user_agent": ("user_agent",),
    "sc_click_id": ("ScCid",),
    "sc_cookie1": ("scid",),
}
"""Snapchat's match keys and where an order has them: ScCid is the click's parameter, _scid the cookie."""

_CLICK = re.compile(r"[\w.-]{8,500}", re.ASCII)
_COOKIE = re.compile(r"[\w.-]{8,200}", re.ASCII)


def conversion(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``data``. OFFLINE is what did not happen on a website or in an app."""
    event = delivery.event
    on_site = event.origin == "web"
    return filled(
        {
            "event_name": "PURCHASE",
            "event_time": event.event_time,
            "event_id": delivery.event_id,
            "action_source": "WEB" if on_site else "OFFLINE",
            "event_source_url": page_url(event, account) if on_site else "",
            "user_data": user_data(event),
            "custom_data": _custom_data(event, account),
            "data_processing_options": ["LDU"] if delivery.restricted else [],
        }
    )


def user_data(event: Event) -> dict[str, Any]:
    """Every match key that the order carries. What Snapchat hashes or made itself stays plain."""
    person = identity.person(event.buyer, RULES)
    hashed = {
        "em": person.email,
        "ph": person.phone,
        "fn": person.first_name,
        "ln": person.last_name,
        "ge": person.gender,
        "ct": person.city,
        "st": person.region,
        "zp": person.postcode,
        "country": person.country,
        "external_id": person.external_id,
    }
    plain = {
        "client_ip_address": person.ip,
        "client_user_agent": person.user_agent,
        "sc_click_id": captured(event, _CLICK, "ScCid"),
        "sc_cookie1": captured(event, _COOKIE, "scid"),
    }
    return filled({key: [identity.sha256(value)] for key, value in hashed.items() if value} | plain)


def _custom_data(event: Event, account: Account) -> dict[str, Any]:
    """Numbers are numbers here and text within ``contents``, as the OpenAPI document has them."""
    contents = [_content(item, line, event.currency) for item, line in catalogued(event, account)]
    return filled(
        {
            "value": money.number(event.value),
            "currency": event.currency,
            "order_id": event_id(event, account.text("order_id")),
            "num_items": item_count(event) or None,
            "content_ids": list(dict.fromkeys(content["id"] for content in contents)),
            "contents": contents,
        }
    )


def _content(item: str, line: Line, currency: str) -> dict[str, str]:
    price = line.unit_price
    return filled(
        {
            "id": item,
            "quantity": str(line.quantity),
            "item_price": "" if price is None else money.plain(money.rounded(price, currency)),
        }
    )
