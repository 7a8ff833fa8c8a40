"""What the samples of refunds cannot say: one refund of each store, changed in one way at a time."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from integrations.discovery import stores
from integrations.event import Event
from integrations.hook import Hook
from integrations.store import Malformed
from tests.contract import samples
from tests.contract.samples import NOW

Options = dict[str, Any]


def body(path: str) -> dict[str, Any]:
    document = json.loads((samples.FOLDER / path).read_bytes())
    found: dict[str, Any] = json.loads(document["body"]) if "headers" in document else document
    return found


def told(
    slug: str,
    document: dict[str, Any],
    topic: str = "",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> tuple[Event, ...]:
    store = stores()[slug]
    raw = json.dumps(document).encode()
    sent = {"shopify": "x-shopify-topic", "woocommerce": "x-wc-webhook-topic"}
    topics = {sent[slug]: topic} if slug in sent else {}
    hook = Hook({**topics, **(headers or {})}, raw, NOW)
    return store.read_refunds(hook, samples.shop(store, **{"refunds": "send", **options}))


def values(refunds: tuple[Event, ...]) -> dict[str, str]:
    return {refund.key: f"{refund.value:f}" for refund in refunds}


# --- any store -------------------------------------------------------------------------------------------


def test_what_a_store_takes_for_a_refund_is_never_a_purchase(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter's mistake must not become a second Purchase."""
    store = stores()["stripe"]
    refund = told("stripe", body("stripe/charge_refunded_partial_2026_DERIVED.json"))[0]
    mistakes: list[dict[str, Any]] = [
        {"event_name": "Purchase"},
        {"value": Decimal("-14.00")},
        {"value": Decimal(0)},
    ]
    for changes in mistakes:
        wrong = msgspec.structs.replace(refund, **changes)
        monkeypatch.setattr(type(store), "refunds", lambda *_, wrong=wrong: (wrong,))
        with pytest.raises(ValueError, match="tells of a refund that is none"):
            told("stripe", {})


@pytest.mark.parametrize("slug", [slug for slug in stores() if slug != "stripe"])
def test_no_topic_but_its_own_tells_of_refunds(slug: str) -> None:
    documents = {
        "shopify": body("shopify/refunds_create_partial_DERIVED.json"),
        "woocommerce": body("woocommerce/captured/16-refund-full--order.updated.json"),
    }
    for topic in ("orders/paid", "refunds/update", "order.deleted", "customer.updated", "action.x"):
        assert told(slug, documents[slug], topic) == ()


# --- Shopify ---------------------------------------------------------------------------------------------

SHOPIFY = body("shopify/refunds_create_partial_DERIVED.json")
KEY = "5512345678901:929361462001"


def shopify(options: Options | None = None, **changes: object) -> tuple[Event, ...]:
    return told("shopify", {**SHOPIFY, **changes}, "refunds/create", **(options or {}))


def payment(**changes: object) -> dict[str, Any]:
    return {**SHOPIFY["transactions"][0], **changes}


def test_several_payments_are_one_refund() -> None:
    paid = [payment(amount="10.00"), payment(amount="2.25"), payment(kind="sale", amount="99.00")]
    assert values(shopify(transactions=paid)) == {KEY: "12.25"}


@pytest.mark.parametrize("sold_as_test", [True, False])
def test_a_payment_of_the_test_mode(sold_as_test: bool) -> None:
    found = shopify({"test_orders": sold_as_test}, transactions=[payment(test=True)])
    assert values(found) == ({KEY: "12.25"} if sold_as_test else {})


def test_where_payments_name_no_currency_the_order_must_have_one() -> None:
    nameless = [payment(currency=None)]
    assert shopify(transactions=nameless)[0].currency == "USD"
    both = {"shop_money": {"currency_code": "USD"}, "presentment_money": {"currency_code": "EUR"}}
    with pytest.raises(Malformed, match="one currency") as caught:
        shopify(transactions=nameless, total_duties_set=both)
    assert caught.value.order_id == "5512345678901"
    with pytest.raises(Malformed, match="one currency"):
        shopify(transactions=nameless, total_duties_set=None, refund_line_items=[])


def test_payments_in_two_currencies_have_no_sum() -> None:
    with pytest.raises(Malformed, match="one currency"):
        shopify(transactions=[payment(), payment(currency="EUR")])


def test_lines_of_another_currency_have_no_price() -> None:
    (refund,) = shopify(transactions=[payment(currency="CAD")])
    assert (refund.currency, refund.lines[0].unit_price) == ("CAD", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": None},
        {"order_id": "gid://shopify/Order/1"},
        {"id": 0},
        {"admin_graphql_api_id": "gid://shopify/Order/929361462001"},
        {"processed_at": None, "created_at": "yesterday"},
        {"transactions": [payment(amount="1e3")]},
        {"transactions": [payment(currency="dollars")]},
    ],
    ids=str,
)
def test_a_refund_that_cannot_be_used(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        shopify(**changes)


def test_an_order_is_no_refund_whatever_the_topic_says() -> None:
    with pytest.raises(Malformed, match="not a refund"):
        told("shopify", body("shopify/orders_create_web_full_pii_2024-04.json"), "refunds/create")


def test_another_shops_refund_is_not_used() -> None:
    options = {"domain": "example-store.myshopify.com"}
    headers = {"x-shopify-shop-domain": "other-store.myshopify.com"}
    with pytest.raises(Malformed, match="another shop"):
        told("shopify", SHOPIFY, "refunds/create", headers, **options)


# --- WooCommerce -----------------------------------------------------------------------------------------

WOOCOMMERCE = body("woocommerce/captured/16-refund-full--order.updated.json")


def woocommerce(refunds: object, **changes: object) -> dict[str, str]:
    return values(told("woocommerce", {**WOOCOMMERCE, "refunds": refunds, **changes}, "order.updated"))


def test_one_odd_refund_does_not_hide_the_others() -> None:
    odd = [{"id": 31, "total": "all"}, {"id": None, "total": "-1.00"}, {"id": 30, "total": "-5.00"}]
    assert woocommerce(odd) == {"29:30": "5.00"}


def test_wares_that_came_back_without_money_are_no_refund() -> None:
    assert woocommerce([{"id": 30, "total": "-0.00"}, {"id": 31, "total": "0"}]) == {}


@pytest.mark.parametrize(
    ("refunds", "changes"),
    [
        ([{"id": 30, "total": None}], {}),
        ([{"id": 0, "total": "-5.00"}], {}),
        ([{"id": 30, "total": "-5.00"}], {"date_modified_gmt": None}),
        ([{"id": 30, "total": "-5.00"}], {"currency": ""}),
        ([{"id": 30, "total": "-5.00"}], {"id": None}),
    ],
    ids=str,
)
def test_refunds_that_cannot_be_used(refunds: object, changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        woocommerce(refunds, **changes)


# --- Stripe ----------------------------------------------------------------------------------------------

STRIPE = body("stripe/charge_refunded_rest_2026_DERIVED.json")
CHARGE = "ch_3ExampleCharge0001"


def stripe(
    options: Options | None = None, before: object = 1400, event: dict[str, Any] | None = None, **changes: Any
) -> dict[str, str]:
    data = {
        "object": {**STRIPE["data"]["object"], **changes},
        "previous_attributes": {"amount_refunded": before},
    }
    return values(told("stripe", {**STRIPE, "data": data, **(event or {})}, **(options or {})))


def test_a_subscriptions_charge_is_of_its_invoice() -> None:
    def key(flow: str) -> str:
        (found,) = stripe({"flow": flow}, invoice="in_1Example")
        return found

    assert key("checkout") == key("invoice") == f"in_1Example:{CHARGE}-5400"
    assert key("payment_intent") == f"pi_3ExampleIntent000000001:{CHARGE}-5400"


def test_a_connected_account_is_part_of_the_key() -> None:
    expected = f"acct_1Example:pi_3ExampleIntent000000001:{CHARGE}-5400"
    assert stripe(event={"account": "acct_1Example"}) == {expected: "40.00"}


def test_minor_units_of_a_refund() -> None:
    assert list(stripe(currency="jpy").values()) == ["4000"]
    assert list(stripe(currency="kwd").values()) == ["4.000"]


def test_a_sum_that_did_not_grow_is_no_refund() -> None:
    assert stripe(before=5400) == {}
    assert stripe(before=6000) == {}


@pytest.mark.parametrize("before", [None, -1, "", [], True, 10**40], ids=str)
def test_without_the_sum_before_nobody_knows_the_refund(before: object) -> None:
    with pytest.raises(Malformed, match="how much was refunded"):
        stripe(before=before)


def test_a_thin_event_does_not_tell_the_refund() -> None:
    thin = {
        **body("stripe/thin_event_v1_checkout_session_completed_DERIVED.json"),
        "type": "v1.charge.refunded",
    }
    with pytest.raises(Malformed, match="snapshot"):
        told("stripe", thin)
