"""A purchase on Shopify, from the click on an ad to what Meta counts: browser, hook and worker are real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.storefront.journey import CLICK, Trade, assert_same, assert_told, seen, trade
from tests.storefront.shopify_shop import Shop
from tests.storefront.town import Town
from tests.storefront.vendors import Vendors
from tests.storefront.waiting import until

pytestmark = pytest.mark.browser

ANSWER = "(marketing) => Shopify.customerPrivacy.setTrackingConsent({marketing})"


@pytest.fixture
def office(town: Town, tmp_path: Path) -> Iterator[Trade]:
    with trade(town, tmp_path, SHOPIFY_ORIGINS=f"http://127.0.0.1:{town.port}") as made:
        yield made


@pytest.fixture
def shop(office: Trade, town: Town) -> Shop:
    texts = office.snippets("shopify")
    made = Shop(office.client, texts["theme.liquid"], texts["pixel.js"])
    town.sites.update({"www.shop.example": made.app, "127.0.0.1": made.app})
    return made


@pytest.fixture
def vendors(context: BrowserContext, office: Trade) -> Iterator[Vendors]:
    made = Vendors(context, office.meta)
    yield made
    assert made.strays == []


def visit(page: Page, shop: Shop, host: str = "www.shop.example", *, consent: bool) -> None:
    """Lands with a click id, answers the banner and looks at a product."""
    page.goto(f"http://{host}/?utm_source=x&fbclid={CLICK}")
    page.wait_for_function("() => Shopify.customerPrivacy")
    page.evaluate(ANSWER, consent)
    word = "granted" if consent else "denied"
    until(page, lambda: word in str([cart.get("_consent_state") for cart in shop.carts.values()]))
    page.goto(f"http://{host}/products/mug")


def buy(page: Page) -> None:
    page.click("button")
    page.wait_for_url("**/thank-you")


@pytest.mark.parametrize("gid", [False, True], ids=["digits", "gid"])
def test_one_purchase_is_counted_once(
    office: Trade, shop: Shop, page: Page, vendors: Vendors, gid: bool
) -> None:
    shop.gid = gid
    visit(page, shop, consent=True)
    browser = seen(page)
    buy(page)
    until(page, lambda: office.received("browser"))
    office.deliver()
    assert_same(office, browser)
    [fired], [sent] = office.received("browser"), office.received("server")
    assert fired.event_id == sent.event_id == str(shop.orders[0]["id"])
    assert office.counted() == 1


def test_without_leave_nothing_is_sent_and_the_ledger_says_why(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    visit(page, shop, consent=False)
    buy(page)
    assert [pair["name"] for pair in shop.orders[0]["note_attributes"]] == ["_consent_state"]
    office.deliver()
    sale = office.sale()
    assert (sale.state, sale.reason) == ("suppressed", "consent_denied")
    assert office.meta.record == []
    assert vendors.calls == []


def test_behind_an_ad_blocker_the_purchase_arrives(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    vendors.blocked = True
    visit(page, shop, consent=True)
    browser = seen(page)
    buy(page)
    office.deliver()
    assert_same(office, browser)
    assert (office.received("browser"), office.counted()) == ([], 1)


def test_an_order_that_skips_the_cart_is_completed_by_the_beacon(
    office: Trade, shop: Shop, town: Town, page: Page, vendors: Vendors
) -> None:
    """Which comes from a frame without an origin."""
    visit(page, shop, f"127.0.0.1:{town.port}", consent=True)
    browser = seen(page)
    page.click("#now")
    page.wait_for_url("**/thank-you")
    assert shop.orders[0]["note_attributes"] == []
    until(page, lambda: office.sale().event.attributes)
    office.deliver()
    assert_told(office, browser, "beacon: ")
    assert office.counted() == 1


def test_an_answer_taken_back_is_taken_out_of_the_cart(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    visit(page, shop, consent=True)
    assert any("_fbc" in cart for cart in shop.carts.values())
    page.evaluate(ANSWER, False)
    until(page, lambda: [list(cart) for cart in shop.carts.values()] == [["_consent_state"]])


def test_what_an_earlier_visit_left_in_the_cart_is_taken_out(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    """The cart outlives the tab, which alone remembers what it was told."""
    visit(page, shop, consent=True)
    [token] = shop.carts
    shop.carts[token]["gift_note"] = "for Jane"
    page.evaluate("() => sessionStorage.clear()")
    page.context.add_cookies([{"name": "consent", "value": "no", "url": "http://www.shop.example/"}])
    page.goto("http://www.shop.example/")
    until(page, lambda: sorted(shop.carts[token]) == ["_consent_state", "gift_note"])


def test_the_next_order_is_told_as_well(office: Trade, shop: Shop, page: Page, vendors: Vendors) -> None:
    """A cart is told what the one before it was told."""
    visit(page, shop, consent=True)
    buy(page)
    page.goto("http://www.shop.example/products/mug")
    until(page, lambda: any("_fbc" in cart for cart in shop.carts.values()))


def test_a_cart_is_written_only_when_something_is_new(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    visit(page, shop, consent=True)
    written: list[str] = []
    page.on("request", lambda request: written.append(request.url) if "cart" in request.url else None)
    page.goto("http://www.shop.example/products/mug")
    page.goto("http://www.shop.example/")
    page.wait_for_function("() => Shopify.customerPrivacy")
    page.evaluate("() => new Promise((done) => { purchaseRelay.update(); setTimeout(done, 100); })")
    assert written == []
