"""Logs and alerts: what the operator is told, and what never leaves."""

import io
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from integrations.store import Malformed
from webhooks import discretion, reporting, settings

EMAIL, PHONE, TOKEN = "jane.canary@shop.test", "+49 151 23456789", "EAAcanaryZD0123456789abcdef"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the logs print, with the root logger as it was afterwards."""
    root = logging.getLogger()
    outputs, level, stream = root.handlers[:], root.level, io.StringIO()
    reporting.configure_logs("debug", stream)
    yield stream
    root.handlers[:] = outputs
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    """Each printed line is one JSON object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# --- lines -----------------------------------------------------------------------------------------------


def test_a_line_is_one_json_object(lines: io.StringIO) -> None:
    """Time with zone, level, logger, sentence, facts."""
    reporting.logger("webhooks.delivery").info("delivered", delivery=12, destination="meta", order="#1001")
    (line,) = parsed(lines)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "webhooks.delivery",
        "message": "delivered",
        "delivery": 12,
        "destination": "meta",
        "order": "#1001",
    }


def test_an_unknown_fact_raises_in_tests() -> None:
    """So that it never reaches production."""
    with pytest.raises(discretion.UnknownFact, match="email"):
        reporting.logger("webhooks.x").info("stored", email=EMAIL)


def test_an_unknown_fact_is_left_out_in_production(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log line must not stop an order."""
    monkeypatch.setattr(discretion, "strict", False)
    reporting.logger("webhooks.x").info("stored", email=EMAIL, hook=3)
    (line,) = parsed(lines)
    assert line["hook"] == 3
    assert EMAIL not in lines.getvalue()


@pytest.mark.parametrize("value", [EMAIL, PHONE, "Jane Canary", "x" * 101, "ключ", "a\nb"])
def test_a_fact_is_an_identifier_or_withheld(lines: io.StringIO, value: str) -> None:
    """Text that is no id, slug or state has no place among the facts."""
    reporting.logger("webhooks.x").info("stored", reason=value)
    assert parsed(lines)[0]["reason"] == discretion.WITHHELD


@pytest.mark.parametrize(
    "value", ["meta", "orders/paid", "100/2804009", "#1001", "gid://shopify/Order/1", 3, 0.5, True, None]
)
def test_an_identifier_is_told(lines: io.StringIO, value: str | float | None) -> None:
    """Ids, slugs, states, figures."""
    reporting.logger("webhooks.x").info("stored", reason=value)
    assert parsed(lines)[0]["reason"] == value


def test_other_packages_are_scrubbed_and_kept_to_one_line(lines: io.StringIO) -> None:
    """Their messages were not written with buyers in mind."""
    logging.getLogger("elsewhere").warning("for %s\nDETAIL: %s", EMAIL, PHONE)
    (line,) = parsed(lines)
    assert line["message"] == "for [e-mail]"


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("urllib3.connectionpool", logging.DEBUG),
        ("sqlalchemy.engine.Engine", logging.INFO),
        ("rq.worker", logging.INFO),
        ("gunicorn.access", logging.INFO),
    ],
)
def test_chatty_loggers_are_quiet(lines: io.StringIO, name: str, level: int) -> None:
    """They repeat addresses, parameters and arguments."""
    logging.getLogger(name).log(level, "GET /webhooks?email=%s", EMAIL)
    assert lines.getvalue() == ""


def test_a_self_willed_logger_prints_once(lines: io.StringIO) -> None:
    """RQ and gunicorn bring their own output."""
    logging.getLogger("gunicorn.error").addHandler(logging.StreamHandler(lines))
    reporting.configure_logs("info", lines)
    logging.getLogger("gunicorn.error").warning("Worker exiting")
    assert [line["message"] for line in parsed(lines)] == ["Worker exiting"]


# --- exceptions ------------------------------------------------------------------------------------------


def raised(error: BaseException) -> BaseException:
    """The exception with a place."""
    try:
        raise error
    except type(error) as caught:
        return caught


def test_an_exception_is_told_by_type_and_place(lines: io.StringIO) -> None:
    """Its text is somebody else's."""
    try:
        discretion.scrub(None)  # type: ignore[arg-type]
    except TypeError as error:
        reporting.logger("webhooks.x").error("failed", error=error)
    (line,) = parsed(lines)
    assert line["error"] == "TypeError"
    assert [place.partition(":")[0] for place in line["at"]] == ["webhooks/discretion.py"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(f"not an address: {EMAIL}"), "ValueError"),
        (KeyError(EMAIL), "KeyError"),
        (Malformed(f"no total for {EMAIL}"), "integrations.store.Malformed: no total for [e-mail]"),
        (ConnectionRefusedError(111, "No luck"), "ConnectionRefusedError: [Errno 111] No luck"),
        (FileNotFoundError(2, "No such file", f"/home/{EMAIL}"), "FileNotFoundError: [Errno 2] No such file"),
        (OSError(EMAIL), "OSError"),
        (redis.ConnectionError("Error 111: no luck"), "redis.exceptions.ConnectionError: Error 111: no luck"),
        (redis.ResponseError(f"unknown command {EMAIL}"), "redis.exceptions.ResponseError"),
    ],
    ids=["foreign", "key", "ours", "system", "path", "free-text-os", "redis-down", "redis-echo"],
)  # fmt: skip
def test_an_exceptions_text_is_told_where_it_is_known_to_be_safe(error: BaseException, told: str) -> None:
    """Ours, the system's, and those of connections."""
    assert discretion.describe(raised(error)) == told


def test_a_database_error_quotes_no_row(empty_database_url: str) -> None:
    """Neither parameters nor the DETAIL that PostgreSQL adds."""
    engine = create_engine(empty_database_url, hide_parameters=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE buyers (email VARCHAR UNIQUE)"))
    insert = text("INSERT INTO buyers VALUES (:email), (:email)")
    with engine.begin() as connection, pytest.raises(IntegrityError) as caught:
        connection.execute(insert, {"email": EMAIL})
    engine.dispose()
    assert discretion.describe(caught.value) == "sqlalchemy.exc.IntegrityError"


def test_a_lost_database_is_told() -> None:
    """The most frequent failure of all must be understood at once."""
    engine = create_engine(f"postgresql+psycopg://relay:{TOKEN}@127.0.0.1:1/ledger?connect_timeout=2")
    with pytest.raises(OperationalError) as caught:
        engine.connect()
    told = discretion.describe(caught.value)
    assert told.startswith("sqlalchemy.exc.OperationalError: ")
    assert "refused" in told
    assert TOKEN not in told


# --- scrubbing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "scrubbed"),
    [
        (f"mail {EMAIL}!", "mail [e-mail]"),
        ("jane%40shop.test", "[e-mail]"),
        ("call +49 151 23456789 now", "call [number] now"),
        ("call (0151) 2345-6789 now", "call ([number] now"),
        (
            "https://graph.test/v21.0/1/events?access_token=abc failed",
            "https://graph.test/v21.0/1/events failed",
        ),
        ("url: /v21.0/events?access_token=abc (Caused by", "url: /v21.0/events (Caused by"),
        ("redis://default:hunter2@cache.test:6379/0", "redis://cache.test:6379/0"),
        ("token=abc123, next", "token=[withheld], next"),
        ("{'client_secret': 'abc'}", "{'client_secret': [withheld]'}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [withheld]"),
        (f"key {TOKEN}", "key [withheld]"),
        ("from 203.0.113.9 and 2001:db8:0:1::7", "from [ip] and [ip]"),
        ("at 2026-11-22T07:30:21Z in 12.5 s", "at 2026-11-22T07:30:21Z in 12.5 s"),
        ("webhooks/delivery.py:88 HTTP 503", "webhooks/delivery.py:88 HTTP 503"),
    ],
)
def test_scrub(written: str, scrubbed: str) -> None:
    """Identity and secrets go, the sense stays."""
    assert discretion.scrub(written) == scrubbed


def test_scrub_removes_configured_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they look like."""
    monkeypatch.setattr(discretion, "_secrets", set())
    reporting.withhold(["correct horse", "abc"])
    assert reporting.scrub("say correct horse or abc") == f"say {discretion.WITHHELD} or abc"


def test_scrub_knows_every_configured_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of shops and accounts, the keys, and the passwords in addresses."""
    monkeypatch.setattr(discretion, "_secrets", set())
    secrets = {
        "SHOPIFY_WEBHOOK_SECRETS": "pine tree,palm tree",
        "META_PIXEL_ID": "1234567890",
        "META_ACCESS_TOKEN": "lake-side-road",
        "REDIS_URL": "redis://:hill-top@cache.test:6379",
        "RELAY_DATA_DIR": str(tmp_path),
    }
    reporting.init_sentry(settings.load(secrets), "web")
    for secret in ("pine tree", "palm tree", "lake-side-road", "hill-top"):
        assert reporting.scrub(f"so {secret} it is") == f"so {discretion.WITHHELD} it is"


@pytest.mark.parametrize("piece", ["a", "1", "@", "a@", "/?", "1.", ":0", "token=", " ", "a1-"])
def test_scrub_is_bounded(piece: str) -> None:
    """A stranger's text must not hold a worker up."""
    started = time.thread_time()
    assert len(discretion.scrub(piece * 100_000)) <= 501
    assert time.thread_time() - started < 1
