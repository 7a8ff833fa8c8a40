"""No canary gets out: an order full of marked data goes the whole way, through every kind of failure, and
nothing marked may be in a log line, a Sentry envelope, Redis, or a readable column of the ledger."""

import io
import json
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from redis import Redis
from sqlalchemy import select
from werkzeug import Response
from werkzeug.test import TestResponse

from integrations.destinations.meta import Meta
from integrations.stores.shopify import Shopify
from tests.webhooks.conftest import SECRET, Environment
from tests.webhooks.pixel import Pixel, due_now
from tests.webhooks.test_jobs import work_for
from tests.webhooks.test_sentry import Caught, start
from webhooks import delivery, jobs, reporting
from webhooks.delivery import Drain
from webhooks.relay import Relay
from webhooks.schema import metadata

TOKEN = "EAAGcanary0token0000000000000000"
PERSON = {
    "email": "canary.person@mailbox.test",
    "phone": "+4915155501234",
    "first_name": "Canarina",
    "last_name": "Canarwitz",
    "address1": "Canary Wharf 77",
    "city": "Canaryville",
    "zip": "C4N4RY",
}
NEST = {"browser_ip": "203.0.113.99", "user_agent": "CanaryBrowser/7", "fbp": "fb.1.1795000000000.777666555"}
MARKS = (*PERSON.values(), *NEST.values(), TOKEN, SECRET)


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return environment | {"META_ACCESS_TOKEN": TOKEN}


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


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> Iterator[Caught]:
    """Sentry as the relay starts it, with everything it would send kept here."""
    monkeypatch.setattr(reporting, "_quiet_until", {})
    monkeypatch.setattr(reporting, "QUIET_SECONDS", 0)
    transport = Caught()
    start(transport)
    yield transport
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_isolation_scope().clear()
    sentry_sdk.get_current_scope().clear()


@pytest.fixture
def marked(order: dict[str, Any]) -> dict[str, Any]:
    """A paid order in which everything personal is marked."""
    address = {**PERSON, "country_code": "DE", "name": f"{PERSON['first_name']} {PERSON['last_name']}"}
    return order | {
        "email": PERSON["email"],
        "contact_email": PERSON["email"],
        "phone": PERSON["phone"],
        "customer": {**order["customer"], **PERSON, "default_address": address},
        "billing_address": address,
        "shipping_address": address,
        "browser_ip": NEST["browser_ip"],
        "client_details": {"browser_ip": NEST["browser_ip"], "user_agent": NEST["user_agent"]},
        "note_attributes": [{"name": "_fbp", "value": NEST["fbp"]}],
        "note": f"please call {PERSON['phone']}",
    }


def explode(*_: object, **__: object) -> None:
    """Our own mistake, at its most talkative."""
    raise ValueError(f"cannot use {PERSON['email']} of {PERSON['first_name']} with {TOKEN} and {SECRET}")


def redis_content(url: str) -> str:
    with Redis.from_url(url) as client:
        return repr([(key, client.dump(key)) for key in client.scan_iter()])


def ledger_content(relay: Relay) -> str:
    with relay.database.read() as db:
        return repr([db.execute(select(table)).all() for table in metadata.sorted_tables])


def test_nothing_marked_gets_out(
    relay: Relay,
    drain: Drain,
    post: Callable[..., TestResponse],
    pixel: Pixel,
    marked: dict[str, Any],
    lines: io.StringIO,
    caught: Caught,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [post(marked)]
    told = redis_content(relay.redis_url)
    talkative = json.dumps({"error": {"code": 100, "message": f"bad {PERSON['email']} {TOKEN}"}})
    pixel.answer = lambda _: Response("<html>" + PERSON["email"], 500)
    drain.run(0.01)
    pixel.answer = lambda _: Response(talkative, 400, content_type="application/json")
    due_now(relay)
    drain.run(1)
    for number, broken in enumerate((Meta.unfit, Meta.build, Meta.read)):
        answers.append(post(marked | {"id": 9_000 + number, "name": f"#{9_000 + number}"}))
        with monkeypatch.context() as patch:
            patch.setattr(Meta, broken.__name__, explode)
            drain.run(1)
    with monkeypatch.context() as patch:
        patch.setattr(Shopify, "map", explode)
        answers.append(post(marked | {"id": 9_100}))
    answers.append(post(b'{"id": 1, "email": "%s"' % PERSON["email"].encode()))
    answers.append(post(marked, path=f"/webhooks/shopify?token={TOKEN}&email={PERSON['email']}"))
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "deliver", explode)
        jobs.Wake(relay.redis_url).now(unless_flagged=False)
        work_for(relay.redis_url, 1.0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    told += redis_content(relay.redis_url) + ledger_content(relay) + lines.getvalue()
    told += repr(caught.sent) + repr([(answer.status, answer.text, answer.headers) for answer in answers])

    assert {answer.status_code for answer in answers} == {200}
    assert caught.sent, "Sentry heard of the failures"
    assert '"level": "error"' in lines.getvalue()
    assert str(marked["id"]) in told, "what may be told is there"
    assert [mark for mark in MARKS if mark in told] == []
