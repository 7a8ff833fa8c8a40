"""A real Chromium, and a town of sites that it finds on this machine.

The browser is the machine's own. A test without one is skipped; on CI that is a failure.
"""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from werkzeug.wrappers import Response

from tests.conftest import do_without
from tests.servers import CannotStart
from tests.storefront.town import Town, standing

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Requests of a frame with a process of its own are not all seen by Playwright.
    "--disable-features=IsolateSandboxedIframes",
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
    hosts = f"--host-resolver-rules=MAP * 127.0.0.1:{streets.port}"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=[*_FLAGS, hosts])
        yield made
        made.close()


@pytest.fixture
def town(streets: Town) -> Town:
    streets.sites.clear()
    return streets


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A shopper's own browser: no cookie, no storage. A script that fails in it fails the test."""
    made = browser.new_context()
    made.set_default_timeout(10_000)
    failures: list[str] = []
    made.on("weberror", lambda failure: failures.append(str(failure.error)))
    yield made
    made.close()
    assert failures == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="package")
def workbench(browser: Browser) -> Iterator[Page]:
    """A page for what needs no browser of its own; `bench` is it, empty and without cookies."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def bench(town: Town, workbench: Page) -> Page:
    town.sites["bench.example"] = Response("<!doctype html>", mimetype="text/html")
    workbench.context.clear_cookies()
    workbench.goto("http://bench.example/")
    return workbench
