"""Delivery: real ledger on both databases, real sockets, a destination whose answers the test scripts."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import select, update
from werkzeug import Response

from integrations.destinations.meta import Meta
from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel, due_now, rows
from webhooks import settings
from webhooks.clock import now_ms
from webhooks.delivery import Drain
from webhooks.leases import CRASH_LIMIT
from webhooks.relay import Relay
from webhooks.schema import accounts, attempts, deliveries
from webhooks.transport import Transport

Post = Callable[..., Any]


def tries(relay: Relay) -> list[str]:
    with relay.database.read() as db:
        return list(db.execute(select(attempts.c.outcome).order_by(attempts.c.id)).scalars())


def test_what_is_due_is_delivered_once(relay: Relay, drain: Drain, pixel: Pixel, orders: Any) -> None:
    placed = orders(3)
    assert drain.run(5) is False
    assert drain.run(5) is False
    assert sorted(pixel.ids) == placed
    for row in rows(relay).values():
        assert (row["state"], row["attempts"], row["trace"], row["ambiguous"]) == (
            "delivered",
            1,
            "trace-1",
            False,
        )
        assert row["delivered_at"] >= row["first_sent_at"] >= row["created_at"]
    assert tries(relay) == ["delivered"] * 3


def test_a_backlog_goes_out_in_batches(relay: Relay, drain: Drain, pixel: Pixel, orders: Any) -> None:
    """Little at first, by a worker that has just started: it may die at once, and then all of it is in doubt.
    Ever more as long as it goes well."""
    orders(100)
    drain.run(5)
    assert [len(call) for call in pixel.calls] == [25, 50, 25]
    assert len(set(pixel.ids)) == 100
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="due", due_at=0))
    drain.run(5)
    assert [len(call) for call in pixel.calls[3:]] == [100], "another backlog"


def test_an_answer_is_written_down_before_anything_else_goes_out(
    relay: Relay,
    drain: Drain,
    pixel: Pixel,
    orders: Callable[[int], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until then a worker that dies leaves in doubt what it had sent."""
    claim, open_attempts = relay.leases.claim, relay.leases.open_attempts
    unwritten: list[int] = []
    seen_flying: list[int] = []

    def answer(data: list[dict[str, Any]]) -> Response:
        time.sleep(0.1)
        return pixel.accept(data)

    def slow_claim(*facts: Any, **more: Any) -> Any:
        seen_flying.append(len(drain._flights))
        wait(drain._flights)
        return claim(*facts, **more)

    def watched(*facts: Any, **more: Any) -> Any:
        unwritten.append(sum(flight.done() for flight in drain._flights))
        return open_attempts(*facts, **more)

    monkeypatch.setattr("webhooks.delivery.BATCH", 1)
    monkeypatch.setattr(relay.leases, "claim", slow_claim)
    monkeypatch.setattr(relay.leases, "open_attempts", watched)
    pixel.answer = answer
    placed = orders(6)
    drain.run(5)
    assert sorted(pixel.ids) == placed
    assert unwritten == [0] * 6
    assert max(seen_flying) > 0, "else nothing came back meanwhile"


def test_a_failure_is_tried_again_under_the_same_id(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    pixel.answer = lambda _: Response("oops", 500)
    [placed] = orders(1)
    drain.run(0.01)
    row = rows(relay)[placed]
    assert (row["state"], row["attempts"]) == ("due", row["attempts"])
    assert row["attempts"] >= 1
    pixel.answer = pixel.accept
    due_now(relay)
    drain.run(5)
    assert rows(relay)[placed]["state"] == "delivered"
    assert set(pixel.ids) == {placed}


def test_a_refused_event_is_found_in_its_batch(relay: Relay, drain: Drain, pixel: Pixel, orders: Any) -> None:
    placed = orders(100)
    poison = placed[37]

    def strict(data: list[dict[str, Any]]) -> Response:
        if any(event["event_id"] == poison for event in data):
            return pixel.error(400, code=100, error_subcode=2804009, message="no", fbtrace_id="t")
        return pixel.accept(data)

    pixel.answer = strict
    drain.run(10)
    states = {one: row["state"] for one, row in rows(relay).items()}
    assert states.pop(poison) == "refused"
    assert set(states.values()) == {"delivered"}
    assert len(pixel.calls) <= 15  # 2 · log2(100) + 2
    assert "2804009" in rows(relay)[poison]["reason"]
    assert {row["attempts"] for row in rows(relay).values()} == {1}


def test_a_dead_token_holds_the_account_and_loses_nothing(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any, environment: Environment
) -> None:
    pixel.answer = lambda _: pixel.error(401, code=190, message="expired", fbtrace_id="t")
    orders(3)
    drain.run(5)
    orders(5)  # two more
    drain.run(5)
    assert len(pixel.calls) == 1, "a dead token is not tried with every order"
    assert {(row["state"], row["attempts"]) for row in rows(relay).values()} == {("held", 0)}

    pixel.answer = pixel.accept
    renewed = Relay(settings.load(environment | {"META_ACCESS_TOKEN": "renewed-token"}))
    transport = Transport()
    after = Drain(renewed, transport, threading.Event())
    after.run(5)
    assert {(row["state"], row["attempts"]) for row in rows(relay).values()} == {("delivered", 1)}
    after.close()
    transport.close()
    renewed.close()


def test_a_held_account_is_probed_with_one_delivery(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    pixel.answer = lambda _: pixel.error(400, code=190, message="expired", fbtrace_id="t")
    orders(3)
    drain.run(5)
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=0))
    drain.run(5)
    assert [len(call) for call in pixel.calls] == [3, 1]
    pixel.answer = pixel.accept
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=0))
    drain.run(5)
    assert {row["state"] for row in rows(relay).values()} == {"delivered"}


def test_too_old_is_never_sent(relay: Relay, drain: Drain, pixel: Pixel, orders: Any) -> None:
    [placed] = orders(1)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(expires_at=now_ms() - 1))
    drain.run(5)
    assert rows(relay)[placed]["state"] == "expired"
    assert pixel.calls == []


def test_a_worker_that_died_while_sending_leaves_an_ambiguous_delivery(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    [placed] = orders(1)
    now = now_ms()
    claimed = relay.leases.claim("meta", 10, "dead", now, now)
    relay.leases.open_attempts("dead", claimed[:1], now, now)
    drain.run(5)
    row = rows(relay)[placed]
    assert (row["state"], row["ambiguous"], row["crashes"], row["attempts"]) == ("delivered", True, 1, 1)
    assert tries(relay) == ["interrupted", "delivered"]


def test_a_worker_that_died_before_sending_leaves_no_doubt(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    [placed] = orders(1)
    now = now_ms()
    relay.leases.claim("meta", 10, "dead", now, now)
    drain.run(5)
    row = rows(relay)[placed]
    assert (row["state"], row["ambiguous"]) == ("delivered", False)


class Death(BaseException):
    """The worker is gone, as by kill -9: nothing of ours runs after it."""


def test_what_kills_every_worker_ends_as_broken_and_alone(
    environment: Environment, post: Post, pixel: Pixel, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = orders(6)
    culprit, build, deaths = placed[2], Meta.build, 0

    def deadly(self: Meta, those: Any, *rest: Any) -> Any:
        if any(one.event_id == culprit for one in those):
            raise Death
        return build(self, those, *rest)

    monkeypatch.setattr(Meta, "build", deadly)
    relay = Relay(structs.replace(settings.load(environment), lease_seconds=0.05))
    transport = Transport()
    while any(row["state"] == "due" for row in rows(relay).values()):
        time.sleep(0.06)  # the dead one's lease runs out
        drain = Drain(relay, transport, threading.Event())
        try:
            drain.run(5)
        except Death:
            deaths += 1
        drain.close()
    states = {one: row["state"] for one, row in rows(relay).items()}
    assert states.pop(culprit) == "broken"
    assert set(states.values()) == {"delivered"}
    assert deaths == CRASH_LIMIT
    transport.close()
    relay.close()


def test_a_lease_that_ran_out_is_not_sent(relay: Relay, orders: Any) -> None:
    orders(1)
    now = now_ms()
    [first] = relay.leases.claim("meta", 10, "slow", now, now)
    [second] = relay.leases.claim("meta", 10, "quick", now, now + 60_000)
    assert first.id == second.id
    assert relay.leases.open_attempts("slow", [first], now, now + 60_000) == set()
    assert relay.leases.open_attempts("quick", [second], now, now + 60_000) == {second.id}


def test_two_workers_never_hold_the_same_delivery(relay: Relay, orders: Any) -> None:
    orders(40)
    held: list[int] = []

    def claim(name: str) -> None:
        for number in range(10):
            now = now_ms()
            held.extend(
                one.id for one in relay.leases.claim("meta", 5, f"{name}-{number}", now, now + 60_000)
            )

    threads = [threading.Thread(target=claim, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == len(set(held)) == 40


def test_an_uncertain_send_is_not_repeated_after_the_dedup_window(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    [placed] = orders(1)
    with relay.database.write() as db:
        long_ago = now_ms() - 49 * 3_600_000
        db.execute(update(deliveries).values(ambiguous=True, first_sent_at=long_ago))
    drain.run(5)
    assert (rows(relay)[placed]["state"], rows(relay)[placed]["reason"]) == ("refused", "uncertain")
    assert pixel.calls == []


def test_an_answer_that_breaks_us_is_broken_and_told(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Meta, "read", wrong)
    [placed] = orders(1)
    drain.run(5)
    assert (rows(relay)[placed]["state"], rows(relay)[placed]["ambiguous"]) == ("broken", True)


def test_an_event_that_cannot_be_built_does_not_harm_its_batch(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = orders(9)
    build = Meta.build

    def fragile(self: Meta, those: Any, *rest: Any) -> Any:
        if any(one.event_id == placed[4] for one in those):
            raise ZeroDivisionError
        return build(self, those, *rest)

    monkeypatch.setattr(Meta, "build", fragile)
    drain.run(5)
    states = {one: row["state"] for one, row in rows(relay).items()}
    assert states.pop(placed[4]) == "broken"
    assert set(states.values()) == {"delivered"}


def test_a_shop_that_wants_a_yes_sends_nothing_without(
    drain: Drain, pixel: Pixel, post: Post, order: Any, environment: Environment
) -> None:
    strict = Relay(settings.load(environment | {"SHOPIFY_CONSENT_POLICY": "opt_in"}))
    post(order | {"note_attributes": []})
    transport = Transport()
    after = Drain(strict, transport, threading.Event())
    after.run(5)
    [row] = rows(strict).values()
    assert (row["state"], row["reason"], pixel.calls) == ("suppressed", "no_consent", [])
    after.close()
    transport.close()
    strict.close()


def test_stopping_finishes_what_is_in_flight_and_claims_nothing_more(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    def slow(data: list[dict[str, Any]]) -> Response:
        drain.stopping.set()
        time.sleep(0.2)
        return pixel.accept(data)

    pixel.answer = slow
    orders(1)
    drain.run(5)
    assert {row["state"] for row in rows(relay).values()} == {"delivered"}
    orders(2)
    assert drain.run(5) is True
    assert len(pixel.calls) == 1
