"""Requests that come at once are answered together, and none of them costs the others anything."""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from tests import ports
from tests.waiting import until
from webhooks.grouping import AT_ONCE


class Server:
    """gunicorn with one worker, and its clients."""

    def __init__(self, port: int, clients: ThreadPoolExecutor) -> None:
        self._port, self._clients = port, clients

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=30)

    def send(self, what: str, body: str = "") -> "Future[tuple[int, str]]":
        return self._clients.submit(self._sent, f"/together/{what}", body)

    def release(self) -> None:
        assert self._sent("/release", "") == (200, "released")

    def happened(self) -> tuple[list[str], int]:
        """What has, and how many have come that nobody has begun."""
        client = self.connect()
        client.request("GET", "/")
        told, waiting = json.load(client.getresponse())
        client.close()
        return told, waiting

    def all_busy(self) -> "list[Future[tuple[int, str]]]":
        """Nobody can begin anything now: who comes waits for the others."""
        held = []
        for _ in range(AT_ONCE):
            held.append(self.send("hold"))
            until(lambda: self.happened()[0].count("end hold") == len(held))
        return held

    def waits_for(self, count: int) -> None:
        """Until so many have come."""
        until(lambda: self.happened()[1] == count)

    def _sent(self, path: str, body: str) -> tuple[int, str]:
        client = self.connect()
        client.request("POST", path, body)
        answer = client.getresponse()
        said = answer.status, answer.read().decode()
        client.close()
        return said


@pytest.fixture
def server() -> Iterator[Server]:
    port = ports.free()
    company = "tests.webhooks.company"
    options = ["-k", f"{company}.Worker", "--threads", "4", "-b", f"127.0.0.1:{port}", "--no-control-socket"]
    with ExitStack() as stack:
        clients = stack.enter_context(ThreadPoolExecutor(16))
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, f"{company}:app"], stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        ports.wait(port)
        made = Server(port, clients)
        stack.callback(made.release)
        yield made


def test_who_comes_at_once_is_begun_before_anybody_waits(server: Server) -> None:
    server.all_busy()
    sent = [server.send(f"nr{number}", str(number)) for number in range(5)]
    server.waits_for(len(sent))
    server.release()
    assert [one.result() for one in sent] == [(200, str(number)) for number in range(5)]
    told = [step.split()[0] for step in server.happened()[0] if "nr" in step]
    assert told == ["begin"] * 5 + ["end"] * 5


def test_what_takes_long_goes_on_alone(server: Server) -> None:
    held = server.all_busy()
    alone = [server.send("alone", "slow") for _ in range(2)]
    server.waits_for(2)
    server.release()
    assert all(one.result() == (200, "slow") for one in alone)
    assert all(one.result()[0] == 200 for one in held)


def test_others_do_not_wait_for_what_takes_long(server: Server) -> None:
    alone = server.send("alone", "slow")
    until(lambda: "end alone" in server.happened()[0])
    assert [server.send("quick", "fast").result() for _ in range(10)] == [(200, "fast")] * 10
    assert not alone.done()
    server.release()
    assert alone.result() == (200, "slow")


@pytest.mark.parametrize("what", ["fail", "fail-late"])
def test_a_mistake_costs_one_answer(server: Server, what: str) -> None:
    server.all_busy()
    sent = [server.send("nr1", "1"), server.send(what), server.send("nr2", "2")]
    server.waits_for(len(sent))
    server.release()
    assert [one.result()[0] for one in sent] == [200, 500, 200]


def test_a_client_that_has_gone_costs_nothing(server: Server) -> None:
    server.all_busy()
    gone = server.connect()
    gone.request("POST", "/together/gone", "x" * 1_000)
    sent = server.send("nr1", "1")
    server.waits_for(2)
    gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # not a farewell: the connection is reset
    server.release()
    assert sent.result() == (200, "1")
    assert server.send("nr2", "2").result() == (200, "2")


@pytest.mark.parametrize("what", ["read", "unread"])
def test_a_connection_is_kept(server: Server, what: str) -> None:
    client = server.connect()
    for _ in range(3):
        client.request("POST", f"/together/{what}", what)
        answer = client.getresponse()
        assert (answer.status, answer.read().decode()) == (200, what)
        assert client.sock is not None, "it was closed"
    client.close()
