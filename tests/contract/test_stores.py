"""The promise of a store, asked of every store in the folder and of every sample. There is no list here."""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.discovery import stores
from integrations.event import DEFAULT_EVENT_ID, Event, decode, encode, event_id
from integrations.money import NotMoney
from integrations.setting import Secret
from integrations.store import Hook, Incomplete, Malformed, NotAnEvent, Store, Unverified
from tests.contract import samples
from tests.contract.comparison import differences
from tests.contract.samples import NOW, SECRET, Case, Vector

STORES = list(stores().values())
CASES = samples.cases()
SIGNED = [case for case in CASES if case.expected.verdict != "ping"]

every_store = pytest.mark.parametrize("store", STORES, ids=lambda store: store.slug)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_signed_case = pytest.mark.parametrize("case", SIGNED, ids=lambda case: case.id)
every_vector = pytest.mark.parametrize(
    ("store", "vector"),
    [
        pytest.param(store, vector, id=f"{store.slug}-{number}-{vector.why or 'right'}".replace(" ", "_"))
        for store in STORES
        for number, vector in enumerate(samples.vectors(store.slug))
    ],
)

# --- the folder ------------------------------------------------------------------------------------------


@every_store
def test_every_sample_has_an_expectation_and_a_source(store: Store) -> None:
    paths = samples.sample_paths(store.slug)
    readme = (samples.FOLDER / store.slug / "README.md").read_text(encoding="utf-8")
    assert paths
    assert [str(path) for path in paths if not samples.expectation_path(path).exists()] == []
    assert samples.orphans(store.slug) == []
    assert [path.name for path in paths if path.stem not in readme] == []


@every_store
def test_samples_show_sales_and_what_is_none(store: Store) -> None:
    verdicts = {case.expected.verdict for case in CASES if case.store is store}
    assert {"event", "not_an_event"} <= verdicts


@every_store
def test_every_declared_option_is_tried(store: Store) -> None:
    tried = {name for case in CASES if case.store is store for name in case.expected.options}
    assert {setting.name for setting in store.settings if not setting.secret} - tried == set()


# --- signatures ------------------------------------------------------------------------------------------


@every_vector
def test_signature_vector(store: Store, vector: Vector) -> None:
    hook = Hook({vector.header.lower(): vector.value}, vector.raw_body.encode(), vector.now)
    if vector.valid:
        assert store.verify(hook, [Secret("another-secret"), Secret(vector.secret)]) == 1
    else:
        refused(store, hook, vector.secret)


@every_store
def test_vectors_are_right_and_wrong_ones(store: Store) -> None:
    assert {vector.valid for vector in samples.vectors(store.slug)} == {True, False}


@every_signed_case
def test_the_matching_secret_is_named(case: Case) -> None:
    other, right = Secret("other-secret"), Secret(case.secret)
    assert case.store.verify(case.hook, [right]) == 0
    assert case.store.verify(case.hook, [right, other]) == 0
    assert case.store.verify(case.hook, [other, Secret(""), right]) == 2


@every_signed_case
def test_another_body_is_refused(case: Case) -> None:
    body = case.hook.body
    reserialised = json.dumps(json.loads(body), separators=(", ", ":  ")).encode()
    for changed in (body + b"\n", body + b"\x00", body[:-1], b"\xef\xbb\xbf" + body, reserialised, b""):
        assert changed != body
        refused(case.store, Hook(case.hook.headers, changed, NOW), case.secret)


@every_store
def test_without_a_secret_nothing_is_believed(store: Store) -> None:
    body = b'{"id":1}'
    for secret in (SECRET, ""):
        hook = signed(store, body, secret=secret)
        refused(store, hook)
        refused(store, hook, "")
        refused(store, hook, "", "another-secret")


@every_store
def test_a_tampered_signature_is_refused(store: Store) -> None:
    body = b'{"id":1}'
    hook = signed(store, body)
    assert store.verify(hook, [Secret(SECRET)]) == 0
    for name in signature_headers(store, body):
        for value in tampered(hook.headers[name]):
            refused(store, Hook({**hook.headers, name: value}, body, NOW), SECRET)
        rest = {key: value for key, value in hook.headers.items() if key != name}
        refused(store, Hook(rest, body, NOW), SECRET)


def signed(store: Store, body: bytes, *, secret: str = SECRET, topic: str = "") -> Hook:
    headers = samples.sender(store).sign(body, secret, topic=topic, now=NOW)
    return Hook({name.lower(): value for name, value in headers.items()}, body, NOW)


def refused(store: Store, hook: Hook, *secrets: str) -> None:
    with pytest.raises(Unverified) as caught:
        store.verify(hook, [Secret(secret) for secret in secrets])
    assert not any(secret in str(caught.value) for secret in secrets if secret)


def signature_headers(store: Store, body: bytes) -> list[str]:
    """The headers that depend on the secret."""
    one, two = signed(store, body).headers, signed(store, body, secret="another-secret").headers
    names = [name for name in one if one[name] != two[name]]
    assert names
    return names


def tampered(value: str) -> Iterator[str]:
    yield from ("", " ", "é" + value, value + "é", "\udcff", "x" * 44, "0" * 64, "=" * 44, value[:-1])
    yield re.sub(
        r"[0-9a-f]{64}", lambda match: base64.b64encode(bytes.fromhex(match[0])).decode(), value, count=1
    )
    yield re.sub(r"[A-Za-z0-9+/]{43}=", lambda match: base64.b64decode(match[0]).hex(), value, count=1)


def test_the_tampered_values_differ_from_the_right_one() -> None:
    in_hex = "t=1,v1=" + "0f" * 32
    in_base64 = base64.b64encode(b"\xfb" * 32).decode()
    assert len({*tampered(in_hex)} - {in_hex}) >= 10
    assert len({*tampered(in_base64)} - {in_base64}) >= 10


# --- reading ---------------------------------------------------------------------------------------------


@every_case
def test_sample(case: Case) -> None:
    expected = case.expected
    if expected.verdict == "ping":
        assert case.store.is_ping(case.hook)
        refused(case.store, case.hook, case.secret)
        return
    assert not case.store.is_ping(case.hook)
    verdict, result = read(case)
    assert (verdict, str(result) if verdict != expected.verdict else "") == (expected.verdict, "")
    if isinstance(result, Event):
        assert differences(expected.event, result, "event") == []
        assert expected.event.get("key"), "an event's expectation says its key"
    elif isinstance(result, Malformed):
        assert expected.reason in result.reason
        assert expected.reason
    else:
        assert result.reason == expected.reason
    if expected.order_id:
        assert result.order_id == expected.order_id


@every_signed_case
def test_an_event_survives_the_vault(case: Case) -> None:
    verdict, event = read(case)
    if verdict == "event":
        assert isinstance(event, Event)
        assert decode(encode(event)) == event
        assert (event.store, event.shop) == (case.store.slug, case.shop.slug)


@every_store
def test_one_purchase_has_one_event_id(store: Store) -> None:
    ids = defaultdict(set)
    for case in CASES:
        if case.store is store and isinstance(event := read(case)[1], Event):
            for template in (DEFAULT_EVENT_ID, *store.event_ids.values()):
                ids[event.key, template].add(event_id(event, template))
    assert ids
    assert {key: found for key, found in ids.items() if len(found) > 1} == {}


def read(case: Case) -> tuple[str, Event | Malformed | NotAnEvent | Incomplete]:
    try:
        return "event", case.store.read(case.hook, case.shop)
    except Malformed as error:
        return "quarantined", error
    except NotAnEvent as error:
        return "not_an_event", error
    except Incomplete as error:
        return "incomplete", error


# --- what strangers send ---------------------------------------------------------------------------------

NO_OBJECTS = {
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "true": b"true",
    "nothing": b"",
    "spaces": b"  ",
    "deep_list": b"[" * 100_000,
    "deep_object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "deeper_than_allowed": b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
    "utf16": '{"id":1}'.encode("utf-16"),
    "latin1": '{"id":1,"name":"é"}'.encode("latin-1"),
    "bom": b'\xef\xbb\xbf{"id":1}',
    "nan": b'{"id":NaN}',
    "infinity": b'{"id":1,"total_price":-Infinity}',
    "digits": b'{"id":' + b"9" * 5_000 + b"}",
    "two": b'{"id":1}{"id":2}',
    "cut": b'{"id":1,"na',
}


@every_store
@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS.keys())
def test_no_object_is_quarantined(store: Store, body: bytes) -> None:
    topics = {store.topic(case.hook) for case in SIGNED if case.store is store}
    for topic in sorted(topics):
        hook = signed(store, body, topic=topic)
        assert store.verify(hook, [Secret(SECRET)]) == 0
        assert isinstance(store.topic(hook), str)
        assert not store.is_ping(hook)
        with pytest.raises(Malformed):
            store.read(hook, samples.shop(store))


HOSTILE: dict[str, Any] = {
    "null": None,
    "empty_text": "",
    "empty_list": [],
    "empty_object": {},
    "huge_integer": 10**400,
    "minus_one": -1,
    "true": True,
    "surrogate": "\ud800",
    "nul": "\x00",
    "list_of_odd_things": [None, 0, "x", [], {}, [[]], {"": None}],
    "object_of_objects": {"id": {}, "name": [], "value": {}, "amount": {}},
    "address": "http://[::1",
    "long_text": "9" * 5_000,
}


@every_signed_case
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_one_field_replaced_by_a_hostile_value(case: Case, value: object) -> None:
    for mutant in mutants(json.loads(case.hook.body), lambda parent, key: {**parent, key: value}):
        survives(case, mutant)


@every_signed_case
def test_one_field_missing(case: Case) -> None:
    for mutant in mutants(json.loads(case.hook.body), without):
        survives(case, mutant)


def without(parent: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in parent.items() if name != key}


def mutants(node: Any, change: Any, depth: int = 4) -> Iterator[Any]:
    """The document with one field changed, for every field; of lists the first item is changed."""
    if depth == 0:
        return
    if isinstance(node, dict):
        for key, child in node.items():
            yield change(node, key)
            for mutant in mutants(child, change, depth - 1):
                yield {**node, key: mutant}
    elif isinstance(node, list) and node:
        for mutant in mutants(node[0], change, depth):
            yield [mutant, *node[1:]]


def survives(case: Case, body: dict[str, Any]) -> None:
    """Mapping gives a storable event or one of the promised exceptions (`Store.read` turns NotMoney)."""
    try:
        event = case.store.map(case.hook, body, case.shop)
    except (NotMoney, Malformed, NotAnEvent, Incomplete) as error:
        str(error).encode()
        return
    stored = encode(event)
    assert event.key
    assert event.order_id
    assert len(event.currency) == 3
    assert b"\\u0000" not in stored
    assert decode(stored) == event


@every_signed_case
@pytest.mark.parametrize("value", ["", "é", "\udcff", "\x00", "x" * 10_000])
def test_a_hostile_header_never_crashes(case: Case, value: str) -> None:
    for name in case.hook.headers:
        hook = Hook({**case.hook.headers, name: value}, case.hook.body, NOW)
        assert isinstance(case.store.topic(hook), str)
        read(Case(case.id, case.store, case.sample, hook, case.secret, case.expected))
        try:
            case.store.verify(hook, [Secret(case.secret)])
        except Unverified as error:
            str(error).encode()
