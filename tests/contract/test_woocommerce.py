"""What WooCommerce does that the samples beside their expectations cannot express."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from integrations import consent
from integrations.event import Event, check_event_id, encode, event_id
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.signing import digest
from integrations.store import Malformed, NotAnEvent, Unverified
from integrations.stores.woocommerce import WooCommerce, signing_secret
from tests.contract import samples
from tests.contract.samples import NOW, Case
from webhooks import beacon

STORE = WooCommerce()
CASES = [case for case in samples.cases() if case.store.slug == STORE.slug]
SAMPLES = {case.sample: case for case in reversed(CASES)}
PAID = SAMPLES["05-block-guest-processing--order.updated"]
EVENTS = [case for case in CASES if case.expected.verdict == "event"]

every_event = pytest.mark.parametrize("case", EVENTS, ids=lambda case: case.id)


def read(body: dict[str, Any], **options: str | list[str]) -> Event:
    hook = Hook({"x-wc-webhook-topic": "order.updated"}, json.dumps(body).encode(), NOW)
    return STORE.read(hook, samples.shop(STORE, **options))


def paid(**changes: Any) -> dict[str, Any]:
    return {**json.loads(PAID.hook.body), **changes}


# --- secrets ---------------------------------------------------------------------------------------------

SECRETS = {
    "a&amp;b": "a&b",
    "&lt;&gt;&quot;": '<>"',
    "&#039;&#39;&#x27;&#X027;": "''''",
    "&#38;&#038;&#x26;&#60;&#062;&#34;&#x22;": '&&&<>""',
    "&amp;lt;": "&lt;",
    "&AMP;&apos;&auml;&nbsp;&#x3c;&#169;&amp": "&AMP;&apos;&auml;&nbsp;&#x3c;&#169;&amp",
    "  kaffee & söhne ": "  kaffee & söhne ",
}


@pytest.mark.parametrize(("stored", "used"), SECRETS.items(), ids=SECRETS.keys())
def test_a_secret_signs_as_wordpress_decodes_it(stored: str, used: str) -> None:
    assert signing_secret(stored) == used
    body = b'{"id":1}'
    for signed_with in (stored, used):
        signature = base64.b64encode(digest(signed_with.encode(), body)).decode()
        hook = Hook({"x-wc-webhook-signature": signature}, body, NOW)
        assert STORE.verify(hook, [Secret("one"), Secret("t&amp;wo"), Secret(stored)]) == 2
        assert STORE.verify(hook, [Secret(stored), Secret("t&amp;wo")]) == 0


@pytest.mark.parametrize("secret", [" whsec-Zq8 kaffee & söhne", "whsec-Zq8 kaffee & söhne ", "\ud800"])
def test_spaces_of_a_secret_count(secret: str) -> None:
    with pytest.raises(Unverified):
        STORE.verify(PAID.hook, [Secret(secret)])


# --- pings -----------------------------------------------------------------------------------------------

FORM = {"content-type": "application/x-www-form-urlencoded"}
PINGS = {
    "as_captured": (FORM, b"webhook_id=1"),
    "with_charset": ({"content-type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}, b"webhook_id=27"),
    "longest": (FORM, b"webhook_id=" + b"1" * 52),
}
NO_PINGS = {
    "json": ({"content-type": "application/json"}, b"webhook_id=1"),
    "no_type": ({}, b"webhook_id=1"),
    "topic": ({**FORM, "x-wc-webhook-topic": "order.created"}, b"webhook_id=1"),
    "empty_topic": ({**FORM, "x-wc-webhook-topic": ""}, b"webhook_id=1"),
    "signed": ({**FORM, "x-wc-webhook-signature": "x"}, b"webhook_id=1"),
    "too_long": (FORM, b"webhook_id=" + b"1" * 53),
    "no_number": (FORM, b"webhook_id="),
    "word": (FORM, b"webhook_id=one"),
    "newline": (FORM, b"webhook_id=1\n"),
    "second_field": (FORM, b"webhook_id=1&a=b"),
    "before": (FORM, b"a=b&webhook_id=1"),
    "other_digits": (FORM, "webhook_id=١".encode()),
    "empty": (FORM, b""),
}


@pytest.mark.parametrize(("headers", "body"), PINGS.values(), ids=PINGS.keys())
def test_ping(headers: dict[str, str], body: bytes) -> None:
    assert STORE.is_ping(Hook(headers, body, NOW))


@pytest.mark.parametrize(("headers", "body"), NO_PINGS.values(), ids=NO_PINGS.keys())
def test_what_resembles_a_ping_is_none(headers: dict[str, str], body: bytes) -> None:
    assert not STORE.is_ping(Hook(headers, body, NOW))


# --- signed, and no order --------------------------------------------------------------------------------

ALARMS = {
    "no_rights": ({"code": "woocommerce_rest_cannot_view", "message": ""}, True, "administrator"),
    "any_other_code": ({"code": "rest_no_route"}, True, "rest_no_route"),
    "odd_code": ({"code": "<b>anna@example.org</b>"}, True, "without a known code"),
    "one_deleted_order": ({"code": "woocommerce_rest_shop_order_invalid_id"}, False, "wc/v3|v3"),
    "legacy_api": ({"order": {"id": 25, "status": "processing"}}, True, "Integration v3"),
    "empty": ({}, True, "Integration v3"),
    "no_status": ({"id": 25}, False, "no status"),
    "wc_v1": (
        {"id": 25, "status": "processing", "total": "1.00", "currency": "EUR", "date_paid": "2026-11-22"},
        True,
        "Integration v3",
    ),
}


@pytest.mark.parametrize(("body", "alarm", "remedy"), ALARMS.values(), ids=ALARMS.keys())
def test_an_alarm_is_raised_when_every_order_is_lost(body: dict[str, Any], alarm: bool, remedy: str) -> None:
    with pytest.raises(Malformed, match=remedy) as caught:
        read(body)
    assert caught.value.alarm is alarm
    assert "anna" not in caught.value.reason


@pytest.mark.parametrize(
    "field", ["total", "currency", "date_created_gmt"], ids=["total", "currency", "event_time"]
)
def test_a_quarantined_order_is_named(field: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(paid(date_paid_gmt=None) | {field: "none at all"})
    assert caught.value.order_id == "25"


def test_a_negative_total_is_no_sale() -> None:
    with pytest.raises(Malformed, match="negative"):
        read(paid(total="-0.01"))
    assert str(read(paid(total="-0.00")).value) == "0.00"


@pytest.mark.parametrize("status", ["trash", "refunded", "cancelled", "failed", "pending", "checkout-draft"])
def test_a_payment_date_alone_is_no_sale(status: str) -> None:
    assert paid()["date_paid_gmt"]
    with pytest.raises(NotAnEvent) as caught:
        read(paid(status=status))
    assert caught.value.order_id == "25"


@pytest.mark.parametrize(
    ("status", "paid_at", "statuses", "counts"),
    [
        ("pre-ordered", "2026-11-22T04:11:10", [], True),
        ("pre-ordered", None, [], False),
        ("pre-ordered", "0000-00-00T00:00:00", [], False),
        ("pre-ordered", None, ["wc-pre-ordered"], True),
        ("processing", "2026-11-22T04:11:10", ["completed"], False),
        ("on-hold", "2026-11-22T04:11:10", [], False),
        ("on-hold", None, ["processing", "on-hold"], True),
    ],
)
def test_a_plugins_status_counts_with_its_money(
    status: str, paid_at: str | None, statuses: list[str], counts: bool
) -> None:
    options: dict[str, str | list[str]] = {"statuses": statuses} if statuses else {}
    body = paid(status=status, date_paid_gmt=paid_at)
    if counts:
        assert read(body, **options).key == "25"
    else:
        with pytest.raises(NotAnEvent):
            read(body, **options)


def test_an_order_from_the_trash_is_the_same_sale() -> None:
    """If its sale was told before, the key says so; if it was thrown away unseen, this tells of it."""
    hook = Hook({"x-wc-webhook-topic": "order.restored"}, PAID.hook.body, NOW)
    assert STORE.read(hook, PAID.shop) == STORE.read(PAID.hook, PAID.shop)
    pending = Hook(hook.headers, json.dumps(paid(status="pending")).encode(), NOW)
    with pytest.raises(NotAnEvent):
        STORE.read(pending, PAID.shop)


def test_a_topic_may_refuse_but_not_vouch() -> None:
    for topic in ("order.created", "order.updated", ""):
        hook = Hook({"x-wc-webhook-topic": topic}, json.dumps(paid(status="pending")).encode(), NOW)
        with pytest.raises(NotAnEvent, match="waits for its payment"):
            STORE.read(hook, samples.shop(STORE))


# --- orders ----------------------------------------------------------------------------------------------


@every_event
def test_no_order_key_leaves(case: Case) -> None:
    body = json.loads(case.hook.body)
    stored = encode(STORE.read(case.hook, case.shop))
    assert body["order_key"].startswith("wc_order_")
    assert body["order_key"].encode() not in stored
    assert b"wc_order_" not in stored


@every_event
def test_a_browser_that_knows_the_key_can_prove_it(case: Case) -> None:
    told = {"v": 1, "order": {"order_key": json.loads(case.hook.body)["order_key"]}}
    names = beacon.read(json.dumps(told).encode()).names
    assert names["order_key"] == STORE.read(case.hook, case.shop).names["order_key"]


@pytest.mark.parametrize(
    "case", [case for case in EVENTS if "DERIVED" not in case.sample], ids=lambda case: case.id
)
def test_lines_delivery_and_fees_make_the_total(case: Case) -> None:
    body = json.loads(case.hook.body)
    event = STORE.read(case.hook, case.shop)
    lines = sum(line.quantity * line.unit_price for line in event.lines if line.unit_price is not None)
    rest = sum(
        Decimal(item["total"]) + Decimal(item["total_tax"])
        for item in [*body["shipping_lines"], *body["fee_lines"]]
    )
    if not case.sample.endswith("_DERIVED"):
        assert abs(lines + rest - event.value) <= sum(line.quantity for line in event.lines) * Decimal(
            "0.005"
        )


def test_one_delivery_id_is_two_orders() -> None:
    one = SAMPLES["23-same-second--order.created"].hook
    two = SAMPLES["25-same-second--order.created"].hook
    assert one.header("X-WC-Webhook-Delivery-ID") == two.header("X-WC-Webhook-Delivery-ID")
    shop = samples.shop(STORE)
    assert STORE.read(one, shop).key != STORE.read(two, shop).key


def test_the_event_id_of_the_meta_plugin_is_used() -> None:
    template = check_event_id(STORE.event_ids["meta"])
    meta_plugin = SAMPLES["order_updated_meta_plugin_entities_order_key_DERIVED"]
    event = STORE.read(meta_plugin.hook, meta_plugin.shop)
    assert event_id(event, template) == "6f1c0a52-3c1e-4a6f-9a55-0d4a2f3b7c11"
    assert event_id(STORE.read(PAID.hook, PAID.shop), template) == "25"


def test_the_last_of_many_meta_fields_is_found() -> None:
    noise = [{"id": n, "key": f"_plugin_{n}", "value": "x"} for n in range(300)]
    event = read(paid(meta_data=[*noise, {"id": 301, "key": "_meta_event_id", "value": "abc"}]))
    assert event.attributes["_meta_event_id"] == "abc"


def test_halves_of_two_addresses_are_not_joined() -> None:
    billing = {"email": "anna@example.org", "country": "DE"}
    shipping = {"first_name": "Ben", "city": "Graz", "country": "AT", "phone": "+43 316 1"}
    buyer = read(paid(billing=billing, shipping=shipping)).buyer
    assert (buyer.first_name, buyer.city, buyer.country, buyer.phone) == ("Ben", "", "DE", "+43 316 1")


@pytest.mark.parametrize(("written", "country"), [("de", "DE"), ("DEU", ""), ("Germany", ""), ("D1", "")])
def test_a_country_is_two_letters_or_none(written: str, country: str) -> None:
    assert read(paid(billing={"city": "Berlin", "country": written})).buyer.country == country


@pytest.mark.parametrize("via", ["pos-rest-api", "point-of-sale"])
def test_a_sale_at_a_till_has_no_browser(via: str) -> None:
    event = read(paid(created_via=via))
    assert (event.origin, event.buyer.ip, event.buyer.user_agent) == ("pos", "", "")


def test_what_the_storefront_noted_of_the_visit() -> None:
    noted = {
        "_wc_order_attribution_user_agent": "Mozilla/5.0 (noted)",
        "_wc_order_attribution_session_entry": "https://shop.example.com/first/?fbclid=x",
        "_event_source_url": "https://shop.example.com/checkout/?step=2",
    }
    fields = [{"key": key, "value": value} for key, value in noted.items()]
    event = read(paid(customer_user_agent="", meta_data=fields))
    assert event.buyer.user_agent == "Mozilla/5.0 (noted)"
    assert event.page_url == "https://shop.example.com/checkout/"
    assert event.landing == {"fbclid": "x"}


@pytest.mark.parametrize("name", consent.NAMES)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", "granted"),
        ("", "denied"),
        (False, "denied"),
        (" Deny ", "denied"),
        ({"ads": True}, ""),
        ("?", ""),
    ],
    ids=str,
)
def test_a_no_is_kept_as_an_empty_text(name: str, value: object, expected: str) -> None:
    """PHP's false: what wp_has_consent() answers, and WooCommerce hands on as ``""``."""
    event = read(paid(meta_data=[{"id": 1, "key": name, "value": value}]))
    assert event.consent.ad_user_data == expected
    assert read(paid(meta_data=[])).consent.ad_user_data == ""


def test_a_renewal_keeps_a_denial_but_no_stale_click() -> None:
    noted = {
        "_subscription_renewal": "31",
        "_fbc": "fb.1.1732250001000.IwAR2-testclick",
        "_marketing_consent": "",
        "_wc_order_attribution_session_entry": "https://shop.example.com/?gclid=x",
    }
    fields = [{"key": key, "value": value} for key, value in noted.items()]
    event = read(paid(meta_data=fields), renewals="send")
    assert (event.attributes, event.landing, event.landing_at) == ({}, {}, None)
    assert event.consent.ad_user_data == "denied"


def test_the_shops_site_is_where_its_checkout_stands() -> None:
    key = "?pay_for_order=true&key=wc_order_1QCYhq0vusNJx"
    event = read(paid(payment_url=f"https://shop.example.com/de/checkout/order-pay/25/{key}"))
    assert event.site == "https://shop.example.com/"
    assert read(paid()).site == ""  # a loopback address is nobody's site


def test_no_hook_comes_twice() -> None:
    assert not STORE.resends
