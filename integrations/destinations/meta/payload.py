"""What Meta is told of one event: server event, user data and custom data parameters."""

import re
from collections.abc import Mapping
from typing import Any

from integrations import identity, money, places
from integrations.destination import Account, Delivery
from integrations.event import Event, Line, Origin
from integrations.payload import captured, catalogued, filled, item_count, page_url

# customer-information-parameters: e-mail only trimmed and lower-cased, digits of the phone with country code.
RULES = identity.Rules(email="as_written", phone_plus=False, names="letters", places="letters")

# server-event#action-source. Only a shopper's own browser makes an event a website's.
_ACTION_SOURCES: Mapping[Origin, str] = {"web": "website", "pos": "physical_store"}

# best-practices: "combinations considered too broad" are refused with 2804050.
TOO_BROAD = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

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
    "client_ip_address": ("ip",),
    "client_user_agent": ("user_agent",),
    "fbc": ("fbc", "fbclid"),
    "fbp": ("fbp",),
}
"""Meta's match keys and where an order has them."""

# data-processing-options: the states in which Limited Data Use is available, by Meta's numbers.
_LIMITED_USE: Mapping[str, int] = {
    "CA": 1000, "CO": 1001, "CT": 1002, "FL": 1003, "OR": 1004, "TX": 1005, "MT": 1006, "DE": 1007,
    "NE": 1008, "NH": 1009, "NJ": 1010, "MN": 1011, "MD": 1012, "RI": 1013,
}  # fmt: skip

# fbp-and-fbc, and the legacy tags of Meta's own parameter builder. A click id may hold dots itself.
_FBC = re.compile(r"fb\.[0-9]\.(?P<at>[0-9]{13})\.(?P<click>[!-~]{1,500})", re.ASCII)
_FBP = re.compile(r"fb\.[0-9]\.[0-9]{13}\.[0-9]{1,20}(\.(AQ|Ag|Aw|BA|BQ|Bg|[\w-]{8}))?", re.ASCII)
_FBCLID = re.compile(r"[\w.-]{1,500}", re.ASCII)


def server_event(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``data``."""
    event = delivery.event
    source = _ACTION_SOURCES.get(event.origin, "system_generated")
    on_site = source == "website"
    return filled(
        {
            "event_name": event.event_name,
            "event_time": event.event_time,
            "event_id": delivery.event_id,
            "action_source": source,
            "event_source_url": page_url(event, account) if on_site else "",
            "referrer_url": event.referrer if on_site else "",
            "user_data": user_data(event),
            "custom_data": _custom_data(event, account),
            **_restrictions(delivery),
        }
    )


def user_data(event: Event) -> dict[str, Any]:
    """Every match key that the order carries. What Meta hashes itself (IP, agent, cookies) stays plain."""
    person = identity.person(event.buyer, RULES)
    hashed = (
        ("em", person.email),
        ("ph", person.phone),
        ("fn", person.first_name),
        ("ln", person.last_name),
        ("db", person.birth_date),
        ("ge", person.gender),
        ("ct", person.city),
        ("st", person.region),
        ("zp", person.postcode),
        ("country", person.country),
        ("external_id", person.external_id),
    )
    plain = (
        ("client_ip_address", person.ip),
        ("client_user_agent", person.user_agent),
        ("fbc", _fbc(event)),
        ("fbp", captured(event, _FBP, "fbp")),
    )
    told: dict[str, Any] = {key: [identity.sha256(value)] for key, value in hashed if value}
    return told | {key: value for key, value in plain if value}


def _custom_data(event: Event, account: Account) -> dict[str, Any]:
    contents = [_content(item, line) for item, line in catalogued(event, account)]
    return filled(
        {
            "value": money.number(event.value),
            "currency": event.currency,
            "order_id": event.order_id,
            "num_items": item_count(event) or None,
            "content_type": account.text("content_type") if contents else "",
            "content_ids": list(dict.fromkeys([content["id"] for content in contents])),
            "contents": contents,
        }
    )


def _content(item: str, line: Line) -> dict[str, Any]:
    content: dict[str, Any] = {"id": item, "quantity": line.quantity}
    if line.unit_price is not None:
        content["item_price"] = money.number(line.unit_price)
    if line.title:
        content["title"] = line.title
    return content


def _fbc(event: Event) -> str:
    """The browser's cookie as it is, or one made of the click id that brought the visit, the later of both.

    The cookie normally holds the last click already. Only a visit that provably began afterwards, with
    another click, is news to it. The index is 1: no cookie is set here.
    """
    cookie = next(filter(None, map(_FBC.fullmatch, event.noted("fbc"))), None)
    click = captured(event, _FBCLID, "fbclid")
    if not click:
        return cookie[0] if cookie else ""
    if cookie and (
        f"{cookie['click']}.".startswith(f"{click}.") or int(cookie["at"]) >= (event.landing_at or 0)
    ):
        return cookie[0]
    return f"fb.1.{event.landing_at or event.event_time * 1000}.{click}"


def _restrictions(delivery: Delivery) -> dict[str, Any]:
    """server-event#opt-out: "we only use the event for attribution". data-processing-options: limited use in
    the US, where country and state 0 let Meta find out where the buyer lives."""
    if not delivery.restricted:
        return {}
    buyer = delivery.event.buyer
    if places.country(buyer.country) != "US":
        return {"opt_out": True}
    state = _LIMITED_USE.get(places.us_state(buyer.region.removeprefix("US-")), 0)
    return filled(
        {
            "opt_out": delivery.restricted == "measurement" or None,
            "data_processing_options": ["LDU"],
            "data_processing_options_country": 1 if state else 0,
            "data_processing_options_state": state,
        }
    )
