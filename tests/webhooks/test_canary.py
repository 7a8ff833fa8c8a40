"""No canary gets out: an order full of marked data goes the whole way, through every kind of failure, and
nothing marked may be in a log line, a Sentry envelope, Redis, or a readable column of the ledger. What was
erased is in no file, not even encrypted."""

import io
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from redis import Redis
from sqlalchemy import select, update
from werkzeug import Response
from werkzeug.test import TestResponse

from integrations.destinations.meta import Meta
from integrations.stores.shopify import Shopify
from tests.webhooks.conftest import SECRET, Environment
from tests.webhooks.pixel import Pixel, due_now
from tests.webhooks.test_jobs import work_for
from tests.webhooks.test_sentry import Caught, start
from webhooks import delivery, jobs, privacy, replay, reporting
from webhooks.delivery import Drain
from webhooks.questions import STATES
from webhooks.relay import Relay
from webhooks.replay import Question
from webhooks.schema import events, hooks, metadata, wishes

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


def sealed_pieces(relay: Relay) -> list[bytes]:
    """A piece out of the middle of everything that is sealed about orders."""
    with relay.database.read() as db:
        kept = [
            bytes(token)
            for table in (events, hooks)
            for token in db.execute(select(table.c.sealed).where(table.c.sealed.is_not(None))).scalars()
        ]
    return [token[at : at + 40] for token in kept for at in range(100, len(token) - 40, 700)]


def stored(relay: Relay) -> bytes:
    """Every byte that the deployment keeps on disk; of PostgreSQL what its tables hold."""
    files = b"".join(file.read_bytes() for file in relay.settings.data_dir.rglob("*") if file.is_file())
    with relay.database.read() as db:
        tables = [row for table in metadata.sorted_tables for row in db.execute(select(table)).all()]
    return files + b"".join(
        bytes(cell) if isinstance(cell, bytes) else str(cell).encode() for row in tables for cell in row
    )


def test_what_was_erased_is_nowhere(
    relay: Relay,
    drain: Drain,
    post: Callable[..., TestResponse],
    pixel: Pixel,
    marked: dict[str, Any],
    lines: io.StringIO,
) -> None:
    """Not even encrypted: neither in the database's files, its log of writes included, nor in Redis."""
    post(marked)
    post(marked | {"updated_at": "later"}, "orders/updated")
    post(marked | {"id": 9_200, "name": "#9200", "total_price_set": None, "total_price": "much"})
    pixel.answer = lambda _: Pixel.error(500, message=f"bad {PERSON['email']}")
    drain.run(0.1)
    pieces = sealed_pieces(relay)
    assert pieces
    assert all(piece in stored(relay) for piece in pieces), "the test must be able to find them"
    customer = {"id": marked["customer"]["id"], "email": PERSON["email"], "phone": PERSON["phone"]}
    request = {"shop_id": 1, "shop_domain": "", "customer": customer, "orders_to_redact": [marked["id"]]}
    post(request, "customers/redact")
    for _ in range(2):
        with relay.database.write() as db:
            db.execute(update(wishes).where(wishes.c.state == "open").values(due_at=0))
        privacy.work_due(relay, threading.Event())
    assert [one.state for one in privacy.listed(relay)] == ["done"]
    post(marked | {"note": "again"}, "orders/updated")

    kept = stored(relay)
    assert str(marked["id"]).encode() in kept, "the facts are there"
    told = kept.decode("utf-8", "replace") + redis_content(relay.redis_url) + lines.getvalue()
    assert [mark for mark in MARKS if mark in told] == []
    if relay.database.is_sqlite:
        assert [piece for piece in pieces if piece in kept] == []
    due_now(relay)
    sent = len(pixel.calls)
    everything = Question(shop="shopify", states=tuple(one for one in STATES if one != "delivered"))
    assert replay.apply(relay, replay.plan(relay, everything)) == 0
    drain.run(0.1)
    assert len(pixel.calls) == sent


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
