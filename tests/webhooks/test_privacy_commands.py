"""`purchase-relay privacy`: erase and copy by command, without a customer's name in the shell's history."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from tests.webhooks.conftest import Environment
from webhooks.cli import main
from webhooks.relay import Relay
from webhooks.schema import audit, events, wishes

EMAIL = "maria.alvarez@example.com"
Post = Callable[..., Any]
Run = Callable[..., Result]


@pytest.fixture
def database_url(ledger_file: Path, tmp_path: Path) -> str:
    """The commands ask the same on either database: see `test_privacy.py`."""
    file = tmp_path / "ledger.db"
    file.write_bytes(ledger_file.read_bytes())
    return f"sqlite:///{file}"


@pytest.fixture
def run(environment: Environment) -> Run:
    def invoke(line: str, *, stdin: str = "", expect: int = 0) -> Result:
        result = CliRunner().invoke(main, line.split(), input=stdin, env=environment)
        assert result.exit_code == expect, result.output
        return result

    return invoke


def test_an_address_is_refused_as_an_argument_and_not_repeated(run: Run, relay: Relay) -> None:
    for name, value in (("email", EMAIL), ("phone", "+16135550123")):
        refused = run(f"privacy erase --{name} {value} --yes", expect=2)
        assert value not in refused.output
        assert f"--{name}" in refused.output


def test_it_is_read_from_stdin(run: Run, relay: Relay, post: Post, order: Any) -> None:
    post(order)
    looked = run("privacy erase --email - --dry-run", stdin=f"{EMAIL}\n")
    assert str(order["id"]) in looked.output
    with relay.database.read() as db:
        assert db.execute(select(events.c.sealed)).scalar_one() is not None
    erased = run("privacy erase --email - --yes --json", stdin=f"{EMAIL}\n")
    assert json.loads(erased.stdout)["suppressed"] == 1
    with relay.database.read() as db:
        assert db.execute(select(events.c.sealed)).scalar_one() is None
        told = repr(db.execute(select(audit)).all()) + repr(db.execute(select(wishes.c.origin)).all())
    assert "privacy erase" in told
    assert EMAIL not in told
    assert "erase" in run("privacy list").output
    assert EMAIL not in run("privacy list --json").output


def test_the_story_of_an_erased_order_says_so(run: Run, relay: Relay, post: Post, order: Any) -> None:
    post(order)
    run("privacy erase --email - --yes", stdin=EMAIL)
    told = run(f"orders show shopify {order['id']}").output
    assert "erased as somebody asked" in told
    assert "suppressed" in told


def test_an_order_is_named_as_people_name_it(run: Run, relay: Relay, post: Post, order: Any) -> None:
    post(order)
    assert json.loads(run(f"privacy erase --order {order['name']} --yes --json").stdout)["orders"] == 1


@pytest.mark.parametrize("line", ["privacy erase --yes", "privacy export", "privacy erase --order 1"])
def test_whom_must_be_said_and_meant(run: Run, relay: Relay, line: str) -> None:
    run(line, expect=2)


def test_a_copy_is_printed_or_written(run: Run, relay: Relay, post: Post, order: Any, tmp_path: Path) -> None:
    run("privacy export --email -", stdin="nobody@example.com\n", expect=1)
    post(order)
    printed = json.loads(run("privacy export --email -", stdin=EMAIL).stdout)
    assert printed["events"][0]["content"]["buyer"]["email"] == EMAIL
    file = tmp_path / "copy.json"
    run(f"privacy export --email - --output {file}", stdin=EMAIL)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["orders"] == printed["orders"]


def test_only_a_copy_that_waits_can_be_handed_over(run: Run, relay: Relay) -> None:
    run("privacy handed-over 7", expect=1)
    run("privacy export --request 7", expect=1)
