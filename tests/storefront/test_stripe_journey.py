"""A purchase on a shop's own site that Stripe is paid for, from the click on an ad to what Meta counts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.storefront.journey import CLICK, Trade, assert_same, seen, trade
from tests.storefront.stripe_shop import Shop
from tests.storefront.town import Town
from tests.storefront.vendors import Vendors
from tests.storefront.waiting import until

pytestmark = pytest.mark.browser

HANDED = "() => window.purchaseRelay && purchaseRelay.attributes()"


@pytest.fixture
def office(town: Town, tmp_path: Path) -> Iterator[Trade]:
    with trade(town, tmp_path, STRIPE_CURRENCY_SIDE="shop") as made:
        yield made


@pytest.fixture
def shop(office: Trade, town: Town) -> Shop:
    texts = office.snippets("stripe")
    made = Shop(office.client, texts["page.html"], texts["success.html"])
    town.sites["www.shop.example"] = made.app
    return made


@pytest.fixture
def vendors(context: BrowserContext, office: Trade) -> Iterator[Vendors]:
    made = Vendors(context, office.meta)
    yield made
    assert made.strays == []


def visit(page: Page, *, consent: bool) -> None:
    """Lands with a click id and answers the banner."""
    page.goto(f"http://www.shop.example/?utm_source=x&fbclid={CLICK}")
    page.wait_for_function(HANDED)
    assert page.evaluate(HANDED) == {}
    page.evaluate("(yes) => say(yes)", consent)
    word = "granted" if consent else "denied"
    until(page, lambda: word in page.evaluate(HANDED).get("_consent_state", ""))


def buy(page: Page) -> None:
    page.click("button")
    page.wait_for_url("**/thanks*")


def test_one_purchase_is_counted_once(office: Trade, shop: Shop, page: Page, vendors: Vendors) -> None:
    visit(page, consent=True)
    browser = seen(page)
    buy(page)
    until(page, lambda: office.received("browser"))
    page.reload()
    office.deliver()
    assert_same(office, browser)
    [fired], [sent] = office.received("browser"), office.received("server")
    assert fired.event_id == sent.event_id == "ORD-7"
    assert office.counted() == 1


def test_without_leave_nothing_is_sent_and_the_ledger_says_why(
    office: Trade, shop: Shop, page: Page, vendors: Vendors
) -> None:
    visit(page, consent=False)
    buy(page)
    page.wait_for_function(HANDED)
    assert set(shop.session["metadata"]) == {"order_id", "_consent_state"}
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


def test_a_payment_link_gets_a_reference_of_its_own_at_every_click(
    office: Trade, shop: Shop, page: Page, vendors: Vendors, context: BrowserContext
) -> None:
    """Which is the order's id on both sides: of the order that was paid with it."""
    gone: list[str] = []

    def paid(route: Any) -> None:
        [reference] = parse_qs(urlsplit(route.request.url).query)["client_reference_id"]
        gone.append(reference)
        shop.pay({}, reference)
        route.fulfill(status=302, headers={"Location": "http://www.shop.example/thanks"})

    context.route(re.compile(r"^https://buy\.stripe\.com/"), paid)
    visit(page, consent=True)
    for _ in range(2):
        page.goto("http://www.shop.example/")
        page.wait_for_function(HANDED)
        page.click("a")
        page.wait_for_url("**/thanks")
        until(page, lambda: len(office.received("browser")) == len(gone))
    assert len(set(gone)) == 2
    assert [one.event_id for one in office.received("browser")] == gone


def test_a_payment_link_is_left_alone_without_leave(
    office: Trade, shop: Shop, page: Page, vendors: Vendors, context: BrowserContext
) -> None:
    gone: list[str] = []

    def arrive(route: Any) -> None:
        gone.append(route.request.url)
        route.fulfill(body="Stripe")

    context.route(re.compile(r"^https://buy\.stripe\.com/"), arrive)
    visit(page, consent=False)
    page.click("a")
    page.wait_for_url("https://buy.stripe.com/**")
    assert gone == ["https://buy.stripe.com/test_link?locale=de"]


@pytest.mark.parametrize("status", ["failed", "requires_payment_method"])
def test_a_payment_that_failed_fires_nothing(
    office: Trade, shop: Shop, page: Page, vendors: Vendors, status: str
) -> None:
    visit(page, consent=True)
    shop.pay({"order_id": "ORD-8"}, None)
    page.goto(f"http://www.shop.example/thanks?payment_intent=pi_3&redirect_status={status}")
    page.wait_for_load_state("networkidle")
    assert vendors.calls == []
