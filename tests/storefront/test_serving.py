"""The scripts as they are served: to whom, for how long, and with what in them."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from integrations import beside, discovery
from integrations.setting import Secret
from integrations.store import Store
from tests.contract import deliveries
from tests.environments import FILE, META, SHOPIFY, STRIPE, WOOCOMMERCE
from webhooks import app, settings
from webhooks.relay import Relay
from webhooks.storefront import scripts

NAMES = ("capture.js", "pixel.js")
LARGEST = 32 * 1024

Start = Callable[..., Client]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A relay that knows one shop of each store; it needs no ledger for this."""
    opened: list[Relay] = []

    def begin(**more: str) -> Client:
        loaded = settings.load(
            {
                "RELAY_DATA_DIR": str(tmp_path),
                "RELAY_PUBLIC_URL": "https://relay.example.com",
                **META,
                **SHOPIFY,
                **STRIPE,
                **WOOCOMMERCE,
                **more,
            }
        )
        made = app.create_app(loaded)
        opened.append(made.extensions["relay"])
        return Client(made)

    yield begin
    for relay in opened:
        relay.close()


def version(client: Client, shop: str = "shopify", name: str = "capture.js") -> str:
    """Under which the script is served for good."""
    return client.get(f"/storefront/{shop}/current/{name}").headers["ETag"].strip('"')


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shop", sorted(discovery.stores()))
def test_a_script_under_its_version_is_kept_for_good(start: Start, shop: str, name: str) -> None:
    client = start()
    answer = client.get(f"/storefront/{shop}/{version(client, shop, name)}/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("asked", ["current", "0123456789abcdef", "latest", "%F0%9F%98%80"])
def test_any_other_version_is_the_script_of_today(start: Start, asked: str) -> None:
    client = start()
    answer = client.get(f"/storefront/shopify/{asked}/capture.js")
    assert answer.status_code == 200
    assert answer.data == client.get(f"/storefront/shopify/{version(client)}/capture.js").data
    assert answer.headers["Cache-Control"] == "public, max-age=300, stale-while-revalidate=86400"


def test_a_browser_that_has_it_is_told_so(start: Start) -> None:
    client = start()
    again = client.get(
        "/storefront/shopify/current/capture.js", headers={"If-None-Match": f'"{version(client)}"'}
    )
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "nobody/current/capture.js",
        "shopify/current/other.js",
        "shopify/current/../capture.js",
        "shopify/current/event_id.js",
    ],
)
def test_what_does_not_exist(start: Start, path: str) -> None:
    assert start().get(f"/storefront/{path}").status_code == 404


def test_a_version_is_of_everything_in_it(start: Start) -> None:
    plain, templated = start(), start(SHOPIFY_EVENT_ID="acme-{order_id}")
    assert version(plain) == version(start())
    assert version(plain, name="pixel.js") != version(templated, name="pixel.js")
    assert version(plain, name="pixel.js") != version(plain, "woocommerce", "pixel.js")


def everything(environment: dict[str, str]) -> dict[str, str]:
    """And an account of every destination."""
    for destination in discovery.destinations().values():
        options = deliveries.account(destination).options
        given = {f"{destination.slug}_{name}".upper(): value for name, value in options.items()}
        environment |= {name: value for name, value in given.items() if value and isinstance(value, str)}
    return environment


def test_no_secret_is_served(start: Start) -> None:
    environment = everything({})
    client = start(**environment)
    relay: Relay = client.application.extensions["relay"]  # type: ignore[attr-defined]
    accounts, shops = relay.settings.accounts, relay.settings.shops
    secrets = {
        value for one in accounts for value in one.options.values() if isinstance(value, Secret) and value
    }
    secrets |= {secret for shop in shops for secret in shop.secrets}
    assert len(secrets) > len(accounts)
    for shop in shops:
        for name in NAMES:
            served = client.get(f"/storefront/{shop.slug}/current/{name}").text
            assert [secret for secret in secrets if secret in served] == []
            assert "1234567890" in served or name == "capture.js"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("store", discovery.stores().values(), ids=lambda store: store.slug)
def test_no_function_stands_in_for_another(store: Store, name: str) -> None:
    """The files share one scope, where the later of two alike would be silently taken for both. Destinations
    have a scope each."""
    texts = [scripts.common(part) for part in scripts.PARTS[name]] + [beside.text(store, name)]
    declared = r"(?m)^(?:async )?(?:function|const|let) (\w+)"
    made = Counter(found for text in texts for found in re.findall(declared, text))
    assert len(made) > 10
    assert [name for name, count in made.items() if count > 1] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shop", sorted(discovery.stores()))
def test_a_script_is_small(start: Start, shop: str, name: str) -> None:
    assert len(start(**everything({})).get(f"/storefront/{shop}/current/{name}").data) < LARGEST


def test_only_what_a_shop_sends_to_is_in_its_script(tmp_path: Path) -> None:
    loaded = settings.load({**FILE, "RELAY_DATA_DIR": str(tmp_path)})
    for shop in loaded.shops:
        told = scripts.of_shop(loaded, shop)["pixel.js"].body.decode()
        others: set[Any] = {account.slug for account in loaded.accounts} - set(shop.accounts)
        assert all(f'"slug": "{slug}"' in told for slug in shop.accounts)
        assert [slug for slug in others if f'"slug": "{slug}"' in told] == []
