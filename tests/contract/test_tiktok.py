"""What is particular to TikTok: pages, options, hashes, and the codes of its answers."""

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

TIKTOK = destinations()["tiktok"]
FULL = EVENTS["web_full"]
DAY = 86_400


def _sent(event: Event, **options: Any) -> dict[str, Any]:
    """The body of the request with this one event."""
    request = TIKTOK.build([delivery(event)], account(TIKTOK, **options), NOW)
    body: dict[str, Any] = json.loads(request.body, parse_float=Decimal)
    return body


def _event(event: Event, **options: Any) -> dict[str, Any]:
    built: dict[str, Any] = _sent(event, **options)["data"][0]
    return built


def _unfit(event: Event, **options: Any) -> tuple[str, str] | None:
    outcome = TIKTOK.unfit(event, account(TIKTOK, **options), NOW)
    return (outcome.state, outcome.reason) if outcome else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- pages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_order", "of_owner", "expected"),
    [
        ("https://shop.example.com/de/", "https://other.example.com/", "https://shop.example.com/de/"),
        ("https://shop.example.com/x?key=wc_1", "", "https://shop.example.com/x"),
        ("", "https://other.example.com/", "https://other.example.com/"),
        ("no address", "https://other.example.com/", "https://other.example.com/"),
        ("", "", None),
        ("ftp://shop.example.com/", "", None),
    ],
    ids=range(6),
)
def test_page_is_the_orders_or_the_owners_and_never_made_up(
    of_order: str, of_owner: str, expected: str | None
) -> None:
    event = msgspec.structs.replace(FULL, page_url=of_order)
    if expected is None:
        assert _unfit(event, page_url=of_owner) == ("refused", "no_page")
    else:
        assert _unfit(event, page_url=of_owner) is None
        assert _event(event, page_url=of_owner)["page"]["url"] == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("web", None),
        ("staff", None),
        ("api", None),
        ("renewal", None),
        ("pos", ("suppressed", "at_a_till")),
    ],
)
def test_sale_at_a_till_is_no_event_of_a_website(origin: Origin, expected: tuple[str, str] | None) -> None:
    assert _unfit(msgspec.structs.replace(FULL, origin=origin)) == expected


# --- options ---------------------------------------------------------------------------------------------


def test_event_name_is_the_pixels_own() -> None:
    assert _event(FULL)["event"] == "Purchase"
    assert _event(FULL, event_name="CompletePayment")["event"] == "CompletePayment"


@pytest.mark.parametrize(
    ("until", "expected"), [(None, None), (0, None), (NOW, None), (NOW - 1, None), (NOW + 1, "TEST12345")]
)
def test_test_code_is_never_left_on(until: int | None, expected: str | None) -> None:
    body = _sent(FULL, test_event_code="TEST12345", test_event_code_until=until)
    assert body.get("test_event_code") == expected


def test_id_is_text_whatever_it_looks_like() -> None:
    request = TIKTOK.build([Delivery(FULL, "1001")], account(TIKTOK), NOW)
    assert b'"event_id":"1001"' in request.body


def test_line_without_a_catalogue_id_is_left_out() -> None:
    lines = (Line(title="Engraving", quantity=1, unit_price=Decimal(5)), *FULL.lines[:1])
    properties = _event(msgspec.structs.replace(FULL, lines=lines))["properties"]
    assert [content["content_id"] for content in properties["contents"]] == ["901"]
    bare = _event(msgspec.structs.replace(FULL, lines=lines[:1]))["properties"]
    assert bare.keys() == {"value", "currency", "order_id"}


# --- the buyer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "country", "hashed"),
    [
        ("(650) 555-1212", "US", "+16505551212"),
        ("+44 (0)7911 123456", "GB", "+447911123456"),
        ("138 0013 8000", "CN", "13800138000"),
        ("+86 138 0013 8000", "US", "13800138000"),
        ("0912 345 678", "TW", "+886912345678"),
        ("98600 12345", "IN", "+919860012345"),
    ],
)
def test_phone_has_its_plus_and_country_except_china(written: str, country: str, hashed: str) -> None:
    event = msgspec.structs.replace(FULL, buyer=Buyer(phone=written, country=country))
    assert _event(event)["user"]["phone"] == _sha256(hashed)


def test_email_is_lower_case_and_keeps_its_dots_and_tag() -> None:
    event = msgspec.structs.replace(FULL, buyer=Buyer(email=" Jo.Hn+Tag@GMail.com "))
    assert _event(event)["user"]["email"] == _sha256("jo.hn+tag@gmail.com")


@pytest.mark.parametrize(
    ("attributes", "landing", "expected"),
    [
        ({"ttclid": "E.C.P.Cp-gB_Click"}, {}, ("E.C.P.Cp-gB_Click", None)),
        ({}, {"ttclid": "E.C.P.CpgB"}, ("E.C.P.CpgB", None)),
        ({"ttclid": "E.C.P.New"}, {"ttclid": "E.C.P.Old"}, ("E.C.P.New", None)),
        ({"_ttp": "2PyHZ3Gq9NsD0aTuqk", "ttclid": "<script>"}, {}, (None, "2PyHZ3Gq9NsD0aTuqk")),
        ({"_ttp": "01JAB3XQ_aBc.tt.2"}, {}, (None, "01JAB3XQ_aBc.tt.2")),
        ({"_ttp": "short", "ttclid": "x" * 1001}, {}, (None, None)),
        ({"_ttp": "2PyHZ3Gq 9NsD0aTuqk"}, {}, (None, None)),
        ({}, {}, (None, None)),
    ],
    ids=range(8),
)
def test_click_id_and_cookie_are_whole_or_missing(
    attributes: dict[str, str], landing: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    event = msgspec.structs.replace(FULL, attributes=attributes, landing=landing)
    told = _event(event)["user"]
    assert (told.get("ttclid"), told.get("ttp")) == expected


@pytest.mark.parametrize(
    ("buyer", "known"),
    [
        (Buyer(email="jane@example.com"), True),
        (Buyer(phone="+33 6 12 34 56 78"), True),
        (Buyer(customer_id="42"), True),
        (Buyer(ip="203.0.113.7", user_agent="Mozilla/5.0"), True),
        (Buyer(ip="203.0.113.7"), False),
        (Buyer(ip="192.168.1.2", user_agent="Mozilla/5.0"), False),
        (Buyer(first_name="Mary", last_name="Smith", city="Boston", postcode="02108", country="US"), False),
        (Buyer(email="nobody", phone="n/a", customer_id="0"), False),
    ],
    ids=range(8),
)
def test_too_little_of_a_buyer(buyer: Buyer, known: bool) -> None:
    event = msgspec.structs.replace(FULL, buyer=buyer, attributes={}, landing={})
    assert _unfit(event) == (None if known else ("refused", "no_identifier"))


@pytest.mark.parametrize("name", EVENTS)
def test_match_keys_tell_what_is_sent(name: str) -> None:
    told = {key.name for key in TIKTOK.match_keys(EVENTS[name], account(TIKTOK)) if key.state == "sent"}
    assert told == _event(EVENTS[name]).get("user", {}).keys()


@pytest.mark.parametrize(("ahead", "reason"), [(600, None), (601, ("refused", "time_ahead"))])
def test_time_ahead(ahead: int, reason: tuple[str, str] | None) -> None:
    assert _unfit(msgspec.structs.replace(FULL, event_time=NOW + ahead)) == reason


def test_window_keeps_a_margin() -> None:
    assert TIKTOK.window(FULL) == 7 * DAY - 3600


# --- answers ---------------------------------------------------------------------------------------------


def _read(status: int, code: Any, message: str = "said", count: int = 1) -> list[Outcome]:
    return TIKTOK.read(
        count, answer(status, {"code": code, "message": message, "request_id": "2026AB", "data": {}})
    )


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(
    ("code", "state"),
    [
        *((code, "refused") for code in (40000, 40002, 40003, 40099)),
        *((code, "held") for code in (40001, 40104, 40105, 40110)),
        *((code, "retry") for code in (20001, 40100, 50000, 50002, 51010)),
    ],
)
def test_code_comes_before_the_status(status: int, code: int, state: str) -> None:
    [outcome] = _read(status, code)
    assert (outcome.state, outcome.reason, outcome.trace) == (state, str(code), "2026AB")
    assert outcome.spent is (state != "held")
    assert outcome.whole is (state == "refused" or code == 20001)
    assert outcome.ambiguous is (code in {20001, 50000, 50002, 51010})
    assert "said" in outcome.detail


def test_receipt() -> None:
    assert _read(200, 0, "OK", 2) == [Outcome("delivered", trace="2026AB")] * 2


@pytest.mark.parametrize("code", [True, False, "0", 0.0, None, [0], {}, -1, 10**6, 10**400])
def test_anything_but_the_number_is_no_receipt(code: Any) -> None:
    [outcome] = _read(200, code)
    assert (outcome.state, outcome.ambiguous) == ("retry", True)


def test_receipt_with_an_error_status_is_none() -> None:
    [outcome] = _read(502, 0)
    assert (outcome.state, outcome.ambiguous) == ("retry", True)


@pytest.mark.parametrize(
    ("status", "state"), [(200, "retry"), (400, "refused"), (403, "held"), (429, "retry"), (500, "retry")]
)
def test_unknown_code_is_judged_by_its_status(status: int, state: str) -> None:
    [outcome] = _read(status, 61234)
    assert (outcome.state, outcome.reason) == (state, "61234")
    assert "unknown" in outcome.detail


@pytest.mark.parametrize(
    ("message", "blamed"),
    [
        ("Batch.1.properties.contents.0.content_id: Not a valid string", {1}),
        ("Batch.0.event_id: Not a valid string; Batch.2.page.url: Missing data", {0, 2}),
        ("Batch.3.event_id: Not a valid string", set()),
        ("Batch.1.event_id: bad; Batch.9.event_id: bad", set()),
        ("properties.value: Not a valid number", set()),
        ("", set()),
    ],
    ids=range(6),
)
def test_named_events_alone_are_to_blame(message: str, blamed: set[int]) -> None:
    outcomes = _read(200, 40002, message, 3)
    assert [outcome.state for outcome in outcomes] == ["refused"] * 3
    assert {index for index, outcome in enumerate(outcomes) if not outcome.whole} == blamed


def test_name_in_another_word_blames_nobody() -> None:
    """A token that lacks a right is the account's affair, whatever the sentence says."""
    outcomes = _read(200, 40001, "Batch.0.pixel: No permission", 2)
    assert outcomes[0] == outcomes[1]


def test_partial_success_is_taken_apart_and_then_asked_again() -> None:
    """In a batch ``whole`` sends its parts again at once; alone it is a retry like any other."""
    assert {(one.state, one.whole, one.ambiguous) for one in _read(200, 20001, count=3)} == {
        ("retry", True, True)
    }


# --- the stand-in ----------------------------------------------------------------------------------------


def test_one_bad_event_is_named_among_good_ones() -> None:
    names = ("web_full", "zero_total", "kwd_three_decimals")
    change = Mutation("number", ("body", "data", 1, "event_id"), "refused", "40002", value=3001)
    transport = Transport(total_seconds=5)
    with standing_in(TIKTOK) as (kind, known):
        request = TIKTOK.build([delivery(EVENTS[name]) for name in names], known, NOW)
        outcomes = TIKTOK.read(3, transport.send(mutated(request, change)))
        assert kind.record == []
    transport.close()
    assert [(outcome.state, outcome.whole) for outcome in outcomes] == [
        ("refused", True),
        ("refused", False),
        ("refused", True),
    ]


@pytest.mark.parametrize(("later", "kept"), [(2 * DAY - 1, False), (2 * DAY, True)])
def test_repetition_is_known_for_48_hours(later: int, kept: bool) -> None:
    transport = Transport(total_seconds=5)
    with standing_in(TIKTOK) as (kind, known):
        request = TIKTOK.build([delivery(FULL)], known, NOW)
        for at in (NOW, NOW + later):
            kind.freeze(at)
            assert TIKTOK.read(1, transport.send(request))[0].state == "delivered"
        assert [one.kept for one in kind.record] == [True, kept]
    transport.close()
