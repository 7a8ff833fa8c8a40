"""Why a browser's event id is not the server's: names the cause, and what to do about it. Pure.

A destination counts one purchase if both tell of it under the same name and the same id, byte for byte.
"""

import re
from collections.abc import Mapping

import msgspec

from integrations.event import is_no_id
from webhooks.beacon import Id
from webhooks.enriching import NUMBERS, bare


class Kind(msgspec.Struct, frozen=True):
    """A cause: what is wrong, and the remedy. ``shop`` and ``account`` may be named in braces."""

    sentence: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "missing_id": Kind(
        "the pixel fires without an event id",
        "pass the id on to the pixel: install what `purchase-relay snippet {shop}` prints",
    ),
    "number": Kind(
        "the pixel gets the id as a number, the server sends it as text",
        "make it text before the pixel gets it: String(id)",
    ),
    "hash_sign": Kind(
        "one side writes the number with # and the other without",
        "fire what the server sends, or set the shop's EVENT_ID to what the pixel fires",
    ),
    "gid": Kind(
        "the pixel fires a gid:// address where the server sends its digits",
        "fire the digits after the last slash",
    ),
    "whitespace": Kind("the ids differ in blanks alone", "trim the id before the pixel gets it"),
    "letter_case": Kind(
        "the ids differ in upper and lower case alone", "leave the id as the shop wrote it: change no letter"
    ),
    "leading_zeros": Kind("the ids differ in leading zeros alone", "leave the id as the shop wrote it"),
    "another_name": Kind(
        "the pixel fires another name of the same order",
        "fire the name that the server sends, or set the shop's EVENT_ID to the one that the pixel fires",
    ),
    "another_template": Kind(
        "the pixel's id is made after another template than this account's",
        "install the snippet again after every change of EVENT_ID; `purchase-relay snippet {shop}` prints it",
    ),
    "another_shop": Kind(
        "the pixel's id is made after another shop's template",
        "this page has another shop's snippet: install what `purchase-relay snippet {shop}` prints",
    ),
    "affix": Kind(
        "one side puts something before or behind the order's name",
        "use the same prefix on both sides: the shop's EVENT_ID, and the snippet made from it",
    ),
    "event_name": Kind(
        "the pixel calls the purchase otherwise than the server",
        "fire the destination's own purchase event; under two names it counts two",
    ),
    "foreign_uuid": Kind(
        "the pixel fires a random UUID: a plugin's or an app's own id",
        "switch the plugin's purchase event off, or, where it keeps the UUID with the order, set the shop's "
        "EVENT_ID to {{meta:its_key|order_id}}",
    ),
    "native_channel": Kind(
        "the store's own channel still reports purchases, under ids that no order carries",
        "switch the channel's own conversion events off, or send nothing to {account}",
    ),
    "fired_twice": Kind(
        "the browser fires the same purchase again under a new id",
        "make the id of the order alone (no time, no random number), and fire once per order",
    ),
    "one_id_for_all": Kind(
        "the browser fires different orders under one id",
        "the id must be made of the order: as it is, the pixel's purchases count as one",
    ),
    "outside_window": Kind(
        "browser and server told of it too far apart for the destination to recognise it",
        "see why the server was late (`purchase-relay orders show`); what came that late counts twice",
    ),
    "unlike": Kind(
        "the pixel's id has nothing to do with the order",
        "find out who fires it: install what `purchase-relay snippet {shop}` prints, and nothing else",
    ),
}
"""Every cause by its word."""

HARMLESS = ("", "blocked")
"""What is no fault: the ids agree; or the pixel was not called, and the server's purchase is the only one."""


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's server side sends for an order, and what may have been meant instead.

    ``names`` are all of the order. ``templates`` and ``shops``: the ids that this shop's other templates and
    the other shops' would give it. ``native`` is the form of the store's own ids in a browser.
    """

    event_id: str
    event_name: str
    names: Mapping[str, str]
    templates: tuple[str, ...] = ()
    shops: tuple[str, ...] = ()
    native: str = ""


def cause(right: Right, event_name: str, told: Id) -> str:
    """The word for what is wrong, ``""`` if nothing is. Both arguments as the pixel was given them."""
    text = _text(told)
    if is_no_id(text.strip()) or isinstance(told, bool):
        return "missing_id"
    if right.native and re.fullmatch(right.native, text):
        return "native_channel"
    if text == right.event_id:
        if not isinstance(told, str):
            return "number"
        return "" if event_name == right.event_name else "event_name"
    return _spelling(right.event_id, text, told) or _origin(right, text)


def _text(told: Id) -> str:
    """The id as text; a whole number with a fraction of zero is that number."""
    if isinstance(told, float) and told.is_integer():
        return f"{told:.0f}"
    return "" if told is None else str(told)


def _spelling(expected: str, text: str, told: Id) -> str:
    """The same id, written otherwise."""
    if not isinstance(told, str):
        return "number" if text == bare("order_name", expected) else ""
    alike = {
        "whitespace": ("".join(text.split()), "".join(expected.split())),
        "letter_case": (text.casefold(), expected.casefold()),
        "hash_sign": (text.replace("#", ""), expected.replace("#", "")),
        "gid": (bare("order_id", text), bare("order_id", expected)),
        "leading_zeros": (text.lstrip("0"), expected.lstrip("0")),
    }
    return next((kind for kind, (one, other) in alike.items() if one == other), "")


def _origin(right: Right, text: str) -> str:
    """Another id of the same order, or somebody else's: the first that explains it."""
    is_name, wants_name = (_is_name(one, right.names) for one in (text, right.event_id))
    explanations = {
        "another_shop": text in right.shops,
        "another_name": is_name and wants_name,
        "another_template": text in right.templates,
        "foreign_uuid": bool(_UUID.fullmatch(text)),
        "affix": _holds(right.event_id, text) or any(_holds(text, one) for one in right.names.values()),
    }
    found = (kind for kind, explains in explanations.items() if explains)
    return next(found, "another_name" if is_name else "unlike")


_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)


def _is_name(text: str, names: Mapping[str, str]) -> bool:
    return any(bare(name, text) == bare(name, value) for name, value in names.items())


def _holds(text: str, part: str) -> bool:
    """Whether the part stands in the text as a word of its own: 1042 is no part of 91042."""
    return bool(re.search(rf"(?<![0-9A-Za-z]){re.escape(part)}(?![0-9A-Za-z])", text)) and text != part


# --- words -----------------------------------------------------------------------------------------------


def shape(told: Id, names: Mapping[str, str]) -> str:
    """How the id is made, as far as the order explains it: ``#{order_id}``, ``a UUID``, ``text of 36``. No
    name of the order stands in it, and nothing that could be personal."""
    text = _text(told)
    if not text.strip():
        return "nothing"
    found, longest_first = text, sorted(names.items(), key=lambda pair: -len(pair[1]))
    spellings = [*longest_first, *((name, bare(name, value)) for name, value in longest_first)]
    for name, value in spellings:
        found = re.sub(rf"(?<![0-9A-Za-z{{]){re.escape(value)}(?![0-9A-Za-z}}])", f"{{{name}}}", found)
    if not _TELLABLE.fullmatch(found):
        found = "a UUID" if _UUID.fullmatch(text) else f"text of {len(text)}"
    return found if isinstance(told, str) else f"{found} as a number"


_PLACES = "|".join((*NUMBERS, "order_key", "checkout_token", "session_id", "payment_intent"))
_TELLABLE = re.compile(rf"[\s\w#:/.-]{{0,20}}\{{({_PLACES})\}}[\s\w#:/.-]{{0,20}}", re.ASCII)
