"""Where a destination takes its secret in the address only, nothing of ours tells that address.

Asked of every destination that says so (`Destination.secret_in_url`), through every way a call can end.
"""

import io
import logging
import socket
from collections.abc import Callable, Iterator

import pytest
import sentry_sdk
from msgspec import structs

from integrations.destination import Destination, Outcome, Request, Response
from tests.contract.deliveries import DESTINATIONS, EVENTS, NOW, account, delivery, secrets
from tests.webhooks.test_sentry import Caught, start
from tests.webhooks.test_transport import Behaviour, Server
from webhooks import reporting
from webhooks.transport import Transport

LOOSE = [one for one in DESTINATIONS if one.secret_in_url]
WHOLE = b"HTTP/1.1 204 No Content\r\n\r\n"


def saying(answer: bytes) -> Behaviour:
    def behave(client: socket.socket) -> None:
        client.recv(65_536)
        client.sendall(answer)

    return behave


ENDINGS: dict[str, Behaviour] = {
    "taken": saying(WHOLE),
    "headers that are none": saying(b"HTTP/1.1 204 No Content\r\nno header at all\r\nX: y\r\n\r\n"),
    "no HTTP": saying(b"250 OK\r\n"),
    "hung up": lambda _: None,
    "half an answer": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
    "wrong length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
    "redirect": saying(b"HTTP/1.1 302 Found\r\nLocation: /mp/collect?again\r\nContent-Length: 0\r\n\r\n"),
    "nonsense that claims to be packed": saying(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"
    ),
}


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
    monkeypatch.setattr(reporting, "_quiet_until", {})
    taken = Caught()
    start(taken, traces_sample_rate=1.0)
    yield taken
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_isolation_scope().clear()
    sentry_sdk.get_current_scope().clear()


@pytest.fixture
def server() -> Iterator[Callable[[Behaviour], str]]:
    servers: list[Server] = []

    def serve(behaviour: Behaviour) -> str:
        servers.append(Server(behaviour))
        return servers[-1].url.removesuffix("/events")

    yield serve
    for one in servers:
        one.close()


def request(destination: Destination, base: str) -> Request:
    return destination.build([delivery(EVENTS["web_full"])], account(destination, base), NOW)


def test_there_is_such_a_destination() -> None:
    """Otherwise nothing here is asked."""
    assert LOOSE
    for destination in LOOSE:
        assert [one for one in secrets(destination) if one in request(destination, "http://a.example").url]


@pytest.mark.parametrize("destination", LOOSE, ids=lambda one: one.slug)
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_way_a_call_can_end_tells_the_address(
    destination: Destination,
    ending: str,
    server: Callable[[Behaviour], str],
    lines: io.StringIO,
    caught: Caught,
) -> None:
    transport = Transport(total_seconds=3)
    with sentry_sdk.start_transaction(name="deliver", op="queue.task"):
        response = transport.send(request(destination, server(ENDINGS[ending])))
        outcomes = destination.read(1, response)
        reporting.alert("broken", "Something is wrong", error=ValueError("x"))
    transport.close()
    sentry_sdk.get_client().flush()
    assert caught.sent
    _assert_silent(destination, response, outcomes, lines, caught)


@pytest.mark.parametrize("destination", LOOSE, ids=lambda one: one.slug)
def test_a_network_error_does_not_carry_the_address(
    destination: Destination, lines: io.StringIO, caught: Caught
) -> None:
    """urllib3's own text does: ``HTTPConnectionPool(...): Max retries exceeded with url: /mp/collect?...``"""
    transport = Transport(total_seconds=3)
    there = request(destination, "http://127.0.0.1:1")
    for broken in (there, structs.replace(there, url=there.url.replace("127.0.0.1:1", "[::1:1"))):
        response = transport.send(broken)
        assert response.fault == "not_sent"
        _assert_silent(destination, response, destination.read(1, response), lines, caught)
    transport.close()


@pytest.mark.parametrize("destination", LOOSE, ids=lambda one: one.slug)
def test_what_another_package_logs_is_scrubbed(destination: Destination, lines: io.StringIO) -> None:
    """A belt: even a library that logs the whole address, at a level that is shown, does not get it out."""
    logging.getLogger("urllib3.connection").warning("url=%s", request(destination, "https://a.example").url)
    assert "a.example" in lines.getvalue()
    assert [one for one in secrets(destination) if one in lines.getvalue()] == []


def _assert_silent(
    destination: Destination, response: Response, outcomes: list[Outcome], lines: io.StringIO, caught: Caught
) -> None:
    told = [lines.getvalue(), repr(outcomes), response.detail, *(sent.decode() for sent in caught.sent)]
    for secret in secrets(destination):
        assert [one for one in told if secret in one] == []
