"""`destinations check`, `events preview`: what a person sees before anything is sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from werkzeug import Response

from integrations import discovery
from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel
from webhooks.cli import main

Command = Callable[..., Result]


@pytest.fixture
def command(environment: Environment) -> Command:
    """The command as a user with that environment starts it."""

    def run(*words: str) -> Result:
        return CliRunner(env=environment).invoke(main, words)

    return run


def test_every_destination_is_listed(command: Command) -> None:
    told = command("destinations", "list", "--json")
    assert [json.loads(line)["destination"] for line in told.output.splitlines()] == [
        *discovery.destinations()
    ]
    assert "meta" in command("destinations", "list").output


def test_a_good_token_is_told_and_records_nothing(relay: object, command: Command, pixel: Pixel) -> None:
    pixel.answer = lambda _: pixel.error(400, code=100, message="data is missing")
    told = command("destinations", "check")
    assert (told.exit_code, "✓ meta" in told.output) == (0, True)


def test_a_dead_token_is_told_with_what_to_do(relay: object, command: Command, pixel: Pixel) -> None:
    pixel.answer = lambda _: pixel.error(401, code=190, message="expired")
    told = command("destinations", "check", "--json")
    assert told.exit_code == 1
    line = json.loads(told.output)
    assert (line["ok"], line["reason"]) == (False, "190")


def test_a_destination_that_is_away_is_told(relay: object, command: Command, pixel: Pixel) -> None:
    pixel.answer = lambda _: Response("", 503)
    assert command("destinations", "check").exit_code == 1


def test_a_preview_is_what_would_be_sent_without_the_secrets(
    relay: object, command: Command, post: Any, order: Any, environment: Environment
) -> None:
    post(order)
    told = command("events", "preview", "shopify", order["name"], "--destination", "meta", "--json")
    document = json.loads(told.output)
    [event] = document["request"]["body"]["data"]
    assert event["event_id"] == document["event_id"] == str(order["id"])
    assert document["request"]["headers"]["Authorization"] == "***"
    assert environment["META_ACCESS_TOKEN"] not in told.output
    assert order["email"] not in told.output
    keys = {key["name"]: key["state"] for key in document["match_keys"]}
    assert keys["em"] == "sent"
    assert set(event["user_data"]) == {name for name, state in keys.items() if state == "sent"}


def test_what_must_not_be_sent_is_previewed_with_the_reason(
    relay: object, command: Command, post: Any, order: Any
) -> None:
    post(order | {"note_attributes": [{"name": "marketing_consent", "value": "denied"}]})
    told = command("events", "preview", "shopify", str(order["id"]))
    assert "suppressed" in told.output
    assert told.exit_code == 0


def test_an_unknown_order_and_account_are_said_so(relay: object, command: Command) -> None:
    assert command("events", "preview", "shopify", "nope").exit_code == 1
    assert command("events", "preview", "shopify", "1", "--account", "nope").exit_code == 1
    assert command("destinations", "check", "--account", "nope").exit_code == 1
