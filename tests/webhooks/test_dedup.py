"""Each planted fault is named, a clean shop raises none, and the first twenty orders decide."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from werkzeug.test import TestResponse

from tests.webhooks.conftest import Environment
from tests.webhooks.test_collect import Body, beacon, desk, sqlite_alone, tell
from webhooks import cli, dedup, mismatch, schema
from webhooks.clock import DAY, MINUTE, now_ms
from webhooks.figures import figures
from webhooks.mismatch import KINDS, Right
from webhooks.relay import Relay

__all__ = ["desk"]  # a fixture

CASES = json.loads((Path(__file__).parents[1] / "data" / "dedup" / "faults.json").read_text())
Post = Callable[..., TestResponse]


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> Body:
    """The case at hand; of a test without one, nothing is wrong."""
    found: Body = getattr(request, "param", {})
    return found


@pytest.fixture
def environment(environment: Environment, planted: Body) -> Environment:
    template = {"SHOPIFY_EVENT_ID": planted["template"]} if "template" in planted else {}
    beacons = {"SHOPIFY_ORIGINS": "https://shop.example.com", "SHOPIFY_CONSENT_POLICY": "opt_out"}
    more: Environment = planted.get("settings", {})
    return environment | beacons | template | more


def overlap(relay: Relay) -> dedup.Overlap:
    """Of the shop's one account."""
    [found] = dedup.report(relay, 0, "shopify").overlaps
    return found


def sell(desk: FlaskClient, post: Post, order: Body, /, **changes: Any) -> Body:
    """An order, and what its page tells of it."""
    assert post(order).status_code == 200
    assert tell(desk, beacon(order, **changes)).status_code == 204
    return order


def another(order: Body, number: int) -> Body:
    return (
        order
        | {"id": 7_000_000 + number, "name": f"#{number}", "order_number": number}
        | {"checkout_token": f"token-{number}"}
    )


@sqlite_alone
@pytest.mark.parametrize("planted", [pytest.param(case, id=case["id"]) for case in CASES], indirect=True)
def test_a_planted_fault_is_named(
    relay: Relay, desk: FlaskClient, post: Post, order: Body, planted: Body
) -> None:
    said: Body = {name: planted[name] for name in ("fired", "event_ids", "seen") if name in planted}
    if "event_id" in planted:
        said["event_ids"] = {"meta": planted["event_id"]}
    sell(desk, post, order, **said)
    found = overlap(relay)
    [fault] = found.faults
    assert (fault.kind, fault.shape) == (planted["kind"], planted["shape"])
    assert (fault.count, fault.order, found.purchases, found.with_twin, found.matched) == (
        1,
        "#1042",
        1,
        1,
        0,
    )
    assert "{" not in fault.remedy.replace("{meta:its_key|order_id}", "")


@sqlite_alone
def test_the_same_purchase_under_a_new_id_each_time(
    relay: Relay, desk: FlaskClient, post: Post, order: Body
) -> None:
    sell(desk, post, order, event_ids={"meta": "1763800000-1"})
    tell(desk, beacon(order, event_ids={"meta": "1763800009-2"}))
    assert {fault.kind for fault in overlap(relay).faults} == {"unlike", "fired_twice"}


@sqlite_alone
def test_different_orders_under_one_id(relay: Relay, desk: FlaskClient, post: Post, order: Body) -> None:
    sell(desk, post, order, event_ids={"meta": "thank-you"})
    sell(desk, post, another(order, 2), event_ids={"meta": "thank-you"})
    assert {fault.kind for fault in overlap(relay).faults} == {"unlike", "one_id_for_all"}


def test_twins_outside_the_window(relay: Relay, desk: FlaskClient, post: Post, order: Body) -> None:
    sell(desk, post, order)
    with relay.database.write() as db:
        db.execute(update(schema.deliveries).values(first_sent_at=now_ms() + 2 * DAY - MINUTE))
    assert overlap(relay).faults == ()
    with relay.database.write() as db:
        db.execute(update(schema.deliveries).values(first_sent_at=now_ms() + 2 * DAY + MINUTE))
    found = overlap(relay)
    assert [fault.kind for fault in found.faults] == ["outside_window"]
    assert (found.with_twin, found.matched) == (1, 0)


def test_every_kind_is_planted() -> None:
    planted = {case["kind"] for case in CASES} | {"fired_twice", "one_id_for_all", "outside_window"}
    assert planted == KINDS.keys()


def test_every_kind_is_documented() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "beacon.md").read_text()
    table = [f"| `{kind}` | {said.sentence} |" for kind, said in KINDS.items()]
    assert [line for line in guide.splitlines() if line.startswith("| `")] == table


def test_a_clean_shop_raises_none(relay: Relay, desk: FlaskClient, post: Post, order: Body) -> None:
    for number in range(4):
        sell(desk, post, another(order, number), event_ids={"meta": str(7_000_000 + number)})
    seen = [{"destination": "meta", "event_name": "Purchase", "event_id": "7000004"}]
    sell(desk, post, another(order, 4), event_ids={"meta": "7000004"}, seen=seen)
    sell(desk, post, another(order, 5), event_ids={"meta": "7000005"}, fired=[])
    post(another(order, 6))
    post(another(order, 7) | {"source_name": "pos"})
    assert overlap(relay) == dedup.Overlap(
        shop="shopify",
        account="meta",
        destination="meta",
        purchases=7,
        with_twin=5,
        matched=5,
        blocked=1,
        faults=(),
    )


@sqlite_alone
def test_whoever_knows_the_number_alone_plants_nothing(
    relay: Relay, desk: FlaskClient, post: Post, order: Body
) -> None:
    sell(desk, post, order, order={"order_id": str(order["id"])}, event_ids={"meta": "forged"})
    told = dedup.report(relay, 0)
    assert told.unproved == {"shopify": 1}
    assert told.overlaps[0].faults == ()


# --- the first twenty orders -------------------------------------------------------------------------------


def first_orders(
    relay: Relay, desk: FlaskClient, post: Post, order: Body, count: int, wrong: int, silent: int = 0
) -> None:
    for number in range(count):
        one = another(order, number)
        post(one)
        said = "wrong" if number < wrong else str(one["id"])
        if number < count - silent:
            tell(desk, beacon(one, event_ids={"meta": f"{said}{number}" if number < wrong else said}))
    with relay.database.write() as db:
        earlier = {"received_at": schema.events.c.received_at - 2 * MINUTE}
        db.execute(update(schema.events).values(earlier))
    dedup.watch(relay)


@sqlite_alone
@pytest.mark.parametrize(
    ("count", "wrong", "silent", "causes"),
    [
        pytest.param(20, 20, 0, [dedup.MISMATCH], id="none matches"),
        pytest.param(20, 6, 0, [dedup.MISMATCH], id="a third does not"),
        pytest.param(20, 3, 12, [dedup.MISMATCH], id="three of eight do not"),
        pytest.param(20, 2, 0, [], id="two are odd"),
        pytest.param(20, 0, 12, [], id="most browsers are silent"),
        pytest.param(20, 0, 20, [dedup.SILENT], id="all browsers are silent"),
        pytest.param(19, 19, 0, [], id="too early to say"),
    ],
)
def test_the_first_twenty_orders_decide(
    relay: Relay,
    desk: FlaskClient,
    post: Post,
    order: Body,
    count: int,
    wrong: int,
    silent: int,
    causes: list[str],
) -> None:
    first_orders(relay, desk, post, order, count, wrong, silent)
    assert [alert.cause for alert in relay.alerts.open()] == causes
    assert all(alert.subject == "shopify" and alert.remedy for alert in relay.alerts.open())
    [shop] = figures(relay).shops
    assert shop.browser == "".join(f"{alert.sentence}. {alert.remedy}" for alert in relay.alerts.open())


@sqlite_alone
def test_all_clear_when_they_match_again(relay: Relay, desk: FlaskClient, post: Post, order: Body) -> None:
    first_orders(relay, desk, post, order, count=20, wrong=20)
    with relay.database.write() as db:
        db.execute(update(schema.sightings).values(kind=""))
    dedup.watch(relay)
    assert relay.alerts.open() == []


# --- the command -------------------------------------------------------------------------------------------


@sqlite_alone
@pytest.mark.parametrize("planted", [CASES[0]], indirect=True)
def test_the_command_names_cause_and_remedy(
    relay: Relay,
    desk: FlaskClient,
    post: Post,
    order: Body,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    planted: Body,
) -> None:
    sell(desk, post, order, event_ids={"meta": planted["event_id"]})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(cli.main, ["dedup", "report"])
    assert told.exit_code == 0, told.output
    assert KINDS["another_name"].sentence in told.output
    assert "#1042" in told.output
    plain = CliRunner().invoke(cli.main, ["dedup", "report", "--shop", "shopify", "--json"])
    [found] = json.loads(plain.stdout)["overlaps"]
    assert found["faults"][0]["kind"] == "another_name"
    assert CliRunner().invoke(cli.main, ["dedup", "report", "--shop", "nobody"]).exit_code == 1


# --- nothing that a browser fires breaks it ----------------------------------------------------------------

IDS = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text())
NAMES = {"order_id": "5512345678901", "order_name": "#1042", "checkout_token": "cb0ec7ab63b58403"}


@given(told=IDS, name=st.text(max_size=20), expected=st.text(min_size=1, max_size=30))
def test_any_id_has_a_cause_and_a_shape(told: Any, name: str, expected: str) -> None:
    right = Right(event_id=expected, event_name="Purchase", names=NAMES)
    kind = mismatch.cause(right, name, told)
    assert kind in {"", *KINDS}
    if not kind:
        assert (told, name) == (expected, "Purchase")
    assert len(mismatch.shape(told, NAMES)) < 100


@given(told=st.text(min_size=4))
def test_a_shape_repeats_nothing_that_the_order_does_not_explain(told: str) -> None:
    shape = mismatch.shape(told, NAMES)
    assert shape in {"nothing", "a UUID", f"text of {len(told)}"} or any(
        value.removeprefix("#") in told for value in NAMES.values()
    )


def test_a_report_is_plain(relay: Relay) -> None:
    assert msgspec.json.encode(dedup.report(relay, 0))
