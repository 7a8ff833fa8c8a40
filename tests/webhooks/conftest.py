"""A relay on a migrated database, the way every process has it, and senders of signed hooks."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug.test import TestResponse

from tests.webhooks.pixel import Pixel
from webhooks import app, settings
from webhooks.delivery import Drain, open_drain
from webhooks.relay import Relay
from webhooks.sandbox import shopify_sender

SECRET = "shopify-secret-for-tests"
SAMPLES = Path(__file__).parents[1] / "data" / "stores"

Environment = dict[str, str]


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path, httpserver: HTTPServer) -> Environment:
    """One Shopify shop and one Meta pixel; a test may change it before it asks for `relay`."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "RELAY_DATA_DIR": str(tmp_path),
        "SHOPIFY_WEBHOOK_SECRETS": SECRET,
        "META_PIXEL_ID": "1234567890",
        "META_ACCESS_TOKEN": "token-for-tests",
        "META_API_BASE": httpserver.url_for("/").rstrip("/"),
        "RELAY_RETRY_SCHEDULE": "0.01",
    }


@pytest.fixture
def relay(environment: Environment) -> Iterator[Relay]:
    """The stations on an empty ledger."""
    bound = Relay(settings.load(environment))
    yield bound
    bound.close()


@pytest.fixture
def post(relay: Relay) -> Callable[..., TestResponse]:
    """Posts a signed hook to the web application: ``post(body, topic)``."""
    client = app.create_app(relay.settings).test_client()

    def send(
        body: dict[str, Any] | bytes, topic: str = "orders/paid", *, path: str = "/webhooks/shopify"
    ) -> TestResponse:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = shopify_sender.sign(raw, SECRET, topic=topic, now=int(time.time()))
        return client.post(path, data=raw, headers=headers)

    return send


@pytest.fixture
def order() -> dict[str, Any]:
    """A paid order of the web shop, placed just now."""
    body: dict[str, Any] = json.loads(
        (SAMPLES / "shopify/orders_create_web_full_pii_2024-04.json").read_text()
    )
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return body | {"created_at": now, "processed_at": now, "updated_at": now, "financial_status": "paid"}


@pytest.fixture
def pixel(httpserver: HTTPServer) -> Pixel:
    return Pixel(httpserver)


@pytest.fixture
def drain(relay: Relay) -> Iterator[Drain]:
    made = open_drain(relay, threading.Event())
    yield made
    made.close()


@pytest.fixture
def orders(post: Callable[..., TestResponse], order: Any) -> Callable[[int], list[str]]:
    """Posts that many different paid orders; returns their ids."""

    def place(count: int) -> list[str]:
        ids = list(range(7_000_001, 7_000_001 + count))
        for one in ids:
            assert post(order | {"id": one, "name": f"#{one}"}).status_code == 200
        return [str(one) for one in ids]

    return place
