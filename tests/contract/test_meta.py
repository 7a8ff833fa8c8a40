"""What is particular to Meta: cookies, options, its own program as oracle, and the words of its answers."""

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from integrations.destination import Outcome, Response, Restriction
from integrations.discovery import destinations
from integrations.event import Buyer, Event, Line
from tests.contract import deliveries
from tests.contract.deliveries import EVENTS, NOW, account, answer, delivery

META = destinations()["meta"]
FOLDER = deliveries.folder(META)
FULL = EVENTS["web_full"]
DAY = 86_400


def _sent(event: Event, **options: Any) -> dict[str, Any]:
    """The body of the request with this one event."""
    body: dict[str, Any] = json.loads(
        META.build([delivery(event)], account(META, **options), NOW).body, parse_float=Decimal
    )
    return body


def _event(event: Event, **options: Any) -> dict[str, Any]:
    built: dict[str, Any] = _sent(event, **options)["data"][0]
    return built


# --- cookies ---------------------------------------------------------------------------------------------


def _cookie_rows() -> list[Any]:
    rows = json.loads((FOLDER / "meta_fbc_fbp.json").read_text(encoding="utf-8"))["rows"]
    # A click id in the referrer's query does not reach us: stores hand on the page alone.
    return [pytest.param(row, id=row["id"]) for row in rows if row["id"] != "fs-14"]


def _as_metas_builder(found: str | None, cookie: str) -> str:
    """The builder's value without its build tag, and with the index of one who sets no cookie."""
    bare = (found or "").removesuffix(".AQICAQMC").removesuffix(".AQIDAQMC").removesuffix(".AQIAAQMC")
    return bare if bare == cookie or not bare else f"fb.1.{bare.split('.', 2)[2]}"


@pytest.mark.parametrize("row", _cookie_rows())
def test_cookies(row: dict[str, Any]) -> None:
    clicks = row["queries"].get("fbclid", [])
    event = msgspec.structs.replace(
        FULL,
        attributes=row["cookies"],
        landing={"fbclid": clicks[0]} if clicks else {},
        landing_at=1_795_000_000_123,
    )
    told = _event(event)["user_data"]
    assert told.get("fbc", "") == _as_metas_builder(row["result"]["fbc"], row["cookies"].get("_fbc", ""))
    kept = (row["result"]["fbp"] or "").removesuffix(".AQIAAQMC")
    assert told.get("fbp", "") == (kept if kept == row["cookies"].get("_fbp") else "")


@pytest.mark.parametrize(
    ("attributes", "landing", "landing_at", "expected"),
    [
        ({}, {"fbclid": "Ab.C-d_E"}, None, "fb.1.1795000000000.Ab.C-d_E"),
        ({"fbclid": "AbC"}, {}, 1_794_999_000_000, "fb.1.1794999000000.AbC"),
        ({"_fbc": "fb.1.1794000000000.Old"}, {"fbclid": "New"}, None, "fb.1.1794000000000.Old"),
        ({"_fbc": "fb.1.1794000000000.Same.AQIAAQMC"}, {"fbclid": "Same"}, 1_795_000_000_000, None),
        ({"_fbc": "fb.2.1794000000000.With.Dots"}, {}, None, "fb.2.1794000000000.With.Dots"),
        ({"_fbc": "fb.1.1794000000000."}, {}, None, ""),
        ({"_fbc": "FB.1.1794000000000.x"}, {}, None, ""),
        ({}, {"fbclid": "<script>"}, None, ""),
        ({}, {"fbclid": "x" * 501}, None, ""),
    ],
    ids=range(9),
)
def test_click_id(
    attributes: dict[str, str], landing: dict[str, str], landing_at: int | None, expected: str | None
) -> None:
    event = msgspec.structs.replace(FULL, attributes=attributes, landing=landing, landing_at=landing_at)
    wanted = attributes["_fbc"] if expected is None else expected
    assert _event(event)["user_data"].get("fbc", "") == wanted


def test_what_a_snippet_spoiled_hides_nothing() -> None:
    notes = {
        "fbclid": "[object Object]",
        "_fbp": "fb.1.1794998000000.1098115397",
        "fbp": "undefined",
        "_fbc": "null",
    }
    event = msgspec.structs.replace(FULL, attributes=notes)
    user = _event(event)["user_data"]
    assert user["fbp"] == notes["_fbp"]
    assert user["fbc"] == f"fb.1.{FULL.landing_at}.{FULL.landing['fbclid']}"


def test_no_cookie_is_made_up() -> None:
    assert "fbp" not in _event(msgspec.structs.replace(FULL, attributes={}))["user_data"]


# --- Meta's own program ----------------------------------------------------------------------------------


def _oracle() -> list[Any]:
    events = json.loads((FOLDER / "meta_user_data.json").read_text(encoding="utf-8"))["events"]
    return [pytest.param(one, id=one["input"]["event_id"]) for one in events]


def _as_ordered(given: dict[str, Any]) -> Event:
    """The event of which a shop's order and the program's arguments tell alike."""
    person, custom = given["user_data"], given["custom_data"]

    def first(key: str) -> str:
        return str(person.get(key, [""])[0])

    return Event(
        store="shopify",
        shop="main",
        key=given["event_id"],
        order_id=custom["order_id"],
        event_time=given["event_time"],
        value=Decimal(str(custom["value"])),
        currency=custom["currency"].upper(),
        page_url=given["event_source_url"],
        attributes={f"_{name}": person[name] for name in ("fbc", "fbp") if name in person},
        lines=tuple(
            Line(
                sku=content["product_id"],
                quantity=content["quantity"],
                unit_price=Decimal(str(content["item_price"])),
                title=content.get("title", ""),
            )
            for content in custom.get("contents", [])
        ),
        buyer=Buyer(
            email=first("emails"),
            phone=first("phones"),
            first_name=first("first_names"),
            last_name=first("last_names"),
            city=first("cities"),
            region=first("states"),
            postcode=first("zip_codes"),
            country=first("country_codes"),
            gender=first("genders"),
            birth_date=first("dates_of_birth"),
            customer_id=first("external_ids"),
            ip=person.get("client_ip_address", ""),
            user_agent=person.get("client_user_agent", ""),
        ),
    )


@pytest.mark.parametrize("one", _oracle())
def test_whole_events_are_what_metas_own_program_sends(one: dict[str, Any]) -> None:
    given, theirs = one["input"], one["facebook_business_26_0_3_normalized"]
    american = given["user_data"].get("country_codes") == ["US"]
    limited: Restriction = "limited_use" if "LDU" in str(given) and american else ""
    event = _as_ordered(given)
    request = META.build([delivery(event, limited)], account(META), NOW)
    ours = json.loads(request.body, parse_float=Decimal)["data"][0]
    custom, their_custom = ours.pop("custom_data"), theirs.pop("custom_data")
    person, their_person = ours.pop("user_data"), theirs.pop("user_data")
    for key in [key for key in theirs if key.startswith("data_processing_options") and not american]:
        theirs.pop(key)  # the program says what it is told; we say it of people in the US alone
    assert ours == theirs
    # Documented rules that the program does not follow: currency in any case, states as codes, ids hashed.
    assert custom.pop("currency").lower() == their_custom.pop("currency")
    if given["user_data"].get("states") == ["California"]:
        assert person.pop("st") == [hashlib.sha256(b"ca").hexdigest()]
        their_person.pop("st")
    if "external_id" in their_person:
        their_person["external_id"] = [hashlib.sha256(their_person["external_id"][0].encode()).hexdigest()]
    for key in ("em", "ph"):  # an order has one of each
        their_person[key] = [value for value in their_person.get(key, []) if value in person.get(key, [])]
        assert person.get(key, []) == their_person.pop(key)
        person.pop(key, None)
    assert person == their_person
    # The program sends what it is told; we count the items and name their ids whenever there are lines.
    assert custom.keys() - their_custom.keys() <= {"num_items", "content_ids"}
    told = {key: value for key, value in their_custom.items() if key != "num_items"}
    assert {key: custom[key] for key in told} == _decimals(told)


def _decimals(value: Any) -> Any:
    """The value with every fraction exact, as our body is read."""
    return json.loads(json.dumps(value), parse_float=Decimal)


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "expected"), [(None, None), (0, None), (NOW, None), (NOW - 1, None), (NOW + 1, "TEST12345")]
)
def test_test_code_is_never_left_on(until: int | None, expected: str | None) -> None:
    body = _sent(FULL, test_event_code="TEST12345", test_event_code_until=until)
    assert body.get("test_event_code") == expected


def test_proof_is_made_of_token_and_secret() -> None:
    token = deliveries.secrets(META)[0]
    proof = hmac.new(b"app-secret", token.encode(), hashlib.sha256).hexdigest()
    assert _sent(FULL, app_secret="app-secret")["appsecret_proof"] == proof
    assert "appsecret_proof" not in _sent(FULL)


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("web", "website"),
        ("pos", "physical_store"),
        ("staff", "system_generated"),
        ("api", "system_generated"),
        ("renewal", "system_generated"),
    ],
)
def test_source(origin: Any, source: str) -> None:
    built = _event(msgspec.structs.replace(FULL, origin=origin))
    assert built["action_source"] == source
    assert ("event_source_url" in built) == ("referrer_url" in built) == (source == "website")


def test_the_owner_may_name_the_page_of_orders_that_name_none() -> None:
    """server-event#event-source-url: required of a website's events."""
    nameless, page = msgspec.structs.replace(FULL, page_url=""), "https://www.example.org/"
    assert "event_source_url" not in _event(nameless)
    assert _event(nameless, page_url=page)["event_source_url"] == page
    assert _event(FULL, page_url=page)["event_source_url"] == FULL.page_url
    assert "event_source_url" not in _event(msgspec.structs.replace(nameless, origin="api"), page_url=page)
    told = msgspec.structs.replace(nameless, site="https://example-store.myshopify.com/")
    assert _event(told)["event_source_url"] == told.site
    assert _event(told, page_url=page)["event_source_url"] == page


def test_catalogue_ids_follow_the_template() -> None:
    custom = _event(FULL, item_id="shopify_{country}_{product_id}_{variant_id}")["custom_data"]
    assert custom["content_ids"] == ["shopify_US_801_901", "shopify_US_802_902"]


def test_line_without_a_catalogue_id_is_left_out() -> None:
    lines = (Line(title="Engraving", quantity=1, unit_price=Decimal(5)), *FULL.lines[:1])
    custom = _event(msgspec.structs.replace(FULL, lines=lines))["custom_data"]
    assert custom["content_ids"] == ["901"]
    assert custom["num_items"] == 3


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("142.52", b"142.52"),
        ("2450", b"2450"),
        ("1.230", b"1.23"),
        ("0.00", b"0"),
        ("-0.0", b"0"),
        ("1E+3", b"1000"),
        ("100", b"100"),
        ("0.1", b"0.1"),
        ("123456789012345.67", b"123456789012345.67"),
        ("33.33333333333333333333", b"33.333333"),
    ],
)
def test_value_is_exact(value: str, written: bytes) -> None:
    event = msgspec.structs.replace(FULL, value=Decimal(value))
    body = META.build([delivery(event)], account(META), NOW).body
    assert b'"value":' + written + b"," in body


@pytest.mark.parametrize("name", EVENTS)
def test_match_keys_tell_what_is_sent(name: str) -> None:
    told = {key.name for key in META.match_keys(EVENTS[name], account(META)) if key.state == "sent"}
    assert told == _event(EVENTS[name])["user_data"].keys()


# --- who is not sent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buyer", "reason"),
    [
        (Buyer(country="US", city="Boston", postcode="02108", user_agent="Mozilla"), "100/2804050"),
        (Buyer(birth_date="1997-02-16", user_agent="Mozilla"), "100/2804050"),
        (Buyer(first_name="Mary", gender="f"), "100/2804050"),
        (Buyer(email="nobody", phone="n/a", first_name="."), "100/2804050"),
        (Buyer(first_name="Mary", last_name="Smith"), None),
        (Buyer(ip="203.0.113.7"), None),
    ],
    ids=range(6),
)
def test_too_little_of_a_buyer(buyer: Buyer, reason: str | None) -> None:
    event = msgspec.structs.replace(FULL, buyer=buyer, attributes={}, landing={})
    unfit = META.unfit(event, account(META), NOW)
    assert (unfit.reason if unfit else None) == reason


@pytest.mark.parametrize(("ahead", "reason"), [(600, None), (601, "time_ahead")])
def test_time_ahead(ahead: int, reason: str | None) -> None:
    unfit = META.unfit(msgspec.structs.replace(FULL, event_time=NOW + ahead), account(META), NOW)
    assert (unfit.reason if unfit else None) == reason


def test_window_keeps_a_margin() -> None:
    assert META.window(FULL) == 7 * DAY - 3600
    assert META.window(EVENTS["pos"]) == 62 * DAY - 3600


# --- answers ---------------------------------------------------------------------------------------------


def _read(status: int, error: dict[str, Any]) -> Outcome:
    [outcome] = META.read(1, answer(status, {"error": {"message": "x", "fbtrace_id": "AbC", **error}}))
    assert outcome.trace == "AbC"
    return outcome


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        *(({"code": code}, "retry", str(code)) for code in (1, 2, 4, 17, 341, 368, 613, 5000, 21009)),
        *(({"code": code}, "retry", str(code)) for code in (80000, 80004, 80014)),
        ({"code": 100, "error_subcode": 1487742}, "retry", "100/1487742"),
        ({"code": 100, "error_subcode": 99, "is_transient": True}, "retry", "100/99"),
        *(({"code": code}, "held", str(code)) for code in (3, 10, 102, 104, 190, 200, 294, 299)),
        ({"code": 190, "error_subcode": 463}, "held", "190/463"),
        ({"code": 190, "error_subcode": 460}, "held", "190/460"),
        ({"code": 100, "error_subcode": 33}, "held", "100/33"),
        ({"code": 2635}, "held", "2635"),
        ({"code": 100}, "refused", "100"),
        ({"code": 100, "error_subcode": 33000}, "refused", "100/33000"),
        ({"code": 100, "error_subcode": 2804009}, "refused", "100/2804009"),
        ({"code": 100, "error_subcode": 2804019}, "refused", "100/2804019"),
        ({"code": 2, "error_subcode": 2804050}, "refused", "2/2804050"),
        ({"code": 100, "error_subcode": 2804003, "is_transient": False}, "expired", "100/2804003"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_words_come_before_the_status(status: int, error: dict[str, Any], state: str, reason: str) -> None:
    outcome = _read(status, error)
    assert (outcome.state, outcome.reason) == (state, reason)
    assert outcome.whole is (state in {"refused", "expired"})
    assert outcome.spent is (state != "held")
    assert not outcome.ambiguous


@pytest.mark.parametrize(
    ("status", "state"), [(400, "refused"), (401, "held"), (403, "held"), (429, "retry"), (500, "retry")]
)
def test_unknown_word_is_judged_by_its_status(status: int, state: str) -> None:
    outcome = _read(status, {"code": 4242})
    assert (outcome.state, outcome.reason) == (state, "4242")
    assert "unknown" in outcome.detail


def test_receipt() -> None:
    received = {"events_received": 2, "messages": [], "fbtrace_id": "AbC"}
    assert META.read(2, answer(200, received)) == [Outcome("delivered", trace="AbC")] * 2


@pytest.mark.parametrize("received", [0, 1, 3, "2", True, None, 2.0, [2]])
def test_wrong_receipt_is_ambiguous(received: Any) -> None:
    outcomes = META.read(2, answer(200, {"events_received": received}))
    assert [(one.state, one.ambiguous, one.whole) for one in outcomes] == [("retry", True, False)] * 2


def test_true_is_not_one() -> None:
    [outcome] = META.read(1, answer(200, {"events_received": True}))
    assert outcome.state == "retry"


def test_receipt_with_an_error_status_is_none() -> None:
    [outcome] = META.read(1, answer(500, {"events_received": 1}))
    assert (outcome.state, outcome.ambiguous) == ("retry", True)


def test_end_of_a_version_is_told() -> None:
    response = answer(200, {"events_received": 1}, {"x-ad-api-version-warning": "The call has been upgraded"})
    [outcome] = META.read(1, response)
    assert (outcome.state, outcome.detail) == ("delivered", "The call has been upgraded")


def test_localised_texts_do_not_matter() -> None:
    texts = {"error_user_title": "Zeitstempel zu alt", "error_user_msg": "…", "message": "Ungültig"}
    assert _read(400, {"code": 100, "error_subcode": 2804003, **texts}).state == "expired"


def test_gateway_may_have_passed_it_on() -> None:
    verdicts = {status: META.read(1, Response(status, b"<html>"))[0].ambiguous for status in (502, 503, 504)}
    assert verdicts == {502: True, 503: False, 504: True}
