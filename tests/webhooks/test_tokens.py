"""Access tokens: got once for everybody, renewed in time, and their failures told; over real sockets."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy import select
from werkzeug import Request as Hit
from werkzeug import Response as Reply

from integrations.destination import Account, Outcome, Request, Response, Token
from integrations.destinations.meta import Meta
from integrations.setting import Secret
from tests.webhooks.pixel import Pixel, rows
from webhooks import tokens
from webhooks.delivery import Drain
from webhooks.relay import Relay
from webhooks.schema import accounts, attempts
from webhooks.tokens import Answer, Kept, Tokens
from webhooks.transport import TOTAL_SECONDS, Transport


class Office:
    """Gives tokens out, and says which one an event came with."""

    def __init__(self, server: HTTPServer) -> None:
        self.given = 0
        self.used: list[str] = []
        self.seconds = 3_600
        self.status = 200
        self.delay = 0.0
        server.expect_request("/token").respond_with_handler(self._give)
        server.expect_request("/events").respond_with_handler(self._take)
        self.address = server.url_for("/").rstrip("/")

    def _give(self, _: Hit) -> Reply:
        self.given += 1
        time.sleep(self.delay)
        document = {"access_token": f"token-{self.given}", "expires_in": self.seconds}
        return Reply(json.dumps(document), self.status, content_type="application/json")

    def _take(self, hit: Hit) -> Reply:
        self.used.append(hit.headers.get("Authorization", ""))
        return Reply("{}", content_type="application/json")


def exchange(_: Meta, account: Account, now: int) -> Request | Outcome | None:
    assert abs(now - time.time()) < 60
    return Request(f"{account.api_base}/token")


def read_exchange(_: Meta, response: Response) -> Token | Outcome:
    if response.status != 200:
        return Outcome("retry", f"http_{response.status}")
    answer = json.loads(response.body)
    return Token(Secret(answer["access_token"]), answer["expires_in"])


class Exchanging(Meta):
    """A destination that wants a token of an hour."""

    exchange = exchange
    read_exchange = read_exchange


@pytest.fixture
def office(httpserver: HTTPServer) -> Office:
    return Office(httpserver)


@pytest.fixture
def kept() -> Iterator[Tokens]:
    transport = Transport(total_seconds=5)
    yield Tokens(transport)
    transport.close()


@pytest.fixture
def send(kept: Tokens, office: Office) -> Callable[..., Answer]:
    def one(adapter: Meta | None = None, **options: str) -> Answer:
        account = Account("meta", "main", office.address, options)
        return kept.send(adapter or Exchanging(), account, Request(f"{office.address}/events"))

    return one


Send = Callable[..., Answer]


def test_a_token_is_got_once_and_added_to_every_request(send: Send, office: Office) -> None:
    assert [send().response.status for _ in range(3)] == [200] * 3
    assert (office.given, set(office.used)) == (1, {"Bearer token-1"})


def test_a_destination_without_tokens_is_sent_to_as_before(send: Send, office: Office) -> None:
    assert send(Meta()).response.status == 200
    assert (office.given, office.used) == (0, [""])


def test_threads_that_start_together_share_one_exchange(send: Send, office: Office) -> None:
    office.delay = 0.2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(), range(8)))
    assert {answer.response.status for answer in answers} == {200}
    assert (office.given, len(office.used)) == (1, 8)


def test_a_token_is_renewed_a_minute_before_it_ends(send: Send, office: Office) -> None:
    office.seconds = 61
    send()
    send()
    assert office.given == 1
    time.sleep(1.05)
    send()
    assert office.used == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_other_credentials_get_a_token_of_their_own(send: Send, office: Office) -> None:
    send(secret="a")
    send(secret="b")
    send(secret="a")
    assert office.used == ["Bearer token-1", "Bearer token-2", "Bearer token-1"]


def test_a_failed_exchange_is_the_outcome_and_nothing_is_sent(send: Send, office: Office) -> None:
    office.status = 503
    answer = send()
    assert (answer.outcome, answer.response.fault) == (Outcome("retry", "http_503"), "not_sent")
    assert office.used == []
    office.status = 200
    assert send().response.status == 200, "a failure is not remembered"


def test_who_waited_for_a_failing_exchange_does_not_repeat_it(send: Send, office: Office) -> None:
    """Four threads that each waited for the deadline in turn would outlive their leases."""
    office.status, office.delay = 503, 0.3
    together = threading.Barrier(4)

    def at_once(_: int) -> Answer:
        together.wait()
        return send()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(at_once, range(4)))
    assert {answer.outcome for answer in answers} == {Outcome("retry", "http_503")}
    assert office.given == 1


def test_incomplete_credentials_hold(send: Send, office: Office) -> None:
    class Incomplete(Exchanging):
        def exchange(self, *_: Any) -> Outcome:
            return Outcome("held", "credentials", "set a key", spent=False)

    assert send(Incomplete()).outcome == Outcome("held", "credentials", "set a key", spent=False)
    assert (office.given, office.used) == (0, [])


@pytest.mark.parametrize("step", ["exchange", "read_exchange"])
def test_our_own_mistake_holds_and_is_told(
    send: Send, office: Office, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Exchanging):
        pass

    def wrong(*_: Any) -> None:
        raise ZeroDivisionError

    setattr(Wrong, step, wrong)
    with caplog.at_level(logging.ERROR):
        outcome = send(Wrong()).outcome
    assert outcome is not None
    assert (outcome.state, outcome.reason, outcome.spent) == ("held", "ZeroDivisionError", False)
    assert office.used == []
    assert [record.name for record in caplog.records] == ["webhooks.alert"]


def test_a_refused_token_is_forgotten_but_not_its_successor(
    kept: Tokens, send: Send, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send().aged is None, "a refusal would not be the fault of a fresh token"
    monkeypatch.setattr(tokens, "FRESH_SECONDS", 0)
    first = send().aged
    assert first is not None
    account = Account("meta", "main", office.address, {})
    kept.forget(account, first)
    assert send().response.status == 200
    kept.forget(account, first)
    assert send().response.status == 200
    assert office.given == 2


def test_a_token_does_not_show_itself() -> None:
    assert "ya29" not in repr(Kept(Secret("ya29.token"), 0.0, 1.0))


# --- in a delivery ---------------------------------------------------------------------------------------


@pytest.fixture
def exchanging(monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer) -> Office:
    """Meta, as if it wanted tokens."""
    monkeypatch.setattr(Meta, "exchange", exchange)
    monkeypatch.setattr(Meta, "read_exchange", read_exchange)
    return Office(httpserver)


def refusing(pixel: Pixel, *dead: str) -> Callable[[Any], Reply]:
    """Answers as a destination that takes every token but the dead."""

    def answer(data: Any) -> Reply:
        token = pixel.authorizations[-1].removeprefix("Bearer ")
        return pixel.error(401, code=190, message="expired") if token in dead else pixel.accept(data)

    return answer


def outcomes(relay: Relay) -> list[str]:
    with relay.database.read() as db:
        return list(db.execute(select(attempts.c.outcome).order_by(attempts.c.id)).scalars())


def test_an_order_is_delivered_with_a_token(
    exchanging: Office, relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    pixel.answer = refusing(pixel, "token-for-tests")
    orders(2)
    drain.run(5)
    assert {row["state"] for row in rows(relay).values()} == {"delivered"}
    assert exchanging.given == 1


def test_a_token_that_ended_early_costs_no_attempt_and_holds_nothing(
    exchanging: Office,
    relay: Relay,
    drain: Drain,
    pixel: Pixel,
    orders: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "FRESH_SECONDS", 0)
    pixel.answer = refusing(pixel, "token-1")
    orders(2)
    drain.run(5)
    assert {(row["state"], row["attempts"]) for row in rows(relay).values()} == {("delivered", 1)}
    assert outcomes(relay) == ["held", "held", "delivered", "delivered"]
    assert (exchanging.given, len(pixel.calls)) == (2, 2)
    with relay.database.read() as db:
        assert db.execute(select(accounts.c.state)).all() == []


def test_a_fresh_token_that_is_refused_holds_the_account(
    exchanging: Office, relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    pixel.answer = refusing(pixel, "token-1", "token-2")
    orders(2)
    drain.run(5)
    assert {(row["state"], row["attempts"]) for row in rows(relay).values()} == {("held", 0)}
    assert (exchanging.given, len(pixel.calls)) == (1, 1)


def test_without_a_token_nothing_is_sent_and_nothing_lost(
    exchanging: Office, relay: Relay, drain: Drain, pixel: Pixel, orders: Any
) -> None:
    exchanging.status = 503
    [placed] = orders(1)
    drain.run(0.01)
    row = rows(relay)[placed]
    assert (row["state"], row["reason"], row["ambiguous"]) == ("due", "http_503", False)
    assert pixel.calls == []


def test_an_exchange_leaves_time_for_the_request(
    send: Send, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both together must end between SIGTERM and SIGKILL, and within the lease."""
    assert tokens.EXCHANGE_SECONDS + TOTAL_SECONDS < 25
    monkeypatch.setattr(tokens, "EXCHANGE_SECONDS", 0.2)
    office.delay = 3.0
    began = time.monotonic()
    assert send().outcome == Outcome("retry", "http_0")
    assert time.monotonic() - began < office.delay
