"""The event: one sale of one shop, in the words from which every destination is mapped.

Text that a store did not send is ``""`` whether it was missing, null or empty: all three occur and mean
the same. Money is `decimal.Decimal` in major units. What a browser wrote (attributes, landing
parameters) is untrusted and bounded, and is only ever looked up by name.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from typing import Literal

import msgspec

Origin = Literal["web", "pos", "staff", "api", "renewal"]
"""How the sale came about: a shopper's browser, a till, staff (drafts, admin), an app, a subscription."""

ConsentState = Literal["granted", "denied", ""]


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the order. ``unit_price`` is per piece after discounts, in the event's currency."""

    product_id: str = ""
    variant_id: str = ""
    sku: str = ""
    title: str = ""
    quantity: int = 1
    unit_price: Decimal | None = None
    gift_card: bool = False


class Buyer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The person, as the store wrote them: nothing here is normalised or hashed.

    ``country`` is ISO 3166-1 alpha-2, upper case; ``region`` is a code or a name as the store has it.
    ``countries`` are all that the order names for them, of the parcel and the card alike.
    ``ip`` and ``user_agent`` are the shopper's own, never staff's or a server's.
    """

    email: str = ""
    phone: str = ""
    first_name: str = ""
    last_name: str = ""
    city: str = ""
    region: str = ""
    postcode: str = ""
    country: str = ""
    customer_id: str = ""
    ip: str = ""
    user_agent: str = ""
    birth_date: str = ""
    gender: str = ""
    countries: tuple[str, ...] = ()


class Consent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the shopper allowed, per purpose; ``""`` is unknown. ``source`` names who said so."""

    ad_storage: ConsentState = ""
    ad_user_data: ConsentState = ""
    ad_personalization: ConsentState = ""
    source: str = ""
    at: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A normalised conversion event.

    ``key`` is what makes two hooks tell of the same sale: unique within (shop, event name). It never
    holds a delivery id of the store. ``event_time`` is Unix seconds of the order, not of sending.
    ``names`` holds the store's further names of the order that a template may use (`order_number`,
    `checkout_token`, `session_id`, `payment_intent`), and `order_key` as its `fingerprint`. ``attributes``
    are the name/value pairs that the storefront attached to the order; ``landing`` the query parameters of
    the visit's first page, seen at ``landing_at`` (Unix milliseconds). ``page_url`` and ``referrer`` carry
    no query and no key. ``site`` is the front page of the shop's own site, as the store itself knows it.
    """

    store: str
    shop: str
    key: str
    order_id: str
    event_time: int
    value: Decimal
    currency: str
    event_name: str = "Purchase"
    order_name: str = ""
    origin: Origin = "web"
    names: dict[str, str] = {}
    attributes: dict[str, str] = {}
    landing: dict[str, str] = {}
    landing_at: int | None = None
    page_url: str = ""
    site: str = ""
    referrer: str = ""
    lines: tuple[Line, ...] = ()
    buyer: Buyer = Buyer()
    consent: Consent = Consent()
    discount_codes: tuple[str, ...] = ()

    def captured(self, *names: str) -> str:
        """The first non-empty value that the storefront handed on under one of ``names``.

        Attributes win over landing parameters, and a leading underscore (a cookie's name, or a hidden
        attribute) does not matter: ``captured("fbp")`` finds ``_fbp``.
        """
        return next(self.noted(*names), "")

    def noted(self, *names: str) -> Iterator[str]:
        """All of these values, in that order: a snippet may have written "undefined" where another has it."""
        for pairs in (self.attributes, self.landing):
            for name in names:
                if value := pairs.get(name):
                    yield value
                if value := pairs.get(f"_{name}"):
                    yield value


def encode(event: Event) -> bytes:
    """The event as JSON, for the vault."""
    return _encoder.encode(event)


def decode(raw: bytes) -> Event:
    """The inverse of `encode`; raises `msgspec.ValidationError` for anything else."""
    return _decoder.decode(raw)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)

# --- templates -------------------------------------------------------------------------------------------

DEFAULT_EVENT_ID = "{order_id}"
DEFAULT_ITEM_ID = "{variant_id|product_id|sku}"

_EVENT_FIELDS = frozenset(
    {"order_id", "order_name", "order_number", "checkout_token", "session_id", "payment_intent", "shop"}
)
_ITEM_FIELDS = frozenset({"product_id", "variant_id", "sku", "country"})
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LONGEST_ID = 255
_NO_ID = frozenset({"undefined", "null", "none", "nan", "true", "false", "[object object]"})
"""What a snippet writes that found no id. As one, it would make one sale of all that the shop sells."""


class BadTemplate(ValueError):
    """A template names something that does not exist; the message is a sentence for its owner."""


def check_event_id(template: str) -> str:
    """Returns the template of an event_id, or raises `BadTemplate`."""
    _check(template, lambda name: name in _EVENT_FIELDS or name.startswith("meta:"))
    if all("shop" in names for names in _pieces(template)[1]):
        raise BadTemplate(f"{template!r} names the shop alone, so every order would get the same id")
    return template


def check_item_id(template: str) -> str:
    """Returns the template of a catalogue item's id, or raises `BadTemplate`."""
    return _check(template, lambda name: name in _ITEM_FIELDS)


def event_id(event: Event, template: str = DEFAULT_EVENT_ID) -> str:
    """The id under which browser and server tell of the same event. Made here and nowhere else.

    ``{name}`` is replaced by that name of the order, ``{meta:KEY}`` by what the storefront attached under
    KEY, ``{a|b}`` by the first of them that is not empty. Time, attempt and topic are not available: the
    id must be the same whenever it is made. An order that lacks a name which the template needs (a draft
    has no checkout token) gets its order id in that place, since no browser has seen it either.
    """
    fields = {**event.names, "order_id": event.order_id, "order_name": event.order_name, "shop": event.shop}

    def look_up(name: str) -> str:
        kind, _, key = name.partition(":")
        if kind != "meta":
            return fields.get(name, "")
        noted = event.attributes.get(key, "")
        return noted if len(noted) <= _LONGEST_ID and noted.lower() not in _NO_ID else ""

    return _fill(template, look_up, missing=event.order_id)


def fingerprint(key: str) -> str:
    """Of a name that opens the order to whoever has it: its SHA-256 can be compared, and opens nothing."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest() if key else ""


def keys_in(template: str) -> frozenset[str]:
    """The names of attributes of which the template makes ids."""
    names = (name for group in _pieces(template)[1] for name in group)
    return frozenset(name.removeprefix("meta:") for name in names if name.startswith("meta:"))


def is_no_id(written: str) -> bool:
    """Whether this is what a snippet writes that found no id."""
    return not written or written.lower() in _NO_ID


def template_names(template: str) -> list[str]:
    """The names that the template asks for, in their order."""
    return [name for group in _pieces(template)[1] for name in group]


def item_id(line: Line, template: str = DEFAULT_ITEM_ID, *, country: str = "") -> str:
    """The id of a line in the shop's catalogue at the destination, ``""`` when the order has none."""

    def look_up(name: str) -> str:
        return country if name == "country" else getattr(line, name, "") if name in _ITEM_FIELDS else ""

    texts, groups = _pieces(template)
    if len(groups) == 1 and not any(texts):  # nearly every template: nothing need be put together
        return next(filter(None, map(look_up, groups[0])), "")
    return _fill(template, look_up, missing=None)


@cache  # templates come from the settings: a handful
def _pieces(template: str) -> tuple[list[str], list[list[str]]]:
    """The text around the placeholders (one piece more than these), and the names that each may have."""
    pieces = _PLACEHOLDER.split(template)
    return pieces[::2], [names.split("|") for names in pieces[1::2]]


def _check(template: str, known: Callable[[str], bool]) -> str:
    names = template_names(template)
    if not names:
        raise BadTemplate(f"{template!r} has no placeholder, so every order would get the same id")
    for name in names:
        if not known(name):
            raise BadTemplate(f"{template!r} uses {{{name}}}, which is not a name of an order")
    return template


def _fill(template: str, look_up: Callable[[str], str | None], *, missing: str | None) -> str:
    """The template with its placeholders filled; ``""`` if one has no value and there is no substitute."""
    texts, groups = _pieces(template)
    written = texts[0]
    for index, names in enumerate(groups, 1):
        value = missing
        for name in names:
            if found := look_up(name):
                value = found
                break
        if value is None:
            return ""
        written += value + texts[index]
    return written
