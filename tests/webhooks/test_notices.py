"""Alerts told to people: by which channel, how often, and what happens when nobody takes them."""

import io
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pytest_httpserver import HTTPServer
from sqlalchemy import select, update
from werkzeug import Request, Response

from integrations.destination import Outcome
from tests.test_house import leads_somewhere
from tests.waiting import until
from tests.webhooks.conftest import Environment
from tests.webhooks.mail import Mail, mail
from tests.webhooks.pixel import Pixel
from webhooks import channels, notices, noticing, reporting, settings, settings_values
from webhooks.alerts import CALM
from webhooks.channels import NotTold
from webhooks.cli import main
from webhooks.clock import DAY, HOUR, now_ms
from webhooks.delivery import Drain
from webhooks.notices import Notices
from webhooks.relay import Relay
from webhooks.schema import accounts, alerts, attempts, deliveries, hooks
from webhooks.schema import channels as channels_table
from webhooks.schema import notices as notices_table
from webhooks.sweep import Sweep

HOOK = "/services/T000/B000/canary-secret-in-the-address"
MANY_ALERTS = 30


class Slack:
    """What was posted; ``status`` is what it answers."""

    def __init__(self, server: HTTPServer) -> None:
        self.texts: list[str] = []
        self.status = 200
        server.expect_request(HOOK).respond_with_handler(self._take)

    def _take(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        assert list(body) == ["text"]
        self.texts.append(body["text"])
        return Response("ok", self.status)


@pytest.fixture
def slack(httpserver: HTTPServer) -> Slack:
    return Slack(httpserver)


@pytest.fixture
def post_office() -> Iterator[Mail]:
    with mail() as server:
        yield server


@pytest.fixture
def environment(environment: Environment, httpserver: HTTPServer, post_office: Mail) -> Environment:
    return environment | {
        "ALERT_WEBHOOK_URL": httpserver.url_for(HOOK),
        "ALERT_EMAIL_TO": "ops@example.com,owner@example.com",
        "ALERT_EMAIL_FROM": "relay@example.com",
        "SMTP_URL": f"smtp://relay:pass%40word@127.0.0.1:{post_office.port}",
        "RELAY_PUBLIC_URL": "https://relay.example.com",
    }


@pytest.fixture
def told(relay: Relay) -> Iterator[Notices]:
    made = Notices(relay, threading.Event())
    yield made
    made.transport.close()


def later(relay: Relay) -> None:
    """The channels have waited, and what was cleared was so some time ago."""
    with relay.database.write() as db:
        db.execute(update(channels_table).values(due_at=0))
        past = now_ms() - CALM - 1
        db.execute(update(alerts).where(alerts.c.cleared_at.is_not(None)).values(cleared_at=past))


def wrong(relay: Relay, subject: str = "acme", **more: Any) -> bool:
    return relay.alerts.raise_("shop_away", subject, "A shop <is> away & silent", "Look at it", **more)


# --- told once ---------------------------------------------------------------------------------------------


def test_every_channel_is_told_once_and_hears_when_it_is_over(
    relay: Relay, told: Notices, slack: Slack, post_office: Mail
) -> None:
    wrong(relay, count=7)
    for _ in range(3):
        told.tell()
        later(relay)
    assert len(slack.texts) == len(post_office.received) == 1
    assert "ALERT [acme]: A shop &lt;is&gt; away &amp; silent (7)" in slack.texts[0]
    assert "https://relay.example.com" in slack.texts[0]
    assert "Look at it" in slack.texts[0]
    letter = post_office.received[0]
    assert "To: ops@example.com, owner@example.com" in letter
    assert "Subject: https://relay" not in letter
    assert "Subject: purchase-relay: 1 alert" in letter
    assert "A shop <is> away & silent" in letter
    relay.alerts.clear("shop_away", "acme")
    told.tell()
    assert len(slack.texts) == 1, "it may come back at once"
    for _ in range(3):
        later(relay)
        told.tell()
    assert len(slack.texts) == len(post_office.received) == 2
    assert "OVER [acme]" in slack.texts[1]


def test_what_comes_together_is_told_together(relay: Relay, told: Notices, slack: Slack) -> None:
    for number in range(MANY_ALERTS):
        wrong(relay, f"shop-{number}")
    told.tell()
    assert len(slack.texts) == 1
    assert slack.texts[0].count("ALERT") == notices.MOST
    assert f"and {MANY_ALERTS - notices.MOST} more" in slack.texts[0]


def test_what_swings_is_told_once(relay: Relay, told: Notices, slack: Slack) -> None:
    for _ in range(5):
        wrong(relay)
        told.tell()
        relay.alerts.clear("shop_away", "acme")
        told.tell()
        with relay.database.write() as db:
            db.execute(update(channels_table).values(due_at=0))
    assert len(slack.texts) == 1


def test_after_a_message_others_wait_a_little(relay: Relay, told: Notices, slack: Slack) -> None:
    wrong(relay, "one")
    told.tell()
    wrong(relay, "two")
    wrong(relay, "three")
    told.tell()
    assert len(slack.texts) == 1
    later(relay)
    told.tell()
    assert len(slack.texts) == 2


def test_what_lasts_is_told_again_once_a_day(relay: Relay, told: Notices, slack: Slack) -> None:
    wrong(relay)
    told.tell()
    with relay.database.write() as db:
        db.execute(update(notices_table).values(raised_at=now_ms() - DAY - 1))
    for _ in range(2):
        later(relay)
        told.tell()
    assert ["STILL" in text for text in slack.texts] == [False, True]


def test_two_sweepers_tell_it_once(relay: Relay, told: Notices, slack: Slack) -> None:
    wrong(relay)
    another = Notices(relay, threading.Event())
    threads = [threading.Thread(target=one.tell) for one in (told, another, told, another)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    another.transport.close()
    assert len(slack.texts) == 1


# --- channels that fail ------------------------------------------------------------------------------------


def test_a_channel_that_is_down_is_tried_again_without_flooding(
    relay: Relay, told: Notices, slack: Slack, post_office: Mail
) -> None:
    slack.status = 503
    wrong(relay)
    for _ in range(5):
        told.tell()
    assert len(slack.texts) == len(post_office.received) == 1
    pauses = []
    for _ in range(3):
        with relay.database.read() as db:
            row = db.execute(select(channels_table).where(channels_table.c.channel == "webhook")).one()
        pauses.append(row.due_at - now_ms())
        later(relay)
        told.tell()
    assert pauses == sorted(pauses)
    assert pauses[-1] > 1.5 * pauses[0] > 0
    slack.status = 200
    later(relay)
    told.tell()
    later(relay)
    told.tell()
    assert len(slack.texts) == 5
    assert len(post_office.received) == 1


def test_a_mail_server_that_drips_is_left_in_time(
    relay: Relay, told: Notices, slack: Slack, post_office: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SECONDS", 0.5)
    post_office.drips = True
    wrong(relay)
    began = time.monotonic()
    told.tell()
    assert time.monotonic() - began < 5
    assert len(slack.texts) == 1


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that is logged, by whomever, at the most talkative level."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    reporting.configure_logs("debug", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_neither_address_nor_secret_is_told(
    relay: Relay, told: Notices, slack: Slack, post_office: Mail, lines: io.StringIO
) -> None:
    slack.status = 500
    post_office.refuses = "550"
    wrong(relay)
    told.tell()
    for channel in told.channels:
        with pytest.raises(NotTold) as error:
            channel.tell("subject", "text")
        assert "50" in str(error.value)
        assert "jane" not in str(error.value)
    written = lines.getvalue()
    assert "a channel for alerts does not work" in written
    assert [mark for mark in ("canary-secret", "pass@word", "pass%40word", "jane@") if mark in written] == []


def test_it_logs_in_where_the_address_says_so(
    told: Notices, slack: Slack, post_office: Mail, relay: Relay
) -> None:
    wrong(relay)
    told.tell()
    assert len(post_office.logins) == 1


def test_a_server_elsewhere_must_speak_tls(post_office: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise login and addresses would cross the network in clear."""
    monkeypatch.setattr(channels, "is_loopback", lambda _: False)
    url = settings_values.smtp_url(f"smtp://user:password@127.0.0.1:{post_office.port}")
    with pytest.raises(NotTold):
        channels.Email(url, "a@example.com", ("b@example.com",)).tell("subject", "text")
    assert (post_office.logins, post_office.received) == ([], [])


# --- conditions --------------------------------------------------------------------------------------------


def causes(relay: Relay) -> dict[tuple[str, str], int]:
    noticing.look_around(relay)
    return {(one.cause, one.subject): one.count for one in relay.alerts.open()}


@pytest.mark.parametrize("condition", noticing.CONDITIONS, ids=lambda condition: condition.cause)
def test_a_remedy_names_commands_that_exist(condition: noticing.Condition) -> None:
    for found in re.finditer(r"purchase-relay((?: [a-z][a-z-]*)+)", condition.remedy):
        assert leads_somewhere(main, found[1].split())


def test_a_healthy_relay_raises_nothing(relay: Relay, drain: Drain, pixel: Pixel, orders: Any) -> None:
    orders(3)
    drain.run(1)
    assert causes(relay) == {}


def test_a_held_account_is_told_until_it_is_open(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    orders(3)
    pixel.answer = lambda _: Pixel.error(400, code=190, message="expired")
    drain.run(1)
    assert list(causes(relay)) == [("account_held", "meta")]
    relay.holds.release_all("meta", now_ms())
    assert causes(relay) == {}


def test_a_rest_is_told_when_it_lasts(relay: Relay, orders: Any) -> None:
    orders(2)
    relay.holds.stop("meta", "meta", "resting", Outcome("retry", "500"), "", now_ms(), 60_000)
    assert causes(relay) == {}
    with relay.database.write() as db:
        db.execute(update(accounts).values(since=now_ms() - noticing.RESTING_LONG))
    assert causes(relay) == {("account_resting", "meta"): 2}


def test_nobody_sends(relay: Relay, orders: Any) -> None:
    orders(2)
    assert causes(relay) == {}
    with relay.database.write() as db:
        db.execute(update(deliveries).values(due_at=now_ms() - noticing.WAITING_LONG))
    assert causes(relay) == {("nobody_sends", "meta"): 2}


@pytest.mark.parametrize(("refused", "is_told"), [(3, False), (10, True)])
def test_a_destination_that_refuses_often(
    relay: Relay, post: Any, order: Any, refused: int, is_told: bool
) -> None:
    post(order)
    row = {"delivery": 1, "batch": "b", "size": 1, "opened_at": now_ms(), "closed_at": now_ms()}
    with relay.database.write() as db:
        db.execute(attempts.insert(), [row | {"outcome": "refused"}] * refused)
        db.execute(attempts.insert(), [row | {"outcome": "delivered"}] * 20)
        db.execute(attempts.insert(), [row | {"outcome": "refused", "closed_at": now_ms() - 2 * HOUR}] * 50)
    assert (("refused_often", "meta") in causes(relay)) is is_told


def test_a_quarantine_that_grows(relay: Relay, post: Any) -> None:
    for number in range(noticing.QUARANTINED):
        assert causes(relay) == {}
        post(b'{"id": %d}' % number)
    assert causes(relay) == {("quarantine_grows", "shopify"): noticing.QUARANTINED}
    with relay.database.write() as db:
        db.execute(update(hooks).values(received_at=now_ms() - 2 * HOUR))
    assert causes(relay) == {}


def test_what_will_be_too_old(relay: Relay, orders: Any) -> None:
    orders(2)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(expires_at=now_ms() + HOUR))
    assert causes(relay) == {("closing_soon", "meta"): 2}


def test_what_became_too_old_is_told_for_a_day(relay: Relay, orders: Any, told: Notices) -> None:
    orders(2)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(expires_at=now_ms() - 1))
    Sweep(relay)._expire()
    assert [(one.cause, one.count) for one in relay.alerts.open()] == [("expired", 2)]
    told.look()
    assert len(relay.alerts.open()) == 1
    with relay.database.write() as db:
        db.execute(update(alerts).values(last=now_ms() - DAY - 1))
    told.look()
    assert relay.alerts.open() == []


def test_redis_is_away(environment: Environment, relay: Relay) -> None:
    assert causes(relay) == {}
    away = Relay(settings.load(environment | {"REDIS_URL": "redis://127.0.0.1:1"}))
    assert list(causes(away)) == [("redis_away", "")]
    away.close()
    assert causes(relay) == {}


def test_old_alerts_are_forgotten(relay: Relay, told: Notices, slack: Slack) -> None:
    wrong(relay)
    told.tell()
    relay.alerts.clear("shop_away", "acme")
    with relay.database.write() as db:
        db.execute(update(alerts).values(cleared_at=now_ms() - 400 * DAY))
    told.look()
    assert relay.alerts.listed() == []


def test_the_sweep_tells_by_itself(relay: Relay, slack: Slack) -> None:
    """The thread of a running sweep, from beginning to end."""
    stopping = threading.Event()
    thread = Notices(relay, stopping)
    wrong(relay)
    thread.start()
    until(lambda: bool(slack.texts))
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def run(environment: Environment) -> Callable[..., Result]:
    def invoke(line: str, *, expect: int = 0, **sets: str) -> Result:
        result = CliRunner().invoke(main, line.split(), env=environment | sets)
        assert result.exit_code == expect, result.output
        return result

    return invoke


def test_alerts_are_listed(run: Callable[..., Result], relay: Relay) -> None:
    assert "Nothing is wrong" in run("alerts list").output
    wrong(relay, count=3)
    assert "shop_away [acme]: A shop <is> away & silent (3)" in run("alerts list").output
    relay.alerts.clear("shop_away", "acme")
    assert json.loads(run("alerts list --json").stdout) == []
    assert json.loads(run("alerts list --all --json").stdout)[0]["cause"] == "shop_away"


def test_a_test_goes_by_every_channel(
    run: Callable[..., Result], relay: Relay, slack: Slack, post_office: Mail
) -> None:
    assert json.loads(run("alerts test --json").stdout) == {"webhook": "", "email": ""}
    assert len(slack.texts) == len(post_office.received) == 1
    slack.status = 404
    failed = run("alerts test", expect=1)
    assert "webhook: it answered 404" in failed.output
    assert "canary-secret" not in failed.output
    nothing = {"ALERT_WEBHOOK_URL": "", "SMTP_URL": "", "ALERT_EMAIL_TO": ""}
    assert "no channel is set up" in run("alerts test", expect=1, **nothing).output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERT_WEBHOOK_URL", "http://hooks.example.com/x"),
        ("ALERT_WEBHOOK_URL", "https://user:secret@hooks.example.com/x"),
        ("ALERT_WEBHOOK_URL", "file:///etc/passwd"),
        ("ALERT_EMAIL_TO", "ops@example.com\nBcc: x@example.com"),
        ("ALERT_EMAIL_TO", "Ops <ops@example.com>"),
        ("ALERT_EMAIL_FROM", "a@example.com,b@example.com"),
        ("SMTP_URL", "http://mail.example.com"),
        ("SMTP_URL", "smtp://user:pa/ss@mail.example.com"),
        ("SMTP_URL", ""),
    ],
)
def test_a_broken_setting_is_named(environment: Environment, name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(settings.BadSettings) as error:
        settings.load(environment | {name: value})
    assert any(problem.startswith(name) or name == "SMTP_URL" for problem in error.value.problems)
    assert not value or value not in str(error.value)
