"""`shops connect`: exactly the needed hooks come here, however often it is run, and no others are touched."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from integrations.access import Away, NoAccess
from tests.webhooks.corner import BASE, TOPICS, Corner, CornerStore, corner, public_environment
from webhooks import cli, settings
from webhooks.clock import now_ms
from webhooks.connecting import connected_at
from webhooks.cursors import Cursors
from webhooks.relay import Relay
from webhooks.schema import audit

__all__ = ["corner"]

HERE = f"{BASE}/webhooks/corner/corner"

Run = Callable[..., Result]


@pytest.fixture
def environment(corner: Corner, sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    return public_environment(sqlite_url, tmp_path)


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def invoke(*arguments: str, typed: str = "") -> Result:
        return CliRunner(env=environment).invoke(cli.main, arguments, input=typed)

    return invoke


def sent_here(corner: Corner) -> list[tuple[str, str, bool]]:
    return [(one.topic, one.url, one.active) for one in corner.subscriptions]


ALL = [(topic, HERE, True) for topic in TOPICS]


def test_what_is_needed_is_subscribed_and_read_back(run: Run, corner: Corner, relay: Relay) -> None:
    told = run("shops", "connect", "corner")
    assert told.exit_code == 0, told.output
    assert sent_here(corner) == ALL
    assert corner.calls == [
        "probe",
        "subscriptions",
        "subscribe sale.made",
        "subscribe sale.changed",
        "subscriptions",
    ]
    assert told.stdout.splitlines()[-1] == f"The first order will arrive here: {HERE}"
    assert connected_at(relay.database, "corner") is not None


def test_from_the_connection_on_its_orders_are_ours(run: Run, relay: Relay) -> None:
    before = now_ms()
    run("shops", "connect", "corner")
    cursor = Cursors(relay.database).read("corner", now_ms())
    assert cursor is not None
    assert before <= cursor.compared_from <= now_ms()
    run("shops", "connect", "corner")
    assert Cursors(relay.database).read("corner", now_ms()) == cursor


def test_twice_changes_nothing(run: Run, corner: Corner, relay: Relay) -> None:
    run("shops", "connect", "corner")
    since = connected_at(relay.database, "corner")
    first, corner.calls = list(corner.subscriptions), []
    told = run("shops", "connect", "corner")
    assert told.exit_code == 0
    assert corner.subscriptions == first
    assert corner.calls == ["probe", "subscriptions", "subscriptions"]
    assert connected_at(relay.database, "corner") == since


def test_what_belongs_to_others_is_left_alone(run: Run, corner: Corner) -> None:
    theirs = [
        corner.made("sale.made", "https://other.example.com/webhooks/corner/corner"),
        corner.made("sale.made", f"{BASE}/webhooks/corner/another"),
        corner.made("sale.gone", "https://books.example.com/in"),
        corner.made("sale.made", "https://[half-an-address"),
    ]
    run("shops", "connect", "corner")
    assert corner.subscriptions[: len(theirs)] == theirs
    run("shops", "disconnect", "corner")
    assert corner.subscriptions == theirs


def test_what_is_paused_is_repaired(run: Run, corner: Corner) -> None:
    corner.made("sale.made", HERE, active=False, detail="paused by hand")
    told = run("shops", "connect", "corner")
    assert told.exit_code == 0
    assert sorted(sent_here(corner)) == sorted(ALL)


def test_what_is_there_twice_or_not_needed_is_ended(run: Run, corner: Corner) -> None:
    for topic, url in (
        ("sale.made", HERE),
        ("sale.made", f"{HERE}/"),
        ("sale.gone", HERE),
        ("sale.made", "HTTPS://RELAY.example.com/webhooks/corner/corner"),
    ):
        corner.made(topic, url)
    told = run("shops", "connect", "corner")
    assert told.stdout.count("ended, not needed") == 3
    assert sent_here(corner) == ALL


def test_the_only_shop_of_a_store_may_be_addressed_without_its_slug(run: Run, corner: Corner) -> None:
    for topic in TOPICS:
        corner.made(topic, f"{BASE}/webhooks/corner")
    run("shops", "connect", "corner")
    assert sent_here(corner) == [(topic, f"{BASE}/webhooks/corner", True) for topic in TOPICS]


def test_a_dry_run_changes_nothing(run: Run, corner: Corner, relay: Relay) -> None:
    corner.made("sale.gone", HERE)
    told = run("shops", "connect", "corner", "--dry-run")
    assert told.exit_code == 0, told.output
    assert "sale.made: would be subscribed" in told.stdout
    assert "sale.gone: would be ended" in told.stdout
    assert corner.calls == ["probe", "subscriptions"]
    assert connected_at(relay.database, "corner") is None
    assert run("shops", "disconnect", "corner", "--dry-run").exit_code == 0
    assert sent_here(corner) == [("sale.gone", HERE, True)]


def test_a_store_that_takes_it_and_does_not_send_is_no_success(run: Run, corner: Corner) -> None:
    made = corner.made

    def idle(topic: str, url: str, **_: object) -> object:
        return made(topic, url, active=False, detail="the app is not approved")

    corner.made = idle  # type: ignore[assignment]
    told = run("shops", "connect", "corner")
    assert told.exit_code == 1
    assert "the app is not approved" in told.stdout


# --- what is missing -------------------------------------------------------------------------------------


def test_without_a_public_address_there_is_nothing_to_tell_the_store(
    run: Run, corner: Corner, environment: dict[str, str]
) -> None:
    del environment["RELAY_PUBLIC_URL"]
    told = run("shops", "connect", "corner")
    assert told.exit_code == 3
    assert "set RELAY_PUBLIC_URL" in told.stderr
    assert corner.calls == []


def test_what_the_settings_lack_is_named(run: Run, environment: dict[str, str]) -> None:
    del environment["CORNER_API_KEY"]
    told = run("shops", "connect", "corner")
    assert told.exit_code == 3
    assert "Set CORNER_API_KEY" in told.stderr


def test_somebody_at_a_terminal_is_asked_and_told_what_to_add(
    run: Run, corner: Corner, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del environment["CORNER_API_KEY"]
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    told = run("shops", "connect", "corner", typed="a-key-that-was-typed\n")
    assert told.exit_code == 0, told.output
    assert "CORNER_API_KEY=<what you typed>" in told.stderr
    assert "a-key-that-was-typed" not in told.output
    assert sent_here(corner) == ALL


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(
            NoAccess("rights", "Allow it to write hooks."), "Allow it to write hooks.", id="refused"
        ),
        pytest.param(Away("down"), "try again later", id="away"),
    ],
)
def test_a_shop_that_refuses_is_told_with_the_remedy(
    run: Run, corner: Corner, fault: Exception, words: str
) -> None:
    corner.faults.append(fault)
    told = run("shops", "connect", "corner")
    assert told.exit_code == 1
    assert words in told.stderr


# --- secrets that the store makes ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["words", "json"])
def test_a_secret_that_is_shown_once_is_told_once(run: Run, corner: Corner, options: tuple[str, ...]) -> None:
    corner.makes_secret = "made-up-by-the-store"
    told = run("shops", "connect", "corner", *options)
    assert told.exit_code == 0
    assert told.stderr.count("made-up-by-the-store") == 1
    assert "made-up-by-the-store" not in told.stdout
    assert "CORNER_WEBHOOK_SECRETS" in told.stderr
    assert "made-up-by-the-store" not in run("shops", "connect", "corner").output


def test_a_secret_that_was_shown_survives_what_fails_afterwards(run: Run, corner: Corner) -> None:
    corner.makes_secret = "made-up-by-the-store"
    corner.faults.extend([None, None, None, Away("down"), Away("down")])
    told = run("shops", "connect", "corner")
    assert told.exit_code == 1
    assert "made-up-by-the-store" in told.stderr


def test_a_secret_of_the_settings_is_named_and_not_shown(
    run: Run, corner: Corner, environment: dict[str, str]
) -> None:
    corner.makes_secret = environment["CORNER_API_KEY"]
    told = run("shops", "connect", "corner")
    assert "signs with CORNER_API_KEY" in told.stderr
    assert environment["CORNER_API_KEY"] not in told.output


# --- the other commands ----------------------------------------------------------------------------------


def test_disconnected_it_is_looked_after_no_more(run: Run, corner: Corner, relay: Relay) -> None:
    run("shops", "connect", "corner")
    told = run("shops", "disconnect", "corner")
    assert told.exit_code == 0, told.output
    assert corner.subscriptions == []
    assert connected_at(relay.database, "corner") is None
    with relay.database.read() as db:
        assert [row.action for row in db.execute(select(audit))] == ["shops connect", "shops disconnect"]


def test_the_list_tells_what_is_wrong(run: Run, corner: Corner, relay: Relay) -> None:
    run("shops", "connect", "corner")
    relay.alerts.raise_("subscription", "corner", "A hook is not sent", "Connect it again")
    corner.subscriptions[0] = msgspec.structs.replace(corner.subscriptions[0], active=False, detail="paused")
    told = run("shops", "list", "--check", "--json")
    line = json.loads(told.stdout)
    assert line["address"] == HERE
    assert line["alerts"] == ["subscription"]
    assert line["subscriptions"] == {"sale.made": "inactive: paused", "sale.changed": "active"}
    assert "sale.made: inactive: paused" in run("shops", "list", "--check").stdout


def test_a_shop_that_there_is_not_is_said(run: Run) -> None:
    told = run("shops", "connect", "acme")
    assert told.exit_code == 1
    assert "there is no shop acme; the settings have corner" in told.stderr


def test_a_secret_that_the_store_is_to_make_is_not_asked_for_before(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del environment["CORNER_WEBHOOK_SECRETS"]
    with pytest.raises(settings.BadSettings, match="CORNER_WEBHOOK_SECRETS is missing"):
        settings.load(environment)
    monkeypatch.setattr(CornerStore, "makes_secret", True)
    assert any("`shops connect corner` tells it" in one for one in settings.load(environment).warnings)
