"""The pixels of the destinations: what each vendor's script is told, with which id, and when nothing."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.storefront import shops
from tests.storefront.town import Town
from tests.storefront.vendors import Vendors
from tests.storefront.waiting import until

pytestmark = pytest.mark.browser

EVERYONE = {
    "GA4_MEASUREMENT_ID": "G-A1B2C3D4E5",
    "GA4_API_SECRET": "secret-secret",
    "GOOGLE_CUSTOMER_ID": "1234567890",
    "GOOGLE_CONVERSION_ACTION_ID": "987654321",
    "GOOGLE_CLIENT_ID": "x",
    "GOOGLE_CLIENT_SECRET": "x",
    "GOOGLE_REFRESH_TOKEN": "x",
    "GOOGLE_TAG_LABEL": "AW-123456789/AbC-D_efG",
    "TIKTOK_PIXEL_ID": "C4A1B2C3D4E5F6G7H8I9",
    "TIKTOK_ACCESS_TOKEN": "token",
    "PINTEREST_AD_ACCOUNT_ID": "549755885175",
    "PINTEREST_ACCESS_TOKEN": "token",
    "PINTEREST_TAG_ID": "2612345678901",
    "SNAPCHAT_PIXEL_ID": "6a1f0b2c-3d4e-4f50-8a6b-7c8d9e0f1a2b",
    "SNAPCHAT_ACCESS_TOKEN": "token",
    "REDDIT_PIXEL_ID": "a2_abcdefghijkl",
    "REDDIT_ACCESS_TOKEN": "token",
    "OPENAI_PIXEL_ID": "RrQuExample0Pixel1Id2x",
    "OPENAI_CONVERSIONS_API_KEY": "key",
    "WOOCOMMERCE_EVENT_ID": "acme-{order_id}",
}
GRANTED = "window.Cookiebot = {hasResponse: true, consent: {marketing: true}};"
DENIED = "window.Cookiebot = {hasResponse: true, consent: {marketing: false}};"
ITEM = {"product_id": "93", "variant_id": "", "sku": "MUG", "title": "Mug", "quantity": 2, "price": 11.9}
ORDER = {
    "order_id": "727",
    "order_number": "A-727",
    "order_key": "wc_order_x",
    "value": 28.8,
    "currency": "EUR",
    "attributes": {"_meta_event_id": "0b8f7c1e"},
    "items": [ITEM],
}

Confirm = Callable[..., None]


@pytest.fixture(scope="module")
def office(streets: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("relay")
    made = shops.settle(
        streets,
        shops.environment(
            streets, home, **EVERYONE, WOOCOMMERCE_ORIGINS="https://shop.example,http://127.0.0.1:1"
        ),
    )
    yield streets.sites["localhost"]
    made.close()


@pytest.fixture
def vendors(context: BrowserContext) -> Iterator[Vendors]:
    made = Vendors(context)
    yield made
    assert made.strays == []


@pytest.fixture
def beacons(context: BrowserContext) -> list[Any]:
    """What the server is told, read on its way."""
    told: list[Any] = []

    def note(route: Any) -> None:
        told.append(json.loads(route.request.post_data))
        route.fulfill(status=204)

    context.route("**/collect/*", note)
    return told


@pytest.fixture
def confirm(office: Any, town: Town, page: Page, vendors: Vendors) -> Confirm:
    """Shows the page that confirms an order, as the plugin prints it."""
    site = shops.Pages(shops.script(town, "woocommerce", "pixel.js"))
    town.sites.update({"localhost": office, "shop.example": site})

    def show(order: Any = ORDER, before: str = GRANTED) -> None:
        site.before = f"{before} window.purchaseRelayOrder = {json.dumps(order)};"
        page.goto("http://shop.example/checkout/order-received/727/?key=wc_order_x")

    return show


def test_every_vendor_is_told_in_its_own_words(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], page: Page
) -> None:
    confirm()
    until(page, lambda: beacons)
    assert vendors.of("connect.facebook.net")[-1] == [
        "trackSingle",
        "1234567890",
        "Purchase",
        {
            "value": 28.8,
            "currency": "EUR",
            "order_id": "727",
            "content_type": "product",
            "content_ids": ["93"],
            "contents": [{"id": "93", "quantity": 2, "item_price": 11.9}],
        },
        {"eventID": "acme-727"},
    ]
    assert [
        "event",
        "purchase",
        {
            "send_to": "G-A1B2C3D4E5",
            "transaction_id": "acme-727",
            "value": 28.8,
            "currency": "EUR",
            "items": [{"item_id": "93", "item_name": "Mug", "price": 11.9, "quantity": 2}],
        },
    ] in vendors.of("www.googletagmanager.com")
    assert [
        "event",
        "conversion",
        {
            "send_to": "AW-123456789/AbC-D_efG",
            "transaction_id": "acme-727",
            "value": 28.8,
            "currency": "EUR",
        },
    ] in vendors.of("www.googletagmanager.com")
    [tiktok] = vendors.of("analytics.tiktok.com")
    assert tiktok[:3] == ["C4A1B2C3D4E5F6G7H8I9", "track", "Purchase"]
    assert tiktok[4] == {"event_id": "acme-727"}
    assert vendors.of("s.pinimg.com")[0] == ["load", "2612345678901"]
    assert vendors.of("s.pinimg.com")[1][1] == "checkout"
    assert vendors.of("s.pinimg.com")[1][2]["event_id"] == "acme-727"
    snapchat = vendors.of("sc-static.net")[-1]
    assert snapchat[:2] == ["track", "PURCHASE"]
    assert (snapchat[2]["client_dedup_id"], snapchat[2]["transaction_id"]) == ("acme-727", "727")
    assert vendors.of("www.redditstatic.com")[-1][2]["conversionId"] == "acme-727"
    openai = vendors.of("bzrcdn.openai.com")[-1]
    assert openai[:2] == ["measure", "order_created"]
    assert openai[2]["amount"] == 2880
    assert openai[3] == {"event_id": "acme-727"}


def test_the_server_is_told_what_was_fired(confirm: Confirm, beacons: list[Any], page: Page) -> None:
    confirm()
    until(page, lambda: beacons)
    [told] = beacons
    everyone = ["ga4", "google", "meta", "openai", "pinterest", "reddit", "snapchat", "tiktok"]
    assert sorted(told.pop("fired")) == everyone
    assert told.pop("event_ids") == dict.fromkeys(everyone, "acme-727")
    assert told.pop("attributes")["_consent_state"].startswith("ad_storage=granted;")
    assert isinstance(told.pop("at"), int)
    assert told == {
        "v": 1,
        "event_name": "Purchase",
        "order": {"order_id": "727", "order_name": "A-727", "order_key": "wc_order_x"},
        "page_url": "http://shop.example/checkout/",
    }


def test_an_ad_blocker_leaves_none_fired(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], page: Page
) -> None:
    vendors.blocked = True
    confirm()
    until(page, lambda: beacons)
    assert beacons[0]["fired"] == []
    assert beacons[0]["event_ids"]["meta"] == "acme-727"


def test_a_page_that_is_shown_again_fires_nothing(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], page: Page
) -> None:
    confirm()
    until(page, lambda: beacons)
    fired = len(vendors.calls)
    confirm()
    confirm(ORDER | {"order_id": "728"})
    until(page, lambda: len(beacons) == 2)
    assert [told["order"]["order_id"] for told in beacons] == ["727", "728"]
    assert {
        call[4]["eventID"] for call in vendors.of("connect.facebook.net") if call[0] == "trackSingle"
    } == {
        "acme-727",
        "acme-728",
    }
    assert len(vendors.calls) == 2 * fired


def test_without_leave_nothing_is_fired(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], context: BrowserContext, page: Page
) -> None:
    context.add_cookies(
        [{"name": "_fbp", "value": "fb.1.1793000000000.1098115397", "url": "http://shop.example/"}]
    )
    confirm(before=DENIED)
    until(page, lambda: beacons)
    assert vendors.calls == []
    assert beacons[0]["fired"] == []
    assert list(beacons[0]["attributes"]) == ["_consent_state"]


def test_an_answer_on_the_very_page_is_waited_for(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], page: Page
) -> None:
    confirm(before="window.Cookiebot = {hasResponse: false, consent: {marketing: false}};")
    assert (
        page.evaluate("() => new Promise((done) => setTimeout(() => done(typeof fbq), 100))") == "undefined"
    )
    page.evaluate(f"() => {{ {GRANTED} }}")
    until(page, lambda: vendors.of("connect.facebook.net"))


def test_who_may_be_counted_but_not_advertised_to_is_left_to_the_server(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], page: Page
) -> None:
    mode = {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied"}
    confirm(before=f"window.dataLayer = [['consent', 'update', {json.dumps(mode)}]];")
    until(page, lambda: beacons)
    assert vendors.calls == []
    assert beacons[0]["attributes"]["_consent_state"].startswith(
        "ad_storage=granted;ad_user_data=granted;ad_personalization=denied;source=google_consent_mode;"
    )


@pytest.mark.parametrize("lacking", ["order_id", "value", "currency"])
def test_what_the_page_does_not_know_fires_nothing(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], lacking: str, page: Page
) -> None:
    confirm({name: value for name, value in ORDER.items() if name != lacking})
    if lacking != "order_id":
        until(page, lambda: beacons)
        assert beacons[0]["fired"] == []
    assert vendors.calls == []


def test_a_pixel_of_the_page_itself_is_used(
    confirm: Confirm, vendors: Vendors, beacons: list[Any], page: Page
) -> None:
    own = """
        window.heard = [];
        window.fbq = (...call) => heard.push(call);
        Object.assign(fbq, {callMethod: fbq, getState: () => ({pixels: [{id: "1234567890"}]})});
    """
    confirm(before=GRANTED + own)
    until(page, lambda: beacons)
    assert "meta" in beacons[0]["fired"]
    assert vendors.of("connect.facebook.net") == []
