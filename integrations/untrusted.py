"""Reading what strangers, browsers and shops wrote, without ever raising for an odd optional field."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

MAX_PAIRS = 100
MAX_NAME = 100
MAX_TEXT = 2_000
MAX_PARTS = 100_000
"""Objects and lists of one document. Half a million fit into 2 MiB and would keep a process busy for a
second; an order with a thousand lines has some forty thousand."""


class NotJson(ValueError):
    """The bytes are not a JSON document that we are willing to read."""


class Shape:
    """The fields of a document that somebody reads, as a `TypedDict` (``total=False``) of them: containers in
    their own shape, all else `Any`. Of an order that is a quarter; the rest is not worth building."""

    def __init__(self, fields: Any) -> None:
        self.fields = fields
        self._decoder = msgspec.json.Decoder(fields, float_hook=_finite_text)

    def decode(self, raw: bytes) -> Any:
        """Raises `ValueError` or `RecursionError` where the document has another shape, or is none. Text that
        is not wanted is skipped, whatever its bytes are, so somebody else must know it to be UTF-8."""
        return self._decoder.decode(raw)


def load_json(raw: bytes, shape: Shape | None = None) -> Any:
    """Strict JSON from UTF-8 bytes: no other encoding, no NaN or Infinity, bounded depth (the parser's own
    recursion limit), bounded numbers and a bounded number of parts.

    What msgspec takes, it reads as the standard library does, in a third of the time; what it refuses is
    read once more: it does not know lone surrogates, and its errors are many.

    Of a document with this ``shape`` only the shape's fields are there; one with another is read whole. The
    digits of numbers that nobody wants are not counted.
    """
    # As many parts need as many bytes, and counting takes as long as reading.
    if len(raw) > MAX_PARTS and raw.count(b"{") + raw.count(b"[") > MAX_PARTS:
        raise NotJson("the body is made of too many parts")
    try:
        if shape is not None and is_utf8(raw):
            return shape.decode(raw)
        return _decoder.decode(raw)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return _load_slowly(raw) if shape is None else load_json(raw)


def is_utf8(raw: bytes) -> bool:
    """Whether all of it is."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _load_slowly(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson("the body is not UTF-8") from error
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_text)
    except RecursionError as error:
        raise NotJson("the body is nested too deeply") from error
    except ValueError as error:
        raise NotJson("the body is not JSON") from error
    return document


class Number(str):
    """A JSON number with a fraction or exponent, kept as it was written: floats would round money."""

    __slots__ = ()


def text(value: object, limit: int = MAX_TEXT) -> str:
    """The value as clean, trimmed text; ``""`` for null, containers, booleans and over-long text.

    NUL and lone surrogates, which databases and hashes refuse, are dropped.
    """
    if value is None:
        return ""
    # Most is printable: nothing in it need be dropped.
    written = value.strip() if type(value) is str and value.isprintable() else _text_slowly(value)
    return written if len(written) <= limit else ""


def _text_slowly(value: object) -> str:
    if type(value) is int:  # and no boolean
        return str(value) if abs(value) < 10**30 else ""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8").strip()
    return ""


def first(*values: object, limit: int = MAX_TEXT) -> str:
    """The first of the values that is text and not empty, read as `text` does; else ``""``."""
    for value in values:
        if written := text(value, limit):
            return written
    return ""


def record(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one (PHP writes ``[]`` for an empty object)."""
    return value if isinstance(value, dict) else {}


def records(value: object) -> list[dict[str, Any]]:
    """The objects in the value if it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def integer(value: object, default: int = 0) -> int:
    """A bounded whole number, or the default."""
    if type(value) is int and -(10**12) < value < 10**12:
        return value
    written = text(value, 13)
    return int(written) if re.fullmatch(r"-?[0-9]{1,12}", written) else default


def pairs(items: Iterable[tuple[object, object]], limit: int = MAX_PAIRS) -> dict[str, str]:
    """Name/value pairs of a storefront, bounded in number and length; the first of a name counts."""
    kept: dict[str, str] = {}
    for name, value in items:
        key = text(name, MAX_NAME)
        if key and key not in kept and (written := text(value)):
            kept[key] = written
            if len(kept) == limit:
                break
    return kept


def countries(written: Iterable[object]) -> tuple[str, ...]:
    """The two-letter codes among the values, in upper case, each once."""
    codes = (text(one, 2).upper() for one in written)
    return tuple(
        dict.fromkeys(code for code in codes if len(code) == 2 and code.isascii() and code.isalpha())
    )


def query(url: str) -> dict[str, str]:
    """The query parameters of an address or a path."""
    if "?" not in url:
        return {}
    if len(url) <= MAX_TEXT and (plain := _PLAIN_QUERY.fullmatch(url)):
        return _plain_pairs(plain[1].split("&"))
    return _query_slowly(url)


def _query_slowly(url: str) -> dict[str, str]:
    try:
        return pairs(parse_qsl(urlsplit(url).query, max_num_fields=MAX_PAIRS))
    except ValueError:
        return {}


def page(url: str) -> str:
    """Scheme, host and path of an https or http address; ``""`` for anything else. Never the query."""
    if not url:
        return ""
    if plain := _PLAIN_PAGE.match(url):
        return plain[0]
    return _page_slowly(url)


def _page_slowly(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or "." not in host:
        return ""
    return f"{parts.scheme}://{host}{parts.path}"


def site(url: str) -> str:
    """The front page of the site of a public address; ``""`` for a host that is a number."""
    address = page(url)
    host = address.split("/")[2] if address else ""
    return f"{address.partition(':')[0]}://{host}/" if host and not host.replace(".", "").isdigit() else ""


def moment(value: object, *, assume_utc: bool = False) -> int | None:
    """Unix seconds of an ISO 8601 time between 2000 and 2100, or None.

    A time without a zone is only read with ``assume_utc``: guessing a zone shifts events by hours.
    """
    written = text(value, 40)
    try:
        parsed = datetime.fromisoformat(written)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        if not assume_utc:
            return None
        parsed = parsed.replace(tzinfo=UTC)
    try:
        seconds = int(parsed.timestamp())
    except (OverflowError, ValueError):
        return None
    return seconds if 946_684_800 <= seconds < 4_102_444_800 else None


def _refuse_constant(name: str) -> None:
    raise NotJson(f"the body holds {name}, which is not JSON")


def _finite_text(written: str) -> Number:
    return Number(written[:64])


def _plain_pairs(parts: list[str]) -> dict[str, str]:
    """As `parse_qsl` reads them and `pairs` keeps them, where nothing need be decoded or trimmed."""
    kept: dict[str, str] = {}
    if len(parts) > MAX_PAIRS:
        return kept
    for part in parts:
        name, _, value = part.partition("=")
        if value and name and name not in kept and len(name) <= MAX_NAME:
            kept[name] = value
    return kept


_decoder = msgspec.json.Decoder(float_hook=_finite_text)

# Most addresses, of which nothing need be decoded, lower-cased or left out: a path with a query of plain
# names and values; a host in small letters without port or password, and what stands before its query.
_PLAIN_QUERY = re.compile(r"/(?:[!\"$-.0->@-~][!\"$->@-~]*)?\?([!\"$&-*,-~]*)", re.ASCII)
_PLAIN_PAGE = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[!\"$->@-~]*)?(?=[?#]|\Z)", re.ASCII)
