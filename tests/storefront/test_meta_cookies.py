"""_fbc and _fbp as Meta's own library makes them: its results for the same visits, in Chromium.

A browser knows better than the library which domain may hold a cookie: two of its guesses are not followed.
"""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from integrations import beside, discovery
from tests.storefront import shops
from tests.storefront.town import Town
from webhooks.storefront import scripts

pytestmark = pytest.mark.browser

FILE = Path(__file__).parents[1] / "data/destinations/meta/meta_fbc_fbp.json"
ROWS = {row["id"]: row for row in json.loads(FILE.read_bytes())["rows"]}

KNOWN_BETTER = {
    "fs-03": "fs-04",  # eu.example.com is no registry: the cookie goes to example.com
    "fs-06": "fs-07",  # co.uk is one
}

FROZEN = "Date.now = () => 1795000000123; Math.random = () => 1234567890 / 2 ** 31;"
MADE = """() => {
    const made = madeCookies(landingClicks(["fbclid"]), cookie, ownDomain().dots);
    const value = (name) => (name in made ? made[name] : cookie(name)) || null;
    return {fbc: value("_fbc"), fbp: value("_fbp")};
}"""
ACROSS_SITES = {"fs-14", "fs-15"}
"""Visits whose click id the library takes from another site's address; browsers tell its origin alone."""


VISITS = [row for name, row in ROWS.items() if name not in ACROSS_SITES]


def untagged(value: str | None) -> str | None:
    """Without the mark of the library itself."""
    return value and re.sub(r"\.AQI[ACD]AQMC$", "", value)


@pytest.mark.parametrize("row", VISITS, ids=lambda row: row["id"])
def test_a_visit(town: Town, bench: Page, row: dict[str, Any]) -> None:
    parts = (scripts.common("visit.js"), beside.text(discovery.destinations()["meta"], "capture.js"))
    site = town.sites[row["host"].partition(":")[0]] = shops.Pages(f"<script>{''.join(parts)}</script>")
    cookies = [f"document.cookie = '{name}={value}';" for name, value in row["cookies"].items()]
    site.before = "".join([FROZEN, *cookies])
    bench.goto(f"http://{row['host']}/?{urlencode(row['queries'], doseq=True)}")
    expected = ROWS[KNOWN_BETTER.get(row["id"], row["id"])]["result"]
    assert bench.evaluate(MADE) == {name: untagged(expected[name]) for name in ("fbc", "fbp")}
