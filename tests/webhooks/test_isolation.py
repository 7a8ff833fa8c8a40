"""One account's trouble is its own: slow answers, splits, what kills workers, a ledger that is away."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from pytest_httpserver import HTTPServer
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from werkzeug import Response

from integrations.destinations.meta import Meta
from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel
from webhooks import jobs, settings
from webhooks.clock import now_ms
from webhooks.delivery import IN_FLIGHT, Drain, open_drain
from webhooks.relay import Relay
from webhooks.schema import attempts, deliveries

Orders = Callable[[int], list[str]]

# Who waits for whom is decided here, not in the database; what is asked of that, test_delivery asks of both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def httpserver() -> Iterator[HTTPServer]:
    """One that answers several at the same time."""
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.fixture
def environment(environment: Environment, tmp_path: Path) -> Environment:
    """A second account beside `meta`: `slow`."""
    config = tmp_path / "relay.toml"
    config.write_text(
        f"""
        [[accounts]]
        slug = "slow"
        destination = "meta"
        pixel_id = "9999999999"
        access_token_env = "SLOW_TOKEN"
        api_base = "{environment["META_API_BASE"]}"
        """
    )
    return environment | {"RELAY_CONFIG": str(config), "SLOW_TOKEN": "another-token"}


@pytest.fixture
def slow(httpserver: HTTPServer) -> Pixel:
    """The pixel of the account `slow`: answers after a second."""
    made = Pixel(httpserver, "9999999999")

    def later(data: list[dict[str, Any]]) -> Response:
        time.sleep(1)
        return made.accept(data)

    made.answer = later
    return made


def of(relay: Relay, account: str) -> list[dict[str, Any]]:
    with relay.database.read() as db:
        found = select(deliveries).where(deliveries.c.account == account).order_by(deliveries.c.id)
        return [dict(row) for row in db.execute(found).mappings()]


def suspect(relay: Relay, account: str, crashes: int = 2) -> None:
    with relay.database.write() as db:
        db.execute(update(deliveries).where(deliveries.c.account == account).values(crashes=crashes))


def meanwhile(relay: Relay, slow: Pixel) -> None:
    """While `slow` is asked for the first time, something is due for `meta`."""
    take_time = slow.answer

    def answer(data: list[dict[str, Any]]) -> Response:
        time.sleep(0.3)
        with relay.database.write() as db:
            due = update(deliveries).where(deliveries.c.account == "meta", deliveries.c.state == "held")
            db.execute(due.values(state="due"))
        return take_time(data)

    slow.answer = answer
    with relay.database.write() as db:
        db.execute(update(deliveries).where(deliveries.c.account == "meta").values(state="held"))


def test_what_travels_alone_keeps_no_other_account_waiting(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    orders(1)
    suspect(relay, "slow")
    meanwhile(relay, slow)
    drain.run(5)
    [quick], [late] = of(relay, "meta"), of(relay, "slow")
    assert quick["delivered_at"] < late["delivered_at"] - 500


def test_waiting_for_a_turn_of_one_keeps_no_other_account_waiting(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    placed = orders(3)
    with relay.database.write() as db:
        one = select(deliveries.c.id).where(deliveries.c.account == "slow").limit(1).scalar_subquery()
        db.execute(update(deliveries).where(deliveries.c.id == one).values(crashes=2, due_at=now_ms() + 200))
    meanwhile(relay, slow)
    drain.run(5)
    assert [len(call) for call in slow.calls] == [2, 1], "the others together, then the suspect alone"
    assert sorted(slow.ids) == placed
    first = min(row["delivered_at"] for row in of(relay, "slow"))
    assert all(row["delivered_at"] < first - 300 for row in of(relay, "meta"))


def test_what_has_seen_workers_die_is_never_out_together(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    orders(4)
    suspect(relay, "meta")
    suspect(relay, "slow")
    now, most, lock = 0, 0, threading.Lock()

    def counting(data: list[dict[str, Any]]) -> Response:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return pixel.accept(data)

    pixel.answer = slow.answer = counting
    while drain.run(5):
        continue
    assert most == 1
    assert {len(call) for call in (*pixel.calls, *slow.calls)} == {1}
    assert {row["state"] for row in (*of(relay, "meta"), *of(relay, "slow"))} == {"delivered"}
    turns = [
        row["account"]
        for row in sorted((*of(relay, "meta"), *of(relay, "slow")), key=lambda row: row["delivered_at"])
    ]
    assert turns[0] != turns[1], "accounts take turns"


def test_a_run_that_waits_for_a_slow_answer_goes_on_for_the_others(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    orders(1)
    placed: list[int] = []

    def place_later() -> None:
        time.sleep(0.5)  # the run's time is over, the slow answer is still out
        with relay.database.write() as db:
            db.execute(update(deliveries).where(deliveries.c.account == "meta").values(state="due", due_at=0))
        placed.append(now_ms())

    meanwhile = threading.Thread(target=place_later)
    meanwhile.start()
    drain.run(0.2)
    meanwhile.join()
    [quick], [late] = of(relay, "meta"), of(relay, "slow")
    assert placed[0] < quick["delivered_at"] < late["delivered_at"]


# --- splits ------------------------------------------------------------------------------------------------


def test_a_long_split_keeps_its_lease(
    environment: Environment, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    """Everything is refused, and slowly: what waits for its turn must not fall to somebody else."""
    relay = Relay(structs.replace(settings.load(environment), lease_seconds=2.0))
    placed, out, most, lock = orders(24), 0, 0, threading.Lock()

    def refuse(data: list[dict[str, Any]]) -> Response:
        nonlocal out, most
        with lock:
            out += 1
            most = max(most, out)
        time.sleep(0.3)
        with lock:
            out -= 1
        return pixel.error(400, code=100, error_subcode=2804009, message="no", fbtrace_id="t")

    pixel.answer, slow.answer = refuse, slow.accept
    drain = open_drain(relay, threading.Event())
    drain.run(30)
    drain.close()
    found = of(relay, "meta")
    assert {(row["state"], row["crashes"], row["ambiguous"]) for row in found} == {("refused", 0, False)}
    assert sorted(one[0]["event_id"] for one in pixel.calls if len(one) == 1) == sorted(placed)
    assert most <= IN_FLIGHT
    relay.close()


def test_stopping_gives_back_what_waits_in_a_split(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    def refuse(data: list[dict[str, Any]]) -> Response:
        if len(data) <= 8:
            drain.stopping.set()
        return pixel.error(400, code=100, error_subcode=2804009, message="no", fbtrace_id="t")

    pixel.answer, slow.answer = refuse, slow.accept
    orders(32)
    began = now_ms()
    drain.run(30)
    left = [row for row in of(relay, "meta") if row["state"] == "due"]
    assert left
    assert all((row["batch"], row["attempts"], row["crashes"]) == (None, 0, 0) for row in left)
    assert all(row["due_at"] < now_ms() for row in left)
    assert now_ms() - began < 10_000


# --- a drain that was interrupted --------------------------------------------------------------------------


def away(*_: object, **__: object) -> None:
    raise OperationalError("", {}, Exception("the database is away"))


@pytest.fixture
def outage(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Has one sentence of the ledger fail that many times."""

    def fail(name: str, times: int) -> None:
        real, left = getattr(relay.leases, name), [None] * times

        def sentence(*facts: Any, **more: Any) -> Any:
            if left:
                left.pop()
                away()
            return real(*facts, **more)

        monkeypatch.setattr(relay.leases, name, sentence)

    return fail


@pytest.mark.parametrize("sentence", ["open_attempts", "close"])
def test_what_is_in_hand_outlives_a_database_that_is_away(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders, outage: Any, sentence: str
) -> None:
    slow.answer = slow.accept
    placed = orders(3)
    outage(sentence, 2)
    for _ in range(3):
        try:
            drain.run(5)
        except OperationalError:
            continue
    assert sorted(pixel.ids) == sorted(slow.ids) == placed, "sent once"
    assert {(row["state"], row["crashes"]) for row in of(relay, "meta")} == {("delivered", 0)}


def test_an_answer_that_came_while_the_database_was_away_is_written_at_the_end(
    relay: Relay, pixel: Pixel, slow: Pixel, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.delivery.LINGER_SECONDS", 0.3)
    slow.answer = slow.accept
    orders(1)
    drain = open_drain(relay, threading.Event())
    with monkeypatch.context() as outage:
        outage.setattr(relay.leases, "close", away)
        with pytest.raises(OperationalError):
            drain.run(0.1)
    drain.close()
    assert {row["state"] for row in of(relay, "meta")} == {"delivered"}


@pytest.mark.parametrize("step", ["build", "read"])
def test_a_job_that_hangs_blames_what_it_hung_with_and_nothing_else(
    environment: Environment,
    pixel: Pixel,
    slow: Pixel,
    orders: Orders,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """RQ interrupts a job that takes too long, wherever it is; the same drain is used again."""
    slow.answer = slow.accept
    placed = orders(6)
    culprit, build_really, read_really = placed[2], Meta.build, Meta.read

    def answer(data: list[dict[str, Any]]) -> Response:
        mark = "culprit" if any(event["event_id"] == culprit for event in data) else "trace"
        return Response(json.dumps({"events_received": len(data), "messages": [], "fbtrace_id": mark}))

    def build(self: Meta, those: Any, account: Any, now: int) -> Any:
        if step == "build" and account.slug == "meta" and any(one.event_id == culprit for one in those):
            raise jobs.Stuck
        return build_really(self, those, account, now)

    def read(self: Meta, count: int, response: Any) -> Any:
        if step == "read" and b"culprit" in response.body:
            raise jobs.Stuck
        return read_really(self, count, response)

    pixel.answer = answer
    monkeypatch.setattr(Meta, "build", build)
    monkeypatch.setattr(Meta, "read", read)
    relay = Relay(structs.replace(settings.load(environment), lease_seconds=0.3))
    drain, until = open_drain(relay, threading.Event()), time.monotonic() + 30
    while any(row["state"] == "due" for row in of(relay, "meta")) and time.monotonic() < until:
        try:
            drain.run(5)
        except jobs.Stuck:
            time.sleep(0.31)
    drain.close()
    states = {row["event_id"]: row["state"] for row in of(relay, "meta")}
    assert states.pop(culprit) == "broken"
    assert set(states.values()) == {"delivered"}
    relay.close()


def test_an_interruption_is_nobodys_fault(
    environment: Environment, pixel: Pixel, slow: Pixel, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.answer = slow.accept
    [placed] = orders(1)
    real, times = Meta.build, iter([1])

    def build(self: Meta, *facts: Any) -> Any:
        if next(times, None):
            raise jobs.Stuck
        return real(self, *facts)

    monkeypatch.setattr(Meta, "build", build)
    relay = Relay(structs.replace(settings.load(environment), lease_seconds=0.3))
    drain = open_drain(relay, threading.Event())
    with pytest.raises(jobs.Stuck):
        drain.run(5)
    time.sleep(0.31)
    drain.run(5)
    drain.close()
    assert [(row["event_id"], row["state"]) for row in (*of(relay, "meta"), *of(relay, "slow"))] == [
        (placed, "delivered")
    ] * 2
    relay.close()


def test_a_token_that_cannot_be_sent_stops_its_own_account_alone(
    environment: Environment, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    """Settings refuse such a token where an adapter says how tokens look; here none did."""
    configured = settings.load(environment)
    bad = {"access_token": "“quoted by a word processor”"}
    found = [
        structs.replace(one, options={**one.options, **bad}) if one.slug == "slow" else one
        for one in configured.accounts
    ]
    relay = Relay(structs.replace(configured, accounts=tuple(found)))
    orders(2)
    drain = open_drain(relay, threading.Event())
    for _ in range(3):
        drain.run(0.3)
    drain.close()
    assert {row["state"] for row in of(relay, "meta")} == {"delivered"}
    assert {(row["state"], row["reason"], row["ambiguous"]) for row in of(relay, "slow")} == {
        ("due", "not_sent", False)
    }
    relay.close()


def test_what_was_broken_by_crashes_is_told(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("webhooks.reporting.alert", lambda kind, *_, **__: told.append(kind))
    orders(1)
    suspect(relay, "meta", 5)
    drain.run(5)
    [row] = of(relay, "meta")
    assert (row["state"], row["reason"]) == ("broken", "crashes")
    assert told == ["broken"]
    with relay.database.read() as db:
        sent = db.execute(select(attempts.c.id).where(attempts.c.delivery == row["id"])).all()
    assert sent == []


def test_what_came_through_is_no_suspect_any_more(
    relay: Relay, drain: Drain, pixel: Pixel, slow: Pixel, orders: Orders
) -> None:
    slow.answer = slow.accept
    pixel.answer = lambda _: Response("oops", 500)
    orders(3)
    suspect(relay, "meta")
    while any(row["attempts"] == 0 for row in of(relay, "meta")):
        drain.run(0.05)
    assert {row["crashes"] for row in of(relay, "meta")} == {0}
