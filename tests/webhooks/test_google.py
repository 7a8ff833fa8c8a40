"""An order goes the whole way to Google's stand-in: token, events, and what became of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select, update

from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import rows
from webhooks import tokens
from webhooks.checking import check
from webhooks.clock import now_ms
from webhooks.confirming import confirm_due
from webhooks.delivery import Drain
from webhooks.relay import Relay
from webhooks.sandbox.google import PROCESSING_SECONDS, Google
from webhooks.sandbox.standin import Step
from webhooks.sandbox.wire import serving
from webhooks.schema import accounts, deliveries


@pytest.fixture(scope="module")
def key_file() -> str:
    """The JSON key of a service account that nobody has."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({"client_email": "relay@invented.iam.gserviceaccount.com", "private_key": pem})


@pytest.fixture
def google(key_file: str) -> Google:
    account = {"customer_id": "1234567890", "conversion_action_id": "987654321"}
    return Google([account | {"service_account": key_file}])


@pytest.fixture
def environment(environment: Environment, google: Google, key_file: str) -> Iterator[Environment]:
    """The relay sends to Google alone."""
    with serving(google) as address:
        kept = {name: value for name, value in environment.items() if not name.startswith("META_")}
        yield kept | {
            "GOOGLE_CUSTOMER_ID": "123-456-7890",
            "GOOGLE_CONVERSION_ACTION_ID": "987654321",
            "GOOGLE_SERVICE_ACCOUNT": key_file,
            "GOOGLE_API_BASE": address,
        }


def states(relay: Relay) -> set[tuple[str, str]]:
    return {(row["state"], row["confirmed"]) for row in rows(relay).values()}


def a_day_later(relay: Relay, google: Google) -> None:
    google.freeze(google.now() + PROCESSING_SECONDS)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(confirm_at=now_ms() - 1))


def test_an_order_is_accepted_and_then_processed(
    relay: Relay, drain: Drain, google: Google, orders: Any
) -> None:
    placed = orders(3)
    drain.run(5)
    assert states(relay) == {("delivered", "")}
    assert sorted(one.event_id for one in google.record) == placed
    with relay.database.write() as db:
        db.execute(update(deliveries).values(confirm_at=now_ms() - 1))
    confirm_due(relay, drain.tokens)
    assert states(relay) == {("delivered", "")}, "Google is still at it"
    a_day_later(relay, google)
    confirm_due(relay, drain.tokens)
    assert states(relay) == {("delivered", "processed")}
    asked = [one["path"] for one in google.requests]
    assert asked.count("/token") == 1


def test_what_google_did_not_process_is_told(relay: Relay, drain: Drain, google: Google, orders: Any) -> None:
    placed = orders(3)
    google.fates[placed[1]] = "NO_CONSENT"
    drain.run(5)
    a_day_later(relay, google)
    confirm_due(relay, drain.tokens)
    assert states(relay) == {("delivered", "PARTIAL_SUCCESS/NO_CONSENT")}
    assert {row["detail"] for row in rows(relay).values()} == {
        "of 3 accepted events Google could not process: NO_CONSENT (1)"
    }


def test_the_event_that_google_names_goes_alone(
    relay: Relay, drain: Drain, google: Google, orders: Any
) -> None:
    """Two calls, not a search by halves."""
    orders(3)
    google.script([Step(status=400, body=_refusal(1))])
    drain.run(5)
    assert sorted(row["state"] for row in rows(relay).values()) == ["delivered", "delivered", "refused"]
    ingested = [one for one in google.requests if one["path"] == "/v1/events:ingest"]
    assert [len(json.loads(one["body"])["events"]) for one in ingested] == [3, 2]


def _refusal(index: int) -> dict[str, Any]:
    field = {"field": f"events[{index}].currency", "reason": "INVALID_CURRENCY_CODE"}
    return {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"fieldViolations": [field]}]}}


def test_a_token_that_google_takes_back_costs_nothing(
    relay: Relay, drain: Drain, google: Google, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders(1)
    drain.run(5)
    google.desk.take_back()
    monkeypatch.setattr(tokens, "FRESH_SECONDS", 0)
    orders(3)  # two more
    drain.run(5)
    assert {(row["state"], row["attempts"]) for row in rows(relay).values()} == {("delivered", 1)}
    with relay.database.read() as db:
        assert db.execute(select(accounts.c.state)).all() == []


def test_a_key_that_google_does_not_know_holds_the_account(
    relay: Relay, drain: Drain, google: Google, orders: Any
) -> None:
    google.accounts.clear()
    orders(2)
    drain.run(5)
    assert {(row["state"], row["reason"], row["attempts"]) for row in rows(relay).values()} == {
        ("held", "invalid_grant", 0)
    }
    assert google.record == []


def test_the_check_goes_the_same_way(relay: Relay, drain: Drain, google: Google) -> None:
    [account] = relay.settings.accounts
    outcome = check(relay, account, drain.tokens)
    assert outcome is not None
    assert (outcome.state, google.record) == ("delivered", [])
    google.desk.take_back()
    outcome = check(relay, account, drain.tokens)
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("held", "ACCESS_TOKEN_EXPIRED")
