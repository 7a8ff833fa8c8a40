"""A refund joins its purchase: what stands in the ledger, who is told, and that it is never a second sale."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy import func, insert, select, update
from werkzeug.test import TestResponse

from integrations import discovery
from integrations import event as events_of
from integrations.event import Buyer, Event
from integrations.stores.shopify import Shopify
from tests.newcomer.adapter import Acme
from tests.webhooks.conftest import SAMPLES, Environment
from tests.webhooks.pixel import Pixel
from webhooks import app, rereading, retention
from webhooks.clock import now_ms
from webhooks.delivery import Drain
from webhooks.relay import Relay
from webhooks.sandbox import stripe_sender, woocommerce_sender
from webhooks.schema import deliveries, events, hooks

Post = Callable[..., TestResponse]

WOOCOMMERCE_SECRET = "woocommerce-secret-for-tests"
STRIPE_SECRET = "whsec_for_tests"


class Books(Acme):
    """A destination that takes refunds, as analytics do."""

    event_names = frozenset({"Purchase", "Refund"})


@pytest.fixture
def environment(
    environment: Environment, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> Environment:
    """Three shops that want refunds told, a pixel that takes none, and books that do."""
    known = {**discovery.destinations(), "acme": Books()}
    monkeypatch.setattr(discovery, "destinations", lambda: known)
    return environment | {
        "ACME_ADVERTISER": "a-1",
        "ACME_KEY": "key-for-tests-of-acme",
        "ACME_API_BASE": httpserver.url_for("/").rstrip("/"),
        "SHOPIFY_REFUNDS": "send",
        "SHOPIFY_EVENT_ID_ACME": "{checkout_token}",
        "WOOCOMMERCE_WEBHOOK_SECRETS": WOOCOMMERCE_SECRET,
        "WOOCOMMERCE_REFUNDS": "send",
        "STRIPE_WEBHOOK_SECRETS": STRIPE_SECRET,
        "STRIPE_REFUNDS": "send",
    }


@pytest.fixture
def order(order: Any) -> dict[str, Any]:
    """With what a storefront hands on."""
    attributes = {"_ga": "GA1.1.1234567890.1732250000", "marketing_consent": "granted"}
    found: dict[str, Any] = order | {
        "note_attributes": [{"name": n, "value": v} for n, v in attributes.items()]
    }
    return found


@pytest.fixture
def refund(order: Any) -> dict[str, Any]:
    """A part of the order, given back just now."""
    body: dict[str, Any] = sample("shopify/refunds_create_partial_DERIVED.json")
    return body | {"order_id": order["id"], "processed_at": order["processed_at"]}


@pytest.fixture
def woocommerce(relay: Relay) -> Callable[[Mapping[str, Any]], None]:
    """Posts an ``order.updated``."""
    client = app.create_app(relay.settings).test_client()

    def send(body: Mapping[str, Any]) -> None:
        raw = json.dumps(body).encode()
        headers = woocommerce_sender.sign(
            raw, WOOCOMMERCE_SECRET, topic="order.updated", now=int(time.time())
        )
        assert client.post("/webhooks/woocommerce", data=raw, headers=headers).status_code == 200

    return send


@pytest.fixture
def stripe(relay: Relay) -> Callable[[str], None]:
    """Posts a sample of Stripe by its name."""
    client = app.create_app(relay.settings).test_client()

    def send(name: str) -> None:
        raw = json.dumps(sample(f"stripe/{name}.json")).encode()
        headers = stripe_sender.sign(raw, STRIPE_SECRET, topic="", now=int(time.time()))
        assert client.post("/webhooks/stripe", data=raw, headers=headers).status_code == 200

    return send


def sample(path: str) -> dict[str, Any]:
    document = json.loads((SAMPLES / path).read_text())
    found: dict[str, Any] = json.loads(document["body"]) if "headers" in document else document
    return found


PARTLY = sample("woocommerce/captured/15-refund-partial--order.updated.json")
WHOLLY = sample("woocommerce/captured/16-refund-full--order.updated.json")
UNREFUNDED = PARTLY | {"refunds": []}


def recorded(relay: Relay) -> dict[str, tuple[str, str]]:
    """Name and amount of every event by its key."""
    with relay.database.read() as db:
        rows = db.execute(select(events.c.key, events.c.event_name, events.c.value)).all()
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: (row.event_name, row.value) for row in rows}


def sealed(relay: Relay, key: str) -> Event:
    """The event as a worker reads it."""
    with relay.database.read() as db:
        token = db.execute(select(events.c.sealed).where(events.c.key == key)).scalar_one()
    return events_of.decode(relay.vault.open(token))


def sent_as(relay: Relay) -> set[tuple[str, str, str]]:
    """Every delivery: account, event name, event_id."""
    with relay.database.read() as db:
        found = select(deliveries.c.account, events.c.event_name, deliveries.c.event_id)
        return {
            (account, name, event_id)
            for account, name, event_id in db.execute(found.join_from(deliveries, events))
        }


def verdicts(relay: Relay) -> list[tuple[str, str]]:
    with relay.database.read() as db:
        rows = db.execute(select(hooks.c.verdict, hooks.c.reason).order_by(hooks.c.id)).all()
    return [(row.verdict, row.reason) for row in rows]


# --- joining ---------------------------------------------------------------------------------------------


def test_a_refund_has_the_identity_of_its_purchase(relay: Relay, post: Post, order: Any, refund: Any) -> None:
    key = f"{order['id']}:{refund['id']}"
    assert post(order).status_code == 200
    assert post(refund, "refunds/create").status_code == 200
    assert recorded(relay) == {str(order["id"]): ("Purchase", "56.44"), key: ("Refund", "12.25")}
    purchase, found = sealed(relay, str(order["id"])), sealed(relay, key)
    assert found.captured("ga") == "GA1.1.1234567890.1732250000"
    for name in (
        "order_id",
        "order_name",
        "origin",
        "names",
        "attributes",
        "landing",
        "landing_at",
        "consent",
    ):
        assert getattr(found, name) == getattr(purchase, name)
        assert getattr(found, name), f"the sample shows nothing of {name}"
    assert found.buyer == Buyer(country=purchase.buyer.country, countries=purchase.buyer.countries)
    assert found.buyer.country
    assert [line.sku for line in found.lines] == ["TOWEL-LIN-2"]
    assert verdicts(relay) == [("event", ""), ("not_an_event", "refund")]


def test_only_who_takes_refunds_is_told_and_under_the_purchases_event_id(
    relay: Relay, post: Post, order: Any, refund: Any
) -> None:
    post(order)
    post(refund, "refunds/create")
    assert sent_as(relay) == {
        ("meta", "Purchase", str(order["id"])),
        ("acme", "Purchase", order["checkout_token"]),
        ("acme", "Refund", order["checkout_token"]),
    }


def test_a_refund_is_never_sent_as_a_purchase(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Any, refund: Any
) -> None:
    """Even if a delivery to a destination that takes none should come into being some day."""
    post(order)
    post(refund, "refunds/create")
    with relay.database.write() as db:
        number = db.execute(select(events.c.id).where(events.c.event_name == "Refund")).scalar_one()
        stray = {"event": number, "account": "meta", "destination": "meta", "event_id": str(order["id"])}
        times = {"created_at": now_ms(), "due_at": now_ms(), "expires_at": now_ms() + 10**9}
        db.execute(insert(deliveries).values(**stray, **times, state="due"))
    drain.run(5)
    assert pixel.ids == [str(order["id"])]
    assert [event["event_name"] for call in pixel.calls for event in call] == ["Purchase"]
    with relay.database.read() as db:
        chosen = select(deliveries.c.state, deliveries.c.reason).where(deliveries.c.account == "meta")
        states = db.execute(chosen.order_by(deliveries.c.id)).all()
    assert [tuple(state) for state in states] == [("delivered", ""), ("suppressed", "event_not_taken")]


def test_a_refund_before_its_purchase_is_kept_without_it(
    relay: Relay, post: Post, order: Any, refund: Any
) -> None:
    post(refund, "refunds/create")
    post(order)
    found = sealed(relay, f"{order['id']}:{refund['id']}")
    assert (found.order_id, found.attributes, found.names) == (str(order["id"]), {}, {})
    assert found.consent == sealed(relay, str(order["id"])).consent.__class__()
    assert ("acme", "Refund", str(order["id"])) in sent_as(relay)
    assert ("acme", "Purchase", order["checkout_token"]) in sent_as(relay)


def test_a_forgotten_purchase_gives_nothing_back(relay: Relay, post: Post, order: Any, refund: Any) -> None:
    post(order)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="delivered"))
    assert retention.forget(relay.database, now_ms() + 1) == 2
    post(refund, "refunds/create")
    assert sealed(relay, f"{order['id']}:{refund['id']}").attributes == {}


def test_a_purchase_under_a_lost_key_does_not_stop_its_refund(
    relay: Relay, post: Post, order: Any, refund: Any
) -> None:
    post(order)
    with relay.database.write() as db:
        db.execute(update(events).values(sealed=b"gAAAAAsealed-under-a-key-that-is-gone"))
    assert post(refund, "refunds/create").status_code == 200
    assert sealed(relay, f"{order['id']}:{refund['id']}").attributes == {}


# --- once ------------------------------------------------------------------------------------------------


def test_the_same_refund_ten_times_is_one(relay: Relay, post: Post, order: Any, refund: Any) -> None:
    post(order)
    for number in range(10):  # the same hook, and hooks that differ
        post(refund | {"note": "again" * (number % 5)}, "refunds/create")
    assert [name for name, _ in recorded(relay).values()] == ["Purchase", "Refund"]
    assert len(sent_as(relay)) == 3


def test_partial_then_full(relay: Relay, woocommerce: Callable[[Mapping[str, Any]], None]) -> None:
    for body in (UNREFUNDED, PARTLY, PARTLY, WHOLLY):
        woocommerce(body)
    assert recorded(relay) == {
        "29": ("Purchase", "14.90"),
        "29:30": ("Refund", "5.00"),
        "29:31": ("Refund", "9.90"),
    }
    assert (
        sealed(relay, "29:30").attributes
        == sealed(relay, "29:31").attributes
        == sealed(relay, "29").attributes
    )
    told = [verdict for verdict, _ in verdicts(relay)]
    assert told == ["event", "duplicate", "not_an_event"], "verdicts are what they were without refunds"


def test_one_hook_may_tell_the_sale_and_its_refund(
    relay: Relay, woocommerce: Callable[[Mapping[str, Any]], None]
) -> None:
    woocommerce(PARTLY)
    assert recorded(relay) == {"29": ("Purchase", "14.90"), "29:30": ("Refund", "5.00")}
    assert sealed(relay, "29:30").attributes == sealed(relay, "29").attributes != {}


def test_a_sale_that_was_never_counted_has_a_refund_but_no_purchase(
    relay: Relay, woocommerce: Callable[[Mapping[str, Any]], None]
) -> None:
    woocommerce(WHOLLY)
    assert {name for name, _ in recorded(relay).values()} == {"Refund"}
    assert sealed(relay, "29:31").attributes == {}


def test_refunds_told_at_once_in_any_order(
    relay: Relay, woocommerce: Callable[[Mapping[str, Any]], None]
) -> None:
    """The order of a shop's list is not stable; two transactions must not wait for each other in a circle."""
    told = [{"id": number, "total": "-0.10"} for number in range(100, 140)]
    bodies = [
        WHOLLY | {"refunds": told[::step], "customer_note": str(number)}
        for number, step in enumerate((1, -1) * 6)
    ]
    with ThreadPoolExecutor(len(bodies)) as pool:
        list(pool.map(woocommerce, bodies))  # raises what any of them raised
    assert len(recorded(relay)) == 40


def test_stripes_refunds_join_by_the_payment(relay: Relay, stripe: Callable[[str], None]) -> None:
    stripe("checkout_session_completed_paid_2026_DERIVED")
    for _ in range(2):
        stripe("charge_refunded_rest_2026_DERIVED")  # Stripe promises no order
        stripe("charge_refunded_partial_2026_DERIVED")
    paid = "pi_3ExampleIntent000000001"
    assert recorded(relay) == {
        paid: ("Purchase", "54.00"),
        f"{paid}:ch_3ExampleCharge0001-1400": ("Refund", "14.00"),
        f"{paid}:ch_3ExampleCharge0001-5400": ("Refund", "40.00"),
    }
    found = sealed(relay, f"{paid}:ch_3ExampleCharge0001-1400")
    assert (found.order_id, found.captured("fbp")) == ("ORD-100045", "fb.1.1764190000000.1098765432")
    assert ("acme", "Refund", "ORD-100045") in sent_as(relay)


# --- off, broken, woken ----------------------------------------------------------------------------------


def test_refunds_are_skipped_unless_wanted(
    environment: Environment, request: pytest.FixtureRequest, order: Any, refund: Any
) -> None:
    del environment["SHOPIFY_REFUNDS"]
    relay: Relay = request.getfixturevalue("relay")
    post: Post = request.getfixturevalue("post")
    post(order)
    post(refund, "refunds/create")
    assert [name for name, _ in recorded(relay).values()] == ["Purchase"]


def test_our_mistake_with_a_refund_costs_nothing_else(
    relay: Relay, post: Post, order: Any, refund: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Shopify, "refunds", broken)
        assert post(order).status_code == 200
        assert post(refund, "refunds/create").status_code == 200
    assert verdicts(relay) == [("event", ""), ("not_an_event", "refund")]
    assert len(recorded(relay)) == 1
    with relay.database.read() as db:
        number = db.execute(select(func.max(hooks.c.id))).scalar_one()
    [reread] = rereading.map_again(relay, [number])
    assert (reread.verdict, reread.is_new) == ("not_an_event", True), "mended and read again"
    assert sealed(relay, f"{order['id']}:{refund['id']}").attributes
    [reread] = rereading.map_again(relay, [number])
    assert not reread.is_new


def test_a_refund_that_cannot_be_used_is_no_more_than_a_warning(
    relay: Relay, post: Post, refund: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(refund | {"id": None}, "refunds/create").status_code == 200
    assert recorded(relay) == {}
    assert verdicts(relay) == [("not_an_event", "refund")]
    assert "a refund could not be used" in caplog.text


def test_a_new_refund_wakes_the_workers(
    relay: Relay, post: Post, refund: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []
    monkeypatch.setattr("webhooks.jobs.Wake.__call__", lambda _: woken.append(None))
    for _ in range(3):
        post(refund, "refunds/create")
    assert len(woken) == 1
