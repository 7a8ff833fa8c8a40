"""A purchase on WooCommerce, from the click on an ad to what Meta counts: browser, PHP and hook are real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.storefront.journey import CLICK, Trade, assert_same, seen, trade
from tests.storefront.town import Town
from tests.storefront.vendors import Vendors
from tests.storefront.waiting import until
from tests.storefront.woocommerce_shop import BLOCK, CLASSIC, Shop
from tests.storefront.wordpress import WordPress

pytestmark = pytest.mark.browser

HANDED = "() => window.purchaseRelay && purchaseRelay.attributes()"


@pytest.fixture
def office(town: Town, tmp_path: Path) -> Iterator[Trade]:
    with trade(town, tmp_path) as made:
        yield made


@pytest.fixture
def shop(office: Trade, town: Town, tmp_path: Path) -> Shop:
    plugin = office.snippets("woocommerce")["purchase-relay.php"]
    made = Shop(office.client, WordPress(plugin, tmp_path))
    town.sites["www.shop.example"] = made.app
    return made


@pytest.fixture
def vendors(context: BrowserContext, office: Trade) -> Iterator[Vendors]:
    made = Vendors(context, office.meta)
    yield made
    assert made.strays == []


def visit(page: Page, *, consent: bool) -> None:
    """Lands with a click id, answers the banner and looks at a product."""
    page.goto(f"http://www.shop.example/?utm_source=x&fbclid={CLICK}")
    page.evaluate("(answer) => wp_set_consent('marketing', answer)", "allow" if consent else "deny")
    word = "granted" if consent else "denied"
    until(page, lambda: word in (page.evaluate(HANDED) or {}).get("_consent_state", ""))
    page.goto("http://www.shop.example/product/mug/")


def buy(page: Page) -> None:
    page.click("button")
    page.wait_for_url("**/order-received/**")


@pytest.mark.parametrize("checkout", [CLASSIC, BLOCK])
def test_one_purchase_is_counted_once(
    office: Trade, shop: Shop, page: Page, vendors: Vendors, checkout: str
) -> None:
    shop.checkout = checkout
    visit(page, consent=True)
    browser = seen(page)
    buy(page)
    until(page, lambda: office.received("browser"))
    page.reload()
    office.deliver()
    assert_same(office, browser)
    [fired], [sent] = office.received("browser"), office.received("server")
    assert fired.event_id == sent.event_id == "727"
    assert office.counted() == 1


def test_without_leave_nothing_is_sent_and_the_ledger_says_why(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    visit(page, consent=False)
    buy(page)
    page.wait_for_function(HANDED)
    noted = {name for name in shop.order["meta"] if name != "_purchase_relay_told"}
    assert noted == {"_consent_state"}
    office.deliver()
    sale = office.sale()
    assert (sale.state, sale.reason) == ("suppressed", "consent_denied")
    assert office.meta.record == []
    assert vendors.calls == []


def test_behind_an_ad_blocker_the_purchase_arrives(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    vendors.blocked = True
    visit(page, consent=True)
    browser = seen(page)
    buy(page)
    office.deliver()
    assert_same(office, browser)
    assert (office.received("browser"), office.counted()) == ([], 1)


def test_beside_metas_own_plugin_its_id_is_used(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    """Its browser event and ours, its server event and ours: all with the id in the order's meta field."""
    own = "0b8f7c1e-2d3a-4b5c-8d9e-0f1a2b3c4d5e"
    shop.others = {"_meta_event_id": own}
    visit(page, consent=True)
    buy(page)
    until(page, lambda: office.received("browser"))
    office.deliver()
    assert {one.event_id for one in office.meta.record} == {own}
    assert office.counted() == 1
