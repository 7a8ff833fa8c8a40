"""What OpenAI is told of one event: an element of ``events``."""

import re
from collections.abc import Mapping
from typing import Any

from integrations import identity, money
from integrations.destination import Account, Delivery
from integrations.event import Event, Line, Origin, item_id
from integrations.payload import captured, filled, page_url

TYPE = "order_created"  # what OpenAI's pixel calls a purchase

# "Normalize identifiers before hashing": names lose white space and ASCII punctuation, and nothing else.
RULES = identity.Rules(
    names="as_written",
    places="as_written",
    postcode="as_written",
    country="upper",
    external_id="as_written",
)
_NOT_OF_A_NAME = re.compile(r"[\s!-/:-@\[-`{-~]")
_LONGEST_PLACE = 128
_POSTCODE = re.compile(r"[A-Za-z0-9 -]{1,32}", re.ASCII)
_PHONE = re.compile(r"[1-9][0-9]{7,14}|[0-9a-f]{64}", re.ASCII)

# conversions-api#event-structure. A renewal or draft is none of the other sources.
_ACTION_SOURCES: Mapping[Origin, str] = {"web": "web", "pos": "physical_store"}

_OPAQUE = re.compile(r"[!-~]{1,512}", re.ASCII)
"""``oppref`` and ``obref``: passed on as they are, never decoded, never made up."""

SOURCES: Mapping[str, tuple[str, ...]] = {
    "oppref": ("oppref", "__oppref"),
    "obref": ("obref", "__obref"),
    "emails_sha256": ("email",),
    "phone_numbers_sha256": ("phone",),
    "external_ids_sha256": ("customer_id",),
    "first_names_sha256": ("first_name",),
    "last_names_sha256": ("last_name",),
    "regions": ("region",),
    "postal_codes": ("postcode",),
    "cities": ("city",),
    "countries": ("country",),
    "ip_address": ("ip",),
    "user_agent": ("user_agent",),
}
"""OpenAI's match keys and where an order has them. ``oppref`` stands beside the user, not in it."""


def user(event: Event) -> dict[str, Any]:
    """Every match key that the order carries. Places stay readable: so they are asked for."""
    person = identity.person(event.buyer, RULES)
    hashed = {
        "emails_sha256": person.email,
        "phone_numbers_sha256": person.phone if _PHONE.fullmatch(person.phone) else "",
        "external_ids_sha256": person.external_id,
        "first_names_sha256": _NOT_OF_A_NAME.sub("", person.first_name),
        "last_names_sha256": _NOT_OF_A_NAME.sub("", person.last_name),
    }
    plain = {
        "regions": person.region if len(person.region) <= _LONGEST_PLACE else "",
        "postal_codes": person.postcode if _POSTCODE.fullmatch(person.postcode) else "",
        "cities": person.city if len(person.city) <= _LONGEST_PLACE else "",
        "countries": person.country,
    }
    lists = {key: [identity.sha256(value)] for key, value in hashed.items() if value}
    lists |= {key: [value] for key, value in plain.items() if value}
    return filled(
        {
            **lists,
            "obref": _opaque(event, "obref"),
            "ip_address": person.ip,
            "user_agent": person.user_agent,
        }
    )


def match_keys(event: Event) -> set[str]:
    """The names, as in `SOURCES`, of what the order has."""
    return user(event).keys() | ({"oppref"} if _opaque(event, "oppref") else set())


def _opaque(event: Event, key: str) -> str:
    return captured(event, _OPAQUE, *SOURCES[key])


def conversion(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``events``."""
    event = delivery.event
    source, page = _ACTION_SOURCES.get(event.origin, "other"), page_url(event, account)
    if source == "web" and not page:
        source = "other"  # "web" must have a page; the id, by which the pixel's copy is known, stays the same
    return filled(
        {
            "id": delivery.event_id,
            "type": TYPE,
            "timestamp_ms": event.event_time * 1000,
            "oppref": _opaque(event, "oppref"),
            "source_url": page if source == "web" else "",
            "action_source": source,
            "user": user(event),
            "opt_out": bool(delivery.restricted),
            "data": _data(event, account),
        }
    )


def _data(event: Event, account: Account) -> dict[str, Any]:
    """supported-events#contents: amounts are whole numbers of the currency's smallest unit."""
    return filled(
        {
            "type": "contents",
            "amount": money.minor(event.value, event.currency),
            "currency": event.currency,
            "contents": [content for line in event.lines if (content := _content(line, event, account))],
        }
    )


def _content(line: Line, event: Event, account: Account) -> dict[str, Any] | None:
    """A line that names an item, by id or title: both are optional."""
    item = item_id(line, account.text("item_id"), country=event.buyer.country)
    if not (item or line.title) or line.quantity < 1:
        return None
    price = line.unit_price
    return filled(
        {
            "id": item,
            "name": line.title,
            "content_type": "product",
            "quantity": line.quantity,
            "amount": None if price is None else money.minor(price, event.currency),
            "currency": event.currency,
        }
    )
