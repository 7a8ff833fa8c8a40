"""What samples of Stripe cannot show: its clock, its minor units, thin events, shapes of other years."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
import stripe as oracle

from integrations.destination import Request, Response
from integrations.discovery import stores
from integrations.event import Event
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.signing import digest
from integrations.store import Incomplete, Malformed, NotAnEvent, Unverified
from tests.contract import samples
from webhooks.sandbox import stripe_sender

STORE = stores()["stripe"]
SECRET = "whsec_contract_test"  # not a credential
NOW = 1_764_200_010

PAID = "checkout_session_completed_paid_2026_DERIVED"
INTENT = "payment_intent_succeeded_from_checkout_2026_DERIVED"
FIRST_INVOICE = "invoice_paid_subscription_create_2026_DERIVED"
RENEWAL = "invoice_paid_subscription_cycle_2026_DERIVED"
THIN = "thin_event_v1_checkout_session_completed_DERIVED"


def sample(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A sample as an object; ``changes`` are put into the object that the event is about."""
    body: dict[str, Any] = json.loads((samples.FOLDER / "stripe" / f"{name}.json").read_bytes())
    if changes:
        body["data"]["object"].update(changes)
    return body


def hook(body: object) -> Hook:
    return Hook({}, json.dumps(body).encode(), NOW)


def read(body: object, **options: str) -> Event:
    return STORE.read(hook(body), samples.shop(STORE, SECRET, **options))


def why(body: object, **options: str) -> str:
    with pytest.raises(NotAnEvent) as caught:
        read(body, **options)
    return caught.value.reason


# --- the signature ---------------------------------------------------------------------------------------


def verify(header: str, body: bytes, now: int = NOW, *secrets: str) -> int:
    keys = [Secret(secret) for secret in secrets or (SECRET,)]
    return STORE.verify(Hook({"stripe-signature": header}, body, now), keys)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_signature_within_the_tolerance(seconds: int) -> None:
    assert verify(header(b"{}", at=NOW - seconds), b"{}") == 0


@pytest.mark.parametrize("seconds", [-10_000_000, -301, 301, 10_000_000])
def test_a_signature_from_the_past_or_future_is_refused(seconds: int) -> None:
    with pytest.raises(Unverified, match="clock"):
        verify(header(b"{}", at=NOW - seconds), b"{}")


def header(body: bytes, *, at: int = NOW, secret: str = SECRET) -> str:
    return stripe_sender.sign(body, secret, topic="", now=at)["Stripe-Signature"]


BODIES = {"ascii": b'{"id":"evt_1"}', "utf8": '{"name":"Zürich 東京 \U0001f600"}'.encode(), "empty": b""}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_agrees_with_stripes_library(body: bytes) -> None:
    theirs = oracle.WebhookSignature.generate_signature_header(body.decode(), SECRET, NOW)
    assert theirs == header(body)
    assert verify(theirs, body, NOW, "whsec_other", SECRET) == 1
    assert oracle.WebhookSignature.verify_header(body, header(body), SECRET)


def test_a_secret_being_rolled() -> None:
    old, new = header(b"{}", secret="whsec_old"), header(b"{}", secret="whsec_new")
    both = f"{old},{new.partition(',')[2]}"
    assert verify(both, b"{}", NOW, "whsec_new") == 0
    assert verify(both, b"{}", NOW, "whsec_old") == 0
    with pytest.raises(Unverified):
        verify(both, b"{}", NOW, "whsec_third")


RIGHT = digest(SECRET.encode(), f"{NOW}.".encode() + b"{}").hex()
WRONG_HEADERS = {
    "only_v0": f"t={NOW},v0={RIGHT}",
    "no_time": f"v1={RIGHT}",
    "no_signature": f"t={NOW}",
    "other_time": f"t={NOW + 1},v1={RIGHT}",
    "two_times": f"t={NOW - 1},t={NOW},v1={RIGHT}",
    "time_with_sign": f"t=+{NOW},v1={RIGHT}",
    "time_in_other_digits": f"t={chr(0x661)}{NOW},v1={RIGHT}",
    "endless_time": f"t={'9' * 5_000},v1={RIGHT}",
    "time_is_text": f"t=now,v1={RIGHT}",
    "swapped": f"v1={NOW},t={RIGHT}",
    "semicolon": f"t={NOW};v1={RIGHT}",
    "upper_scheme": f"t={NOW},V1={RIGHT}",
    "commas": "," * 100,
}


@pytest.mark.parametrize("value", WRONG_HEADERS.values(), ids=WRONG_HEADERS.keys())
def test_a_wrong_header(value: str) -> None:
    with pytest.raises(Unverified):
        verify(value, b"{}")


def test_the_wrong_headers_are_nearly_right() -> None:
    assert verify(f"t={NOW},v0=0,v1={RIGHT}", b"{}") == 0


# --- money -----------------------------------------------------------------------------------------------

NO_DECIMALS = (
    "bif",
    "clp",
    "djf",
    "gnf",
    "jpy",
    "kmf",
    "krw",
    "pyg",
    "rwf",
    "vnd",
    "vuv",
    "xaf",
    "xof",
    "xpf",
)
THREE_DECIMALS = ("bhd", "jod", "kwd", "omr", "tnd")
MINOR_UNITS = [
    *((code, 5400, "5400") for code in NO_DECIMALS),
    ("mga", 5400, "5400.00"),
    ("ugx", 500000, "5000"),
    ("isk", 500000, "5000"),
    ("huf", 540000, "5400.00"),
    ("twd", 540000, "5400.00"),
    *((code, 1230, "1.230") for code in THREE_DECIMALS),
    ("usd", 1, "0.01"),
    ("eur", 1250, "12.50"),
    ("usd", 99_999_999_999_999, "999999999999.99"),
]


@pytest.mark.parametrize(("code", "minor", "value"), MINOR_UNITS, ids=[row[0] for row in MINOR_UNITS])
def test_minor_units(code: str, minor: int, value: str) -> None:
    event = read(sample(PAID, {"currency": code, "amount_total": minor}))
    assert (str(event.value), event.currency) == (value, code.upper())


@pytest.mark.parametrize("amount", [None, "", "5400", True, 10**15, [], {}], ids=repr)
def test_an_unusable_total_is_quarantined_with_its_order(amount: object) -> None:
    with pytest.raises(Malformed) as caught:
        read(sample(PAID, {"amount_total": amount}))
    assert caught.value.order_id == "ORD-100045"


def test_a_fraction_of_a_minor_unit_is_no_amount() -> None:
    raw = json.dumps(sample(PAID)).replace('"amount_total": 5400', '"amount_total": 5400.5', 1).encode()
    with pytest.raises(Malformed, match="minor units"):
        STORE.read(Hook({}, raw, NOW), samples.shop(STORE, SECRET))


ADAPTIVE = {"presentment_details": {"presentment_amount": 8100, "presentment_currency": "jpy"}}
ADAPTIVE_BEFORE_2025 = {
    "currency_conversion": {"amount_subtotal": 4000, "amount_total": 4500, "source_currency": "eur"}
}


def test_adaptive_pricing_sends_what_the_buyer_saw() -> None:
    event = read(sample(PAID, ADAPTIVE))
    assert (str(event.value), event.currency) == ("8100", "JPY")
    event = read(sample(PAID, ADAPTIVE_BEFORE_2025))
    assert (str(event.value), event.currency) == ("54.00", "USD")


def test_adaptive_pricing_sends_the_shops_side_if_told_so() -> None:
    event = read(sample(PAID, ADAPTIVE), currency_side="shop")
    assert (str(event.value), event.currency) == ("54.00", "USD")
    event = read(sample(PAID, ADAPTIVE_BEFORE_2025), currency_side="shop")
    assert (str(event.value), event.currency) == ("45.00", "EUR")


@pytest.mark.parametrize("missing", ["presentment_amount", "presentment_currency"])
def test_amount_and_currency_are_never_of_two_sides(missing: str) -> None:
    half = {"presentment_details": {**ADAPTIVE["presentment_details"], missing: None}}
    event = read(sample(PAID, half))
    assert (str(event.value), event.currency) == ("54.00", "USD")


def test_a_credit_is_no_sale() -> None:
    assert why(sample(FIRST_INVOICE, {"total": -500}), flow="invoice") == "credit"


# --- which events ----------------------------------------------------------------------------------------


def test_other_events_of_stripe() -> None:
    for topic in ("customer.created", "payment_link.created", "checkout.session", "v1.invoice.paid", ""):
        assert why(sample(PAID) | {"type": topic}) == "unknown_topic"
    assert why(sample(INTENT) | {"type": "charge.dispute.created"}) == "dispute"
    assert why(sample(PAID) | {"type": "checkout.session.expired"}) == "expired"


def test_the_id_of_an_unrelated_object_is_no_order_id() -> None:
    with pytest.raises(NotAnEvent) as caught:
        read(
            sample(PAID) | {"type": "customer.created", "data": {"object": {"object": "customer", "id": "c"}}}
        )
    assert caught.value.order_id == ""


def test_the_invoices_twin_never_counts() -> None:
    for flow in ("checkout", "payment_intent", "invoice"):
        body = sample(RENEWAL) | {"type": "invoice.payment_succeeded"}
        assert why(body, flow=flow, renewals="send") == "other_flow"


@pytest.mark.parametrize("live", [None, 1, "true", "", []], ids=repr)
def test_an_event_of_no_mode_is_quarantined(live: object) -> None:
    for mode in ("live", "test", "any"):
        with pytest.raises(Malformed, match="live"):
            read(sample(PAID) | {"livemode": live}, livemode=mode)


def test_the_object_must_be_what_the_type_says() -> None:
    body = sample(PAID) | {"type": "payment_intent.succeeded"}
    with pytest.raises(Malformed, match="holds no payment_intent"):
        read(body, flow="payment_intent")


def test_an_unknown_payment_status_is_looked_at_by_people() -> None:
    with pytest.raises(Malformed, match="paid"):
        read(sample(PAID, {"payment_status": "partially_paid"}))


def test_a_subscriptions_first_payment_counts_once_per_flow() -> None:
    bought = {"mode": "subscription", "payment_intent": None, "invoice": "in_1ExampleFirst01"}
    session = read(sample(PAID, bought))
    invoice = read(sample(FIRST_INVOICE), flow="invoice")
    assert session.key == invoice.key == "in_1ExampleFirst01"
    assert why(sample(FIRST_INVOICE)) == why(sample(PAID, bought), flow="invoice") == "other_flow"


def test_an_invoice_has_one_key_in_all_versions() -> None:
    old = {"payment_intent": "pi_1", "charge": "ch_1", "paid": True}
    assert read(sample(FIRST_INVOICE, old), flow="invoice").key == "in_1ExampleFirst01"


# --- who and what ----------------------------------------------------------------------------------------

PARCEL = {"name": "Receiver", "address": {"city": "Oslo", "postal_code": "0150", "country": "no"}}
NOBODY = {"customer_details": None, "collected_information": None}


@pytest.mark.parametrize(
    "place",
    [
        {"collected_information": {"shipping_details": PARCEL}},
        {"shipping_details": PARCEL},
        {"shipping": PARCEL},
    ],
    ids=["2025", "2022", "2020"],
)
def test_where_shipping_has_stood(place: dict[str, Any]) -> None:
    buyer = read(sample(PAID, {**NOBODY, **place})).buyer
    assert (buyer.first_name, buyer.city, buyer.postcode, buyer.country) == ("Receiver", "Oslo", "0150", "NO")


def test_the_buyer_is_named_before_the_receiver_and_the_fuller_address_counts() -> None:
    billing = {"name": "Ada Example Byron", "email": "a@example.com", "address": {"country": "GB"}}
    buyer = read(sample(PAID, {**NOBODY, "customer_details": billing, "shipping_details": PARCEL})).buyer
    assert (buyer.first_name, buyer.last_name, buyer.email) == ("Ada", "Example Byron", "a@example.com")
    assert (buyer.city, buyer.country) == ("Oslo", "NO")


def test_the_prefilled_address_of_mail() -> None:
    assert read(sample(PAID, {**NOBODY, "customer_email": "b@example.com"})).buyer.email == "b@example.com"


CHARGE = {"billing_details": {"name": "Cy Payer", "email": "c@example.com", "phone": "+4712345678"}}


@pytest.mark.parametrize(
    "place", [{"latest_charge": CHARGE}, {"charges": {"data": [CHARGE]}}], ids=["expanded", "before_2022-11"]
)
def test_the_payer_of_a_payment_intent(place: dict[str, Any]) -> None:
    buyer = read(sample(INTENT, place), flow="payment_intent").buyer
    assert (buyer.first_name, buyer.email, buyer.phone) == ("Cy", "c@example.com", "+4712345678")
    place = {**place, "receipt_email": "receipt@example.com"}
    assert read(sample(INTENT, place), flow="payment_intent").buyer.email == "receipt@example.com"


def test_what_was_captured_of_an_authorisation_is_the_value() -> None:
    event = read(sample(INTENT, {"amount": 5400, "amount_received": 4000}), flow="payment_intent")
    assert event.value == Decimal("40.00")


def test_the_shops_site_is_where_checkout_leads_back_to() -> None:
    for success, back, site in (
        ("https://shop.example.com/thanks?id={CHECKOUT_SESSION_ID}", None, "https://shop.example.com/"),
        (None, "https://shop.example.com/done", "https://shop.example.com/"),
        ("shopapp://thanks", None, ""),
    ):
        assert read(sample(PAID, {"success_url": success, "return_url": back})).site == site


def test_a_renewal_has_nobodys_browser() -> None:
    metadata = {
        "client_ip": "203.0.113.25",
        "client_ua": "Mozilla/5.0",
        "event_source_url": "https://a.example/",
    }
    event = read(sample(RENEWAL, {"metadata": metadata}), renewals="send")
    assert (event.buyer.ip, event.buyer.user_agent, event.page_url, event.attributes) == ("", "", "", {})
    event = read(sample(FIRST_INVOICE, {"metadata": metadata}), flow="invoice")
    assert (event.buyer.ip, event.buyer.user_agent) == ("203.0.113.25", "Mozilla/5.0")
    assert event.page_url == "https://a.example/"


def test_a_renewal_keeps_a_denial_but_no_stale_click() -> None:
    metadata = {"_fbc": "fb.1.1764100000000.IwAR2-click", "marketing_consent": "denied"}
    subscription = {"parent": {"subscription_details": {"metadata": metadata}}}
    event = read(sample(RENEWAL, subscription), renewals="send")
    assert (event.attributes, event.consent.ad_user_data) == ({}, "denied")
    first = read(sample(FIRST_INVOICE, subscription), flow="invoice")
    assert first.captured("fbc") == metadata["_fbc"]


@pytest.mark.parametrize("names", [("client_ip_address", "client_user_agent"), ("client_ip", "user_agent")])
def test_the_names_of_browser_data(names: tuple[str, str]) -> None:
    buyer = read(sample(PAID, {"metadata": {names[0]: "2001:db8::1", names[1]: "Agent"}})).buyer
    assert (buyer.ip, buyer.user_agent) == ("2001:db8::1", "Agent")


def test_a_subscriptions_metadata_stood_elsewhere_before_2025() -> None:
    old = {
        "parent": None,
        "subscription_details": {"metadata": {"order_id": "SUB-1", "ad_consent": "denied"}},
    }
    event = read(sample(FIRST_INVOICE, old), flow="invoice")
    assert (event.order_id, event.consent.ad_user_data) == ("SUB-1", "denied")


@pytest.mark.parametrize("key", ["order_id", "orderId", "order", "reference"])
def test_the_order_id_within_metadata(key: str) -> None:
    changes = {"client_reference_id": None, "metadata": {"other": "x", key: "A-1"}}
    assert read(sample(PAID, changes)).order_id == "A-1"


def test_a_shop_may_name_where_its_order_id_stands() -> None:
    body = sample(PAID, {"client_reference_id": "referral-7", "metadata": {"order": "A-1"}})
    for keys, expected in (
        (("order", "client_reference_id"), "A-1"),
        (("client_reference_id",), "referral-7"),
    ):
        shop = samples.shop(STORE, SECRET, order_id_keys=list(keys))
        assert STORE.read(hook(body), shop).order_id == expected


def test_the_order_id_without_any_of_the_shops_own() -> None:
    changes = {"client_reference_id": "", "metadata": None}
    assert read(sample(PAID, changes)).order_id == "pi_3ExampleIntent000000001"
    session = read(sample(PAID, {**changes, "payment_intent": None}))
    assert session.order_id == session.key == session.names["session_id"]


def test_lines_of_an_invoice() -> None:
    lines = {
        "data": [
            {"amount": 1000, "currency": "eur", "quantity": 3, "discount_amounts": [{"amount": 100}]},
            {"amount": 500, "currency": "usd", "quantity": 1},
            {"amount": -700, "currency": "eur", "quantity": 1, "description": "Unused time"},
        ]
    }
    one, foreign = read(sample(FIRST_INVOICE, {"lines": lines}), flow="invoice").lines
    assert (one.quantity, one.unit_price) == (3, Decimal("3.00"))
    assert foreign.unit_price is None


# --- thin events -----------------------------------------------------------------------------------------

KEY = "rk_contract_test"  # not a credential
SESSION = "cs_live_a1ExampleSession0000000000000000000000000000000000000000001"


def fetching(body: object, **options: str) -> Incomplete:
    with pytest.raises(Incomplete) as caught:
        read(body, api_key=KEY, **options)
    return caught.value


def complete(body: object, response: Response, **options: str) -> Event:
    shop = samples.shop(STORE, SECRET, api_key=KEY, **options)
    return STORE.complete(hook(body), response, shop)


def fetched(name: str, changes: Mapping[str, Any] | None = None, status: int = 200) -> Response:
    return Response(status, json.dumps(sample(name, changes)["data"]["object"]).encode())


def test_a_thin_event_is_fetched() -> None:
    error = fetching(sample(THIN))
    assert error.request == Request(
        f"https://api.stripe.com/v1/checkout/sessions/{SESSION}?expand%5B%5D=line_items",
        headers={"Authorization": f"Bearer {KEY}", "Stripe-Version": "2026-10-28.endive"},
        method="GET",
    )
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("kind", "flow", "path"),
    [
        ("payment_intent.succeeded", "payment_intent", "/v1/payment_intents/{}?expand%5B%5D=latest_charge"),
        ("invoice.paid", "invoice", "/v1/invoices/{}"),
    ],
)
def test_thin_events_of_other_flows(kind: str, flow: str, path: str) -> None:
    related = {"id": "xx_1", "type": kind.partition(".")[0]}
    body = sample(THIN) | {"type": f"v1.{kind}", "related_object": related}
    request = fetching(body, flow=flow, api_base="http://127.0.0.1:12111").request
    assert request.url == "http://127.0.0.1:12111" + path.format("xx_1")


@pytest.mark.parametrize("context", ["acct_1ExampleConnected", "org_1Example/acct_1ExampleConnected"])
def test_a_thin_event_of_a_connected_account(context: str) -> None:
    body = sample(THIN) | {"context": context}
    assert fetching(body).request.headers["Stripe-Account"] == "acct_1ExampleConnected"
    event = complete(body, fetched(PAID))
    assert event.key == "acct_1ExampleConnected:pi_3ExampleIntent000000001"


@pytest.mark.parametrize(
    "context", ["acct_1\r\nHost: evil.example", "acct_", "acct_é", "evil", {}, 7], ids=repr
)
def test_a_hostile_context_reaches_no_header(context: object) -> None:
    assert "Stripe-Account" not in fetching(sample(THIN) | {"context": context}).request.headers


HOSTILE_RELATED = {
    "dots": {"id": "../../v1/charges"},
    "slash": {"id": "cs_1/line_items"},
    "query": {"id": "cs_1?expand[]=customer"},
    "fragment": {"id": "cs_1#"},
    "host": {"id": "@evil.example"},
    "newline": {"id": "cs_1\n"},
    "other_letters": {"id": "cs_é"},
    "long": {"id": "c" * 256},
    "empty": {"id": ""},
    "number": {"id": 7},
    "other_type": {"type": "payment_intent"},
    "no_type": {"type": None},
}


@pytest.mark.parametrize("changes", HOSTILE_RELATED.values(), ids=HOSTILE_RELATED.keys())
def test_a_hostile_id_is_not_asked_for(changes: dict[str, Any]) -> None:
    body = sample(THIN)
    body["related_object"].update(changes)
    with pytest.raises(Malformed, match="names no"):
        read(body, api_key=KEY)


@pytest.mark.parametrize("url", ["https://evil.example/", "//evil.example/x", "/../", None])
def test_the_address_in_the_event_is_not_used(url: object) -> None:
    body = sample(THIN)
    body["related_object"]["url"] = url
    assert fetching(body).request == fetching(sample(THIN)).request


def test_without_a_key_the_owner_is_told() -> None:
    with pytest.raises(Malformed) as caught:
        read(sample(THIN))
    assert caught.value.alarm
    assert "snapshot" in caught.value.reason
    assert "STRIPE_API_KEY" in caught.value.reason


def test_no_key_is_needed_for_what_is_no_sale() -> None:
    assert why(sample(THIN) | {"type": "v1.customer.created"}) == "unknown_topic"
    assert why(sample(THIN) | {"type": "v1.charge.refunded"}) == "refund"
    assert why(sample(THIN) | {"livemode": False}) == "test_mode"
    assert why(sample(THIN) | {"type": "v1.invoice.paid"}) == "other_flow"
    assert why(sample(THIN) | {"type": "v1.payment_intent.succeeded"}) == "other_flow"


def test_a_thin_invoice_is_fetched_only_if_renewals_are_wanted() -> None:
    body = sample(THIN) | {"type": "v1.invoice.paid"}
    body["related_object"] = {"id": "in_1ExampleRenewal01", "type": "invoice"}
    assert fetching(body, renewals="send").request.url.endswith("/v1/invoices/in_1ExampleRenewal01")
    assert complete(body, fetched(RENEWAL), renewals="send").origin == "renewal"


def test_a_thin_event_and_its_snapshot_are_one_purchase() -> None:
    snapshot, thin = read(sample(PAID)), complete(sample(THIN), fetched(PAID))
    assert thin.event_time == 1_795_736_005  # 2026-11-26T23:33:25Z
    assert (thin.key, thin.order_id, thin.value, thin.buyer) == (
        *(snapshot.key, snapshot.order_id, snapshot.value, snapshot.buyer),
    )


ITEMS = {
    "object": "list",
    "data": [
        {
            "id": "li_1",
            "object": "item",
            "amount_discount": 500,
            "amount_subtotal": 4000,
            "amount_tax": 700,
            "amount_total": 4200,
            "currency": "usd",
            "description": "Teapot",
            "price": {"id": "price_1", "product": "prod_1"},
            "quantity": 2,
        }
    ],
}


def test_a_fetched_session_has_lines() -> None:
    (line,) = complete(sample(THIN), fetched(PAID, {"line_items": ITEMS})).lines
    assert (line.product_id, line.variant_id, line.title) == ("prod_1", "price_1", "Teapot")
    assert (line.quantity, line.unit_price) == (2, Decimal("17.50"))


def test_lines_of_another_currency_have_no_price() -> None:
    (line,) = complete(sample(THIN), fetched(PAID, {"line_items": ITEMS, **ADAPTIVE})).lines
    assert (line.quantity, line.unit_price) == (2, None)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_fetch_is_an_alarm(status: int) -> None:
    with pytest.raises(Malformed, match=str(status)) as caught:
        complete(sample(THIN), fetched(PAID, status=status))
    assert caught.value.alarm
    assert KEY not in caught.value.reason


@pytest.mark.parametrize("status", [0, 301, 409, 429, 500, 502, 503])
def test_a_failed_fetch_is_tried_again(status: int) -> None:
    with pytest.raises(Incomplete) as caught:
        complete(sample(THIN), fetched(PAID, status=status))
    assert caught.value.request == fetching(sample(THIN)).request


ODD_ANSWERS = {
    "nothing": b"",
    "html": b"<html>",
    "list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "error": b'{"error":{}}',
    "other": json.dumps(sample(PAID, {"id": "cs_live_other"})["data"]["object"]).encode(),
    "other_kind": json.dumps(sample(PAID, {"object": "charge"})["data"]["object"]).encode(),
}


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
def test_an_odd_answer_is_quarantined(answer: bytes) -> None:
    with pytest.raises(Malformed):
        complete(sample(THIN), Response(200, answer))


def test_a_fetched_session_that_is_not_paid() -> None:
    with pytest.raises(NotAnEvent) as caught:
        complete(sample(THIN), fetched(PAID, {"payment_status": "unpaid"}))
    assert (caught.value.reason, caught.value.order_id) == ("not_paid", "ORD-100045")


def test_a_thin_event_without_a_time_is_quarantined() -> None:
    for created in (None, "", "yesterday", "2026-11-26T23:33:25", True, -1, 10**400):
        with pytest.raises(Malformed, match="time"):
            complete(sample(THIN) | {"created": created}, fetched(PAID))


def test_the_base_address_is_an_address_without_path() -> None:
    (base,) = (setting for setting in STORE.settings if setting.name == "api_base")
    assert re.fullmatch(base.pattern, base.default)
    for wrong in ("api.stripe.com", "https://a/v1", "https://a@evil.example", "https://a?b", "ftp://a", ""):
        assert not re.fullmatch(base.pattern, wrong)
