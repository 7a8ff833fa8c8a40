"""What is particular to Google Analytics: client and session ids, refunds, and answers that are none."""

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from integrations.destination import Delivery, Response
from integrations.discovery import destinations
from integrations.event import Consent, Event, Line
from tests.contract.deliveries import EVENTS, NOW, account, answer, delivery, standing_in
from webhooks.transport import Transport

GA4 = destinations()["ga4"]
FULL, REFUND = EVENTS["web_full"], EVENTS["web_refund"]
CLIENT = "1098115397.1794998000"


def _body(event: Event, **options: Any) -> dict[str, Any]:
    request = GA4.build([delivery(event)], account(GA4, **options), NOW)
    body: dict[str, Any] = json.loads(request.body, parse_float=Decimal)
    return body


def _params(event: Event, **options: Any) -> dict[str, Any]:
    params: dict[str, Any] = _body(event, **options)["events"][0]["params"]
    return params


def _with(**attributes: str) -> Event:
    return msgspec.structs.replace(FULL, attributes=attributes)


# --- who it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "client"),
    [
        ({"_ga": f"GA1.1.{CLIENT}"}, CLIENT),
        ({"ga": f"GA1.2.{CLIENT}"}, CLIENT),
        ({"_ga": f"GA1.2-2.{CLIENT}"}, CLIENT),
        ({"_ga": CLIENT}, CLIENT),
        ({"ga_client_id": CLIENT}, CLIENT),
        ({"_ga_client_id": CLIENT}, CLIENT),
        ({"_ga": "nonsense", "ga_client_id": CLIENT}, CLIENT),
        ({"_ga": f"GA1.1.{CLIENT}", "ga_client_id": "2.1794998001"}, CLIENT),
        ({"_ga": "GA1.1.1098115397"}, ""),
        ({"_ga": f"GA1.1.{CLIENT}.more"}, ""),
        ({"_ga": f"ga1.1.{CLIENT}"}, ""),
        ({"_ga": "GA1.1.amp-EkbjRPmR0pC1u4YD2o7b"}, ""),
        ({"_ga": "GA1.1.555.1"}, ""),
        ({"_ga": "GA1.1.٣٣٣.1794998000"}, ""),
        ({"ga_client_id": f"GA1.1.{CLIENT}"}, ""),
        ({}, ""),
    ],
    ids=range(16),
)
def test_client_id(attributes: dict[str, str], client: str) -> None:
    event = _with(**attributes)
    if client:
        assert GA4.unfit(event, account(GA4), NOW) is None
        assert _body(event)["client_id"] == client
        return
    unfit = GA4.unfit(event, account(GA4), NOW)
    assert unfit is not None
    assert (unfit.state, unfit.reason, unfit.spent) == ("suppressed", "no_client_id", False)


@pytest.mark.parametrize(
    ("attributes", "session"),
    [
        ({"_ga_CONTRACT01": "GS1.1.1794998000.3.1.1794999900.0.0.0"}, "1794998000"),
        ({"_ga_CONTRACT01": "GS2.1.s1794998000$o1$g1$t1794999900$j60$l0$h0"}, "1794998000"),
        ({"ga_CONTRACT01": "GS2.1.s1794998000"}, "1794998000"),
        ({"ga_session_id": "1794998000"}, "1794998000"),
        ({"_ga_ANOTHER999": "GS1.1.1794998000.3.1.1794999900.0.0.0"}, ""),
        ({"_ga_CONTRACT01": "GS1.1.s1794998000"}, ""),
        ({"_ga_CONTRACT01": "GS2.1.1794998000"}, ""),
        ({"_ga_CONTRACT01": "GS3.1.1794998000"}, ""),
        ({"_ga_CONTRACT01": "GS1.1.1794998000x"}, ""),
        ({"ga_session_id": "<script>"}, ""),
        ({}, ""),
    ],
    ids=range(11),
)
def test_session_id(attributes: dict[str, str], session: str) -> None:
    params = _params(_with(_ga=f"GA1.1.{CLIENT}", **attributes))
    assert params.get("session_id", "") == session
    assert params.get("engagement_time_msec") == (1 if session else None)


def test_what_the_shopper_said_is_told() -> None:
    half = Consent(ad_user_data="granted", ad_personalization="denied")
    told = _body(msgspec.structs.replace(FULL, consent=half))["consent"]
    assert told == {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}
    assert "consent" not in _body(msgspec.structs.replace(FULL, consent=Consent()))


# --- what it was -----------------------------------------------------------------------------------------


def test_a_refund_names_its_purchase() -> None:
    purchase, refund = _params(FULL), _params(REFUND)
    assert refund["transaction_id"] == purchase["transaction_id"]
    assert (refund["value"], refund["currency"]) == (Decimal("21.26"), "USD")
    assert [item["quantity"] for item in refund["items"]] == [1]
    assert _body(REFUND)["events"][0]["name"] == "refund"
    assert _body(REFUND)["client_id"] == _body(FULL)["client_id"]


def test_a_refund_without_lines_is_one_of_money() -> None:
    assert "items" not in _params(msgspec.structs.replace(REFUND, lines=()))


def test_a_refund_is_no_repetition_of_another() -> None:
    """Two partial ones have the same transaction id, and both count."""
    transport = Transport(total_seconds=5)
    with standing_in(GA4) as (kind, known):
        for event in (FULL, REFUND, REFUND):
            request = GA4.build([delivery(event)], known, NOW)
            assert GA4.read(1, transport.send(request))[0].state == "delivered"
    transport.close()
    told = [(one.event_name, one.event_id, one.kept) for one in kind.record]
    assert told == [("purchase", "1001", True), ("refund", "1001", True), ("refund", "1001", True)]


@pytest.mark.parametrize(("order_id", "expected"), [("1001", "1001"), ("", "key-7")])
def test_a_transaction_id_is_never_empty(order_id: str, expected: str) -> None:
    event = msgspec.structs.replace(FULL, order_id=order_id, key="key-7")
    request = GA4.build([Delivery(event, "")], account(GA4), NOW)
    assert json.loads(request.body)["events"][0]["params"]["transaction_id"] == expected


def test_an_item_has_an_id_or_a_name() -> None:
    lines = (
        Line(title="Gift wrap"),
        Line(sku="A", unit_price=Decimal("1.5")),
        Line(quantity=0, sku="B"),
        Line(),
    )
    assert _params(msgspec.structs.replace(FULL, lines=lines))["items"] == [
        {"item_name": "Gift wrap", "quantity": 1},
        {"item_id": "A", "quantity": 1, "price": Decimal("1.5")},
    ]


def test_no_more_items_than_analytics_takes() -> None:
    lines = tuple(Line(sku=str(number), title="x" * 300) for number in range(500))
    request = GA4.build([delivery(msgspec.structs.replace(FULL, lines=lines))], account(GA4), NOW)
    items = json.loads(request.body)["events"][0]["params"]["items"]
    assert (len(items), len(items[0]["item_name"])) == (200, 100)
    assert len(request.body) < 130_000


# --- where it goes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "region", "host"),
    [
        ("", "", "https://www.google-analytics.com"),
        ("", "eu", "https://region1.google-analytics.com"),
        ("http://127.0.0.1:9", "eu", "http://127.0.0.1:9"),
    ],
    ids=["anywhere", "europe", "stand_in"],
)
def test_address(base: str, region: str, host: str) -> None:
    known = account(GA4, base, region=region)
    checking = GA4.check(known, NOW)
    assert checking is not None
    for request, path in (
        (GA4.build([delivery(FULL)], known, NOW), "/mp/collect"),
        (checking, "/debug/mp/collect"),
    ):
        address = urlsplit(request.url)
        assert f"{address.scheme}://{address.netloc}{address.path}" == host + path
        assert parse_qs(address.query) == {
            "measurement_id": ["G-CONTRACT01"],
            "api_secret": ["contract0test1secret2of3nobody"],
        }


# --- answers ---------------------------------------------------------------------------------------------


def test_yes_is_said_to_be_no_verdict() -> None:
    for response in (Response(204), Response(200), Response(200, b"GIF89a")):
        [outcome] = GA4.read(1, response)
        assert (outcome.state, outcome.trace) == ("delivered", "")
        assert "without a verdict" in outcome.detail


def test_a_page_is_not_analytics() -> None:
    """A portal that asks for a login says 200, too."""
    [outcome] = GA4.read(1, Response(200, b"\n<!doctype html><html>"))
    assert (outcome.state, outcome.ambiguous) == ("retry", True)


@pytest.mark.parametrize(
    ("response", "state", "reason"),
    [
        (answer(200, {"validationMessages": []}), "delivered", ""),
        (
            answer(200, {"validationMessages": [{"validationCode": "VALUE_REQUIRED", "description": "d"}]}),
            "refused",
            "VALUE_REQUIRED",
        ),
        (answer(200, {"validationMessages": [7]}), "refused", "invalid"),
        (answer(200, {}), "retry", "no_receipt"),
        (Response(204), "retry", "no_receipt"),
        (Response(503), "retry", "http_503"),
        (Response(0, fault="not_sent"), "retry", "not_sent"),
    ],
    ids=range(7),
)
def test_check(response: Response, state: str, reason: str) -> None:
    outcome = GA4.read_check(response)
    assert (outcome.state, outcome.reason) == (state, reason)


def test_the_debug_endpoint_tells_what_is_wrong() -> None:
    transport = Transport(total_seconds=5)
    with standing_in(GA4) as (kind, known):
        asked = GA4.check(known, NOW)
        assert asked is not None
        broken = msgspec.structs.replace(asked, body=asked.body.replace(b'"currency":"USD"', b'"currency":7'))
        outcome = GA4.read_check(transport.send(broken))
    transport.close()
    assert (outcome.state, outcome.reason, kind.record) == ("refused", "VALUE_INVALID", [])
