"""Confirming: what became of an accepted call is asked until there is an answer, and told."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy import update
from werkzeug import Request as Hit
from werkzeug import Response as Reply

from integrations.destination import Account, Outcome, Request, Response
from integrations.destinations.meta import Meta
from tests.webhooks.pixel import Pixel, rows
from webhooks import settings
from webhooks.clock import HOUR, MINUTE, now_ms
from webhooks.confirming import CALLS, FIRST_LOOK, GIVE_UP, confirm_due
from webhooks.delivery import Drain
from webhooks.questions import Questions
from webhooks.relay import Relay
from webhooks.schema import deliveries
from webhooks.storytelling import tell
from webhooks.sweep import Sweep
from webhooks.tokens import Tokens
from webhooks.transport import Transport


class Registry:
    """Says what became of a call."""

    def __init__(self, server: HTTPServer) -> None:
        self.says: dict[str, Any] = {"state": "delivered"}
        self.asked: list[str] = []
        server.expect_request("/status").respond_with_handler(self._answer)

    def _answer(self, hit: Hit) -> Reply:
        self.asked.append(hit.args["trace"])
        return Reply(json.dumps(self.says), content_type="application/json")


def confirm(_: Meta, trace: str, account: Account) -> Request | None:
    return Request(f"{account.api_base}/status?trace={trace}", method="GET")


def read_confirm(_: Meta, response: Response) -> Outcome:
    return Outcome(**json.loads(response.body))


@pytest.fixture
def registry(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Meta, as if it only accepted events at first."""
    monkeypatch.setattr(Meta, "confirm", confirm)
    monkeypatch.setattr(Meta, "read_confirm", read_confirm)
    return Registry(httpserver)


@pytest.fixture
def asking(relay: Relay) -> Iterator[Tokens]:
    transport = Transport(total_seconds=5)
    yield Tokens(transport)
    transport.close()


def later(relay: Relay, milliseconds: int) -> None:
    """As if that much time had passed since everything was delivered."""
    long_ago = now_ms() - milliseconds
    with relay.database.write() as db:
        waiting = update(deliveries).where(deliveries.c.confirm_at.is_not(None))
        db.execute(waiting.values(delivered_at=long_ago, confirm_at=now_ms() - 1))


def story(relay: Relay) -> str:
    """How the delivery of the only order is told to people."""
    told = Questions(relay.database).story("shopify", str(one(relay)["order_id"]))
    return next(text for chapter in tell(told, {}, now_ms()) for text, _ in chapter.lines if "meta:" in text)


def one(relay: Relay) -> Any:
    [row] = rows(relay).values()
    return row


def test_what_is_accepted_is_asked_about_after_a_while(
    registry: Registry, relay: Relay, drain: Drain, asking: Tokens, pixel: Pixel, orders: Any
) -> None:
    orders(3)
    drain.run(5)
    for row in rows(relay).values():
        assert row["confirm_at"] - row["delivered_at"] == FIRST_LOOK
        assert row["confirmed"] == ""
    assert confirm_due(relay, asking) == 0
    later(relay, FIRST_LOOK)
    assert confirm_due(relay, asking) == 1
    assert registry.asked == ["trace-1"], "one question for all events of a call"
    assert {(row["state"], row["confirmed"], row["confirm_at"]) for row in rows(relay).values()} == {
        ("delivered", "processed", None)
    }
    assert confirm_due(relay, asking) == 0


def test_where_acceptance_is_the_end_nothing_is_asked(
    relay: Relay, drain: Drain, asking: Tokens, pixel: Pixel, orders: Any
) -> None:
    orders(1)
    drain.run(5)
    assert (one(relay)["state"], one(relay)["confirm_at"]) == ("delivered", None)


def test_what_failed_later_is_told_and_stays_delivered(
    registry: Registry,
    relay: Relay,
    drain: Drain,
    asking: Tokens,
    pixel: Pixel,
    orders: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry.says = {"state": "refused", "reason": "EVENT_TOO_OLD", "detail": "1 of 2 events"}
    orders(2)
    drain.run(5)
    later(relay, FIRST_LOOK)
    with caplog.at_level(logging.ERROR):
        confirm_due(relay, asking)
        confirm_due(relay, asking)
    for row in rows(relay).values():
        assert (row["state"], row["confirmed"], row["detail"]) == (
            "delivered",
            "EVENT_TOO_OLD",
            "1 of 2 events",
        )
    [told] = [record for record in caplog.records if record.name == "webhooks.alert"]
    assert told.__dict__["facts"] == {
        "account": "meta",
        "reason": "EVENT_TOO_OLD",
        "count": 2,
        "kind": "not_processed",
    }


@pytest.mark.parametrize(
    ("passed", "next_look"),
    [
        (15 * MINUTE, HOUR),
        (HOUR, 2 * HOUR),
        (5 * HOUR, 10 * HOUR),
        (40 * HOUR, GIVE_UP),
    ],
    ids=["first", "second", "later", "last"],
)
@pytest.mark.parametrize("state", ["retry", "held"])
def test_no_verdict_is_asked_for_again_ever_more_seldom(
    registry: Registry,
    relay: Relay,
    drain: Drain,
    asking: Tokens,
    pixel: Pixel,
    orders: Any,
    state: str,
    passed: int,
    next_look: int,
) -> None:
    registry.says = {"state": state}
    orders(1)
    drain.run(5)
    later(relay, passed)
    confirm_due(relay, asking)
    row = one(relay)
    assert row["confirmed"] == ""
    assert abs(row["confirm_at"] - row["delivered_at"] - next_look) < 10_000


def test_who_never_says_is_unknown(
    registry: Registry, relay: Relay, drain: Drain, asking: Tokens, pixel: Pixel, orders: Any
) -> None:
    registry.says = {"state": "retry"}
    orders(1)
    drain.run(5)
    later(relay, GIVE_UP)
    confirm_due(relay, asking)
    assert (one(relay)["state"], one(relay)["confirmed"], one(relay)["confirm_at"]) == (
        "delivered",
        "unknown",
        None,
    )


def test_an_account_that_is_gone_ends_as_unknown(
    registry: Registry,
    relay: Relay,
    drain: Drain,
    asking: Tokens,
    pixel: Pixel,
    orders: Any,
    environment: dict[str, str],
) -> None:
    orders(1)
    drain.run(5)
    without = {name: value for name, value in environment.items() if not name.startswith("META_")}
    bare = Relay(settings.load(without))
    later(bare, HOUR)
    assert confirm_due(bare, asking) == 1
    later(bare, GIVE_UP)
    confirm_due(bare, asking)
    assert (registry.asked, one(bare)["confirmed"]) == ([], "unknown")
    bare.close()


def test_the_story_tells_acceptance_from_processing(
    registry: Registry, relay: Relay, drain: Drain, asking: Tokens, pixel: Pixel, orders: Any
) -> None:
    orders(1)
    drain.run(5)
    assert "accepted only, what became of it is asked at" in story(relay)
    registry.says = {"state": "refused", "reason": "NO_CONSENT", "detail": "of 1 events: NO_CONSENT (1)"}
    later(relay, FIRST_LOOK)
    confirm_due(relay, asking)
    assert "delivered at" in story(relay)
    assert "asked later: NO_CONSENT" in story(relay)
    assert "of 1 events" in story(relay)


def test_two_sweepers_ask_once(
    registry: Registry, relay: Relay, drain: Drain, asking: Tokens, pixel: Pixel, orders: Any
) -> None:
    orders(1)
    drain.run(5)
    later(relay, FIRST_LOOK)
    threads = [threading.Thread(target=confirm_due, args=(relay, asking)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.asked == ["trace-1"]


def test_our_own_mistake_does_not_stop_the_sweep(
    registry: Registry, relay: Relay, drain: Drain, pixel: Pixel, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Meta, "read_confirm", wrong)
    orders(1)
    drain.run(5)
    later(relay, FIRST_LOOK)
    sweep = Sweep(relay)
    sweep.once()
    sweep.transport.close()
    assert (one(relay)["state"], one(relay)["confirmed"]) == ("delivered", "")
    assert one(relay)["confirm_at"] > now_ms()


def test_a_round_has_an_end(
    registry: Registry, relay: Relay, drain: Drain, asking: Tokens, pixel: Pixel, orders: Any
) -> None:
    orders(CALLS + 5)
    drain.run(5)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(trace="t-" + deliveries.c.event_id))
    later(relay, FIRST_LOOK)
    assert [confirm_due(relay, asking) for _ in range(3)] == [CALLS, 5, 0]
    assert {row["confirmed"] for row in rows(relay).values()} == {"processed"}
