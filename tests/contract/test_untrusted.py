"""Two parsers read what strangers send, a fast one first: they must agree on every byte. So must two readers
of addresses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.untrusted import (
    MAX_PAIRS,
    NotJson,
    Number,
    _load_slowly,
    _page_slowly,
    _query_slowly,
    load_json,
    page,
    query,
)

ODD = {
    "lone high surrogate": rb'{"name": "\ud83d"}',
    "lone low surrogate": rb'{"name": "x\udc00"}',
    "half an emoji before text": rb'{"name": "\ud83dx"}',
    "surrogate in a key": rb'{"\ud800": 1}',
    "NUL": rb'{"name": "a\u0000b"}',
    "a key twice": b'{"a": 1, "a": 2}',
    "minus zero": b"[-0, -0.0]",
    "larger than 64 bits": b"[18446744073709551616, -9223372036854775809]",
    "more digits than Python reads": b"[" + b"1" * 5_000 + b"]",
    "long fraction": b"[0." + b"1" * 200 + b"]",
    "exponents": b"[1e5, 1E-400, 1e+400]",
    "NaN": b"[NaN]",
    "Infinity": b"[-Infinity]",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "broken UTF-8 in a key": b'{"a\xff": 1}',
    "broken UTF-8 in a value": b'{"a": "\xed\xa0\x80"}',
    "control character": b'{"a": "b\x01"}',
    "something behind it": b"{} {}",
    "NUL behind it": b"{}\x00",
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 5_000 + b"]" * 5_000,
    "nothing": b"",
    "comments": b"{/* */}",
}


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("raw", ODD.values(), ids=ODD.keys())
def test_odd_bytes_are_read_alike(raw: bytes) -> None:
    assert _told(load_json, raw) == _told(_load_slowly, raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_alike(raw: bytes) -> None:
    assert _told(load_json, raw) == _told(_load_slowly, raw)


_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_documents, st.booleans(), st.data())
def test_documents_with_one_byte_changed_are_read_alike(
    document: Any, in_ascii: bool, data: st.DataObject
) -> None:
    raw = bytearray(json.dumps(document, ensure_ascii=in_ascii).encode("utf-8", "surrogatepass"))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    assert _told(load_json, bytes(raw)) == _told(_load_slowly, bytes(raw))


def test_fractions_stay_text() -> None:
    [price] = load_json(b"[19.90]")
    assert isinstance(price, Number)
    assert price == "19.90"


_SIGNS = st.sampled_from("/?#&=%+;:@.[]\\ \n\x00ü\ud800")
_WORDS = st.sampled_from(
    ("http://", "https://", "HTTPS://", "//", "..", "%41", ":443", "example.com", "127.0.0.1")
)
_PLAIN = st.text("ab.-/?=&12", max_size=12)
addresses = st.lists(_SIGNS | _WORDS | _PLAIN | st.text(max_size=4), max_size=12).map("".join)


@given(addresses | addresses.map("https://shop.example.com/".__add__))
def test_any_page_is_read_alike(url: str) -> None:
    assert page(url) == (_page_slowly(url) if url else "")


@given(addresses | addresses.map("/products/mug?".__add__))
def test_any_query_is_read_alike(url: str) -> None:
    assert query(url) == (_query_slowly(url) if "?" in url else {})


@pytest.mark.parametrize("count", [1, MAX_PAIRS, MAX_PAIRS + 1])
def test_a_query_of_many_is_read_alike(count: int) -> None:
    url = "/?" + "&".join(f"a{number}={number}" for number in range(count))
    assert query(url) == _query_slowly(url)


def _told(read: Any, raw: bytes) -> str:
    """What was read, with the kind of every number; or that it was refused."""
    try:
        return _shape(read(raw))
    except NotJson:
        return "refused"


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{','.join(f'{key!r}:{_shape(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_shape, value))}]"
    return f"{type(value).__name__} {value!r}"
