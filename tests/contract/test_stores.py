"""The promise of a store, asked of every store in the folder and of every sample. There is no list here."""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from typing import Any
from zlib import crc32

import msgspec
import pytest

from integrations.discovery import stores
from integrations.event import DEFAULT_EVENT_ID, Buyer, Event, decode, encode, event_id
from integrations.hook import Hook
from integrations.money import NotMoney
from integrations.setting import Secret
from integrations.store import Incomplete, Malformed, NotAnEvent, Store, Unverified
from integrations.untrusted import Number, load_json
from tests.contract import samples
from tests.contract.comparison import differences
from tests.contract.samples import NOW, SECRET, Case, Vector

STORES = list(stores().values())
CASES = samples.cases()
SIGNED = [case for case in CASES if case.expected.verdict != "ping"]

# One case per sample, options and verdict: the same body under another topic takes the same way.
BODIES = list(
    {f"{c.store.slug} {c.sample} {c.expected.verdict} {c.expected.options}": c for c in SIGNED}.values()
)

every_store = pytest.mark.parametrize("store", STORES, ids=lambda store: store.slug)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_signed_case = pytest.mark.parametrize("case", SIGNED, ids=lambda case: case.id)
every_body = pytest.mark.parametrize("case", BODIES, ids=lambda case: case.id)
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


def tampered(right: str) -> set[str]:
    """What must not pass for the right value; the last two write the same bytes in the other alphabet."""
    in_base64 = re.sub(r"[0-9a-f]{64}", lambda hex_: base64.b64encode(bytes.fromhex(hex_[0])).decode(), right)
    in_hex = re.sub(r"[A-Za-z0-9+/]{43}=", lambda found: base64.b64decode(found[0]).hex(), right)
    odd = ("", " ", "é" + right, right + "é", "\udcff", "x" * 44, "0" * 64, "=" * 44, right[:-1])
    return {*odd, in_base64, in_hex} - {right}


def test_the_other_alphabet_is_tried() -> None:
    raw = b"\xfb" * 32
    in_hex, in_base64 = raw.hex(), base64.b64encode(raw).decode()
    assert f"t=1,v1={in_base64}" in tampered(f"t=1,v1={in_hex}")
    assert in_hex in tampered(in_base64)


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
def test_refunds(case: Case) -> None:
    if case.shop.options.get("refunds") != "send":
        assert case.store.read_refunds(case.hook, case.shop) == ()
    told = refunds(case)
    expected = sorted(case.expected.refunds, key=lambda refund: str(refund["key"]))
    assert differences(expected, sorted(told, key=lambda refund: refund.key), "refunds") == []
    for refund in told:
        assert refund.event_name == "Refund"
        assert refund.value > 0
        assert refund.buyer == Buyer()
        assert (refund.store, refund.shop) == (case.store.slug, case.shop.slug)
        assert decode(encode(refund)) == refund


@every_signed_case
def test_a_refund_names_its_purchase(case: Case) -> None:
    """The key of the purchase, a colon and the refund's own id."""
    _, event = read(case)
    for refund in refunds(case):
        purchase, _, refund_id = refund.key.rpartition(":")
        assert purchase
        assert refund_id
        assert refund.order_id == case.expected.order_id
        if isinstance(event, Event):
            assert (purchase, refund.order_id) == (event.key, event.order_id)


@every_store
def test_refunds_are_shown_or_not_told_of(store: Store) -> None:
    """No setting without samples, nothing told without the setting."""
    told = any(case.expected.refunds for case in CASES if case.store is store)
    declared = [setting for setting in store.settings if setting.name == "refunds"]
    assert bool(declared) is told
    assert [(setting.kind, setting.default, {*setting.choices}) for setting in declared] == (
        [("choice", "skip", {"skip", "send"})] if told else []
    )


def refunds(case: Case) -> tuple[Event, ...]:
    """What the hook tells of refunds; none if it cannot be used."""
    try:
        return case.store.read_refunds(case.hook, case.refunding_shop)
    except Malformed:
        return ()


@every_signed_case
def test_an_event_survives_the_vault(case: Case) -> None:
    verdict, event = read(case)
    if verdict == "event":
        assert isinstance(event, Event)
        assert decode(encode(event)) == event
        assert (event.store, event.shop) == (case.store.slug, case.shop.slug)


@every_signed_case
def test_nothing_happens_after_it_was_heard_of(case: Case) -> None:
    """The clock of a shop may be ahead."""
    if case.expected.verdict == "event":
        told = case.store.read(case.hook, case.shop)
        early = told.event_time - 3_600
        event = case.store.read(msgspec.structs.replace(case.hook, received_at=early), case.shop)
        visit = told.landing_at and min(told.landing_at, early * 1000)
        assert event == msgspec.structs.replace(told, event_time=early, landing_at=visit)


@every_store
def test_one_purchase_has_one_event_id(store: Store) -> None:
    ids = defaultdict(set)
    for case in CASES:
        if case.store is store and isinstance(event := read(case)[1], Event):
            for template in (DEFAULT_EVENT_ID, *store.event_ids.values()):
                ids[event.key, template, case.expected.apart].add(event_id(event, template))
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
    "deeper_than_allowed": b'{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
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


MISSING = object()
HOSTILE: tuple[object, ...] = (
    MISSING,
    None,
    "",
    [],
    {},
    10**400,
    -1,
    True,
    Number("1.5"),
    Number("1e400"),
    "\ud800",
    "\x00",
    "http://[::1",
    "9" * 5_000,
    [None, 0, "x", [], {}, [[]], {"": None}],
    {"id": {}, "name": [], "value": {}, "amount": {}},
)


@every_body
def test_one_hostile_field_does_no_harm(case: Case) -> None:
    """A third of the values for each sample, and another third for the next: their fields are much alike."""
    document = load_json(case.hook.body)
    for value in HOSTILE[crc32(case.id.encode()) % 3 :: 3]:
        for path, mutant in mutants(document, value):
            try:
                survives(case, mutant)
            except Exception as error:
                error.add_note(f"{case.id}: {path} = {value!r:.80}")
                raise


def mutants(node: Any, value: object, depth: int = 4, path: str = "") -> Iterator[tuple[str, Any]]:
    """The document with one field replaced (or missing), for every field; of lists the first item."""
    if isinstance(node, dict) and depth:
        for key, child in node.items():
            rest = {name: other for name, other in node.items() if name != key}
            yield f"{path}.{key}", rest if value is MISSING else {**rest, key: value}
            for deeper, mutant in mutants(child, value, depth - 1, f"{path}.{key}"):
                yield deeper, {**rest, key: mutant}
    elif isinstance(node, list) and node:
        for deeper, mutant in mutants(node[0], value, depth, f"{path}[0]"):
            yield deeper, [mutant, *node[1:]]


def survives(case: Case, body: dict[str, Any]) -> None:
    """Mapping gives an event that can be kept, or a promised exception (`Store.read` turns NotMoney); so do
    refunds."""
    try:
        can_be_kept(case.store.map(case.hook, body, case.shop))
    except (NotMoney, Malformed, NotAnEvent, Incomplete) as error:
        str(error).encode()
    try:
        told = case.store.refunds(case.hook, body, case.refunding_shop)
    except (NotMoney, Malformed) as error:
        str(error).encode()
        return
    for refund in told:
        can_be_kept(refund)
        assert (refund.event_name, refund.value > 0) == ("Refund", True)


def can_be_kept(event: Event) -> None:
    kept = encode(event)
    assert b"\\u0000" not in kept
    assert decode(kept) == event
    assert event.key
    assert event.order_id
    assert len(event.currency) == 3


@every_signed_case
def test_a_hostile_header_never_crashes(case: Case) -> None:
    for name, value in product(case.hook.headers, ("", "é", "\udcff", "\x00", "x" * 10_000)):
        try:
            survives_header(case, Hook({**case.hook.headers, name: value}, case.hook.body, NOW))
        except Exception as error:
            error.add_note(f"{case.id}: {name} = {value!r:.80}")
            raise


def survives_header(case: Case, hook: Hook) -> None:
    assert isinstance(case.store.topic(hook), str)
    read(Case(case.id, case.store, case.sample, hook, case.secret, case.expected))
    try:
        case.store.verify(hook, [Secret(case.secret)])
    except Unverified as error:
        str(error).encode()
