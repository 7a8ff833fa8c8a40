"""A real Chromium, and a town of sites that it finds on this machine.

The browser is the machine's own. A test without one is skipped; on CI that is a failure.
"""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import do_without
from tests.servers import CannotStart
from tests.storefront.town import Town, standing

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def chromium() -> str:
    """Where the machine has it, under one of its names."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or do_without(CannotStart("no Chromium is installed (apt-get install chromium)"))


@pytest.fixture(scope="package")
def streets() -> Iterator[Town]:
    """The town's server; `town` is it with nobody living there yet."""
    with standing() as town:
        yield town


@pytest.fixture(scope="package")
def browser(streets: Town) -> Iterator[Browser]:
    """One for all tests of a process: not longer, since its event loop runs for as long as it stands."""
    program = chromium()
    hosts = f"--host-resolver-rules=MAP * 127.0.0.1:{streets.port}, EXCLUDE localhost"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=[*_FLAGS, hosts])
        yield made
        made.close()


@pytest.fixture
def town(streets: Town) -> Iterator[Town]:
    yield streets
    streets.sites.clear()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A shopper's own browser: no cookie, no storage."""
    made = browser.new_context()
    made.set_default_timeout(10_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
