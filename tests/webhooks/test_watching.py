"""Subscriptions that are gone, paused or lead elsewhere are mended; a person is told once, and once after."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import time_machine
from sqlalchemy import update

from integrations.access import Away, NoAccess, Subscription
from tests.waiting import until
from tests.webhooks.corner import (
    BASE,
    SECRET,
    TOPICS,
    Corner,
    CornerStore,
    _signature,
    corner,
    public_environment,
)
from webhooks import app, connecting, reconciling, rounds
from webhooks.clock import HOUR, now_ms
from webhooks.relay import Relay
from webhooks.rounds import Round, Rounds
from webhooks.schema import events
from webhooks.shops import Shops
from webhooks.transport import Transport

__all__ = ["corner"]

HERE = f"{BASE}/webhooks/corner/corner"


@pytest.fixture
def environment(corner: Corner, sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    return public_environment(sqlite_url, tmp_path) | {
        "RELAY_RECONCILE_DELAY": "0",
        "RELAY_WATCH_SECONDS": "0.1",
        "RELAY_RECONCILE_SECONDS": "0.1",
    }


@pytest.fixture
def shops() -> Iterator[Shops]:
    transport = Transport(total_seconds=5)
    yield Shops(transport)
    transport.close()


@pytest.fixture
def one(relay: Relay, shops: Shops, monkeypatch: pytest.MonkeyPatch) -> Round:
    """The round of the corner shop, which is connected."""
    monkeypatch.setattr(reconciling, "PAUSE_SECONDS", 0)
    shop = relay.settings.shop("corner", "corner")
    assert shop is not None
    connecting.connect(relay, shops, shop)
    return Round(relay, shops, shop, threading.Event())


@pytest.fixture
def hook(relay: Relay) -> Callable[[bytes], int]:
    client = app.create_app(relay.settings).test_client()

    def send(body: bytes) -> int:
        headers = {"X-Corner-Topic": "sale.made", "X-Corner-Signature": _signature(body, SECRET)}
        return client.post("/webhooks/corner", data=body, headers=headers).status_code

    return send


def open_causes(relay: Relay) -> list[str]:
    return [one.cause for one in relay.alerts.open()]


def sent_here(corner: Corner) -> list[tuple[str, str, bool]]:
    return sorted((one.topic, one.url, one.active) for one in corner.subscriptions if one.url == HERE)


ALL = sorted((topic, HERE, True) for topic in TOPICS)


def _gone(corner: Corner) -> None:
    corner.subscriptions = corner.subscriptions[1:]


def _all_gone(corner: Corner) -> None:
    corner.subscriptions = []


def _paused(corner: Corner) -> None:
    corner.subscriptions[0] = msgspec.structs.replace(
        corner.subscriptions[0], active=False, detail="disabled after six failures"
    )


def _elsewhere(corner: Corner) -> None:
    moved = "https://old.example.com/webhooks/corner/corner"
    corner.subscriptions[1] = msgspec.structs.replace(corner.subscriptions[1], url=moved)


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        pytest.param(_gone, "is gone", id="one is gone"),
        pytest.param(_all_gone, "is gone", id="all are gone"),
        pytest.param(_paused, "switched off", id="one is switched off"),
        pytest.param(_elsewhere, "another address", id="one leads elsewhere"),
    ],
)
def test_what_is_broken_is_mended_and_told_once_and_then_all_clear(
    relay: Relay, corner: Corner, one: Round, happens: Callable[[Corner], None], words: str
) -> None:
    one.watch()
    assert open_causes(relay) == []
    happens(corner)
    one.watch()
    assert sent_here(corner) == ALL
    (alert,) = relay.alerts.open()
    assert words in alert.sentence
    assert (alert.subject, alert.count) == ("corner", 1)
    one.watch()
    assert open_causes(relay) == []
    assert relay.alerts.ended("subscription", "corner") is not None


def test_what_cannot_be_mended_stays_told_once(relay: Relay, corner: Corner, one: Round) -> None:
    corner.made = lambda topic, url, **_: Subscription(id="0", topic=topic, url=url)  # type: ignore[method-assign]
    corner.subscriptions = []
    for _ in range(3):
        one.watch()
    assert [(alert.cause, alert.count) for alert in relay.alerts.open()] == [("subscription", 3)]


def test_a_secret_that_nobody_would_know_is_not_made(relay: Relay, corner: Corner, one: Round) -> None:
    """Its hooks would be refused, and the store would disable it."""
    corner.subscriptions, corner.makes_secret, corner.calls = [], "made-up-by-the-store", []
    for _ in range(3):
        one.watch()
    assert corner.subscriptions == []
    assert corner.calls.count("subscribe sale.made") == 1
    (alert,) = relay.alerts.open()
    assert "shops connect" in alert.remedy


def test_what_was_never_connected_is_left_alone(relay: Relay, corner: Corner, one: Round) -> None:
    """Hooks that were made by hand may not be visible: ours would come twice, signed with another secret."""
    connecting.disconnect(relay, one.watching.shops, one.shop)
    corner.calls = []
    one.watch()
    assert corner.calls == []
    assert open_causes(relay) == []


@pytest.mark.parametrize(
    ("days", "told"), [(-10, True), (30, True), (200, False)], ids=["over", "soon over", "good"]
)
def test_a_version_that_ends_is_told(relay: Relay, corner: Corner, one: Round, days: int, told: bool) -> None:
    ends = str(int(time.time()) + days * 86_400)
    corner.subscriptions = [msgspec.structs.replace(s, api_version=ends) for s in corner.subscriptions]
    one.watch()
    assert open_causes(relay) == (["api_version"] if told else [])


def test_refused_credentials_are_told_with_the_stores_remedy(
    relay: Relay, corner: Corner, one: Round
) -> None:
    corner.faults.extend([NoAccess("rights", "Allow it to read hooks.")] * 2)
    one.watch()
    one.watch()
    (alert,) = relay.alerts.open()
    assert (alert.cause, alert.remedy, alert.count) == ("shop_access", "Allow it to read hooks.", 2)
    one.watch()
    assert open_causes(relay) == []


def test_a_shop_that_is_away_is_told_of_after_an_hour(
    relay: Relay, corner: Corner, one: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner.faults.extend([Away("down")] * 2)
    one.watch()
    assert open_causes(relay) == []
    monkeypatch.setattr(rounds, "AWAY_SECONDS", 0.0)
    one.watch()
    assert open_causes(relay) == ["shop_away"]
    one.watch()
    assert open_causes(relay) == []


# --- what has come ---------------------------------------------------------------------------------------


def test_hooks_without_orders_are_told_and_the_subscriptions_made_anew_once(
    relay: Relay, corner: Corner, one: Round, hook: Callable[[bytes], int]
) -> None:
    assert hook(json.dumps({"code": "cannot_view"}).encode()) == 200
    before, corner.calls = {s.id for s in corner.subscriptions}, []
    for _ in range(2):
        one.watch()
    (alert,) = relay.alerts.open()
    assert alert.cause == "store_needs_you"
    assert sent_here(corner) == ALL
    assert before.isdisjoint(s.id for s in corner.subscriptions)
    assert corner.calls.count("subscribe sale.made") == 1
    corner.sell(1, time.time())
    with time_machine.travel(time.time() + 1):
        assert hook(corner.hook(1)[0]) == 200
        one.watch()
    assert open_causes(relay) == []


def test_where_it_would_change_the_secret_nothing_is_made_anew(
    relay: Relay,
    corner: Corner,
    one: Round,
    hook: Callable[[bytes], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CornerStore, "makes_secret", True)
    hook(json.dumps({"code": "cannot_view"}).encode())
    before = list(corner.subscriptions)
    one.watch()
    assert open_causes(relay) == ["store_needs_you"]
    assert corner.subscriptions == before


def test_an_odd_order_needs_nobody_at_the_store(
    relay: Relay, corner: Corner, one: Round, hook: Callable[[bytes], int]
) -> None:
    corner.sell(1, time.time(), state="odd")
    hook(corner.hook(1)[0])
    one.watch()
    assert open_causes(relay) == []


def _sell_weekly(relay: Relay, corner: Corner, hook: Callable[[bytes], int]) -> None:
    """Twenty hooks in these hours of each of the last two weeks, and one six hours ago."""
    with time_machine.travel(time.time(), tick=False):
        now = time.time()
        moments = [
            now - week * 7 * 86_400 - 6 * 3_600 + number * 900 + 1 for week in (1, 2) for number in range(20)
        ]
        for number, moment in enumerate([now - 6 * 3_600, *moments], start=1):
            corner.sell(number, moment)
            hook(corner.hook(number)[0])
    with relay.database.write() as db:
        db.execute(update(events).values(received_at=events.c.event_time))


def test_unusual_silence_is_told_with_what_the_shops_own_list_says(
    relay: Relay, corner: Corner, one: Round, hook: Callable[[bytes], int]
) -> None:
    _sell_weekly(relay, corner, hook)
    one.watch()
    (alert,) = relay.alerts.open()
    assert "No hook has come" in alert.sentence
    one.reconciling.cursors.begin("corner", now_ms() - 8 * HOUR)
    one.compare()
    one.watch()
    (alert,) = relay.alerts.open()
    assert "sold nothing" in alert.sentence
    corner.sell(100, time.time())
    hook(corner.hook(100)[0])
    one.watch()
    assert open_causes(relay) == []


# --- hooks that are lost ---------------------------------------------------------------------------------


def test_many_sales_without_a_hook_are_told_and_all_clear_when_hooks_come_again(
    relay: Relay, corner: Corner, one: Round, hook: Callable[[bytes], int]
) -> None:
    one.reconciling.cursors.begin("corner", now_ms() - 3 * HOUR)
    for number in range(5):
        corner.sell(number, time.time() - 7_200)
    one.compare()
    assert [(alert.cause, alert.count) for alert in relay.alerts.open()] == [("hooks_lost", 5)]
    for number in range(10, 30):
        corner.sell(number, time.time() - 60)
        hook(corner.hook(number)[0])
    one.compare()
    assert open_causes(relay) == []


def test_a_cause_that_is_known_is_not_told_twice(relay: Relay, corner: Corner, one: Round) -> None:
    """What was lost with a subscription was told of with the subscription."""
    one.reconciling.cursors.begin("corner", now_ms() - 3 * HOUR)
    corner.subscriptions = []
    for number in range(5):
        corner.sell(number, time.time() - 7_200)
    one.watch()
    one.compare()
    assert open_causes(relay) == ["subscription"]
    one.watch()
    one.compare()
    assert open_causes(relay) == []


def test_an_api_that_does_not_show_orders_is_told(relay: Relay, corner: Corner, one: Round) -> None:
    one.reconciling.cursors.begin("corner", now_ms() - 3 * HOUR)
    corner.faults.append(NoAccess("rights", "Allow it to read orders."))
    one.compare()
    assert [(alert.cause, alert.remedy) for alert in relay.alerts.open()] == [
        ("shop_orders", "Allow it to read orders.")
    ]
    one.compare()
    assert open_causes(relay) == []


# --- the rounds ------------------------------------------------------------------------------------------


def test_a_shop_that_hangs_keeps_nobody_waiting(relay: Relay, corner: Corner, one: Round) -> None:
    """Neither the sweep, which begins at once and ends when it is asked to, nor its own next round."""
    entered, let_go = threading.Event(), threading.Event()

    def hang(name: str, token: str) -> None:
        entered.set()
        assert let_go.wait(20)

    corner.call = hang  # type: ignore[method-assign]
    stopping = threading.Event()
    made = Rounds(relay, stopping)
    began = time.monotonic()
    made.start()
    assert entered.wait(10)
    stopping.set()
    made.end(seconds=0.1)
    assert time.monotonic() - began < 5
    let_go.set()


def test_rounds_go_on_whatever_breaks(relay: Relay, corner: Corner, one: Round, caplog: Any) -> None:
    corner.faults.extend([ValueError("our own mistake"), ValueError("once more")])
    corner.subscriptions = []
    stopping = threading.Event()
    made = Rounds(relay, stopping)
    made.start()
    until(lambda: sent_here(corner) == ALL)
    until(lambda: relay.alerts.ended("subscription", "corner"))
    stopping.set()
    made.end()
    assert "A round to a shop failed" in caplog.text


def test_a_shop_without_credentials_is_watched_by_what_it_sends(
    relay: Relay, corner: Corner, one: Round
) -> None:
    shop = msgspec.structs.replace(one.shop, options={**one.shop.options, "api_key": ""})
    connecting.disconnect(relay, one.watching.shops, one.shop)
    corner.calls = []
    without = Round(relay, one.watching.shops, shop, threading.Event())
    without.watch()
    without.compare()
    assert corner.calls == []
    assert open_causes(relay) == []
