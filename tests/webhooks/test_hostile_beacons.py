"""Whatever is sent to /collect: it makes no purchase, changes none but for what it lacked, delays none."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests import hostile
from tests.documents import leaves, written
from tests.webhooks.conftest import Environment
from tests.webhooks.test_collect import ORIGIN, Body, beacon, sqlite_alone, told
from webhooks import app, schema
from webhooks.limits import Buckets
from webhooks.relay import Relay

pytestmark = sqlite_alone

ANSWERS = frozenset({204, 400, 403, 413, 415})
FORMS = {name: form for forms in hostile.VALUES_OF for name, form in forms.items()}
KEPT = ("value", "currency", "lines", "key", "order_id", "order_name", "names", "event_time", "event_name")
ROW = ("key", "value", "currency", "order_id", "event_time", "origin")
DUE = ("event_id", "account", "expires_at", "state")
SEEN_BY_THE_BROWSER = {"ip": "", "user_agent": ""}


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return environment | {
        "SHOPIFY_ORIGINS": ORIGIN,
        "SHOPIFY_CONSENT_POLICY": "opt_out",
        "RELAY_PROXIES": "1",
    }


@pytest.fixture
def desk(relay: Relay) -> Iterator[FlaskClient]:
    """The web application, which lets one client come as often as it likes."""
    made = app.create_app(relay.settings)
    made.extensions["beacon_limits"].clients = Buckets(rate=1e9, burst=1e9)
    made.extensions["beacon_limits"].shops = Buckets(rate=1e9, burst=1e9)
    yield made.test_client()
    made.extensions["relay"].close()


class Ledger:
    """What must not change, whatever a browser tells."""

    def __init__(self, relay: Relay, order: Body) -> None:
        self._relay, self._order = relay, order
        self.before = self._now()

    def _now(self) -> tuple[Any, ...]:
        event = told(self._relay, self._order)
        with self._relay.database.read() as db:
            counts = [
                db.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (schema.events, schema.hooks, schema.deliveries, schema.attempts)
            ]
            columns = (*(schema.events.c[name] for name in ROW), *(schema.deliveries.c[name] for name in DUE))
            facts = db.execute(select(*columns).join_from(schema.deliveries, schema.events)).all()
        kept = {name: getattr(event, name) for name in KEPT}
        buyer = msgspec.structs.replace(event.buyer, **SEEN_BY_THE_BROWSER)
        return counts, facts, kept, buyer

    def due_at(self) -> int:
        with self._relay.database.read() as db:
            return int(db.execute(select(func.max(schema.deliveries.c.due_at))).scalar_one())

    def is_as_before(self) -> bool:
        return self._now() == self.before


@pytest.fixture
def ledger(relay: Relay, post: Callable[..., TestResponse], order: Body) -> Ledger:
    """With one order that waits for its beacon."""
    details: Body = {"client_details": None, "browser_ip": None, "landing_site": None, "note_attributes": []}
    assert post(order | details).status_code == 200
    return Ledger(relay, order)


def send(desk: FlaskClient, raw: bytes, headers: Mapping[str, str | None] | None = None) -> int:
    known: dict[str, str | None] = {
        "Origin": ORIGIN,
        "X-Forwarded-For": "81.2.69.142",
        "Content-Type": "text/plain",
    }
    sent = {name: value for name, value in (known | dict(headers or {})).items() if value is not None}
    return desk.post("/collect/shopify", data=raw, headers=sent).status_code


def test_everything_odd_in_the_place_of_everything(desk: FlaskClient, ledger: Ledger, order: Body) -> None:
    """By somebody who knows the order's token, so that what is a beacon counts."""
    document = beacon(order, seen=[{"destination": "meta", "event_name": "Purchase", "event_id": "1"}])
    due_at, answers = ledger.due_at(), set()
    for place, _ in leaves(document):
        for form in FORMS.values():
            answers.add(send(desk, written(document, [place], form)))
    assert answers == {204, 400, 413}
    assert ledger.is_as_before()
    assert ledger.due_at() <= due_at


def test_everything_odd_that_is_no_beacon(desk: FlaskClient, ledger: Ledger) -> None:
    bodies = [body for forms in hostile.BODIES.values() for body in forms.values()]
    assert {send(desk, body) for body in bodies} <= {400, 413}
    assert ledger.is_as_before()


def test_odd_headers(desk: FlaskClient, ledger: Ledger, order: Body) -> None:
    raw = json.dumps(beacon(order)).encode()
    names = ("Origin", "X-Forwarded-For", "User-Agent", "Content-Type", "Content-Encoding")
    headers = [dict(found) for found in hostile.HEADERS.values()]
    headers += [{name: value} for name in names for value in hostile.VALUES.values()]
    assert {send(desk, raw, one) for one in headers} <= ANSWERS
    assert ledger.is_as_before()


def test_the_same_a_hundred_times(relay: Relay, desk: FlaskClient, ledger: Ledger, order: Body) -> None:
    answers = [send(desk, json.dumps(beacon(order, at=number)).encode()) for number in range(100)]
    assert set(answers) == {204}
    with relay.database.read() as db:
        assert db.execute(select(func.count()).select_from(schema.twins)).scalar_one() == 1
    assert ledger.is_as_before()
