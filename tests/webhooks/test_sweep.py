"""The sweep: what was never woken, what is too old, what must be forgotten, what a hook only named."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from redis import Redis
from sqlalchemy import select, update
from werkzeug import Request, Response

from integrations.hook import Hook
from integrations.stores.stripe import Stripe
from tests.waiting import until
from tests.webhooks.conftest import SAMPLES, Environment
from tests.webhooks.pixel import Pixel
from webhooks import app, completion, jobs, reporting, settings
from webhooks.clock import DAY, now_ms
from webhooks.delivery import Drain, open_drain
from webhooks.relay import Relay
from webhooks.sandbox import stripe_sender
from webhooks.schema import accounts, deliveries, events, hooks
from webhooks.sweep import Sweep

Post = Callable[..., Any]
STRIPE_SECRET = "whsec_for_tests_only"


@pytest.fixture
def sweep(relay: Relay) -> Iterator[Sweep]:
    made = Sweep(relay)
    yield made
    made.close()


def test_an_order_that_woke_nobody_is_found(relay: Relay, sweep: Sweep, post: Post, order: Any) -> None:
    post(order)
    until(relay.wake.waiting)  # the intake rings from a thread of its own
    with Redis.from_url(relay.redis_url) as redis:
        redis.flushall()
    sweep.once()
    assert relay.wake.waiting()


def test_a_lost_job_is_rung_again_although_the_flag_stands(
    relay: Relay, sweep: Sweep, post: Post, order: Any
) -> None:
    post(order)
    until(relay.wake.waiting)  # the intake rings from a thread of its own
    sweep.once()
    with Redis.from_url(relay.redis_url) as redis:
        redis.delete("rq:queue:purchase-relay")
    sweep.once()
    assert relay.wake.waiting() == 1


def test_nothing_due_wakes_nobody(relay: Relay, sweep: Sweep) -> None:
    sweep.once()
    assert relay.wake.waiting() == 0


@pytest.fixture(params=["away", "full"])
def redis_in_trouble(request: pytest.FixtureRequest, relay: Relay) -> Iterator[Callable[[], None]]:
    """A Redis that takes no calls, until the function is called."""
    with Redis.from_url(relay.redis_url) as redis:
        if request.param == "full":
            redis.config_set("maxmemory", 1)
        else:
            relay.wake = jobs.Wake("redis://127.0.0.1:9/0")

        def mend() -> None:
            redis.config_set("maxmemory", 0)
            relay.wake = jobs.Wake(relay.redis_url)

        yield mend
        mend()


def test_while_nobody_can_be_woken_the_sweep_delivers(
    relay: Relay,
    sweep: Sweep,
    orders: Callable[[int], list[str]],
    pixel: Pixel,
    redis_in_trouble: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placed = orders(3)
    sweep.once()
    assert pixel.ids == [], "Redis may only have hiccuped"
    monkeypatch.setattr("webhooks.deputy.SILENT_SECONDS", 0.0)
    sweep.once()
    assert sorted(pixel.ids) == placed
    redis_in_trouble()
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="due", due_at=0))
    sweep.once()
    assert len(pixel.ids) == 3, "the workers' turn again"
    assert relay.wake.waiting() == 1


def test_two_sweeps_do_no_harm(relay: Relay, sweep: Sweep, post: Post, order: Any) -> None:
    post(order)
    threads = [threading.Thread(target=sweep.once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (relay.wake.waiting() or 0) >= 1


def test_what_became_too_old_while_it_was_held_ends_visibly(
    relay: Relay, sweep: Sweep, post: Post, order: Any
) -> None:
    post(order)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="held", expires_at=now_ms() - 1))
    sweep.once()
    with relay.database.read() as db:
        row = db.execute(select(deliveries)).mappings().one()
    assert (row["state"], row["reason"]) == ("expired", "too_old")


def test_what_will_be_too_old_within_a_day_is_told(
    relay: Relay, sweep: Sweep, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, object]] = []
    monkeypatch.setattr(
        reporting, "alert", lambda kind, _sentence, **facts: told.append((kind, facts["count"]))
    )
    post(order)
    sweep.once()
    assert told == []
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="held", expires_at=now_ms() + DAY // 2))
    again = Sweep(relay)
    again.once()
    again.transport.close()
    assert told == [("closing_soon", 1)]


def test_retention_blanks_what_is_personal_and_keeps_the_facts(
    relay: Relay, sweep: Sweep, post: Post, order: Any
) -> None:
    post(order)
    post(order | {"id": 99, "financial_status": "pending"})
    long_ago = now_ms() - (relay.settings.retention_days + 1) * DAY
    with relay.database.write() as db:
        db.execute(update(events).values(received_at=long_ago))
        db.execute(update(hooks).values(received_at=long_ago))
    sweep.tidy()
    with relay.database.read() as db:
        assert db.execute(select(events.c.sealed)).scalar_one() is not None, "it still waits to be sent"
        db.execute(select(1))
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="delivered"))
    sweep.tidy()
    with relay.database.read() as db:
        event = db.execute(select(events)).mappings().one()
        kept = db.execute(select(hooks.c.sealed)).scalars().all()
    assert (event["sealed"], event["order_id"]) == (None, str(order["id"]))
    assert kept == [None, None]


def test_a_held_account_is_looked_at_again(relay: Relay, sweep: Sweep) -> None:
    with relay.database.write() as db:
        db.execute(
            accounts.insert().values(account="meta", destination="meta", state="held", since=0, probe_at=0)
        )
    sweep.once()
    assert relay.wake.waiting() == 1


# --- orders that a hook only names -------------------------------------------------------------------------


@pytest.fixture
def thin(environment: Environment, httpserver: HTTPServer) -> bytes:
    """A Stripe shop with an API key, and a thin event of one of its sessions."""
    environment |= {
        "STRIPE_WEBHOOK_SECRETS": STRIPE_SECRET,
        "STRIPE_API_KEY": "rk_test_key",
        "STRIPE_API_BASE": httpserver.url_for("/").rstrip("/"),
        "STRIPE_LIVEMODE": "any",
    }
    return (SAMPLES / "stripe/thin_event_v1_checkout_session_completed_DERIVED.json").read_bytes()


def take(relay: Relay, body: bytes) -> None:
    headers = stripe_sender.sign(body, STRIPE_SECRET, topic="", now=int(time.time()))
    client = app.create_app(relay.settings).test_client()
    assert client.post("/webhooks/stripe", data=body, headers=headers).status_code == 200


def verdict(relay: Relay) -> tuple[str, str]:
    with relay.database.read() as db:
        row = db.execute(select(hooks)).mappings().one()
    return row["verdict"], row["reason"]


def session_of(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((Path(SAMPLES) / "stripe" / name).read_text())
    session: dict[str, Any] = body["data"]["object"]
    return session


def test_a_thin_hook_becomes_an_event(
    thin: bytes, relay: Relay, sweep: Sweep, httpserver: HTTPServer
) -> None:
    session = session_of("checkout_session_completed_paid_2026_DERIVED.json")
    httpserver.expect_request(f"/v1/checkout/sessions/{session['id']}").respond_with_json(session)
    take(relay, thin)
    assert verdict(relay)[0] == "incomplete"
    sweep.once()
    assert verdict(relay) == ("event", "")
    with relay.database.read() as db:
        assert db.execute(select(events.c.order_id)).scalar_one() == session["client_reference_id"]
        assert len(db.execute(select(deliveries)).all()) == 1


def test_a_store_that_does_not_answer_is_asked_again(
    thin: bytes, relay: Relay, sweep: Sweep, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/").respond_with_data("", 500)
    take(relay, thin)
    for _ in range(completion.TRIES):
        assert verdict(relay)[0] == "incomplete"
        with relay.database.write() as db:
            db.execute(update(hooks).values(due_at=0))
        sweep.once()
    assert verdict(relay)[0] == "quarantined"
    with relay.database.read() as db:
        assert db.execute(select(hooks.c.sealed)).scalar_one() is not None, "kept, so that it can be retried"


def test_a_drain_is_what_a_worker_runs(relay: Relay) -> None:
    drain: Drain = open_drain(relay, threading.Event())
    assert drain.run(1) is False
    drain.close()


# --- nothing stops the sweep -------------------------------------------------------------------------------


def lay_aside(relay: Relay, shop: str, count: int, sealed: bytes) -> None:
    """Hooks of a Stripe shop that only name an order."""
    heard = {"store": "stripe", "topic": "t", "order_id": "", "reason": "", "verdict": "incomplete"}
    with relay.database.write() as db:
        for number in range(count):
            facts = {"digest": f"{shop}-{number}".encode(), "received_at": number, "last_received_at": 0}
            db.execute(
                hooks.insert().values(**heard, **facts, shop=shop, sealed=sealed, due_at=number + len(shop))
            )


def verdicts(relay: Relay, shop: str) -> list[str]:
    with relay.database.read() as db:
        found = select(hooks.c.verdict).where(hooks.c.shop == shop).order_by(hooks.c.id)
        return list(db.execute(found).scalars())


def test_a_hook_that_no_key_opens_does_not_stop_the_sweep(
    thin: bytes, relay: Relay, sweep: Sweep, post: Post, order: Any
) -> None:
    lay_aside(relay, "stripe", 1, b"sealed under a key that is gone")
    post(order)
    until(relay.wake.waiting)  # the intake rings from a thread of its own
    sweep.once()
    assert verdicts(relay, "stripe") == ["quarantined"]
    assert relay.wake.waiting() == 1


def test_an_order_that_breaks_our_mapping_does_not_stop_the_sweep(
    thin: bytes, relay: Relay, sweep: Sweep, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Stripe, "complete", broken)
    take(relay, thin)
    sweep.once()
    assert verdict(relay) == ("quarantined", "our mapping failed: ZeroDivisionError")


def test_a_shop_that_does_not_answer_keeps_no_other_shop_waiting(
    thin: bytes, environment: Environment, relay: Relay, tmp_path: Path, httpserver: HTTPServer
) -> None:
    asked: list[str] = []

    def answer(hit: Request) -> Response:
        asked.append(hit.headers["Authorization"])
        return Response("", 500)

    httpserver.expect_request(re.compile(".*")).respond_with_handler(answer)
    config = tmp_path / "relay.toml"
    config.write_text(
        f"""
        [[shops]]
        slug = "other"
        store = "stripe"
        webhook_secrets_env = "OTHER_SECRET"
        api_key_env = "OTHER_KEY"
        livemode = "any"
        api_base = "{environment["STRIPE_API_BASE"]}"
        """
    )
    more = {"RELAY_CONFIG": str(config), "OTHER_SECRET": "whsec_other_secret", "OTHER_KEY": "rk_test_other"}
    both = Relay(settings.load(environment | more))
    hook = Hook({}, thin, 0)
    lay_aside(both, "stripe", 8, both.vault.seal_hook(hook))
    lay_aside(both, "other-shop", 1, both.vault.seal_hook(hook))
    with both.database.write() as db:
        db.execute(update(hooks).where(hooks.c.shop == "other-shop").values(shop="other"))
    made = Sweep(both)
    made.once()
    made.transport.close()
    assert len(asked) == 2, "each shop once"
    with both.database.read() as db:
        tried = select(hooks.c.shop, hooks.c.tries).where(hooks.c.tries > 0).order_by(hooks.c.shop)
        assert [tuple(row) for row in db.execute(tried)] == [("other", 1), ("stripe", 1)]
    both.close()


def test_a_step_that_fails_does_not_stop_the_others(
    relay: Relay, sweep: Sweep, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(relay.wake, "waiting", broken)
    post(order)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(expires_at=now_ms() - 1))
    sweep.once()
    with relay.database.read() as db:
        assert db.execute(select(deliveries.c.state)).scalar_one() == "expired"


def test_what_stayed_held_for_an_open_account_is_released(
    relay: Relay, sweep: Sweep, post: Post, order: Any
) -> None:
    post(order)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="held"))
    sweep.once()
    with relay.database.read() as db:
        assert db.execute(select(deliveries.c.state)).scalar_one() == "due"


def test_two_that_complete_the_same_hook_agree(thin: bytes, relay: Relay) -> None:
    take(relay, thin)
    now = now_ms()
    row = relay.ledger.lease_incomplete(now, now)
    assert row is not None
    relay.ledger.close_hook(row["id"], "event", "")
    relay.ledger.close_hook(row["id"], "incomplete", "not answered", due_at=now)
    assert verdict(relay) == ("event", "")
