"""Intake: what is answered, and what stands in the ledger when it is answered."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests.webhooks.conftest import Environment
from webhooks import app, settings
from webhooks.relay import Relay
from webhooks.schema import deliveries, events, hooks

Post = Callable[..., TestResponse]


def count(relay: Relay, table: Any) -> int:
    with relay.database.read() as db:
        return int(db.execute(select(func.count()).select_from(table)).scalar_one())


def verdicts(relay: Relay) -> list[str]:
    with relay.database.read() as db:
        return sorted(db.execute(select(hooks.c.verdict)).scalars())


def test_a_signed_order_is_recorded_with_one_delivery(relay: Relay, post: Post, order: Any) -> None:
    assert post(order).status_code == 200
    with relay.database.read() as db:
        event = db.execute(select(events)).mappings().one()
        delivery = db.execute(select(deliveries)).mappings().one()
    assert (event["order_id"], event["event_name"]) == (str(order["id"]), "Purchase")
    assert (delivery["state"], delivery["event_id"]) == ("due", str(order["id"]))


def test_nothing_personal_is_readable(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    with relay.database.read() as db:
        rows = [*db.execute(select(hooks)).all(), *db.execute(select(events)).all()]
    written = repr(rows).lower()
    assert order["email"].lower() not in written
    assert order["billing_address"]["last_name"].lower() not in written


def test_the_same_hook_again_adds_no_row(relay: Relay, post: Post, order: Any) -> None:
    assert [post(order).status_code for _ in range(3)] == [200, 200, 200]
    assert (count(relay, events), count(relay, hooks), count(relay, deliveries)) == (1, 1, 1)
    with relay.database.read() as db:
        assert db.execute(select(hooks.c.repeats)).scalar_one() == 2


def test_another_topic_of_the_same_order_is_a_duplicate(relay: Relay, post: Post, order: Any) -> None:
    for topic in ("orders/create", "orders/paid", "orders/updated"):
        assert post(order, topic).status_code == 200
    assert count(relay, events) == 1
    assert verdicts(relay) == ["duplicate", "duplicate", "event"]


def test_the_same_order_at_once_is_one_event(relay: Relay, post: Post, order: Any) -> None:
    topics = ["orders/create", "orders/paid", "orders/updated", "orders/paid"] * 3
    threads = [threading.Thread(target=post, args=(order, topic)) for topic in topics]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (count(relay, events), count(relay, deliveries)) == (1, 1)


def test_a_forged_hook_leaves_nothing(relay: Relay, post: Post, order: Any) -> None:
    client = app.create_app(relay.settings).test_client()
    answer = client.post("/webhooks/shopify", json=order, headers={"X-Shopify-Hmac-Sha256": "AAAA"})
    assert answer.status_code == 401
    assert count(relay, hooks) == 0


def test_a_signed_hook_that_is_no_order_is_quarantined(relay: Relay, post: Post) -> None:
    for body in (b"[]", b"{", b'{"id": 1}', b"\xff\xfe", b"NaN", b"[" * 100_000):
        assert post(body).status_code == 200
    assert set(verdicts(relay)) == {"quarantined"}


def test_a_hook_that_is_no_sale_keeps_its_reason(relay: Relay, post: Post, order: Any) -> None:
    assert post(order | {"financial_status": "pending"}).status_code == 200
    with relay.database.read() as db:
        hook = db.execute(select(hooks)).mappings().one()
    assert (hook["verdict"], hook["reason"]) == ("not_an_event", "not_paid")
    assert hook["order_id"] == str(order["id"])


def test_a_mapping_that_breaks_is_quarantined(
    relay: Relay, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from integrations.stores.shopify import Shopify

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Shopify, "map", broken)
    assert post(order).status_code == 200
    assert verdicts(relay) == ["quarantined"]
    monkeypatch.undo()
    assert post(order).status_code == 200, "the same bytes, after the mapping has been mended"
    assert verdicts(relay) == ["event"]
    assert count(relay, deliveries) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/nowhere", 404),
        ("POST", "/webhooks/shopify/nobody", 404),
        ("POST", "/webhooks/stripe", 503),
        ("GET", "/webhooks/shopify", 405),
        ("POST", "/webhooks", 404),
        ("GET", "/", 404),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("POST", "/webhooks/shopify/", 401),
        ("POST", "/webhooks/shopify/shopify", 401),
    ],
)
def test_other_requests(relay: Relay, method: str, path: str, status: int) -> None:
    answer = app.create_app(relay.settings).test_client().open(path, method=method, data=b"{}")
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers.get("Retry-After") == ("30" if status == 503 else None)


def test_too_large_a_body(relay: Relay, post: Post) -> None:
    assert post(b" " * (relay.settings.max_body_bytes + 1)).status_code == 413


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_its_table_the_database_is_not_acknowledged(
    environment: Environment, empty_database_url: str
) -> None:
    environment["DATABASE_URL"] = empty_database_url
    client = app.create_app(settings.load(environment)).test_client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_a_hook_can_be_taken_before_there_is_a_destination(environment: Environment, relay: Relay) -> None:
    """It is kept, and sent to an account that comes later (`replay --missing`)."""
    lonely = {name: value for name, value in environment.items() if not name.startswith("META_")}
    answer = app.create_app(settings.load(lonely)).test_client().get("/readyz")
    assert (answer.status_code, answer.get_json()["checks"]["accounts"]) == (
        200,
        "no destination is configured",
    )
