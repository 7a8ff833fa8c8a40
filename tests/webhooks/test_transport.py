"""Transport: every way a connection can end, over real sockets."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integrations.destination import Request, Response
from webhooks.transport import MAX_ANSWER, Transport

Behaviour = Callable[[socket.socket], None]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Trace: a\r\n\r\nok"


class Server:
    """Listens on loopback and does one thing with each connection."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/events"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with client:
                    self.behaviour(client)
            except OSError:
                continue  # the transport hung up, as some tests want

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Server]]:
    servers: list[Server] = []

    def start(behaviour: Behaviour) -> Server:
        servers.append(Server(behaviour))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport(total_seconds=0.5)
    yield made
    made.close()


def send(transport: Transport, server: Server) -> Response:
    return transport.send(Request(url=server.url, body=b"{}", headers={"Content-Type": "application/json"}))


def read_request(client: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"{}"):
        received += client.recv(65_536)
    return received


def test_an_answer_comes_back_whole(serve: Callable[[Behaviour], Server], transport: Transport) -> None:
    def answer(client: socket.socket) -> None:
        assert b"user-agent: purchase-relay/" in read_request(client).lower()
        client.sendall(ANSWER)

    response = send(transport, serve(answer))
    assert (response.status, response.body, response.headers["x-trace"]) == (200, b"ok", "a")


def test_connections_are_kept(serve: Callable[[Behaviour], Server], transport: Transport) -> None:
    def answer_twice(client: socket.socket) -> None:
        for _ in range(2):
            read_request(client)
            client.sendall(ANSWER)

    server = serve(answer_twice)
    assert [send(transport, server).status for _ in range(2)] == [200, 200]
    assert server.connections == 1


def test_a_redirect_is_not_followed(serve: Callable[[Behaviour], Server], transport: Transport) -> None:
    def redirect(client: socket.socket) -> None:
        read_request(client)
        client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    server = serve(redirect)
    assert send(transport, server).status == 302
    assert server.connections == 1


def test_nobody_listens(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    response = transport.send(Request(url=f"http://127.0.0.1:{port}/", body=b"{}"))
    assert (response.status, response.fault) == (0, "not_sent")
    assert str(port) not in response.detail


def test_an_unknown_host(transport: Transport) -> None:
    response = transport.send(Request(url="http://nowhere.invalid/", body=b"{}"))
    assert (response.status, response.fault) == (0, "not_sent")


def test_no_tls_behind_https(serve: Callable[[Behaviour], Server], transport: Transport) -> None:
    server = serve(lambda client: client.sendall(ANSWER))
    response = transport.send(Request(url=server.url.replace("http:", "https:"), body=b"{}"))
    assert (response.status, response.fault) == (0, "not_sent")


def reset(client: socket.socket) -> None:
    read_request(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(client: socket.socket) -> None:
    read_request(client)


def say_nothing(client: socket.socket) -> None:
    read_request(client)
    client.recv(1)  # until the other side hangs up


def drip_headers(client: socket.socket) -> None:
    read_request(client)
    for byte in ANSWER:
        client.sendall(bytes([byte]))
        time.sleep(0.1)


def drip_body(client: socket.socket) -> None:
    read_request(client)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(20):
        client.sendall(b"x")
        time.sleep(0.1)


def half_an_answer(client: socket.socket) -> None:
    read_request(client)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def rubbish(client: socket.socket) -> None:
    read_request(client)
    client.sendall(b"\x00\x01\x02 this is not HTTP\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour", [reset, hang_up, say_nothing, drip_headers, drip_body, half_an_answer, rubbish]
)
def test_it_may_have_counted(
    behaviour: Behaviour, serve: Callable[[Behaviour], Server], transport: Transport
) -> None:
    began = time.monotonic()
    response = send(transport, serve(behaviour))
    assert (response.status, response.fault) == (0, "maybe_sent")
    assert time.monotonic() - began < 1.5, "the deadline ends what would go on for ever"


def test_too_long_an_answer_is_cut(serve: Callable[[Behaviour], Server], transport: Transport) -> None:
    def flood(client: socket.socket) -> None:
        read_request(client)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (3 * MAX_ANSWER))

    response = send(transport, serve(flood))
    assert (response.status, len(response.body)) == (200, MAX_ANSWER)


def test_a_slow_look_up_of_the_name_sends_nothing_after_the_deadline(
    serve: Callable[[Behaviour], Server], transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    server = serve(lambda client: heard.append(client.recv(65_536)))
    look_up = socket.getaddrinfo

    def slow(*asked: Any, **more: Any) -> Any:
        time.sleep(0.8)
        return look_up(*asked, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    answer = send(transport, server)
    assert (answer.status, answer.fault, answer.detail) == (0, "not_sent", "the deadline passed")
    time.sleep(0.1)
    assert b"".join(heard) == b""


def test_a_header_that_cannot_be_sent_is_a_failure_of_this_call_alone(
    serve: Callable[[Behaviour], Server], transport: Transport
) -> None:
    def answer(client: socket.socket) -> None:
        read_request(client)
        client.sendall(ANSWER)

    server = serve(answer)
    bad = Request(url=server.url, body=b"{}", headers={"Authorization": "Bearer “pasted”"})
    assert transport.send(bad).fault == "not_sent"
    assert send(transport, server).status == 200


def test_one_call_may_have_less_time(serve: Callable[[Behaviour], Server]) -> None:
    server = serve(say_nothing)
    patient = Transport(total_seconds=10)
    began = time.monotonic()
    assert patient.send(Request(url=server.url, body=b"{}"), seconds=0.2).fault == "maybe_sent"
    assert time.monotonic() - began < 3
    patient.close()
