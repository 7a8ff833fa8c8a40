"""What the samples of Shopify cannot say: one web order (#1042), changed in one way at a time."""

import json
from decimal import Decimal
from typing import Any

import pytest

from integrations.discovery import stores
from integrations.event import Consent, Event
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Malformed, NotAnEvent, Unverified
from tests.contract import samples
from tests.contract.samples import NOW, SECRET
from webhooks.sandbox.shopify_sender import sign

SHOPIFY = stores()["shopify"]
ORDER = json.loads((samples.FOLDER / "shopify" / "orders_create_web_full_pii_2024-04.json").read_bytes())
PLACED = 1_715_693_412  # 2024-05-14T09:30:12-04:00
DAY = 86_400


def read(topic: str = "orders/paid", options: dict[str, Any] | None = None, **changes: object) -> Event:
    body = json.dumps({**ORDER, **changes}).encode()
    headers = {name.lower(): value for name, value in sign(body, SECRET, topic=topic, now=NOW).items()}
    return SHOPIFY.read(Hook(headers, body, NOW), samples.shop(SHOPIFY, **(options or {})))


def reason(topic: str = "orders/paid", options: dict[str, Any] | None = None, **changes: object) -> str:
    with pytest.raises(NotAnEvent) as caught:
        read(topic, options, **changes)
    assert caught.value.order_id == "5512345678901"
    return caught.value.reason


def line(**changes: object) -> dict[str, Any]:
    return {"title": "Mug", "quantity": 1, "price": "24.50", "discount_allocations": [], **changes}


def attributes(**given: object) -> list[dict[str, object]]:
    return [{"name": name, "value": value} for name, value in given.items()]


# --- signature -------------------------------------------------------------------------------------------


def test_the_log_learns_why_without_the_secret() -> None:
    body = b"{}"
    signed = {name.lower(): value for name, value in sign(body, SECRET, topic="orders/paid", now=NOW).items()}
    for headers, secrets, words in (
        (signed, [], "no secret is configured"),
        ({}, ["shpss_something"], "X-Shopify-Hmac-Sha256"),
        (signed, ["shpss_something"], "made in the admin"),
    ):
        with pytest.raises(Unverified, match=words) as caught:
            SHOPIFY.verify(Hook(headers, body, NOW), [Secret(secret) for secret in secrets])
        assert "shpss_something" not in str(caught.value)


def test_headers_of_both_spellings_are_read() -> None:
    body = json.dumps(ORDER).encode()
    sent = sign(body, SECRET, topic="orders/paid", now=NOW)
    hook = Hook({name.lower().removeprefix("x-"): value for name, value in sent.items()}, body, NOW)
    assert SHOPIFY.verify(hook, [Secret(SECRET)]) == 0
    assert SHOPIFY.topic(hook) == "orders/paid"


def test_white_space_around_the_signature_does_not_matter() -> None:
    headers = {
        "x-shopify-hmac-sha256": f" {sign(b'{}', SECRET, topic='', now=NOW)['X-Shopify-Hmac-Sha256']} "
    }
    assert SHOPIFY.verify(Hook(headers, b"{}", NOW), [Secret(SECRET)]) == 0


# --- whether it counts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "authorized", "partially_paid", "unheard_of"])
@pytest.mark.parametrize("topic", ["orders/create", "orders/paid", "orders/updated", ""])
def test_unpaid_whatever_the_topic_says(topic: str, status: str) -> None:
    assert reason(topic, financial_status=status) == "not_paid"
    assert read(topic, {"trigger": "placed"}, financial_status=status).value == Decimal("56.44")


@pytest.mark.parametrize("status", ["voided", "expired"])
@pytest.mark.parametrize("trigger", ["paid", "placed"])
def test_payment_gone(trigger: str, status: str) -> None:
    assert reason(options={"trigger": trigger}, financial_status=status) == "payment_gone"


@pytest.mark.parametrize("status", ["refunded", "partially_refunded"])
@pytest.mark.parametrize("topic", ["orders/create", "orders/paid", "orders/updated"])
def test_a_refund_seen_late_leaves_the_sale_whole(topic: str, status: str) -> None:
    event = read(topic, financial_status=status, current_total_price="0.00")
    assert (event.value, event.event_time) == (Decimal("56.44"), PLACED)


@pytest.mark.parametrize("status", [None, ""])
def test_without_a_status_only_the_topic_can_tell(status: object) -> None:
    assert read("orders/paid", financial_status=status).key == "5512345678901"
    for topic in ("orders/create", "orders/updated", ""):
        assert reason(topic, financial_status=status) == "payment_unknown"


@pytest.mark.parametrize("trigger", ["paid", "placed"])
def test_cancelled(trigger: str) -> None:
    assert reason(options={"trigger": trigger}, cancelled_at="2024-05-15T09:30:12-04:00") == "cancelled"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"id": 0},
        {"id": -1},
        {"id": True},
        {"id": 5512345678901.5},
        {"id": "12 34"},
        {"id": "٣"},
        {"id": 10**40},
        {"total_price": "-1.00", "total_price_set": None},
        {"total_price": "NaN", "total_price_set": None},
        {"total_price": None, "total_price_set": None},
        {"currency": "", "total_price_set": None},
        {"currency": "US Dollar", "total_price_set": None},
        {"processed_at": None, "created_at": None},
        {"processed_at": "yesterday", "created_at": "2024-05-14T09:30:12"},
        {"admin_graphql_api_id": "gid://shopify/DraftOrder/5512345678901"},
        {"refund_line_items": []},
    ],
    ids=str,
)
def test_quarantined(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(**changes)


def test_an_order_without_a_total_raises_the_alarm() -> None:
    body = {key: value for key, value in ORDER.items() if not key.startswith("total_price")}
    with pytest.raises(Malformed) as caught:
        SHOPIFY.map(Hook({}, b"", NOW), body, samples.shop(SHOPIFY))
    assert (caught.value.alarm, caught.value.order_id) == (True, "5512345678901")


def test_ids_above_2_to_the_53_keep_every_digit() -> None:
    assert read(id=9007199254740993).key == "9007199254740993"
    assert read(id="9007199254740993").key == "9007199254740993"


# --- where it came from ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "app", "user", "origin", "browser"),
    [
        ("web", 580111, None, "web", True),
        ("580111", 580111, None, "web", True),
        ("Web", None, None, "web", True),
        ("iphone", None, None, "web", True),
        ("android", None, None, "web", True),
        (None, 580111, None, "web", True),
        (None, None, None, "web", False),
        ("web", 580111, 94873289014, "staff", False),
        ("shopify_draft_order", 1354745, None, "staff", False),
        (None, 1354745, None, "staff", False),
        ("pos", 129785, 94873289014, "pos", False),
        (None, 129785, None, "pos", False),
        ("subscription_contract_checkout_one", None, None, "renewal", False),
        ("16818700289", 16818700281, None, "api", False),
        ("marketplace", None, None, "api", False),
    ],
)
def test_only_the_shoppers_own_browser_is_told(
    source: object, app: object, user: object, origin: str, browser: bool
) -> None:
    options = {"renewals": "send", "api_apps": ["16818700281", "marketplace"]}
    event = read(options=options, source_name=source, app_id=app, user_id=user)
    assert event.origin == origin
    assert bool(event.buyer.ip) is bool(event.buyer.user_agent) is browser
    assert bool(event.landing) is bool(event.referrer) is (origin == "web")


def test_another_app_is_not_listed() -> None:
    options = {"api_apps": ["168187002", "", "web"], "web_apps": ["1"]}
    assert reason(options=options, source_name="16818700289", app_id=16818700281) == "unlisted_app"


def test_a_renewal_keeps_a_denial_but_no_stale_click() -> None:
    given = attributes(_fbc="fb.1.1.x", marketing_consent="denied", event_source_url="https://shop.example/x")
    event = read(options={"renewals": "send"}, source_name="subscription_contract", note_attributes=given)
    assert (event.captured("fbc", "fbclid"), event.page_url, event.attributes) == ("", "", {})
    assert event.consent.ad_user_data == "denied"


# --- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "updated_at", "expected"),
    [
        ("orders/paid", "2024-05-20T09:30:12-04:00", PLACED),
        ("orders/paid", "2024-05-20T09:30:13-04:00", PLACED + 6 * DAY + 1),
        ("orders/paid", "2024-06-30T13:30:12Z", PLACED + 47 * DAY),
        ("orders/updated", "2024-06-30T13:30:12Z", PLACED),
        ("orders/create", "2024-06-30T13:30:12Z", PLACED),
        ("", "2024-06-30T13:30:12Z", PLACED),
        ("orders/paid", "soon", PLACED),
        ("orders/paid", None, PLACED),
    ],
)
def test_only_a_late_payment_is_of_its_own_day(topic: str, updated_at: object, expected: int) -> None:
    assert read(topic, updated_at=updated_at).event_time == expected


@pytest.mark.parametrize("topic", ["orders/paid", "orders/create", "orders/updated"])
def test_an_imported_order_stays_as_old_as_it_is(topic: str) -> None:
    assert read(topic, processed_at="2019-05-14T09:30:12-04:00").event_time == 1_557_840_612


def test_the_time_the_order_was_taken_wins_over_its_creation() -> None:
    assert read(processed_at="2024-05-13T09:30:12-04:00").event_time == PLACED - DAY
    assert read(processed_at=None).event_time == PLACED


# --- money -----------------------------------------------------------------------------------------------


def test_discounts_are_taken_off_the_price_per_piece() -> None:
    off = [{"amount": "10.00"}, {"amount": "4.00"}]
    given = [
        line(quantity=4, price="24.50", discount_allocations=off),
        line(discount_allocations=[{"amount": "99"}]),
    ]
    event = read(line_items=given)
    assert [item.unit_price for item in event.lines] == [Decimal(21), Decimal(0)]
    assert event.value == Decimal("56.44")


def test_what_was_bought_counts_not_what_is_left() -> None:
    given = [line(quantity=3, current_quantity=0), line(quantity=0), line(quantity="2")]
    assert [item.quantity for item in read(line_items=given).lines] == [3, 2]


def test_both_currencies_are_never_mixed() -> None:
    total = {
        "shop_money": {"amount": "56.44", "currency_code": "USD"},
        "presentment_money": {"amount": "51.92", "currency_code": "EUR"},
    }
    plain = [line(discount_allocations=[{"amount": "1.00"}])]
    event = read(total_price_set=total, presentment_currency="EUR", line_items=plain)
    assert (event.value, event.currency) == (Decimal("51.92"), "EUR")
    assert event.lines[0].unit_price is None  # 24.50 is dollars


@pytest.mark.parametrize(
    "total",
    [None, {}, {"presentment_money": {"amount": "51.92"}}, {"presentment_money": {"currency_code": "EUR"}}],
    ids=str,
)
def test_without_the_buyers_side_everything_is_the_shops(total: object) -> None:
    event = read(total_price_set=total, presentment_currency="EUR", line_items=[line()])
    assert (event.value, event.currency) == (Decimal("56.44"), "USD")
    assert event.lines[0].unit_price == Decimal("24.50")


def test_gift_cards_alone_are_worth_nothing_when_excluded() -> None:
    cards = [line(gift_card=True, quantity=2, price="28.22", discount_allocations=[])]
    excluded = {"gift_cards": "exclude"}
    event = read(options=excluded, line_items=cards)
    assert (event.value, event.lines) == (Decimal(0), ())
    assert reason(options={**excluded, "zero_total": "skip"}, line_items=cards) == "zero_total"


def test_codes_without_a_code_are_left_out() -> None:
    assert read(discount_codes=[{"code": ""}, {"code": "MAY"}, {}, None]).discount_codes == ("MAY",)


# --- the buyer and their visit ---------------------------------------------------------------------------


def test_the_region_is_a_code_in_the_united_states_only() -> None:
    kentucky = {"city": "Lexington", "province": "Kentucky", "province_code": "KY", "country_code": "us"}
    buyer = read(billing_address=kentucky).buyer
    assert (buyer.region, buyer.country) == ("KY", "US")
    assert read(billing_address={**kentucky, "country_code": "CA"}).buyer.region == "Kentucky"


def test_an_address_is_never_put_together_from_two() -> None:
    buyer = read(billing_address={"zip": "40507", "phone": ""}, customer=None, phone=None).buyer
    assert (buyer.city, buyer.postcode, buyer.country) == ("", "40507", "")
    assert (buyer.first_name, buyer.phone, buyer.customer_id) == ("María", "+16135550123", "")


def test_without_addresses_the_customers_own_is_taken() -> None:
    buyer = read(billing_address=None, shipping_address=[], email="", contact_email=None).buyer
    assert (buyer.city, buyer.email) == ("Ottawa", "maria.alvarez@example.com")
    till = {"id": 1, "default_address": {"phone": "613-555-0123", "country_code": "CA"}}
    buyer = read(billing_address=None, shipping_address=None, phone=None, customer=till).buyer
    assert (buyer.phone, buyer.country) == ("613-555-0123", "CA")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (False, "denied"),
        (True, "granted"),
        ("false", "denied"),
        ("No", "denied"),
        (None, ""),
        ("perhaps", ""),
    ],
)
def test_consent_may_be_a_boolean(value: object, expected: str) -> None:
    consent = read(note_attributes=attributes(_marketing_consent=value)).consent
    assert consent.ad_storage == consent.ad_user_data == consent.ad_personalization == expected


def test_an_email_tick_is_no_consent_for_ads() -> None:
    assert read(note_attributes=[], buyer_accepts_marketing=True).consent == Consent()


def test_a_click_id_at_the_cut_is_not_believed() -> None:
    whole = "/products/x?utm_source=fb&fbclid=" + "a" * 100
    assert read(landing_site=whole).landing == {"utm_source": "fb", "fbclid": "a" * 100}
    cut = ("/products/x?utm_source=fb&fbclid=" + "a" * 300)[:255]
    assert read(landing_site=cut).landing == {"utm_source": "fb"}
    only = read(landing_site=("/?fbclid=" + "a" * 300)[:255])
    assert (only.landing, only.landing_at) == ({}, None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example/products/mug?fbclid=1#top", "https://shop.example/products/mug"),
        ("https://shop.example/checkouts/cn/Z2NwLXVz/thank-you?key=1", "https://shop.example/"),
        (
            "https://shop.example/548380009/orders/3048c9d3/authenticate?key=1",
            "https://shop.example/548380009/",
        ),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_the_page_holds_no_key(url: str, expected: str) -> None:
    assert read(note_attributes=attributes(event_source_url=url)).page_url == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "https://www.shop.example/548380009/orders/3048c9d3/authenticate?key=1",
            "https://www.shop.example/",
        ),
        ("https://shopify.com/548380009/account/orders/3048c9d3", ""),
        ("https://account.shopify.com/orders/3048c9d3", ""),
        ("https://example-store.myshopify.com/1/orders/3048c9d3", "https://example-store.myshopify.com/"),
        ("http://203.0.113.7/orders/3048c9d3", ""),
        ("https://user:key@shop.example:8443/orders", "https://shop.example/"),
        ("3048c9d3", ""),
        (None, ""),
    ],
)
def test_the_shops_site_is_where_its_order_page_stands(url: object, expected: str) -> None:
    assert read(order_status_url=url).site == expected


def test_the_order_status_page_is_not_the_page_of_the_sale() -> None:
    event = read(note_attributes=[])
    assert (event.page_url, event.site) == ("", "https://example-store.myshopify.com/")
    assert ORDER["order_status_url"]
    assert ORDER["order_status_url"].split("/")[-2] not in str(event)
