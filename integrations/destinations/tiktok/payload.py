"""What TikTok is told of one event: user, page and properties."""

import re
from collections.abc import Mapping
from typing import Any

from integrations import identity, money
from integrations.destination import Account, Delivery
from integrations.event import Event, Line
from integrations.payload import captured, catalogued, filled, page_url
from integrations.untrusted import page

# Stated for e-mail (lower case), phone (E.164) and ids alone. Names and places follow the other senders.
RULES = identity.Rules(email="as_written", phone_plus=True, names="letters", places="letters")

SOURCES: Mapping[str, tuple[str, ...]] = {
    "email": ("email",),
    "phone": ("phone",),
    "external_id": ("customer_id",),
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "zip_code": ("postcode",),
    "city": ("city",),
    "state": ("region",),
    "country": ("country",),
    "ttclid": ("ttclid",),
    "ttp": ("ttp",),
    "ip": ("ip",),
    "user_agent": ("user_agent",),
}
"""TikTok's match keys and where an order has them."""

_TTCLID = re.compile(r"[\w.-]{5,1000}", re.ASCII)
_TTP = re.compile(r"[\w.-]{8,100}", re.ASCII)

# Nowhere stated; without any of these, and without the browser's address and agent, nobody can be found.
IDENTIFIERS = frozenset({"email", "phone", "external_id", "ttclid", "ttp"})


def web_event(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``data``."""
    event = delivery.event
    return filled(
        {
            "event": account.text("event_name"),
            "event_time": event.event_time,
            "event_id": delivery.event_id,
            "user": user(event),
            "page": filled({"url": page_url(event, account), "referrer": page(event.referrer)}),
            "properties": _properties(event, account),
            "limited_data_use": bool(delivery.restricted) or None,
        }
    )


def user(event: Event) -> dict[str, str]:
    """Every match key that the order carries. Places, TikTok's own ids and the browser stay plain."""
    person = identity.person(event.buyer, RULES)
    hashed = {
        "email": person.email,
        "phone": person.phone.removeprefix("+86"),  # "If the country code is 86, do not include" it
        "external_id": person.external_id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "zip_code": person.postcode,
    }
    plain = {
        "city": person.city,
        "state": person.region,
        "country": person.country,
        "ttclid": captured(event, _TTCLID, "ttclid"),
        "ttp": captured(event, _TTP, "ttp"),
        "ip": person.ip,
        "user_agent": person.user_agent,
    }
    return filled({key: identity.sha256(value) for key, value in hashed.items() if value} | plain)


def _properties(event: Event, account: Account) -> dict[str, Any]:
    contents = [_content(item, line) for item, line in catalogued(event, account)]
    return filled(
        {
            "value": money.number(event.value),
            "currency": event.currency,
            "order_id": event.order_id,
            "content_type": account.text("content_type") if contents else "",
            "contents": contents,
        }
    )


def _content(item: str, line: Line) -> dict[str, Any]:
    return filled(
        {
            "content_id": item,
            "content_name": line.title,
            "quantity": line.quantity,
            "price": None if line.unit_price is None else money.number(line.unit_price),
        }
    )
