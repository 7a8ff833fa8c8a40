"""What became of a shop's sales by day, how many hooks are lost, and the command that compares."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pytest_httpserver import HTTPServer
from sqlalchemy import update

from integrations.access import Away, NoAccess
from tests.webhooks.corner import SECRET, Corner, corner
from webhooks import app, cli, reconciling, results
from webhooks.clock import DAY, HOUR, MINUTE, now_ms
from webhooks.relay import Relay
from webhooks.results import Losses
from webhooks.schema import deliveries

__all__ = ["corner"]

Run = Callable[..., Result]


@pytest.fixture
def environment(
    corner: Corner, database_url: str, redis_url: str, tmp_path: Path, httpserver: HTTPServer
) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "RELAY_DATA_DIR": str(tmp_path),
        "CORNER_WEBHOOK_SECRETS": SECRET,
        "CORNER_API_KEY": "key-for-tests",
        "META_PIXEL_ID": "1234567890",
        "META_ACCESS_TOKEN": "token-for-tests",
        "META_API_BASE": httpserver.url_for("/").rstrip("/"),
    }


@pytest.fixture
def run(relay: Relay, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(reconciling, "PAUSE_SECONDS", 0)

    def invoke(*arguments: str) -> Result:
        return CliRunner(env=environment).invoke(cli.main, arguments)

    return invoke


@pytest.fixture
def hook(relay: Relay, corner: Corner) -> Callable[[int], None]:
    client = app.create_app(relay.settings).test_client()

    def send(number: int) -> None:
        body, headers = corner.hook(number)
        assert client.post("/webhooks/corner", data=body, headers=headers).status_code == 200

    return send


def day_of(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def test_a_dry_run_tells_and_changes_nothing(run: Run, corner: Corner) -> None:
    corner.sell(1, time.time() - 7_200)
    for _ in range(2):
        told = run("reconcile", "--since", "3h", "--dry-run")
        assert told.exit_code == 0, told.output
        assert "1 order, 1 sold, 1 sale would be taken in" in told.stdout


def test_each_day_tells_what_was_sold_how_it_came_and_what_became_of_it(
    run: Run, relay: Relay, corner: Corner, hook: Callable[[int], None]
) -> None:
    noon = now_ms() // DAY * DAY / 1_000 - 43_200
    for number in range(4):
        corner.sell(number, noon - number * 86_400 / 2)
    hook(0)
    told = run("reconcile", "--since", "4d", "--json")
    assert told.exit_code == 0, told.output
    line = json.loads(told.stdout)
    assert (line["sold"], line["missing"], line["done"]) == (4, 3, True)
    assert line["lacks"] == ["the buyer's browser"]
    with relay.database.write() as db:
        db.execute(update(deliveries).where(deliveries.c.id == 1).values(state="delivered"))
    again = json.loads(run("reconcile", "--since", "4d", "--json").stdout)
    assert (again["sold"], again["missing"]) == (4, 0)
    days = {one["day"]: one for one in again["results"]}
    assert [*days] == sorted(days)
    newest = days[day_of(noon)]
    assert newest == {
        "day": day_of(noon),
        "shop": "corner",
        "listed": 2,
        "received": 1,
        "pulled": 1,
        "deliveries": {"meta": {"delivered": 1, "due": 1}},
        "discrepancy": 0.5,
    }


def test_a_person_reads_a_table(run: Run, corner: Corner) -> None:
    corner.sell(1, time.time() - 7_200)
    told = run("reconcile", "--since", "3h")
    assert told.exit_code == 0, told.output
    assert "1 sale without a hook taken in" in told.stdout
    assert "100 %" in told.stdout
    assert "meta: 1 due" in told.stdout
    assert "lacks the buyer's browser" in told.stderr


def test_an_orders_story_says_that_no_hook_told_of_it(
    run: Run, corner: Corner, hook: Callable[[int], None]
) -> None:
    corner.sell(1, time.time() - 7_200)
    run("reconcile", "--since", "3h")
    hook(1)
    told = run("orders", "show", "corner", "1").stdout
    assert "first heard of by the shop's own list, since no hook had told of it" in told
    assert "no hook, but found in the shop's own list" in told
    assert "sale.made: told of it once more: nothing new" in told


def test_a_new_relay_begins_with_the_present(run: Run, corner: Corner) -> None:
    corner.sell(1, time.time() - 7_200)
    assert "begins with the present" in run("reconcile").stdout
    assert corner.calls == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(
            NoAccess("rights", "Allow it to read orders."), "Allow it to read orders.", id="refused"
        ),
        pytest.param(Away("down", retry_after=0.0), "run it again later", id="away"),
    ],
)
def test_a_shop_that_cannot_be_asked_is_told_with_the_remedy(
    run: Run, corner: Corner, fault: Exception, words: str
) -> None:
    corner.faults.extend([fault] * reconciling.TRIES)
    told = run("reconcile", "--since", "3h")
    assert told.exit_code == 1
    assert words in told.stdout


def test_what_is_not_set_up_is_named(run: Run, environment: dict[str, str]) -> None:
    del environment["CORNER_API_KEY"]
    told = run("reconcile", "--since", "3h")
    assert told.exit_code == 1
    assert "Set CORNER_API_KEY" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("--until", "1h"), 2, id="an end alone"),
        pytest.param(("--shop", "acme"), 1, id="no such shop"),
    ],
)
def test_what_cannot_be_meant_is_said(run: Run, arguments: tuple[str, ...], code: int) -> None:
    assert run("reconcile", *arguments).exit_code == code


# --- how many hooks are lost -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "sold", "is_much"),
    [(2, 2, False), (3, 20, False), (4, 20, True), (15, 100, False), (16, 100, True), (3, 3, True)],
)
def test_a_single_order_or_two_are_chance(lost: int, sold: int, is_much: bool) -> None:
    assert Losses(sold, lost).exceed(15) is is_much


def test_the_newest_of_a_day_count_or_in_a_small_shop_of_a_week(
    run: Run, relay: Relay, corner: Corner, hook: Callable[[int], None]
) -> None:
    now = time.time()
    for number in range(30):
        corner.sell(number, now - (number + 1) * (2 if number < 10 else 5) * HOUR / 1_000)
        if number < 8:
            hook(number)
    run("reconcile", "--since", "7d")
    assert results.losses(relay.database, "corner", 0, now_ms()) == Losses(20, 12)
    recent = now_ms() - 9 * HOUR - MINUTE
    assert results.losses(relay.database, "corner", recent, now_ms()) == Losses(4, 0)
