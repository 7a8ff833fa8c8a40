"""The promise of a destination, asked of every destination in the folder with every event.

There is no list here. The wire is real: the requests go through `webhooks.transport` to the
destination's stand-in.
"""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest

from integrations.destination import Destination, Request, Response
from integrations.event import Consent, Event, Line
from tests.contract.bench import Bench, bench_of
from tests.contract.deliveries import (
    DESTINATIONS,
    EVENTS,
    NOW,
    Mutation,
    account,
    answer,
    delivery,
    fit,
    folder,
    golden,
    golden_path,
    mutated,
    mutations,
    secrets,
    states,
    taken,
)
from webhooks.sandbox.standin import SCENES, Step

every_destination = pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.slug)
every_event = pytest.mark.parametrize(
    ("destination", "name"),
    [
        pytest.param(destination, name, id=f"{destination.slug}-{name}")
        for destination in DESTINATIONS
        for name in taken(destination)
    ],
)
every_mutation = pytest.mark.parametrize(
    ("destination", "mutation"),
    [
        pytest.param(destination, mutation, id=f"{destination.slug}-{mutation.name}".replace(" ", "_"))
        for destination in DESTINATIONS
        for mutation in mutations(destination)
    ],
)


@pytest.fixture
def bench(destination: Destination) -> Iterator[Bench]:
    with bench_of(destination) as ready:
        yield ready


def _fit(destination: Destination) -> list[str]:
    return [name for name in taken(destination) if fit(destination, name)]


def _is_mute(destination: Destination) -> bool:
    """Whether the vendor answers nothing at all to what it takes (and to what it does not)."""
    return states(destination.read(1, Response(204))) == {"delivered"}


# --- the folder ------------------------------------------------------------------------------------------


@every_destination
def test_every_golden_request_has_its_event(destination: Destination) -> None:
    assert {path.stem for path in (folder(destination) / "golden").glob("*.json")} == set(taken(destination))
    assert len(_fit(destination)) > 1


@every_destination
def test_there_are_enough_mutations(destination: Destination) -> None:
    names = [mutation.name for mutation in mutations(destination)]
    assert len(set(names)) == len(names) >= 15


# --- building --------------------------------------------------------------------------------------------


@every_event
def test_event_becomes_its_golden_request(
    destination: Destination, name: str, request: pytest.FixtureRequest
) -> None:
    path = golden_path(destination, name)
    written = golden(destination, name)
    if request.config.getoption("--update-golden", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(written)
    assert written.decode() == path.read_text(encoding="utf-8")


@every_event
def test_building_twice_gives_the_same_bytes(destination: Destination, name: str) -> None:
    if fit(destination, name):
        known, sent = account(destination), [delivery(EVENTS[name])]
        assert destination.build(sent, known, NOW) == destination.build(sent, known, NOW)


@every_event
def test_neither_secret_nor_person_is_shown(destination: Destination, name: str) -> None:
    if not fit(destination, name):
        return
    request = destination.build([delivery(EVENTS[name])], account(destination), NOW)
    buyer = EVENTS[name].buyer
    address = unquote(request.url)
    if destination.secret_in_url:
        address = unquote(urlsplit(request.url)._replace(query="").geturl())
    assert [secret for secret in secrets(destination) if secret in address] == []
    plain = [value for value in (buyer.email, buyer.phone) if value]
    assert [value for value in plain if value.lower() in request.body.decode().lower()] == []
    assert [value for value in plain if value.lower() in unquote(request.url).lower()] == []


@every_destination
@pytest.mark.parametrize("purpose", ["ad_storage", "ad_user_data"])
def test_who_declined_is_not_told_of(destination: Destination, purpose: str) -> None:
    event = msgspec.structs.replace(
        EVENTS["web_full"], consent=msgspec.structs.replace(Consent(), **{purpose: "denied"})
    )
    unfit = destination.unfit(event, account(destination), NOW)
    assert unfit is not None
    assert unfit.state == "suppressed"


@every_destination
def test_window_is_positive_for_every_origin(destination: Destination) -> None:
    assert all(destination.window(event) > 3600 for event in EVENTS.values())


ODD_TEXTS = [
    "\x00",
    "\u202e",
    "'\"\\</script>",
    "🎁" * 500,
    "x" * 2000,
    "\u0301",
    "0",
    "null",
    "%00",
    "{order_id}",
]


@every_destination
@pytest.mark.parametrize("odd", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_no_text_of_a_stranger_spoils_a_request(destination: Destination, odd: str) -> None:
    for event in _odd_events(odd):
        known = account(destination)
        if destination.unfit(event, known, NOW) is None:
            request = destination.build([delivery(event)], known, NOW)
            json.loads(request.body)
            assert request.url.isascii()
            assert not {"\r", "\n"} & set(request.url + "".join(request.headers.values()))


def _odd_events(odd: str) -> Iterator[Event]:
    full = EVENTS["web_full"]
    for field in full.buyer.__struct_fields__:
        yield msgspec.structs.replace(full, buyer=msgspec.structs.replace(full.buyer, **{field: odd}))
    for field in ("order_id", "order_name", "page_url", "referrer"):
        yield msgspec.structs.replace(full, **{field: odd})
    yield msgspec.structs.replace(full, attributes=dict.fromkeys(full.attributes, odd))
    yield msgspec.structs.replace(full, attributes={}, landing=dict.fromkeys(full.landing, odd))
    line = Line(product_id=odd, variant_id=odd, sku=odd, title=odd, unit_price=Decimal("1E-12"))
    yield msgspec.structs.replace(full, lines=(line,))
    yield msgspec.structs.replace(full, discount_codes=(odd,))


@every_destination
@pytest.mark.parametrize("value", ["-0.01", "NaN", "-Infinity"])
def test_value_that_is_none_is_refused(destination: Destination, value: str) -> None:
    event = msgspec.structs.replace(EVENTS["web_full"], value=Decimal(value))
    unfit = destination.unfit(event, account(destination), NOW)
    assert unfit is not None
    assert unfit.state == "refused"


# --- the wire --------------------------------------------------------------------------------------------


@every_event
def test_golden_request_is_accepted(bench: Bench, destination: Destination, name: str) -> None:
    if not fit(destination, name):
        return
    outcomes = bench.send(bench.request(name))
    assert [outcome.state for outcome in outcomes] == ["delivered"], outcomes
    received = [(one.event_id, one.kept) for one in bench.kind.record]
    assert received == [(delivery(EVENTS[name]).event_id, True)]


@every_destination
def test_same_event_counts_once(bench: Bench, destination: Destination) -> None:
    name = _fit(destination)[0]
    bench.send(bench.request(name))
    bench.send(bench.request(name))
    first = bench.kind.record[0]
    bench.kind.browser(first.account, first.event_name, first.event_id)
    assert [(one.source, one.kept) for one in bench.kind.record] == [
        ("server", True),
        ("server", False),
        ("browser", False),
    ]


@every_destination
def test_batch_is_accepted_in_its_order(bench: Bench, destination: Destination) -> None:
    names = _fit(destination)[: destination.batch_limit]
    outcomes = bench.send(bench.request(*names), len(names))
    assert [outcome.state for outcome in outcomes] == ["delivered"] * len(names), outcomes
    assert [one.event_id for one in bench.kind.record] == [delivery(EVENTS[name]).event_id for name in names]


@every_mutation
def test_mutated_request_is_refused(bench: Bench, mutation: Mutation) -> None:
    [outcome] = bench.send(mutated(bench.request(mutation.event), mutation))
    assert (outcome.state, outcome.reason) == (mutation.expect_state, mutation.expect_reason), outcome
    assert bench.kind.record == []


@every_destination
@pytest.mark.parametrize("scene", SCENES)
def test_what_goes_wrong_on_the_way_is_tried_again(
    bench: Bench, destination: Destination, scene: str
) -> None:
    bench.kind.script([Step(scene=scene)])
    [outcome] = bench.send(bench.request(_fit(destination)[0]))
    counted = bool(bench.kind.record)
    if counted and _is_mute(destination) and outcome.state == "delivered":
        return  # there was nothing in the answer that could go wrong
    assert outcome.state == "retry"
    assert outcome.spent
    assert outcome.ambiguous or not counted


@every_destination
def test_every_scene_of_the_vendor_is_understood(bench: Bench, destination: Destination) -> None:
    for scene in bench.kind.scenes:
        bench.kind.script([Step(scene=scene)])
        [outcome] = bench.send(bench.request(_fit(destination)[0]))
        assert outcome.state in {"retry", "held", "refused"}, scene
        assert outcome.spent is (outcome.state != "held"), scene
        assert outcome.state != "refused" or not bench.kind.record, scene


@every_destination
def test_nobody_there_is_not_ambiguous(bench: Bench, destination: Destination) -> None:
    request = bench.request(_fit(destination)[0])
    nobody = Request("http://127.0.0.1:1/", request.body, request.headers)
    [outcome] = bench.send(nobody)
    assert (outcome.state, outcome.ambiguous) == ("retry", False)


@every_destination
def test_check_proves_the_account_and_counts_nothing(bench: Bench, destination: Destination) -> None:
    if destination.check(bench.account, NOW) is None:
        return
    outcome = bench.check(bench.account)
    assert outcome.state == "delivered", outcome
    if not _is_mute(destination):
        wrong = {one.name: "wrong0secret1of2nobody3" for one in destination.settings if one.secret}
        wrong = {name: value for name, value in wrong.items() if bench.account.text(name)}
        assert bench.check(account(destination, bench.account.api_base, **wrong)).state == "held"
    assert bench.kind.record == []


# --- explaining ------------------------------------------------------------------------------------------


@every_event
def test_every_match_key_is_explained(destination: Destination, name: str) -> None:
    keys = destination.match_keys(EVENTS[name], account(destination))
    assert len({key.name for key in keys}) == len(keys) > 1
    assert {key.name for key in keys if key.state != "sent" and not key.why} == set()
    buyer = EVENTS[name].buyer
    said = " ".join(key.why for key in keys)
    assert [value for value in (buyer.email, buyer.phone, buyer.ip) if value and value in said] == []


# --- reading ---------------------------------------------------------------------------------------------

BODIES = {
    "empty": b"",
    "html": b"<html>502 Bad Gateway</html>",
    "truncated": b'{"events_received": 1, "mess',
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "text": b'"ok"',
    "object": b"{}",
    "binary": bytes(range(256)),
    "utf16": "{}".encode("utf-16"),
    "deep": b"[" * 100_000,
    "not_finite": b'{"error": NaN}',
    "digits": b'{"error": {"code": ' + b"9" * 5000 + b"}}",
    "ten_megabytes": b"[" + b"1," * 5_000_000 + b"1]",
}
ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    "",
    "1",
    "x" * 5000,
    [],
    [None],
    {},
    {"code": {}},
    [[]],
]
WORDS = [
    "error",
    "events_received",
    "messages",
    "status",
    "code",
    "message",
    "data",
    "events",
    "requestId",
    "details",
]

FURTHER_WORDS = [
    "access_token",
    "expires_in",
    "requestStatusPerDestination",
    "requestStatus",
    "errorInfo",
    "fieldViolations",
    "validationMessages",
]


@every_destination
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_reading_never_raises(destination: Destination, body: bytes) -> None:
    for status in range(100, 600):
        outcomes = destination.read(2, Response(status, body))
        assert len(outcomes) == 2
        if body != BODIES["object"]:
            assert states(outcomes) <= {"retry", "refused", "delivered"}


def _further_readings(destination: Destination) -> Iterator[Callable[[Response], object]]:
    """How the destination reads the answers to all but events."""
    for name in ("read_check", "read_exchange", "read_confirm"):
        if getattr(type(destination), name) is not getattr(Destination, name):
            yield getattr(destination, name)


@every_destination
def test_no_further_reading_raises(destination: Destination) -> None:
    odd = [{word: value} for word in (*WORDS, *FURTHER_WORDS) for value in ODD_VALUES]
    odd += [{word: [{word: value}]} for word in FURTHER_WORDS for value in ODD_VALUES]
    for read in _further_readings(destination):
        for status in (0, 200, 204, 302, 400, 401, 403, 404, 429, 500):
            for body in BODIES.values():
                assert read(Response(status, body))
            for document in odd:
                assert read(answer(status, document))
        assert read(Response(0, fault="not_sent"))
        assert read(Response(0, fault="maybe_sent"))


@every_destination
@pytest.mark.parametrize("word", WORDS)
def test_reading_survives_wrong_types(destination: Destination, word: str) -> None:
    inner = ("code", "error_subcode", "message", "is_transient", "fbtrace_id", "status", "details")
    for value in ODD_VALUES:
        for document in ({word: value}, {word: dict.fromkeys(inner, value)}, {word: [value, {word: value}]}):
            for status in (200, 400, 401, 500):
                assert len(destination.read(3, answer(status, document))) == 3


@every_destination
@pytest.mark.parametrize("count", [1, 2, 1000])
@pytest.mark.parametrize("fault", ["not_sent", "maybe_sent"])
def test_no_answer_is_tried_again(destination: Destination, fault: Any, count: int) -> None:
    outcomes = destination.read(count, Response(0, fault=fault, detail="ReadTimeoutError"))
    assert len(outcomes) == count
    assert states(outcomes) == {"retry"}
    assert {outcome.ambiguous for outcome in outcomes} == {fault == "maybe_sent"}


@every_destination
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "Wed, 18 Nov 2026 11:08:40 GMT", "date": "Wed, 18 Nov 2026 11:06:40 GMT"}, 120),
        ({"retry-after": "Wed, 18 Nov 2026 11:06:40 GMT", "date": "Wed, 18 Nov 2026 11:08:40 GMT"}, 0),
        ({"retry-after": "Wed, 18 Nov 2026 11:08:40 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
    ids=range(9),
)
def test_waits_as_long_as_it_is_told(
    destination: Destination, headers: dict[str, str], seconds: int | None
) -> None:
    [outcome] = destination.read(1, Response(429, b"", headers))
    assert (outcome.state, outcome.retry_after) == ("retry", seconds)


@every_destination
def test_redirects_and_pages_of_proxies_refuse_nothing(destination: Destination) -> None:
    page = b"<html>Access denied</html>"
    for status in (301, 302, 307, 400, 401, 403, 404, 500, 502, 503, 504):
        assert states(destination.read(1, Response(status, page))) == {"retry"}, status


@every_destination
@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_vendor_repeating_secrets_does_not_spread_them(destination: Destination, status: int) -> None:
    private = [*secrets(destination), "jane.doe@example.com", "+1 (650) 555-1212"]
    said = f"Bad values: {' and '.join(private)}; " + "very long " * 500
    documents: list[Any] = [
        {"error": {"message": said, "code": 100, "fbtrace_id": said, "status": said}},
        {"code": 40002, "message": said, "request_id": said},
        {"status": said, "reason": said, "error": said},
    ]
    for document in documents:
        [outcome] = destination.read(1, answer(status, document))
        shown = f"{outcome.reason} {outcome.detail} {outcome.trace}"
        assert [value for value in private if value in shown] == []
        assert len(shown) < 500
