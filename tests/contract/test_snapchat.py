"""What is particular to Snapchat: sources, two ways to know a repetition, and the words of its answers."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from integrations.destination import Delivery, Outcome
from integrations.discovery import destinations
from integrations.event import Buyer, Event, Line, Origin
from tests.contract.deliveries import (
    EVENTS,
    NOW,
    Mutation,
    account,
    answer,
    delivery,
    mutated,
    standing_in,
)
from webhooks.transport import Transport

SNAPCHAT = destinations()["snapchat"]
FULL = EVENTS["web_full"]
DAY = 86_400
VALID = {"status": "VALID", "reason": "Events have been processed successfully."}


def _event(event: Event, **options: Any) -> dict[str, Any]:
    """The one event in the request's body."""
    request = SNAPCHAT.build([delivery(event)], account(SNAPCHAT, **options), NOW)
    built: dict[str, Any] = json.loads(request.body, parse_float=Decimal)["data"][0]
    return built


def _unfit(event: Event, **options: Any) -> tuple[str, str] | None:
    outcome = SNAPCHAT.unfit(event, account(SNAPCHAT, **options), NOW)
    return (outcome.state, outcome.reason) if outcome else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- source and page -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "source"),
    [("web", "WEB"), ("pos", "OFFLINE"), ("staff", "OFFLINE"), ("api", "OFFLINE"), ("renewal", "OFFLINE")],
)
def test_only_a_browser_makes_an_event_a_websites(origin: Origin, source: str) -> None:
    told = _event(msgspec.structs.replace(FULL, origin=origin), page_url="https://shop.example.com/")
    assert told["action_source"] == source
    assert ("event_source_url" in told) is (source == "WEB")


@pytest.mark.parametrize(
    ("of_order", "of_owner", "expected"),
    [
        ("https://shop.example.com/de/", "https://other.example.com/", "https://shop.example.com/de/"),
        ("", "https://other.example.com/", "https://other.example.com/"),
        ("", "", None),
    ],
    ids=range(3),
)
def test_page_is_the_orders_or_the_owners_and_never_made_up(
    of_order: str, of_owner: str, expected: str | None
) -> None:
    event = msgspec.structs.replace(FULL, page_url=of_order)
    if expected is None:
        assert _unfit(event, page_url=of_owner) == ("refused", "no_page")
    else:
        assert _unfit(event, page_url=of_owner) is None
        assert _event(event, page_url=of_owner)["event_source_url"] == expected


# --- options ---------------------------------------------------------------------------------------------


def test_order_id_is_what_the_pixel_sends_as_transaction_id() -> None:
    assert _event(FULL)["custom_data"]["order_id"] == "1001"
    assert _event(FULL, order_id="{order_name}")["custom_data"]["order_id"] == "#1001"
    assert _event(FULL, order_id="{shop}-{order_id}")["custom_data"]["order_id"] == "main-1001"


def test_order_id_and_event_id_are_two_things() -> None:
    request = SNAPCHAT.build([Delivery(FULL, "7f3c")], account(SNAPCHAT), NOW)
    told = json.loads(request.body)["data"][0]
    assert (told["event_id"], told["custom_data"]["order_id"]) == ("7f3c", "1001")


def test_line_without_a_catalogue_id_is_left_out_but_counted() -> None:
    lines = (Line(title="Engraving", quantity=1, unit_price=Decimal(5)), *FULL.lines[:1])
    custom = _event(msgspec.structs.replace(FULL, lines=lines))["custom_data"]
    assert custom["content_ids"] == ["901"]
    assert custom["num_items"] == 3


@pytest.mark.parametrize(
    ("value", "currency", "written"),
    [
        ("142.52", "USD", b"142.52"),
        ("2450", "JPY", b"2450"),
        ("1.230", "KWD", b"1.23"),
        ("0.00", "EUR", b"0"),
        ("123456789012345.67", "USD", b"123456789012345.67"),
    ],
)
def test_value_is_an_exact_number(value: str, currency: str, written: bytes) -> None:
    event = msgspec.structs.replace(FULL, value=Decimal(value), currency=currency)
    assert b'"value":' + written + b"," in SNAPCHAT.build([delivery(event)], account(SNAPCHAT), NOW).body


# --- the buyer -------------------------------------------------------------------------------------------


def test_hashes_are_those_of_snaps_own_examples() -> None:
    """Parameters, "em" and "ph"."""
    buyer = Buyer(email="Person@Example.com ", phone="+44 844 412 4653")
    told = _event(msgspec.structs.replace(FULL, buyer=buyer))["user_data"]
    assert told["em"] == ["542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"]
    assert told["ph"] == [_sha256("448444124653")]
    assert told["ph"][0].startswith("dc008fda46e2e640")


@pytest.mark.parametrize(
    ("attributes", "landing", "expected"),
    [
        ({}, {"ScCid": "9D0A6f6e-0000-4a4b"}, ("9D0A6f6e-0000-4a4b", None)),
        ({"_scid": "cCYzZ-abc_DEF.1"}, {}, (None, "cCYzZ-abc_DEF.1")),
        ({"scid": "3c2a6f6e-6d1f"}, {"ScCid": "new click 1"}, (None, "3c2a6f6e-6d1f")),
        ({"ScCid": "x" * 501, "_scid": "x" * 201}, {}, (None, None)),
        ({"ScCid": "short", "_scid": "<script>"}, {}, (None, None)),
        ({}, {}, (None, None)),
    ],
    ids=range(6),
)
def test_click_id_and_cookie_are_whole_or_missing(
    attributes: dict[str, str], landing: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    event = msgspec.structs.replace(FULL, attributes=attributes, landing=landing)
    told = _event(event)["user_data"]
    assert (told.get("sc_click_id"), told.get("sc_cookie1")) == expected


@pytest.mark.parametrize(
    ("buyer", "known"),
    [
        (Buyer(email="jane@example.com"), True),
        (Buyer(phone="+33 6 12 34 56 78"), True),
        (Buyer(ip="203.0.113.7", user_agent="Mozilla/5.0"), True),
        (Buyer(customer_id="42"), False),
        (Buyer(ip="203.0.113.7"), False),
        (Buyer(user_agent="Mozilla/5.0"), False),
        (Buyer(first_name="Mary", last_name="Smith", city="Boston", postcode="02108", country="US"), False),
    ],
    ids=range(7),
)
def test_too_little_of_a_buyer(buyer: Buyer, known: bool) -> None:
    assert _unfit(msgspec.structs.replace(FULL, buyer=buyer)) == (
        None if known else ("refused", "no_identifier")
    )


@pytest.mark.parametrize("name", EVENTS)
def test_match_keys_tell_what_is_sent(name: str) -> None:
    told = {key.name for key in SNAPCHAT.match_keys(EVENTS[name], account(SNAPCHAT)) if key.state == "sent"}
    assert told == _event(EVENTS[name]).get("user_data", {}).keys()


def test_window_keeps_a_margin() -> None:
    assert SNAPCHAT.window(FULL) == 37 * DAY - 3600


# --- answers ---------------------------------------------------------------------------------------------


def _invalid(index: Any = None, code: str = "", said: str = "") -> dict[str, Any]:
    found = {"status": "INVALID", "errors": {"codes": [code], "error_msgs": [said]}}
    return found if index is None else {**found, "event": index}


def test_receipt() -> None:
    assert SNAPCHAT.read(2, answer(200, VALID)) == [Outcome("delivered")] * 2


@pytest.mark.parametrize("status", [200, 202, 400, 422])
@pytest.mark.parametrize("word", ["INVALID", "FAILED"])
def test_refusal_may_come_with_any_status(status: int, word: str) -> None:
    [outcome] = SNAPCHAT.read(1, answer(status, {"status": word, "reason": "price is missing"}))
    assert (outcome.state, outcome.reason, outcome.whole) == ("refused", "INVALID", True)
    assert "price is missing" in outcome.detail


@pytest.mark.parametrize(
    ("status", "state", "ambiguous"),
    [
        (401, "held", False),
        (403, "held", False),
        (408, "retry", False),
        (429, "retry", False),
        (500, "retry", True),
        (502, "retry", True),
        (503, "retry", False),
    ],
)
def test_access_load_and_failure_are_no_verdict_on_an_event(status: int, state: str, ambiguous: bool) -> None:
    [outcome] = SNAPCHAT.read(1, answer(status, _invalid(0, "NOT_NOW", "not now")))
    assert (outcome.state, outcome.reason, outcome.ambiguous) == (state, f"http_{status}", ambiguous)
    assert outcome.spent is (state == "retry")


def test_sentence_of_a_refused_token_is_told() -> None:
    [outcome] = SNAPCHAT.read(1, answer(401, {"status": "INVALID", "reason": "Invalid access token"}))
    assert "Invalid access token" in outcome.detail


@pytest.mark.parametrize("word", ["OK", "valid", "SUCCESS", "", None, True, ["VALID"]])
def test_any_other_word_is_no_receipt(word: Any) -> None:
    [outcome] = SNAPCHAT.read(1, answer(200, {"status": word}))
    assert (outcome.state, outcome.ambiguous) == ("retry", True)


@pytest.mark.parametrize(("status", "state"), [(400, "refused"), (500, "retry"), (401, "held")])
def test_valid_with_an_error_status_is_no_receipt(status: int, state: str) -> None:
    assert SNAPCHAT.read(1, answer(status, VALID))[0].state == state


@pytest.mark.parametrize(
    "document",
    [
        _invalid(1, "EVENT_TIME", "out of range"),
        _invalid(0),
        _invalid(),
        _invalid(True),
        _invalid("1"),
        {"status": "FAILED", "error_records": [{"reason": "bad", "record_indexes": [0, 2]}]},
        {"status": "FAILED", "error_records": [{"record_indexes": [False]}, 7, {}]},
        {"status": "FAILED", "error_records": {"record_indexes": [1]}},
    ],
    ids=range(8),
)
def test_nobody_is_blamed_by_an_index_that_may_count_from_1(document: dict[str, Any]) -> None:
    outcomes = SNAPCHAT.read(3, answer(400, document))
    assert [(outcome.state, outcome.whole) for outcome in outcomes] == [("refused", True)] * 3


def test_a_part_is_neither_yes_nor_no_until_the_event_stands_alone() -> None:
    records = [
        {"reason": "price is missing", "record_indexes": [1]},
        {"reason": "email is not hashed", "record_indexes": [1]},
    ]
    said = answer(200, {**VALID, "error_records": records})
    outcomes = SNAPCHAT.read(3, said)
    assert [(one.state, one.whole, one.ambiguous) for one in outcomes] == [("retry", True, True)] * 3
    [alone] = SNAPCHAT.read(1, said)
    assert (alone.state, "price is missing" in alone.detail) == ("refused", True)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("PIXEL_NOT_FOUND", "PIXEL_NOT_FOUND"), ("E1001", "E1001"), ("a secret?", "INVALID"), ("", "INVALID")],
)
def test_code_is_the_reason_if_it_is_a_word(code: str, reason: str) -> None:
    assert SNAPCHAT.read(1, answer(400, _invalid(None, code)))[0].reason == reason


# --- the stand-in ----------------------------------------------------------------------------------------


def test_check_is_sent_where_nothing_counts() -> None:
    check = SNAPCHAT.check(account(SNAPCHAT), NOW)
    assert check is not None
    assert check.url.endswith("/events/validate")
    told = json.loads(check.body)["data"][0]
    assert told["event_time"] == NOW
    assert "event_source_url" not in told


def test_event_is_also_judged_when_it_is_only_validated() -> None:
    change = Mutation("value", ("body", "data", 0, "custom_data", "value"), "refused", "", remove=True)
    transport = Transport(total_seconds=5)
    with standing_in(SNAPCHAT) as (kind, known):
        check = SNAPCHAT.check(known, NOW)
        assert check is not None
        outcome = SNAPCHAT.read_check(transport.send(mutated(check, change)))
        assert kind.record == []
    transport.close()
    assert (outcome.state, outcome.reason) == ("refused", "PRICE_OR_CURRENCY")


def test_one_bad_event_among_good_ones() -> None:
    names = ("web_full", "zero_total", "pos")
    change = Mutation("email", ("body", "data", 2, "user_data", "em"), "refused", "", value=["anna"])
    transport = Transport(total_seconds=5)
    with standing_in(SNAPCHAT) as (kind, known):
        request = SNAPCHAT.build([delivery(EVENTS[name]) for name in names], known, NOW)
        outcomes = SNAPCHAT.read(3, transport.send(mutated(request, change)))
        assert kind.record == []
    transport.close()
    assert [outcome.reason for outcome in outcomes] == ["UNHASHED_PII"] * 3
    assert [outcome.whole for outcome in outcomes] == [True] * 3


@pytest.mark.parametrize(("later", "kept"), [(2 * DAY + 1, False), (30 * DAY - 1, False), (30 * DAY, True)])
def test_repetition_is_known_by_its_order_for_30_days(later: int, kept: bool) -> None:
    transport = Transport(total_seconds=5)
    with standing_in(SNAPCHAT) as (kind, known):
        for at, name in ((NOW, "1001"), (NOW + later, "another id")):
            kind.freeze(at)
            request = SNAPCHAT.build([Delivery(FULL, name)], known, NOW)
            assert SNAPCHAT.read(1, transport.send(request))[0].state == "delivered"
        assert [one.kept for one in kind.record] == [True, kept]
        assert SNAPCHAT.dedup_seconds == 30 * DAY
    transport.close()
