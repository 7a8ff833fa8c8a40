"""The beacon: what a shopper's browser says it did, as the snippet sends it to `/collect/<shop>`.

Anybody can send one, so it is bounded in every direction, and nothing in it is believed that the store's own
hook has not said. Version 1, JSON:

    {"v": 1, "event_name": "Purchase", "order": {"order_id": "1042", "checkout_token": "..."},
     "event_ids": {"meta": "1042"}, "fired": ["meta"], "attributes": {"_fbp": "..."},
     "page_url": "https://shop.example.com/thank-you", "at": 1763800000000,
     "seen": [{"destination": "meta", "event_name": "Purchase", "event_id": "1042"}]}
"""

import hashlib
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import msgspec

from integrations import consent, untrusted
from integrations.event import Consent, fingerprint

MAX_BYTES = 8 * 1024

_Name = Annotated[str, msgspec.Meta(max_length=255)]
_Slug = Annotated[str, msgspec.Meta(max_length=60)]
_Number = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # what a browser counts exactly

Id = _Name | _Number | float | bool | None
"""An event id as a pixel was really given it: which kind of value it was is what the audit asks."""


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A purchase that other code of the page fired at a destination's pixel."""

    destination: _Slug
    event_name: _Name = ""
    event_id: Id = None


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The names of the order that the page knows, spelled as in `Event.names`."""

    order_id: _Name | _Number = ""
    order_name: _Name | _Number = ""
    order_key: _Name = ""
    checkout_token: _Name = ""
    session_id: _Name = ""
    payment_intent: _Name = ""


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``at`` is the browser's own clock, which nothing goes by: a beacon that is told again has another."""

    v: Literal[1]
    order: Order
    event_name: _Name = "Purchase"
    event_ids: Annotated[dict[_Slug, Id], msgspec.Meta(max_length=40)] = {}
    fired: Annotated[tuple[_Slug, ...], msgspec.Meta(max_length=40)] = ()
    seen: Annotated[tuple[Seen, ...], msgspec.Meta(max_length=40)] = ()
    attributes: Annotated[dict[_Name, str], msgspec.Meta(max_length=untrusted.MAX_PAIRS)] = {}
    page_url: str = ""
    at: int | float | None = None


class Beacon(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A beacon, read. ``names`` of the order are not empty; ``origin`` is that of the page which the beacon
    says it comes from, ``site`` the page's front page. ``ip`` and ``user_agent`` are those of the request,
    not of its body."""

    names: dict[str, str]
    event_name: str = "Purchase"
    event_ids: dict[str, Id] = {}
    fired: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    attributes: dict[str, str] = {}
    origin: str = ""
    site: str = ""
    ip: str = ""
    user_agent: str = ""

    @property
    def consent(self) -> Consent:
        """What the shopper allowed, as far as the page knew."""
        return consent.from_attributes(self.attributes)

    @property
    def denies(self) -> bool:
        """Whether the shopper declined anything."""
        told = self.consent
        return "denied" in (told.ad_storage, told.ad_user_data, told.ad_personalization)

    def elsewhere(self) -> Self:
        """The beacon without the page that it says it comes from."""
        return msgspec.structs.replace(self, origin="", site="")

    def of(self, ip: str, user_agent: str) -> Self:
        """The beacon with what its request shows of the browser."""
        return msgspec.structs.replace(self, ip=ip, user_agent=user_agent)

    def digest(self, shop: str) -> bytes:
        """Tells a beacon that was sent again from another one, whoever sent it."""
        said = msgspec.structs.replace(self, ip="", user_agent="")
        return hashlib.sha256(shop.encode() + b"\n" + msgspec.json.encode(said, order="sorted")).digest()


class NotABeacon(ValueError):
    """The bytes are not one. The message is a constant sentence."""


def read(raw: bytes) -> Beacon:
    """The beacon in these bytes; raises `NotABeacon` for whatever else they are."""
    try:
        said = _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotABeacon("the body is not a beacon") from error
    written = msgspec.to_builtins(said.order)
    names = {name: found for name, value in written.items() if (found := untrusted.text(value, 255))}
    if not names:
        raise NotABeacon("the beacon names no order")
    if "order_key" in names:
        names["order_key"] = fingerprint(names["order_key"])
    return Beacon(
        names=names,
        event_name=untrusted.text(said.event_name),
        event_ids=said.event_ids,
        fired=said.fired,
        seen=said.seen,
        attributes=untrusted.pairs(said.attributes.items()),
        origin=_origin(said.page_url),
        site=untrusted.site(said.page_url),
    )


def _origin(url: str) -> str:
    """Scheme, host and port of an address, as a browser writes an origin; ``""`` if it is none."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}" if host and parts.scheme else ""


def encode(beacon: Beacon) -> bytes:
    """For the vault."""
    return _encoder.encode(beacon)


def decode(raw: bytes) -> Beacon:
    """The inverse of `encode`; raises `msgspec.MsgspecError` for anything else."""
    return _kept.decode(raw)


_decoder = msgspec.json.Decoder(_Message)
_encoder = msgspec.json.Encoder()
_kept = msgspec.json.Decoder(Beacon)
