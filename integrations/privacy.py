"""What people may ask of a shop that knows them, and what in a hook tells who somebody is.

Whoever looks for a person must spell them as it was written down: `identity` does that for both.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from integrations.event import Buyer
from integrations.untrusted import text

REASON = "privacy_request"
"""The reason of the `NotAnEvent` that a store raises for a hook which asks for something like that."""

Kind = Literal["email", "phone", "customer"]
Identity = tuple[Kind, str]
"""Spelled by `identity`. It is personal: it stands in no log, and in the ledger only as a keyed hash."""

MAX_IDENTITIES = 32


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants a copy of what is kept about them (export), or that it goes (erase). They are whoever
    one of these names; ``orders`` are the store's ids. ``everything``: the whole shop."""

    action: Literal["export", "erase"]
    email: str = ""
    phone: str = ""
    customer_id: str = ""
    orders: tuple[str, ...] = ()
    everything: bool = False

    def __repr__(self) -> str:
        return f"Wish({self.action}, {len(self.orders)} orders, everything={self.everything})"

    def __bool__(self) -> bool:
        """Whether it names anybody."""
        return self.everything or bool(self.orders) or bool(self.identities())

    def identities(self) -> frozenset[Identity]:
        """The person, by every name."""
        named: tuple[tuple[Kind, str], ...] = (
            ("email", self.email),
            ("phone", self.phone),
            ("customer", self.customer_id),
        )
        return _known(identity(kind, written) for kind, written in named)


def identity(kind: Kind, written: str) -> Identity | None:
    """The same for every spelling of the same; None for what names nobody.

    Of a phone number the last nine digits count: the same one is written with and without its country.
    """
    spelled = written.strip()
    match kind:
        case "email":
            spelled = spelled.casefold() if "@" in spelled.strip("@") else ""
        case "phone":
            digits = _NO_DIGITS.sub("", spelled)
            spelled = digits[-9:] if len(digits) >= 7 and digits.strip("0") else ""
        case "customer":
            spelled = "" if spelled == "0" else spelled
    return (kind, spelled) if spelled and len(spelled) <= 320 else None


_NO_DIGITS = re.compile(r"[^0-9]+")


def of_buyer(buyer: Buyer) -> frozenset[Identity]:
    """The person of an event."""
    return Wish(
        action="export", email=buyer.email, phone=buyer.phone, customer_id=buyer.customer_id
    ).identities()


def in_body(body: bytes) -> frozenset[Identity]:
    """Everybody whom a hook's body names, whether it can be used or not: by the names that all stores have
    for them. Looks at the bytes, so that what is no JSON is read as well; a few dozen at most."""
    found = dict.fromkeys(_named(body))  # most of it several times
    return _known(identity(kind, _text(written)) for kind, written in found)


def _named(body: bytes) -> Iterator[tuple[Kind, bytes]]:
    for name, kind in _NAMES.items():
        at = body.find(name)
        while at >= 0:
            at += len(name)
            if found := _VALUE.match(body, at):
                yield kind, found[1]
            at = body.find(name, at)


_NAMES: dict[bytes, Kind] = {
    b'email"': "email",
    b'phone"': "phone",
    b'customer_id"': "customer",
    b'"customer"': "customer",
}
"""How the name of a field ends, with its quote."""

# Most text has nothing escaped, and is faster looked for so.
_TEXT = rb'"(?:[^"\\]{1,320}"|(?:[^"\\]|\\.){1,320}")'
_VALUE = re.compile(rb'\s*:\s*(?:\{\s*"id"\s*:\s*)?(' + _TEXT + rb"|[0-9]{1,30}(?![0-9.]))")


def _text(written: bytes) -> str:
    try:
        return text(msgspec.json.decode(written), 320)
    except ValueError:
        return ""


def _known(found: Iterable[Identity | None]) -> frozenset[Identity]:
    kept: set[Identity] = set()
    for one in found:
        if one is not None:
            kept.add(one)
        if len(kept) == MAX_IDENTITIES:
            break
    return frozenset(kept)
