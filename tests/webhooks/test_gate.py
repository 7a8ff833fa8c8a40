"""The gate: a destination that fails rests, one that asks for time gets it, and filters are visible."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import select, update
from werkzeug import Response

from integrations.destination import Outcome
from tests.webhooks.conftest import SECRET, Environment
from tests.webhooks.pixel import Pixel, due_now, rows
from webhooks import app, gate, settings
from webhooks.clock import now_ms
from webhooks.delivery import Drain, open_drain
from webhooks.relay import Relay
from webhooks.sandbox import shopify_sender
from webhooks.schema import accounts, deliveries

Orders = Callable[[int], list[str]]


def state(relay: Relay) -> dict[str, Any]:
    with relay.database.read() as db:
        return dict(db.execute(select(accounts)).mappings().one())


def failing(pixel: Pixel, drain: Drain, relay: Relay) -> None:
    pixel.answer = lambda _: Response("oops", 503)
    for _ in range(gate.FAILURES):
        due_now(relay)
        drain.run(0.01)


def test_an_account_rests_after_failures_in_a_row(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    orders(1)
    failing(pixel, drain, relay)
    assert state(relay)["state"] == "resting"
    calls, attempts = len(pixel.calls), max(row["attempts"] for row in rows(relay).values())
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=now_ms() + 60_000))
    due_now(relay)
    assert drain.run(0.5) is False, "nothing is left that anybody could do now"
    assert len(pixel.calls) == calls
    assert max(row["attempts"] for row in rows(relay).values()) == attempts, "waiting costs no attempt"


def test_a_resting_account_is_tried_with_one_delivery_and_opened(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    orders(1)
    failing(pixel, drain, relay)
    orders(20)
    pixel.answer, before = pixel.accept, len(pixel.calls)
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=0))
    due_now(relay)
    drain.run(5)
    assert len(pixel.calls[before]) == 1
    assert state(relay)["state"] == "open"
    assert {row["state"] for row in rows(relay).values()} == {"delivered"}


def test_each_failed_try_doubles_the_rest(
    environment: Environment, relay: Relay, pixel: Pixel, orders: Orders
) -> None:
    patient = Relay(structs.replace(settings.load(environment), retry_schedule=(30.0, 600.0)))
    drain = open_drain(patient, threading.Event())
    orders(1)
    failing(pixel, drain, patient)
    pauses = []
    for _ in range(6):
        with patient.database.write() as db:
            db.execute(update(accounts).values(probe_at=0))
        due_now(patient)
        began = now_ms()
        drain.run(0.01)
        pauses.append(round((state(patient)["probe_at"] - began) / 1_000, -1))
    assert pauses == [60, 120, 240, 480, 600, 600]
    drain.close()
    patient.close()


def test_a_first_try_at_once_is_no_rest_of_nothing(
    environment: Environment, relay: Relay, pixel: Pixel, orders: Orders
) -> None:
    hasty = Relay(structs.replace(settings.load(environment), retry_schedule=(0.0, 30.0)))
    drain = open_drain(hasty, threading.Event())
    orders(1)
    failing(pixel, drain, hasty)
    assert state(hasty)["probe_at"] > now_ms() + 20_000
    drain.close()
    hasty.close()


def test_a_destination_that_asks_for_time_gets_it(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    pixel.answer = lambda _: Response("slow down", 429, headers={"Retry-After": "90"})
    orders(3)
    drain.run(5)
    orders(6)
    drain.run(5)
    assert len(pixel.calls) == 1
    assert state(relay)["probe_at"] >= now_ms() + 85_000


def test_a_failing_account_does_not_stop_another(
    environment: Environment, post: Any, order: Any, pixel: Pixel, tmp_path: Any
) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(
        """
        [[accounts]]
        slug = "dead"
        destination = "meta"
        pixel_id = "9999999999"
        access_token_env = "META_ACCESS_TOKEN"
        api_base = "http://127.0.0.1:9"
        """
    )
    both = Relay(settings.load(environment | {"RELAY_CONFIG": str(config)}))

    body = json.dumps(order).encode()
    client = app.create_app(both.settings).test_client()
    headers = shopify_sender.sign(body, SECRET, topic="orders/paid", now=0)
    assert client.post("/webhooks/shopify", data=body, headers=headers).status_code == 200
    drain = open_drain(both, threading.Event())
    drain.run(0.5)
    with both.database.read() as db:
        found = dict(db.execute(select(deliveries.c.account, deliveries.c.state)).all())
    assert found == {"dead": "due", "meta": "delivered"}
    drain.close()
    both.close()


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [
        ("META_ONLY_COUNTRIES", "DE,AT", {}),
        ("META_ONLY_ORIGINS", "pos", {}),
        ("META_ONLY_EVENTS", "Refund", {}),
        ("META_MINIMUM_VALUE", "100000", {}),
    ],
)
def test_what_an_account_does_not_want_is_suppressed_visibly(
    environment: Environment, orders: Orders, pixel: Pixel, name: str, value: str, changes: dict[str, str]
) -> None:
    choosy = Relay(settings.load(environment | {name: value}))
    orders(1)
    drain = open_drain(choosy, threading.Event())
    drain.run(5)
    [row] = rows(choosy).values()
    assert (row["state"], f"META_{row['reason'].upper()}", pixel.calls) == ("suppressed", name, [])
    assert row["detail"]
    drain.close()
    choosy.close()


# --- what is held, and what becomes of it ------------------------------------------------------------------


def hold(relay: Relay, drain: Drain, pixel: Pixel, orders: Orders) -> None:
    """Has the destination refuse our token with one order."""
    pixel.answer = lambda _: pixel.error(401, code=190, message="expired", fbtrace_id="t")
    orders(1)
    drain.run(5)
    assert state(relay)["state"] == "held"


def test_what_a_dead_worker_sent_to_a_held_account_stays_uncertain(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    hold(relay, drain, pixel, orders)
    _, second = orders(2)
    now = now_ms()
    [lost] = relay.leases.claim("meta", 1, "dead", now, now)
    relay.leases.open_attempts("dead", [lost], now, now)
    drain.run(0.1)
    pixel.answer = pixel.accept
    relay.holds.release_all("meta", now_ms())
    drain.run(5)
    row = rows(relay)[second]
    assert (row["state"], row["ambiguous"], row["crashes"]) == ("delivered", True, 1)


def test_nothing_is_put_aside_for_an_account_that_was_just_released(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    hold(relay, drain, pixel, orders)
    drain.gate.look()  # this worker still believes that it is held
    relay.holds.release_all("meta", now_ms())
    assert relay.holds.park("meta", now_ms()) == 0
    assert {row["state"] for row in rows(relay).values()} == {"due"}


def test_what_is_held_is_released_bit_by_bit_and_in_its_old_order(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.holds.CHUNK", 2)
    monkeypatch.setattr("webhooks.gate.CHUNK", 2)
    hold(relay, drain, pixel, orders)
    orders(5)
    before = {one: row["due_at"] for one, row in rows(relay).items()}
    while relay.holds.park("meta", now_ms()):
        continue
    assert {row["state"] for row in rows(relay).values()} == {"held"}
    assert [relay.holds.release("meta", now_ms()) for _ in range(4)] == [2, 2, 1, 0]
    after = {one: row["due_at"] for one, row in rows(relay).items()}
    tried, *waited = after
    assert {one: after[one] for one in waited} == {one: before[one] for one in waited}
    assert after[tried] <= now_ms(), "its lease would have run on"


def test_all_that_is_held_goes_out_once_the_destination_takes_one(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.holds.CHUNK", 2)
    monkeypatch.setattr("webhooks.gate.CHUNK", 2)
    hold(relay, drain, pixel, orders)
    placed = orders(7)
    while relay.holds.park("meta", now_ms()):
        continue
    pixel.answer, pixel.calls = pixel.accept, []
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=0))
    drain.run(5)
    assert {row["state"] for row in rows(relay).values()} == {"delivered"}
    assert sorted(pixel.ids) == placed


def test_an_answer_from_before_does_not_open_an_account(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    hold(relay, drain, pixel, orders)
    [account] = relay.settings.accounts
    since = state(relay)["since"]
    drain.gate.look()
    drain.gate.landed(account, [Outcome("delivered")], since)
    assert state(relay)["state"] == "held"
    drain.gate.landed(account, [Outcome("delivered")], since + 1)
    assert state(relay)["state"] == "open"


def test_a_resting_destination_that_asks_for_more_time_gets_it(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    orders(1)
    failing(pixel, drain, relay)
    pixel.answer = lambda _: Response("slow down", 429, headers={"Retry-After": "90"})
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=0))
    due_now(relay)
    drain.run(0.01)
    assert state(relay)["probe_at"] >= now_ms() + 85_000


def test_a_dead_token_is_tried_once_whatever_waits(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.delivery.BATCH", 2)

    def refuse(_: Any) -> Response:
        time.sleep(0.3)
        return pixel.error(401, code=190, message="expired", fbtrace_id="t")

    pixel.answer = refuse
    orders(10)
    drain.run(5)
    assert len(pixel.calls) == 1
