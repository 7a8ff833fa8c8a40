"""`purchase-relay doctor`: silent where all is well, and right about every fault that is planted."""

import json
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select

from tests.webhooks import tls
from tests.webhooks.deployment import Deployment, deployed, served
from tests.webhooks.planted import PLANTED, Planted
from webhooks import settings
from webhooks.doctor import address, ledger
from webhooks.doctor.ground import opened
from webhooks.sandbox import shopify_sender
from webhooks.schema import metadata

TROUBLE = {"warning", "fault"}


@pytest.fixture
def deployment(
    ledger_file: Path, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    monkeypatch.setattr(shopify_sender, "API_VERSION", "2098-01")  # supported, whenever the tests run
    shutil.copyfile(ledger_file, tmp_path / "ledger.db")
    with deployed(tmp_path / "ledger.db", redis_url, tmp_path) as ready:
        redis = ready.redis
        yield ready
        redis.config_set("maxmemory", 0)
        redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("one", [pytest.param(one, id=one.plant.__name__) for one in PLANTED])
def test_a_planted_fault_is_found_and_no_other(
    one: Planted, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = known_secrets(deployment.environment)
    planting = one.plant(deployment, monkeypatch)
    if isinstance(planting, Generator):
        next(planting)
    result = deployment.doctor("--json", "--strict")
    if isinstance(planting, Generator):
        assert next(planting, None) is None
    found = json.loads(result.stdout)["findings"]
    trouble = [finding for finding in found if finding["state"] in TROUBLE]
    assert [(finding["link"], finding["state"]) for finding in trouble] == [(one.link, one.state)], trouble
    assert one.sentence in trouble[0]["sentence"]
    assert one.remedy in trouble[0]["remedy"]
    assert result.exit_code == 1
    told = result.output
    assert [secret for secret in {*secrets, *known_secrets(deployment.environment)} if secret in told] == []


def known_secrets(environment: dict[str, str]) -> set[str]:
    """Everything in the settings that nobody may read, and what the plants call hidden."""
    words = ("SECRET", "TOKEN", "KEY")
    values = {value for name, value in environment.items() if any(word in name for word in words)}
    return {"hidden-word", "maria.alvarez", "anna@example", *values}


def test_there_are_faults_of_every_kind() -> None:
    assert len(PLANTED) >= 25
    assert {one.link.partition(" ")[0] for one in PLANTED} == {
        *("settings", "database", "keys", "redis", "processes", "public", "hook", "clock"),
        *("shop", "account", "order", "alerts"),
    }


# --- a deployment that is well -----------------------------------------------------------------------------


def test_a_healthy_deployment_is_left_in_peace(deployment: Deployment) -> None:
    before = counts(deployment)
    result = deployment.doctor("--strict")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line for line in lines if line[0] not in "✓·"] == []
    assert [line.partition(":")[0] for line in lines if line[0] == "✓"] == [
        *("✓ settings", "✓ database", "✓ keys", "✓ redis", "✓ processes", "✓ public url", "✓ hook addresses"),
        *("✓ clock", "✓ shop shopify", "✓ shop woocommerce", "✓ account meta", "✓ account snapchat"),
        *("✓ order of shopify", "✓ order of woocommerce", "✓ alerts"),
    ]
    assert counts(deployment) == before
    assert [kind.record for kind in (deployment.kinds["meta"], deployment.kinds["snapchat"])] == [[], []]


def counts(deployment: Deployment) -> dict[str, int]:
    """How many rows each table of the ledger has."""
    with deployment.relay.database.read() as db:
        return {
            table.name: db.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_the_invented_order_is_rehearsed_where_nothing_counts(deployment: Deployment) -> None:
    deployment.doctor()
    asked = [(hit["path"].rpartition("/")[2], hit["status"]) for hit in deployment.kinds["snapchat"].requests]
    assert asked == [("validate", 200)] * 3  # the account's check, and an order of each shop
    [check] = deployment.kinds["meta"].requests
    assert json.loads(check["body"]).get("data", []) == []


def test_what_is_worth_a_note_breaks_nothing(deployment: Deployment) -> None:
    deployment.without("WOOCOMMERCE_CONSUMER_", "WOOCOMMERCE_URL")
    found = deployment.findings("--strict")
    notes = {finding["link"]: finding["remedy"] for finding in found if finding["state"] == "note"}
    assert "SENTRY_DSN" in notes["settings"]
    assert "WOOCOMMERCE_CONSUMER_KEY" in notes["shop woocommerce"]
    assert [finding for finding in found if finding["state"] in TROUBLE] == []


# --- what is asked for -------------------------------------------------------------------------------------


def test_quick_asks_nobody_outside(deployment: Deployment) -> None:
    before = {slug: len(kind.requests) for slug, kind in deployment.kinds.items()}
    assert deployment.doctor("--quick").exit_code == 0
    assert {slug: len(kind.requests) for slug, kind in deployment.kinds.items()} == before


def test_one_shop_is_examined_alone(deployment: Deployment) -> None:
    links = {finding["link"] for finding in deployment.findings("--shop", "shopify")}
    assert {"shop shopify", "order of shopify", "account meta"} <= links
    assert links & {"shop woocommerce", "order of woocommerce"} == set()
    [unknown] = [one for one in deployment.findings("--shop", "nobody") if one["state"] == "fault"]
    assert "there is no shop nobody" in unknown["sentence"]


def test_a_warning_fails_only_where_it_is_to(deployment: Deployment) -> None:
    deployment.environment["META_PIXLE_ID"] = "1"
    assert deployment.doctor().exit_code == 0
    assert deployment.doctor("--strict").exit_code == 1


def test_later_links_say_on_which_dead_one_they_stand(deployment: Deployment) -> None:
    deployment.environment["DATABASE_URL"] += ".gone"
    deployment.environment["REDIS_URL"] += ".gone"
    found = deployment.findings()
    skipped = {one["link"]: one["sentence"] for one in found if one["state"] == "skipped"}
    assert skipped["processes"] == "not examined, since it stands on database and redis"
    assert {"keys", "shop shopify", "account meta", "alerts"} <= skipped.keys()
    assert {one["link"] for one in found if one["state"] == "ok"} >= {"public url", "order of shopify"}


def test_a_test_code_in_production_is_told_of(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In production nothing of the sandbox may be set, so nobody is asked."""
    with served(deployment.front, tls.context(tmp_path)) as secure:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / tls.CERTIFICATE))
        deployment.without("WOOCOMMERCE_URL", "SHOPIFY_API_BASE", "META_API_BASE", "SNAPCHAT_API_BASE")
        deployment.environment |= {
            "RELAY_ENV": "production",
            "RELAY_EMBEDDED": "yes",
            "RELAY_PUBLIC_URL": secure,
            "META_TEST_EVENT_CODE": "TEST12345",
            "META_TEST_EVENT_CODE_UNTIL": "2099-01-01T00:00:00Z",
        }
        [trouble] = [one for one in deployment.findings("--quick") if one["state"] in TROUBLE]
    assert (trouble["link"], trouble["state"]) == ("settings", "warning")
    assert "account meta sends test_event_code with every order until 2099-01-01" in trouble["sentence"]
    assert trouble["remedy"].startswith("take META_TEST_EVENT_CODE away")


# --- PostgreSQL --------------------------------------------------------------------------------------------


def test_postgresql_is_asked_what_it_keeps(ledger_on_postgres: str, tmp_path: Path) -> None:
    """The tests' own runs without fsync, which is a fault that nobody had to plant."""
    with opened(on(ledger_on_postgres, tmp_path), "", is_quick=True) as ground:
        [found] = ledger.examine(ground)
        assert found.sentence == "fsync is off: a power cut can destroy the ledger"
        assert found.remedy == "set fsync = on in PostgreSQL's configuration"
        assert list(address.examine_clock(ground)) == []


@pytest.mark.parametrize(
    ("change", "undo", "told"),
    [
        pytest.param(
            "SET default_transaction_read_only = on",
            "RESET default_transaction_read_only",
            ("fault", "can be read but not written"),
            id="read-only",
        ),
        pytest.param(
            "CONNECTION LIMIT 1", "CONNECTION LIMIT -1", ("warning", "of 1 connections are in use"), id="full"
        ),
    ],
)
def test_faults_of_postgresql(
    ledger_on_postgres: str, tmp_path: Path, change: str, undo: str, told: tuple[str, str]
) -> None:
    altered(ledger_on_postgres, change)
    try:
        with opened(on(ledger_on_postgres, tmp_path), "", is_quick=True) as ground:
            found = [one for one in ledger.examine(ground) if "fsync" not in one.sentence]
    finally:
        altered(ledger_on_postgres, undo)
    [one] = found
    assert one.state == told[0]
    assert one.sentence.endswith(told[1])
    assert one.remedy


def altered(database_url: str, change: str) -> None:
    """Changes a setting of the database for whoever connects from then on."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} {change}".encode())


def on(database_url: str, folder: Path) -> settings.Settings:
    return settings.load({"DATABASE_URL": database_url, "RELAY_DATA_DIR": str(folder)})
