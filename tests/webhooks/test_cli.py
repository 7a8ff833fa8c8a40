"""The command line: what it prints and where, its exit codes, and real processes."""

import json
import logging
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet
from sqlalchemy import select, update

from integrations.destination import Outcome
from tests.waiting import until
from tests.webhooks.conftest import SECRET, Environment
from tests.webhooks.pixel import Pixel, rows
from webhooks import settings
from webhooks.cli import main
from webhooks.clock import DAY, HOUR, MINUTE, now_ms
from webhooks.commands.frame import MOMENT
from webhooks.delivery import Drain
from webhooks.relay import Relay
from webhooks.schema import audit, deliveries, events, hooks

ROOT = Path(__file__).parents[2]
Orders = Callable[[int], list[str]]
Post = Callable[..., Any]
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """The command writes the process's logs to a stream that is gone after the test."""
    root = logging.getLogger()
    outputs, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = outputs, level
    logging.captureWarnings(capture=False)


@pytest.fixture
def run(environment: Environment) -> Run:
    """Runs a command in the environment, which a test may change before; ``sets`` goes on top."""

    def invoke(line: str, *, expect: int = 0, **sets: str) -> Result:
        result = CliRunner().invoke(main, line.split(), env=environment | sets)
        problem = result.exception
        assert problem is None or isinstance(problem, SystemExit), problem
        assert result.exit_code == expect, result.output
        assert "Traceback" not in result.output
        assert "\x1b" not in result.output, "no colours where nobody looks"
        return result

    return invoke


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def change(relay: Relay, **values: object) -> None:
    with relay.database.write() as db:
        assert db.execute(update(deliveries).values(**values)).rowcount > 0


# --- the tree --------------------------------------------------------------------------------------------


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [(), *commands(main)], ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """Without any settings."""
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert re.search(r"Usage: .*\n\n  [A-Z].{10,}\.", result.output)
    summary = [line for line in result.output.splitlines() if re.match(r"  \S.*\.\.\.$", line)]
    assert not summary, "a first line that does not fit into the list of commands"


LOADED = """
import sys
from webhooks import cli
from webhooks.commands import processes
print(*{name.partition(".")[0] for name in sys.modules})
from webhooks import delivery, jobs, sweep
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_a_process_loads_only_what_it_needs() -> None:
    """Its start takes so much longer: the web process's command, then a worker and a sweep."""
    told = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    first, second = (set(line.split()) for line in told.splitlines())
    assert not first & {"sqlalchemy", "redis", "rich", "cryptography"}
    assert not second & {"sentry_sdk", "flask", "alembic", "mako"}


def test_the_exit_codes_are_documented() -> None:
    page = CliRunner().invoke(main, ["--help"]).output
    assert [int(code) for code in re.findall(r"^    ?(\d)  \S", page, re.MULTILINE)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "line", ["nonsense", "deliveries list --state lost", "orders show", "stats --nonsense"]
)
def test_a_command_that_was_not_understood(run: Run, line: str) -> None:
    assert run(line, expect=2).stdout == ""


# --- settings --------------------------------------------------------------------------------------------


def test_every_problem_with_the_settings_is_told_at_once(run: Run) -> None:
    broken = {"PORT": "web", "META_PIXEL_ID": "", "RELAY_WORKERS": "0"}
    for command in ("settings check", "stats", "web", "worker", "db upgrade"):
        result = run(command, expect=3, **broken)
        assert result.stdout == ""
        assert {"PORT", "META_PIXEL_ID", "RELAY_WORKERS"} <= set(re.findall(r"[A-Z_]{4,}", result.stderr))
    told = json.loads(run("settings check --json", expect=3, **broken).stdout)
    assert (told["ok"], len(told["problems"])) == (False, 3)


def test_settings_are_shown_without_secrets(run: Run) -> None:
    sets = {"RELAY_PUBLIC_URL": "https://relay.example.com"}
    for line in ("settings check", "settings check --json"):
        result = run(line, **sets)
        assert "https://relay.example.com/webhooks/shopify/shopify" in result.stdout
        assert SECRET not in result.output
        assert "token-for-tests" not in result.output


def test_what_a_shop_lacks_is_told(run: Run) -> None:
    nobody = {"META_PIXEL_ID": "", "META_ACCESS_TOKEN": "", "META_API_BASE": ""}
    told = json.loads(run("settings check --json", **nobody).stdout)
    [shop] = told["shops"]
    assert [one.split()[0] for one in shop["missing"]] == ["RELAY_PUBLIC_URL,", "an"]
    assert any("sends to nobody" in warning for warning in told["warnings"])
    assert "missing: an account" in run("settings check", **nobody).stdout


def test_the_example_is_made_from_the_settings(run: Run) -> None:
    assert run("settings example").stdout == settings.env_example()


# --- database --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_without_tables_says_what_to_do(
    environment: Environment, run: Run, empty_database_url: str
) -> None:
    environment["DATABASE_URL"] = empty_database_url
    for line in ("stats", "orders show shopify 1", "ledger export", "worker", "sweep", "vault rotate"):
        result = run(line, expect=4)
        assert result.stderr.splitlines()[-1] == (
            "Error: the database is not up to date: run `purchase-relay db upgrade`"
        )
    assert "now" in run("db upgrade").stdout
    assert "now" not in run("db upgrade").stdout
    run("stats")


@pytest.mark.parametrize("url", ["postgresql://relay@127.0.0.1:9/relay", "sqlite:////nonexistent/ledger.db"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("line", ["stats", "db upgrade", "ledger export", "replay --account meta --yes"])
def test_a_database_that_is_away_is_one_line(run: Run, line: str, url: str) -> None:
    result = run(line, expect=4, DATABASE_URL=url)
    assert result.stdout == ""
    [sentence] = result.stderr.splitlines()
    assert sentence.startswith("Error: the database does not answer: ")


# --- looking ---------------------------------------------------------------------------------------------


def test_the_story_of_a_delivered_order(
    run: Run, relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Any
) -> None:
    body = order | {"id": 7_000_001, "name": "#1042"}
    post(body)
    post(body, "orders/create")
    pixel.answer = lambda _: pixel.error(500, message="try later", code=2)
    drain.run(0.01)
    pixel.answer = pixel.accept
    change(relay, due_at=now_ms())
    drain.run(5)
    told = run("orders show shopify 1042").stdout
    value = rf"{re.escape(body['total_price'])} {body['currency']}"
    assert re.search(
        rf"^Order #1042 \(id 7000001\) of shop shopify \(shopify\): {value}, web$", told, re.MULTILINE
    )
    assert re.search(r"first heard of by webhook orders/paid at .* UTC \(\S+ \w+ later\)", told)
    assert re.search(r"meta: delivered at .* UTC on attempt \d+ as event_id 7000001 \(trace trace-1\)", told)
    assert re.search(r"attempt 1 at .*: failed, may be tried again: .* \(HTTP 500, took ", told)
    assert re.search(r"orders/create: told of it once more: nothing new", told)
    document = json.loads(run("orders show shopify #1042 --json").stdout)
    [event] = document["events"]
    assert event["deliveries"][0]["tries"][-1]["outcome"] == "delivered"
    assert re.fullmatch(r"\S+T\S+Z", event["deliveries"][0]["delivered_at"])


def test_the_story_of_an_order_that_waits(run: Run, relay: Relay, orders: Orders) -> None:
    orders(1)
    change(relay, due_at=now_ms() + HOUR, reason="500", detail="it is overloaded", attempts=1)
    told = run("orders show shopify 7000001").stdout
    assert re.search(r"meta: is tried again at .* UTC \(in (59|60) min\): 500, it is overloaded", told)
    assert re.search(r"[67] d left until the destination refuses it by its age", told)
    outcome = Outcome("held", "190", "the token was revoked")
    relay.holds.stop("meta", "meta", "held", outcome, "mark", now_ms(), MINUTE)
    change(relay, state="held", reason="190")
    told = run("orders show shopify 7000001").stdout
    assert "meta: held: the account waits for its owner: 190" in told
    assert "the token was revoked" in told
    assert "purchase-relay release meta" in told
    document = json.loads(run("orders show shopify 7000001 --json").stdout)
    assert document["accounts"][0]["state"] == "held"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"due_at": 1}, "meta: waits for a worker since 1970-01-01 00:00:00 UTC"),
        ({"batch": "b"}, "meta: being sent now as event_id 7000001"),
        ({"state": "refused", "reason": "value", "detail": "negative"}, "meta: refused: value, negative"),
        ({"state": "expired", "reason": "too_old"}, "meta: expired: too_old"),
        ({"state": "suppressed", "reason": "no_consent"}, "meta: suppressed: no_consent"),
        ({"state": "broken", "reason": "crashes"}, "meta: broken: crashes"),
        ({"state": "delivered", "confirmed": "processed"}, "asked later: processed"),
        ({"state": "refused"}, "to send it again: purchase-relay replay --shop shopify --order 7000001"),
        ({"expires_at": 1}, "too old by now"),
        ({"crashes": 2}, "2 workers died with it"),
        ({"ambiguous": True}, "it may have been counted all the same"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_every_state_has_its_words(
    run: Run, relay: Relay, orders: Orders, values: Any, sentence: str
) -> None:
    orders(1)
    change(relay, **values)
    assert sentence in run("orders show shopify 7000001").stdout


def test_an_order_that_is_no_event_has_a_story(run: Run, post: Post, order: Any) -> None:
    post(order | {"id": 7_000_001, "financial_status": "pending"})
    told = run("orders show shopify 7000001").stdout
    assert "No event came of it" in told
    assert "orders/paid: is no event: not_paid" in told


def test_an_event_that_went_to_nobody_says_so(run: Run, relay: Relay, orders: Orders) -> None:
    orders(1)
    with relay.database.write() as db:
        db.execute(deliveries.delete())
        db.execute(update(events).values(sealed=None))
    told = run("orders show shopify 7000001").stdout
    assert "sent to nobody" in told
    assert "forgotten" in told
    assert re.search(r"shopify +shopify +1 +1", run("stats").stdout)


def test_an_unknown_order_says_what_to_check(run: Run, orders: Orders) -> None:
    orders(1)
    result = run("orders show shopify 99", expect=1)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: no hook that was taken told of order 99 of shop shopify.")
    assert "quarantine list --shop shopify" in result.stderr
    assert "the settings have shopify" in run("orders show shopfiy 7000001", expect=1).stderr


def test_what_a_stranger_wrote_cannot_play_with_the_terminal(run: Run, post: Post, order: Any) -> None:
    post(order | {"id": 7_000_001, "name": "#\x1b[31m\r\n[bold]x[/bold]"})
    for line in ("orders show shopify 7000001", "deliveries list"):
        assert "#?[31m" in run(line).stdout
        assert "[bold]x[/bold]" in run(line).stdout.replace("\n", "")


def test_deliveries_are_listed(run: Run, relay: Relay, orders: Orders) -> None:
    orders(3)
    told = run("deliveries list --state due --account meta --since 1h")
    assert re.search(r"#7000003 +meta +due", told.stdout)
    page = run("deliveries list --limit 2 --json")
    assert [row["order_id"] for row in lines(page)] == ["7000003", "7000002"]
    following = f"deliveries list --limit 2 --before {lines(page)[-1]['delivery']} --json"
    assert [row["order_id"] for row in lines(run(following))] == ["7000001"]
    assert "--before" in run("deliveries list --limit 2").stderr
    assert run("deliveries list --state refused", expect=1).stdout == ""


def test_the_export_is_json_lines_and_nothing_else(run: Run, orders: Orders, post: Post) -> None:
    placed = orders(3)
    post(b"[]")
    assert [row["order_id"] for row in lines(run("ledger export"))] == placed
    assert [row["verdict"] for row in lines(run("ledger export --hooks"))] == ["event"] * 3 + ["quarantined"]


def test_figures_are_shown(run: Run, relay: Relay, orders: Orders) -> None:
    orders(2)
    relay.holds.stop("meta", "meta", "held", Outcome("held", "190", "revoked"), "mark", now_ms(), MINUTE)
    told = run("stats").stdout
    assert re.search(r"meta +meta +held +2", told)
    assert "meta is held since" in told
    assert "190, revoked" in told
    assert re.search(r"Wake-up calls: \d waiting", told)
    document = json.loads(run("stats --json").stdout)
    assert document["accounts"][0]["deliveries"] == {"due": 2}
    assert document["shops"][0]["hooks"] == {"event": 2}
    assert document["accounts"][0]["since"].endswith("Z")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_figures_without_redis(run: Run, relay: Relay) -> None:
    told = run("stats", REDIS_URL="redis://127.0.0.1:9")
    assert "Redis does not answer" in told.stdout
    assert told.stderr == ""


# --- acting ----------------------------------------------------------------------------------------------


def test_a_replay_asks_before_it_sends(run: Run, relay: Relay, orders: Orders) -> None:
    orders(2)
    change(relay, state="refused")
    until(relay.wake.waiting)  # the intake rings from a thread of its own
    told = run("replay --state refused --dry-run")
    assert told.stdout == "To send again: 2 refused\n"
    assert "Add --yes" in run("replay --state refused", expect=2).stderr
    assert {row["state"] for row in rows(relay).values()} == {"refused"}
    assert relay.wake.waiting() == 1
    assert "2 deliveries made due." in run("replay --state refused --yes").stdout
    assert {row["state"] for row in rows(relay).values()} == {"due"}
    assert relay.wake.waiting() == 2


def test_a_replay_in_json(run: Run, relay: Relay, orders: Orders) -> None:
    first, second = orders(2)
    change(relay, state="refused")
    line = f"replay --order {first} --json"
    told = {"chosen": {"refused": 1}, "left_out": {}, "closed_accounts": {}}
    assert json.loads(run(f"{line} --dry-run").stdout) == told | {"applied": False, "count": 0}
    assert json.loads(run(f"{line} --yes").stdout) == told | {"applied": True, "count": 1}
    change(relay, state="delivered")
    told = {"chosen": {}, "left_out": {"delivered": 1}, "closed_accounts": {}}
    assert json.loads(run(f"{line} --yes", expect=1).stdout) == told | {"applied": False, "count": 0}
    assert "Left out: 1 delivered" in run(f"replay --order #{second} --yes", expect=1).stdout
    assert json.loads(run(f"{line} --yes --delivered").stdout)["chosen"] == {"delivered": 1}


@pytest.mark.parametrize(
    "line",
    [
        "replay",
        "replay --delivered --account meta --yes",
        "replay --state delivered --yes",
        "replay --missing --account meta",
        "replay --missing --account nobody --since 3d",
        "replay --missing --account meta --since 3d --order 5",
        "quarantine retry",
        "quarantine retry 5 --all",
    ],
)
def test_a_question_that_is_too_wide_is_a_usage_error(
    run: Run, relay: Relay, orders: Orders, line: str
) -> None:
    orders(1)
    result = run(line, expect=2)
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_an_account_that_came_later_is_filled(run: Run, relay: Relay, orders: Orders) -> None:
    placed = orders(2)
    with relay.database.write() as db:
        db.execute(deliveries.delete())
    assert "2 missing" in run("replay --missing --account meta --since 3d --dry-run").stdout
    assert "2 deliveries made due." in run("replay --missing --account meta --since 3d --yes").stdout
    assert sorted(rows(relay)) == placed
    assert run("replay --missing --account meta --since 3d --yes", expect=1).stderr != ""


def test_redis_that_is_away_does_not_stop_a_replay(run: Run, relay: Relay, orders: Orders) -> None:
    orders(1)
    result = run("replay --state due --yes", REDIS_URL="redis://127.0.0.1:9")
    assert "1 delivery made due." in result.stdout
    assert "the sweep will find" in result.stderr


def test_a_held_account_is_released(run: Run, relay: Relay, orders: Orders) -> None:
    orders(2)
    change(relay, state="held")
    assert "is open" in run("release meta", expect=1).stderr
    assert "the settings have meta" in run("release nobody", expect=1).stderr
    relay.holds.stop("meta", "meta", "held", Outcome("held", "190"), "mark", now_ms(), MINUTE)
    assert "meta is held" in run("replay --state held --dry-run").stdout
    assert "2 deliveries made due" in run("release meta").stdout
    assert relay.holds.waiting() == {}
    assert {row["state"] for row in rows(relay).values()} == {"due"}
    with relay.database.read() as db:
        assert db.execute(select(audit.c.action, audit.c.count)).all() == [("release", 2)]


def test_the_quarantine_is_looked_at_and_emptied(
    run: Run, relay: Relay, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from integrations.stores.shopify import Shopify

    assert "empty" in run("quarantine list").stdout
    with monkeypatch.context() as patch:
        patch.setattr(Shopify, "map", lambda *_: 1 / 0)
        post(order)
    post(b'{"email": "ada@example.com"}')
    newest, oldest = lines(run("quarantine list --json"))
    assert str(oldest["id"]) in run("quarantine list").stdout
    told = run(f"quarantine show {oldest['id']}").stdout
    assert "our mapping failed: ZeroDivisionError" in told
    assert "Read again now: event" in told
    assert order["email"] not in told
    assert "ada@" not in run(f"quarantine show {newest['id']} --json").stdout
    assert "there is no hook" in run("quarantine show 999", expect=1).stderr
    assert "none of them is an event" in run(f"quarantine retry {newest['id']}", expect=1).stderr
    retried = run("quarantine retry --all").stdout.splitlines()
    assert retried[0] == f"hook {oldest['id']}: event, order {order['id']}"
    assert len(rows(relay)) == 1
    assert relay.wake.waiting() == 1


# --- upkeep ----------------------------------------------------------------------------------------------


def test_keys_are_rotated(run: Run, relay: Relay, orders: Orders) -> None:
    orders(2)
    old, new = (relay.settings.data_dir / "secret.key").read_text(), Fernet.generate_key().decode()
    assert "5 of 5 records" in run("vault rotate", RELAY_SECRET_KEYS=f"{new},{old}").stdout
    assert "0 of 5 records" in run("vault rotate", RELAY_SECRET_KEYS=new).stdout
    result = run("vault rotate --json", expect=1, RELAY_SECRET_KEYS=old)
    assert json.loads(result.stdout) == {"seen": 5, "renewed": 0, "unreadable": 5}
    assert "RELAY_SECRET_KEYS" in result.stderr


def test_what_is_personal_and_old_is_forgotten(run: Run, relay: Relay, drain: Drain, orders: Orders) -> None:
    orders(1)
    assert run("retention run").stdout.startswith("0 records")
    change(relay, state="delivered")
    with relay.database.write() as db:
        for table in (events, hooks):
            db.execute(update(table).values(received_at=now_ms() - 31 * DAY))
    assert json.loads(run("retention run --json").stdout) == {"forgotten": 2, "retention_days": 30}


# --- times -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "ago"),
    [("30s", 30_000), ("5m", 5 * MINUTE), ("12h", 12 * HOUR), ("3d", 3 * DAY), ("1w", 7 * DAY)],
)
def test_a_span_is_before_now(written: str, ago: int) -> None:
    assert abs(MOMENT.convert(written, None, None) - (now_ms() - ago)) < 5_000


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-20", 1_795_132_800_000),
        ("2026-11-20T10:00:00Z", 1_795_168_800_000),
        ("2026-11-20T10:00:00+01:00", 1_795_165_200_000),
    ],
)
def test_a_date_is_in_utc(written: str, moment: int) -> None:
    assert MOMENT.convert(written, None, None) == moment


@pytest.mark.parametrize(
    "written", ["", "3", "d", "-3d", "3 d", "yesterday", "2026-13-01", "٣d", "9" * 30 + "d"]
)
def test_other_times_are_a_usage_error(written: str) -> None:
    with pytest.raises(click.BadParameter):
        MOMENT.convert(written, None, None)


# --- real processes --------------------------------------------------------------------------------------


def started(environment: Environment, *words: str) -> subprocess.Popen[bytes]:
    """The command as a user starts it."""
    command = [sys.executable, "-m", "webhooks", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_export_into_a_pipe_that_closes(environment: Environment, relay: Relay) -> None:
    """`ledger export | head`: no traceback, however much is left."""
    event = {"store": "s", "shop": "a", "event_name": "Purchase", "value": "1", "currency": "EUR"}
    event |= {"origin": "web", "order_name": "x" * 500}
    delivery = {"account": "a", "destination": "d", "event_id": "1", "state": "due"}
    times = dict.fromkeys(("due_at", "created_at", "expires_at"), 1)
    with relay.database.write() as db:
        keys = [event | {"key": str(n), "order_id": str(n)} for n in range(3_000)]
        db.execute(events.insert().values(event_time=1, received_at=1), keys)
        ids = db.execute(select(events.c.id)).scalars().all()
        db.execute(deliveries.insert(), [{**delivery, **times, "event": one} for one in ids])
    export = started(environment, "ledger", "export")
    assert export.stdout is not None
    assert json.loads(export.stdout.readline())["store"] == "s"
    export.stdout.close()
    assert export.stderr is not None
    assert export.stderr.read() == b""
    export.wait(20)
    export.stderr.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_plain_command_as_a_process(environment: Environment, relay: Relay, orders: Orders) -> None:
    orders(1)
    out, err = started(environment, "ledger", "export").communicate(timeout=30)
    assert json.loads(out)["order_id"] == "7000001"
    assert err == b""
    process = started(environment | {"PORT": "x"}, "stats")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, b"")
    assert err.startswith(b"Error: PORT ")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_web_process_answers_until_it_is_told_to_stop(environment: Environment, relay: Relay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    web = started(environment | {"PORT": str(port), "WEB_CONCURRENCY": "1"}, "web")

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    try:
        until(answers, 20)
    finally:
        web.terminate()
        web.communicate(timeout=40)
    assert web.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_delivers_until_it_is_told_to_stop(
    environment: Environment, relay: Relay, pixel: Pixel, orders: Orders, number: int
) -> None:
    worker = started(environment, "worker")
    try:
        placed = orders(2)
        until(lambda: sorted(pixel.ids) == placed, 20)
        until(lambda: {row["state"] for row in rows(relay).values()} == {"delivered"}, 20)
    finally:
        worker.send_signal(number)
        out, err = worker.communicate(timeout=30)
    assert (worker.returncode, err) == (0, b"")
    logged = [json.loads(line) for line in out.splitlines()]
    assert [one["state"] for one in logged if one["message"] == "delivery closed"] == ["delivered"] * 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_several_workers_and_a_sweep_under_one_roof(
    environment: Environment, relay: Relay, pixel: Pixel, orders: Orders
) -> None:
    """The sweep finds what no wake-up call told of."""
    environment |= {"RELAY_WORKERS": "2", "RELAY_SWEEP_SECONDS": "0.2"}
    placed = orders(3)
    relay.wake.rests_until = float("inf")
    roof = started(environment, "worker", "--with-sweeper")
    try:
        until(lambda: sorted(pixel.ids) == placed, 20)
    finally:
        roof.terminate()
        out, _ = roof.communicate(timeout=40)
    assert roof.returncode == 0
    begun = re.findall(rb'"a process started".*?"process": "([\w.]+)"', out)
    assert sorted(begun) == [b"sweep", b"worker.1", b"worker.2"]
