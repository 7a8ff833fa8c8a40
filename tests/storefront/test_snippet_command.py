"""`purchase-relay snippet`: what it prints, and of what it warns."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from integrations import beside, discovery
from integrations.store import Store
from tests.environments import META, SHOPIFY, STRIPE, WOOCOMMERCE
from webhooks import app, settings
from webhooks.cli import main
from webhooks.storefront import snippets

Run = Callable[..., Result]

PUBLIC = "https://relay.example.com"
PLACES = {
    "shopify": ["pixel.js", "theme.liquid"],
    "stripe": ["page.html", "success.html"],
    "woocommerce": ["purchase-relay.php"],
}


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """The command writes the process's logs to a stream that is gone after the test."""
    root = logging.getLogger()
    outputs, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = outputs, level
    logging.captureWarnings(capture=False)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "RELAY_DATA_DIR": str(tmp_path),
        "RELAY_PUBLIC_URL": PUBLIC,
        **META,
        **SHOPIFY,
        **STRIPE,
        **WOOCOMMERCE,
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def invoke(line: str, *, expect: int = 0, **sets: str) -> Result:
        result = CliRunner().invoke(main, ["snippet", *line.split()], env=environment | sets)
        assert result.exit_code == expect, result.output
        return result

    return invoke


@pytest.mark.parametrize("store", sorted(discovery.stores()))
def test_every_snippet_says_where_it_belongs(run: Run, store: str) -> None:
    printed = run(store).stdout
    assert re.findall(r"^=== (.+) ===$", printed, re.MULTILINE) == PLACES[store]
    assert printed.count("Where:") == len(PLACES[store])
    assert f"{PUBLIC}/storefront/{store}/current/" in printed
    assert "%%" not in printed


def test_one_place_is_printed_as_a_file(run: Run) -> None:
    assert run("woocommerce --place purchase-relay.php").stdout.startswith("<?php\n")
    assert json.loads(run("shopify --json").stdout).keys() == {"pixel.js", "theme.liquid"}


def test_pinned_addresses_are_served_for_good(run: Run, environment: dict[str, str]) -> None:
    printed = run("shopify --pinned").stdout
    made = app.create_app(settings.load(environment))
    paths = re.findall(rf"{PUBLIC}(/storefront/\S+\.js)", printed)
    assert len(paths) == 2
    for path in paths:
        assert "immutable" in made.test_client().get(path).headers["Cache-Control"]
    made.extensions["relay"].close()


@pytest.mark.parametrize(
    ("line", "sets", "sentence"),
    [
        ("nobody", {}, "there is no shop nobody; the settings have shopify, stripe, woocommerce"),
        ("shopify", {"RELAY_PUBLIC_URL": ""}, "set RELAY_PUBLIC_URL"),
        ("shopify --place header.html", {}, "there is no header.html; the shop has pixel.js, theme.liquid"),
    ],
)
def test_what_cannot_be_printed(run: Run, line: str, sets: dict[str, str], sentence: str) -> None:
    assert sentence in run(line, expect=1, **sets).stderr


@pytest.mark.parametrize(
    ("shop", "sets", "sentence"),
    [
        ("shopify", {}, "the beacon is off: set the shop's ORIGINS"),
        ("shopify", {"SHOPIFY_EVENT_ID": "{order_name}"}, "meta: no pixel is fired, since the page"),
        ("stripe", {"STRIPE_EVENT_ID": "{meta:cart}"}, "does not know its meta"),
        (
            "shopify",
            {"PINTEREST_AD_ACCOUNT_ID": "549755885175", "PINTEREST_ACCESS_TOKEN": "x"},
            "pinterest: no pixel is fired until PINTEREST_TAG_ID is set",
        ),
    ],
)
def test_what_the_snippets_cannot_do_is_said(
    run: Run, shop: str, sets: dict[str, str], sentence: str
) -> None:
    result = run(shop, **sets)
    assert sentence in result.stderr
    assert sentence not in result.stdout


def test_nothing_is_said_when_all_is_well(run: Run) -> None:
    assert run("shopify", SHOPIFY_ORIGINS="https://shop.example.com").stderr == ""
    assert run("woocommerce", WOOCOMMERCE_ORIGINS="https://shop.example.com").stderr == ""


def test_the_plugin_takes_what_the_browser_hands_on(environment: dict[str, str]) -> None:
    """Under both spellings of every name that a destination looks up, and the two of our own."""
    loaded = settings.load(environment)
    shop = next(one for one in loaded.shops if one.slug == "woocommerce")
    plugin = snippets.texts(loaded, shop)["purchase-relay.php"]
    names = re.search(r"PURCHASE_RELAY_NAMES += array\( (.*) \);", plugin)
    assert names
    assert set(re.findall(r"'(\w+)'", names[1])) == {
        *("_consent_state", "event_source_url"),
        *("fbc", "_fbc", "fbp", "_fbp", "fbclid", "_fbclid"),
    }


@pytest.mark.parametrize("store", discovery.stores().values(), ids=lambda store: store.slug)
def test_every_snippet_has_its_place_in_a_guide(store: Store) -> None:
    guide = (Path(__file__).parents[2] / "docs" / f"{store.slug}.md").read_text("utf-8")
    assert [name for name in beside.folder(store, "snippets") if f"--place {name}" not in guide] == []
