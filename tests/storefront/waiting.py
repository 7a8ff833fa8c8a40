"""Waiting for what a browser does: its requests are only answered while Playwright is waited with."""

import time
from collections.abc import Callable

from playwright.sync_api import Page


def until(page: Page, condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for it; fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(20)
