"""One fault at the moment where it hurts most, with real processes."""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, permutations

import pytest

from tests.faults import orders
from tests.faults.crashing import MOMENTS
from tests.faults.injector import Injector
from tests.faults.installation import OURS, SCALED, Changes, Installation, Kind, installed
from tests.faults.judge import LATEST_SECONDS, Verdict, judge
from tests.faults.load import CUT_OFF, Load, at_once
from tests.faults.orders import Told
from tests.faults.processes import STOP_SECONDS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

COPIES = 4

UNHURRIED = "30"
"""A lease that does not run out on a busy machine, for where nobody dies."""


def ended(relay: Installation, load: Load, injector: Injector, name: str) -> Verdict:
    """Waits for the rest, stops everything, and counts."""
    load.join()
    settled = relay.settle(LATEST_SECONDS)
    relay.fleet.stop(OURS)
    return judge(relay, load, name=name, seed=0, settled=settled, faults=injector.done, kills=injector.kills)


def load_on(relay: Installation, rate: float, seconds: float) -> Load:
    load = Load(relay.web_url, relay.home / "acknowledged.jsonl", rate=rate, seconds=seconds)
    load.start()
    return load


def batches() -> Iterator[list[Told]]:
    """Hooks that come at the same time, one batch after the other."""
    numbers = count(1)
    for store, topics in orders.TOPICS.items():
        for turns in permutations(range(len(topics))):
            told = orders.tell(store, orders.sample(store), next(numbers))
            yield from ([told[turn]] * COPIES for turn in turns)
    for case in orders.sales():
        yield orders.tell(case.store.slug, json.loads(case.hook.body), next(numbers)) * COPIES


def test_an_order_told_of_again_and_again_is_one_purchase(database: Kind) -> None:
    """By every topic, four times each at once, in every order, to two web processes."""
    with installed(database, RELAY_LEASE_SECONDS=UNHURRIED) as relay:
        told = list(batches())
        answers = [answer for batch in told for answer in at_once(relay.web_url, batch)]
        assert {answer.status for answer in answers} == {200}
        assert relay.settle() < LATEST_SECONDS
        ledger = [row for row in relay.ledger() if row["event_name"] == "Purchase"]
        received = Counter(one.event_id for one in relay.received() if one.event_name == "Purchase")
    placed = {batch[0].order_id for batch in told}
    assert Counter(row["order_id"] for row in ledger) == Counter(placed), "one event each"
    assert received == Counter(row["event_id"] for row in ledger if row["state"] == "delivered")
    assert {row["state"] for row in ledger} <= {"delivered", "suppressed", "refused"}
    assert {(row["crashes"], row["ambiguous"]) for row in ledger} == {(0, False)}
    assert sum(received.values()) > 0.8 * len(placed)


def test_what_was_committed_before_a_crash_is_delivered() -> None:
    """The web process dies between commit and wake-up call: nobody was told, neither store nor worker."""
    told = [orders.place(number)[0] for number in range(3)]
    application = "tests.faults.crashing:between_commit_and_wake()"
    changes = Changes(web=("-m", "gunicorn", "-c", "python:webhooks.server", application))
    with installed("sqlite", changes=changes) as relay:
        answers = [at_once(relay.web_url, [one])[0] for one in told]
        assert {answer.status for answer in answers} == {CUT_OFF}
        settled = relay.settle()
        ledger, received = relay.ledger(), [one.event_id for one in relay.received()]
        again = at_once(relay.web_url, told)
    assert sorted(received) == sorted(one.order_id for one in told)
    assert {(row["state"], row["ambiguous"]) for row in ledger} == {("delivered", False)}
    assert settled < 2 * float(SCALED["RELAY_SWEEP_SECONDS"]) + float(SCALED["RELAY_LEASE_SECONDS"])
    assert {answer.status for answer in again} == {200}, "the stores send again, and it is known"


def test_a_worker_may_die_at_any_moment() -> None:
    """What was not on the wire yet goes out once and beyond doubt, everything else at least once."""
    expected = {"claimed": (1, False), "sending": (1, True), "answered": (2, True)}
    assert expected.keys() == MOMENTS.keys()
    seen = {}
    changes = Changes(worker=("-m", "tests.faults.crashing"))
    with installed("sqlite", changes=changes, RELAY_LEASE_SECONDS="1") as relay:
        for number, moment in enumerate(MOMENTS):
            (relay.home / moment).touch()
            told = orders.place(number)[0]
            assert at_once(relay.web_url, [told])[0].status == 200
            assert relay.settle() < LATEST_SECONDS
            assert not (relay.home / moment).exists(), "nobody died"
            [row] = [row for row in relay.ledger() if row["order_id"] == told.order_id]
            times = [one.event_id for one in relay.received()].count(told.order_id)
            seen[moment] = (times, row["ambiguous"])
    assert seen == expected


def test_an_order_that_kills_its_worker_takes_no_other_with_it() -> None:
    """It comes in the middle of others, and is put aside after a few deaths."""
    told = [orders.place(number)[0] for number in range(40)]
    culprit = told[17].order_id
    changes = Changes(worker=("-m", "tests.faults.crashing", culprit))
    with installed("sqlite", changes=changes, RELAY_LEASE_SECONDS="1") as relay:
        assert {answer.status for answer in at_once(relay.web_url, told)} == {200}
        assert relay.settle() < LATEST_SECONDS
        ledger = {row["order_id"]: row for row in relay.ledger()}
        received = {one.event_id for one in relay.received()}
    assert ledger.pop(culprit)["state"] == "broken"
    assert {row["state"] for row in ledger.values()} == {"delivered"}
    assert received == ledger.keys()


def test_a_deploy_loses_nothing_and_costs_no_attempt() -> None:
    """SIGTERM to every process at once, in the middle of calls that take a while."""
    slow = Changes(delays=(0.3, 1.0))
    with installed("postgresql", changes=slow, RELAY_LEASE_SECONDS=UNHURRIED) as relay:
        load = load_on(relay, rate=40, seconds=5)
        time.sleep(2.5)
        took = relay.fleet.stop(OURS)
        relay.fleet.start_again(OURS)
        verdict = ended(relay, load, Injector(relay, random.Random(0)), "deploy")
        ledger = relay.ledger()
    assert not verdict.broken, str(verdict)
    assert took.keys() == set(OURS)
    assert max(took.values()) < STOP_SECONDS
    assert {(row["attempts"], row["crashes"], row["ambiguous"]) for row in ledger} == {(1, 0, False)}


def test_valkey_gone_frozen_or_empty_changes_no_answer() -> None:
    with installed("postgresql", RELAY_LEASE_SECONDS=UNHURRIED) as relay:
        injector = Injector(relay, random.Random(0))
        load, began = load_on(relay, rate=40, seconds=8), time.monotonic()
        time.sleep(1.5)
        relay.fleet.stop(["valkey"])
        stopped = time.monotonic()
        time.sleep(2)
        relay.fleet.start_again(["valkey"])
        time.sleep(1)
        assert relay.fleet.signal("valkey", signal.SIGSTOP)
        frozen = time.monotonic()
        time.sleep(2)
        assert relay.fleet.signal("valkey", signal.SIGCONT)
        thawed = time.monotonic()
        for _ in range(3):
            time.sleep(0.5)
            assert injector.inflict("flush")
        verdict = ended(relay, load, injector, "valkey")
    assert not verdict.broken, str(verdict)
    assert verdict.answers.keys() == {"200"}, str(verdict)
    assert verdict.ambiguous == 0, str(verdict)
    usual = load.slowest(0.5, began, stopped)
    assert load.slowest(0.5, frozen, thawed) < 3 * usual + 0.1, f"nobody waits for Valkey\n{verdict}"
