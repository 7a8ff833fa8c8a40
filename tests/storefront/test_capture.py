"""What the capture script notes of a visit, keeps, forgets and hands on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.storefront import shops
from tests.storefront.town import Town
from tests.waiting import until
from webhooks.storefront import scripts

pytestmark = pytest.mark.browser

DATA = Path(__file__).parents[1] / "data"
CLICK = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"
NOW = 1_795_000_000_123
HANDED = "() => purchaseRelay.attributes()"

YES = {"marketing": True}
NO = {"marketing": False}

Visit = Callable[..., dict[str, str]]


def answered(allowed: dict[str, bool]) -> str:
    """A consent banner that has its answer, as a script for the page."""
    return f"window.Cookiebot = {{hasResponse: true, consent: {json.dumps(allowed)}}};"


@pytest.fixture(scope="module")
def office(streets: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The relay of all these tests: they only ask it for scripts."""
    everyone = {
        "TIKTOK_PIXEL_ID": "C4A1B2C3D4E5F6G7H8I9",
        "TIKTOK_ACCESS_TOKEN": "token",
        "GA4_MEASUREMENT_ID": "G-A1B2C3D4E5",
        "GA4_API_SECRET": "secret-secret",
        "PINTEREST_AD_ACCOUNT_ID": "549755885175",
        "PINTEREST_ACCESS_TOKEN": "token",
    }
    home = tmp_path_factory.mktemp("relay")
    made = shops.settle(streets, shops.environment(streets, home, **everyone))
    yield streets.sites["localhost"]
    made.close()


@pytest.fixture
def site(office: Any, town: Town) -> shops.Pages:
    """The shop, at two addresses."""
    made = shops.Pages(shops.script(town, "stripe"))
    town.sites.update({"localhost": office, "www.shop.example": made, "shop.example": made})
    return made


@pytest.fixture
def visit(site: shops.Pages, page: Page) -> Visit:
    """Opens a page of the shop, with what else runs there first; returns what would be handed on."""

    def open_page(path: str = "/", before: str = "", host: str = "www.shop.example") -> dict[str, str]:
        site.before = before
        page.goto(f"http://{host}{path}", wait_until="domcontentloaded")
        handed: dict[str, str] = page.evaluate(HANDED)
        return handed

    return open_page


def test_a_landing_is_handed_on_whole(visit: Visit) -> None:
    handed = visit(
        f"/products/mug?utm_source=x&fbclid={CLICK}&ttclid=E.C.P.abc&epik=dj0yJn#top", answered(YES)
    )
    assert handed.pop("_fbc").endswith(f".{CLICK}")
    assert handed.pop("_fbp").startswith("fb.1.")
    assert handed.pop("_consent_state").startswith(
        "ad_storage=granted;ad_user_data=granted;ad_personalization=granted;source=cookiebot;at="
    )
    assert handed == {
        "fbclid": CLICK,
        "ttclid": "E.C.P.abc",
        "epik": "dj0yJn",
        "event_source_url": "http://www.shop.example/products/mug",
    }


def test_it_survives_the_journey(visit: Visit) -> None:
    landed = visit(f"/?fbclid={CLICK}&gclid=other", answered(YES))
    later = visit("/products/mug", answered(YES))
    assert later == {**landed, "event_source_url": "http://www.shop.example/products/mug"}
    assert visit("/", answered(YES), host="shop.example")["_fbc"] == landed["_fbc"]


def test_a_later_click_replaces_the_earlier(visit: Visit) -> None:
    first = visit(f"/?fbclid={CLICK}", answered(YES))
    second = visit("/?fbclid=PAZXh0bgNhZW0BMABhZGlk_UPPER_lower", answered(YES))
    assert second["_fbc"].endswith(".PAZXh0bgNhZW0BMABhZGlk_UPPER_lower")
    assert second["_fbp"] == first["_fbp"]


def test_the_cookies_of_vendors_are_handed_on(visit: Visit, context: BrowserContext) -> None:
    cookies = {
        "_ga": "GA1.1.1234567890.1715680000",
        "_ga_A1B2C3D4E5": "GS2.1.s1715680000$o1$g0",
        "_ttp": "2abcDEF.tt.1",
    }
    fb = {"_fbp": "fb.1.1793000000000.1098115397.AQIAAQMC"}
    context.add_cookies(
        [
            {"name": name, "value": value, "url": "http://www.shop.example/"}
            for name, value in {**cookies, **fb}.items()
        ]
    )
    handed = visit("/", answered(YES))
    assert {name: handed.get(name) for name in (*cookies, *fb)} == {**cookies, **fb}
    assert "_fbc" not in handed


def test_what_no_destination_looks_up_is_not_handed_on(visit: Visit, context: BrowserContext) -> None:
    context.add_cookies([{"name": "session", "value": "secret", "url": "http://www.shop.example/"}])
    handed = visit("/?ScCid=snap&email=jane@example.com&fbp=forged&ga=forged", answered(YES))
    assert set(handed) == {"_consent_state", "_fbp", "event_source_url"}
    assert handed["_fbp"] != "forged"


PATHS = {
    "/a/b": "/a/b",
    "/a/b/?key=secret#fragment": "/a/b/",
    "/checkout/order-received/77/?key=wc_order_x": "/checkout/",
    "/1234/orders/5fe8c2d3a4b5c6d7e8f9a0b1c2d3e4f5/authenticate": "/1234/",
    "/checkouts/cn/Z2NwLXVzLWVhc3QxOjAxSkRa": "/",
    "/thanks/0b8f7c1e-2d3a-4b5c-8d9e-0f1a2b3c4d5e": "/thanks/",
    "/thanks/wc_order_1QCYhq0vusNJx": "/thanks/",
    "/u/jane@example.com/cart": "/u/",
    "/u/jane%40example.com": "/u/",
    "/s/8f3c0d5e2b8f3c0d5e2b8f3c": "/s/",
    "/products/a-very-long-and-descriptive-name-2026": "/products/a-very-long-and-descriptive-name-2026",
}


def test_the_page_is_told_without_its_keys(bench: Page) -> None:
    bench.add_script_tag(content=scripts.common("visit.js"))
    addresses = [f"https://jane:secret@shop.example{path}" for path in PATHS]
    told = bench.evaluate("(addresses) => addresses.map(cleanPage)", addresses)
    assert dict(zip(PATHS, told, strict=True)) == {
        path: f"https://shop.example{clean}" for path, clean in PATHS.items()
    }


@pytest.mark.parametrize(
    "value", ["x" * 501, "a%20b", "%00", "%E2%9C%93", ""], ids=["long", "blank", "nul", "no ascii", "empty"]
)
def test_what_is_no_click_id_is_left_out(visit: Visit, value: str) -> None:
    handed = visit(f"/?fbclid={value}", answered(YES))
    assert not {"fbclid", "_fbc"} & set(handed)


# --- consent ---------------------------------------------------------------------------------------------


def kept(page: Page) -> dict[str, str]:
    """All that the browser has of the shop."""
    stored: dict[str, str] = page.evaluate("() => ({...localStorage, ...sessionStorage})")
    return {**stored, **{cookie["name"]: cookie["value"] for cookie in page.context.cookies()}}


def test_without_leave_nothing_but_the_answer_is_kept_or_handed_on(visit: Visit, page: Page) -> None:
    handed = visit(f"/?fbclid={CLICK}&ttclid=E.C.P.abc", answered(NO))
    assert list(handed) == ["_consent_state"]
    assert handed["_consent_state"].startswith("ad_storage=denied;ad_user_data=denied;")
    assert CLICK not in json.dumps(kept(page))
    assert set(kept(page)) == {"purchase_relay_visit"}
    assert visit("/cart", answered(NO)) == handed


def test_without_leave_no_cookie_is_written_even_for_a_moment(visit: Visit, page: Page) -> None:
    listen = """
        window.written = [];
        Object.defineProperty(document, "cookie", {get: () => "", set: (text) => written.push(text)});
    """
    visit(f"/?fbclid={CLICK}", listen + answered(NO))
    assert page.evaluate("() => written") == []
    visit(f"/?fbclid={CLICK}", listen + answered(YES))
    assert page.evaluate("() => written.length") > 0


def test_an_answer_taken_back_erases_what_was_kept(visit: Visit, page: Page) -> None:
    assert "_fbc" in visit(f"/?fbclid={CLICK}", answered(YES))
    assert list(visit("/", answered(NO))) == ["_consent_state"]
    assert set(kept(page)) == {"purchase_relay_visit"}
    assert CLICK not in json.dumps(kept(page))
    assert "_fbc" not in visit("/", answered(YES))


def test_a_banner_without_an_answer_is_waited_for(visit: Visit, page: Page) -> None:
    unanswered = "window.Cookiebot = {hasResponse: false, consent: {marketing: false}};"
    assert visit(f"/?fbclid={CLICK}", unanswered) == {}
    assert kept(page) == {}
    page.evaluate(f"() => {{ {answered(YES)} dispatchEvent(new Event('CookiebotOnAccept')); }}")
    until(lambda: page.evaluate(HANDED).get("fbclid") == CLICK)


def test_before_the_banner_is_there_its_last_answer_counts(visit: Visit, page: Page) -> None:
    """Its script often comes after ours."""
    denied = visit("/", answered(NO))
    assert visit(f"/?fbclid={CLICK}") == denied
    assert CLICK not in json.dumps(kept(page))


@pytest.mark.parametrize(
    ("zone", "is_kept"), [("Europe/Berlin", False), ("Atlantic/Canary", False), ("America/Denver", True)]
)
def test_where_nobody_asks_the_shopper(site: shops.Pages, browser: Browser, zone: str, is_kept: bool) -> None:
    """The shop's policy is `region`: where the law wants a yes, silence is none."""
    with browser.new_context(timezone_id=zone) as there:
        page = there.new_page()
        page.goto(f"http://www.shop.example/?fbclid={CLICK}")
        assert ("fbclid" in page.evaluate(HANDED)) == is_kept
        assert bool(kept(page)) == is_kept


# --- hostile surroundings --------------------------------------------------------------------------------


def test_without_storage_a_cookie_keeps_it(visit: Visit) -> None:
    blocked = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied'); }});"
    landed = visit(f"/?fbclid={CLICK}", blocked + answered(YES))
    assert visit("/", blocked + answered(YES))["_fbc"] == landed["_fbc"]


@pytest.mark.parametrize(
    "written",
    [
        "no json",
        "null",
        "7",
        "[]",
        '{"clicks": 7}',
        '{"clicks": {"fbclid": 7}}',
        '{"clicks": {"fbclid": ["x", "y"]}, "made": 3}',
    ],
)
def test_what_somebody_else_wrote_into_the_store_harms_nothing(visit: Visit, written: str) -> None:
    before = f"localStorage.setItem('purchase_relay_visit', {json.dumps(written)});"
    handed = visit(f"/?fbclid={CLICK}", before + answered(YES))
    assert handed["fbclid"] == CLICK


def test_what_is_too_old_is_forgotten(visit: Visit) -> None:
    visit("/?ttclid=E.C.P.abc", f"Date.now = () => {NOW};" + answered(YES))
    after = 91 * 86_400_000
    assert "ttclid" in visit("/", f"Date.now = () => {NOW + after - 2 * 86_400_000};" + answered(YES))
    assert "ttclid" not in visit("/", f"Date.now = () => {NOW + after};" + answered(YES))


def test_pasted_twice_it_runs_once(visit: Visit, site: shops.Pages) -> None:
    site.head *= 2
    assert visit(f"/?fbclid={CLICK}", answered(YES))["fbclid"] == CLICK
