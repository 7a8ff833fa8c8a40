"""What is particular to OpenAI Ads: minor units, its documented normalisation, opaque ids, all or nothing."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from integrations import identity, money
from integrations.destination import Outcome
from integrations.discovery import destinations
from integrations.event import Buyer, Event, Line
from integrations.identity import Rules
from tests.contract.deliveries import EVENTS, NOW, account, answer, delivery, standing_in
from webhooks.settings_accounts import variable
from webhooks.transport import Transport

OPENAI = destinations()["openai"]
FULL = EVENTS["web_full"]
DAY = 86_400


def _event(event: Event, **options: Any) -> dict[str, Any]:
    request = OPENAI.build([delivery(event)], account(OPENAI, **options), NOW)
    built: dict[str, Any] = json.loads(request.body)["events"][0]
    return built


def _user(**buyer: Any) -> dict[str, Any]:
    told: dict[str, Any] = _event(msgspec.structs.replace(FULL, buyer=Buyer(**buyer))).get("user", {})
    return told


# --- conversions-api, "Normalize identifiers before hashing" ---------------------------------------------


@pytest.mark.parametrize(
    ("field", "written", "key", "normalised"),
    [
        ("phone", "+1 (415) 555-2671", "phone_numbers_sha256", "14155552671"),
        ("first_name", "Mary Jane", "first_names_sha256", "maryjane"),
        ("last_name", "O'Connor", "last_names_sha256", "oconnor"),
        ("first_name", "José", "first_names_sha256", "josé"),
        ("last_name", "O’Connor", "last_names_sha256", "o’connor"),
        ("last_name", "Ștefănescu-Łoś", "last_names_sha256", "ștefănescułoś"),
        ("email", " User@Example.COM ", "emails_sha256", "user@example.com"),
        ("email", "First.Last+tag@gmail.com", "emails_sha256", "first.last+tag@gmail.com"),
        ("customer_id", " Customer_123 ", "external_ids_sha256", "Customer_123"),
    ],
)
def test_identifiers_are_normalised_as_documented(
    field: str, written: str, key: str, normalised: str
) -> None:
    assert _user(**{field: written})[key] == [hashlib.sha256(normalised.encode()).hexdigest()]


@pytest.mark.parametrize(
    ("field", "written", "key", "digest"),
    [
        (
            "phone",
            "+1 (415) 555-2671",
            "phone_numbers_sha256",
            "758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0",
        ),
        (
            "email",
            "user@example.com",
            "emails_sha256",
            "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514",
        ),
        (
            "customer_id",
            "customer_123",
            "external_ids_sha256",
            "18f69bcd2f9cc9c38195e722b2a5590429840ea5090971d2256e026926e55fa1",
        ),
    ],
    ids=["phone", "email", "external id"],
)
def test_hashes_are_those_that_the_documents_print(field: str, written: str, key: str, digest: str) -> None:
    assert _user(**{field: written})[key] == [digest]


@pytest.mark.parametrize(
    ("buyer", "told"),
    [
        ({"city": "San Francisco", "country": "US"}, {"cities": ["san francisco"], "countries": ["US"]}),
        ({"city": "Paris 16"}, {"cities": ["paris 16"]}),
        ({"city": "Saint-Étienne"}, {"cities": ["saint-étienne"]}),
        ({"region": "California", "country": "US"}, {"regions": ["california"], "countries": ["US"]}),
        ({"region": "US-CA", "country": "US"}, {"regions": ["ca"], "countries": ["US"]}),
        ({"postcode": "M1 1AE", "country": "GB"}, {"postal_codes": ["M1 1AE"], "countries": ["GB"]}),
        ({"postcode": "〒100-0001"}, {}),
        ({"postcode": "1" * 33}, {}),
        ({"city": "x" * 129, "region": "y" * 129}, {}),
        ({"city": "n/a", "region": "-", "country": "Atlantis"}, {}),
        ({"customer_id": "0", "phone": "12345", "first_name": ".", "email": "nobody"}, {}),
        ({"phone": "+290 51234"}, {"phone_numbers_sha256": [hashlib.sha256(b"29051234").hexdigest()]}),
        ({"phone": "+683 4000"}, {}),  # seven digits with the country's: fewer than OpenAI takes
    ],
    ids=range(13),
)
def test_places_stay_readable_and_what_is_no_use_is_left_out(
    buyer: dict[str, str], told: dict[str, Any]
) -> None:
    assert _user(**buyer) == told


AS_WRITTEN = Rules(places="as_written")


@pytest.mark.parametrize(
    ("written", "country", "expected"),
    [
        ("New York", "US", "new york"),
        ("CA-ON", "CA", "on"),
        (" Île-de-France ", "FR", "île-de-france"),
        ("13", "JP", "13"),
        ("...", "FR", ""),
        ("null", "FR", ""),
    ],
)
def test_region_as_written(written: str, country: str, expected: str) -> None:
    assert identity.region(written, country, AS_WRITTEN) == expected


@pytest.mark.parametrize("written", ["94103", "!", "none", ""])
def test_town_as_written_needs_a_letter(written: str) -> None:
    assert identity.city(written, AS_WRITTEN) == ""


# --- click ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["oppref", "_oppref", "__oppref"])
@pytest.mark.parametrize("value", ["opp_AbC", "a%2Bb%3D", "gAAAA.b-c_d~e=="])
def test_oppref_is_passed_on_unchanged_beside_the_user(name: str, value: str) -> None:
    built = _event(msgspec.structs.replace(FULL, attributes={name: value}))
    assert built["oppref"] == value
    assert "oppref" not in built["user"]


@pytest.mark.parametrize("name", ["obref", "__obref"])
def test_obref_is_passed_on_unchanged_in_the_user(name: str) -> None:
    built = _event(msgspec.structs.replace(FULL, attributes={name: "123e4567-e89b-42d3-a456-426614174000"}))
    assert built["user"]["obref"] == "123e4567-e89b-42d3-a456-426614174000"


@pytest.mark.parametrize("value", ["", "a b", "\u00e9", "x" * 513, "a\x00"], ids=range(5))
def test_neither_is_cut_or_made_up(value: str) -> None:
    built = _event(msgspec.structs.replace(FULL, attributes={"oppref": value, "obref": value}))
    assert "oppref" not in built
    assert "obref" not in built["user"]


def test_match_keys_tell_of_both() -> None:
    event = msgspec.structs.replace(FULL, attributes={"__oppref": "a", "__obref": "b"})
    sent = {key.name for key in OPENAI.match_keys(event, account(OPENAI)) if key.state == "sent"}
    assert {"oppref", "obref", "cities", "emails_sha256"} <= sent


# --- amounts, times, sources -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "currency", "amount"),
    [
        ("142.52", "USD", 14252),
        ("42", "USD", 4200),
        ("0.00", "EUR", 0),
        ("2450", "JPY", 2450),
        ("2450.4", "JPY", 2450),
        ("1.230", "KWD", 1230),
        ("0.005", "EUR", 1),
        ("1E+3", "USD", 100000),
        ("123456789012345.67", "USD", 12345678901234567),
    ],
)
def test_amounts_are_in_the_smallest_unit(value: str, currency: str, amount: int) -> None:
    line = Line(sku="A", quantity=1, unit_price=Decimal(value))
    event = msgspec.structs.replace(FULL, value=Decimal(value), currency=currency, lines=(line,))
    data = _event(event)["data"]
    assert data["amount"] == data["contents"][0]["amount"] == amount == money.minor(Decimal(value), currency)
    assert isinstance(data["amount"], int)


def test_window_keeps_a_margin() -> None:
    assert OPENAI.window(FULL) == 7 * DAY - 3600


@pytest.mark.parametrize(("ahead", "reason"), [(600, None), (601, "time_ahead")])
def test_time_ahead(ahead: int, reason: str | None) -> None:
    unfit = OPENAI.unfit(msgspec.structs.replace(FULL, event_time=NOW + ahead), account(OPENAI), NOW)
    assert (unfit.reason if unfit else None) == reason


@pytest.mark.parametrize(
    ("origin", "page", "source"),
    [
        ("web", "https://shop.example.com/", "web"),
        ("web", "", "other"),
        ("web", "javascript:alert(1)", "other"),
        ("pos", "https://shop.example.com/", "physical_store"),
        ("staff", "https://shop.example.com/", "other"),
        ("api", "", "other"),
        ("renewal", "", "other"),
    ],
)
def test_a_web_event_has_its_page(origin: Any, page: str, source: str) -> None:
    built = _event(msgspec.structs.replace(FULL, origin=origin, page_url=page))
    assert built["action_source"] == source
    assert built.get("source_url", "") == (page if source == "web" else "")


def test_key_is_not_read_from_the_variable_of_another_product() -> None:
    assert variable("openai", "conversions_api_key") == "OPENAI_CONVERSIONS_API_KEY"
    assert "api_key" not in {setting.name for setting in OPENAI.settings}


# --- answers ---------------------------------------------------------------------------------------------


def test_receipt() -> None:
    received = answer(200, {"accepted_events": 2}, {"x-request-id": "req_AbC"})
    assert OPENAI.read(2, received) == [Outcome("delivered", trace="req_AbC")] * 2


@pytest.mark.parametrize("accepted", [0, 1, 3, "2", True, None, 2.5, [2]], ids=str)
def test_wrong_receipt_is_ambiguous(accepted: Any) -> None:
    outcomes = OPENAI.read(2, answer(200, {"accepted_events": accepted}))
    assert [(one.state, one.ambiguous) for one in outcomes] == [("retry", True)] * 2


@pytest.mark.parametrize(
    ("status", "state"),
    [(400, "refused"), (401, "held"), (403, "held"), (404, "held"), (413, "refused"), (422, "refused")],
)
@pytest.mark.parametrize(
    "document", [{"error": {"message": "no"}}, {"error": "no"}, {"message": "no"}], ids=str
)
def test_errors_by_their_status(status: int, state: str, document: Any) -> None:
    outcomes = OPENAI.read(2, answer(status, document))
    assert [one.state for one in outcomes] == [state] * 2
    assert {one.whole for one in outcomes} == {state == "refused"}
    assert {one.spent for one in outcomes} == {state != "held"}
    assert outcomes[0].detail.endswith("(no)")
    assert outcomes[0].reason == f"http_{status}"


def test_one_failure_fails_all() -> None:
    bad = msgspec.structs.replace(FULL, order_id="1009", event_time=NOW - 8 * DAY)
    with standing_in(OPENAI) as (kind, known):
        transport = Transport(total_seconds=5)
        request = OPENAI.build([delivery(EVENTS["pos"]), delivery(bad), delivery(FULL)], known, NOW)
        outcomes = OPENAI.read(3, transport.send(request))
        transport.close()
    assert [(one.state, one.whole) for one in outcomes] == [("refused", True)] * 3
    assert kind.record == []
