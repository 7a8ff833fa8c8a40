"""A store that never tires: sends prepared hooks, as fast as they are answered or at a steady rate.

One thread and one `epoll`: it must take less of the two cores than what is measured.
"""

import select
import socket
import time
from collections.abc import Iterator, Sequence

from webhooks.sandbox import shopify_sender


def hooks(bodies: Sequence[bytes], secret: str) -> list[bytes]:
    """Whole HTTP requests, signed."""
    return [_request(body, secret) for body in bodies]


def _request(body: bytes, secret: str) -> bytes:
    headers = shopify_sender.sign(body, secret, topic="orders/paid", now=int(time.time()))
    headers |= {"Host": "shop.example.com", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /webhooks/shopify HTTP/1.1\r\n{lines}\r\n".encode() + body


class Unanswered(Exception):
    """A hook was answered otherwise than with 200."""


def storm(port: int, requests: Sequence[bytes], connections: int = 16) -> float:
    """Sends all of them over a few connections, each waiting for its answer; returns the seconds. Raises
    `Unanswered`."""
    waiting = iter(requests)
    poll, open_ = select.epoll(), {}
    began = time.perf_counter()
    for _, request in zip(range(connections), waiting, strict=False):
        peer = _connected(port)
        open_[peer.fileno()] = peer
        poll.register(peer, select.EPOLLIN)
        peer.sendall(request)
    try:
        _answer(poll, open_, waiting)
    finally:
        for peer in open_.values():
            peer.close()
        poll.close()
    return time.perf_counter() - began


def _connected(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def _answer(poll: select.epoll, peers: dict[int, socket.socket], waiting: Iterator[bytes]) -> None:
    busy = len(peers)
    heard = dict.fromkeys(peers, b"")
    while busy:
        for number, _ in poll.poll(30) or _nothing():
            piece = peers[number].recv(65_536)
            heard[number] += piece
            if not piece or not heard[number].startswith(b"HTTP/1.1 200"[: len(heard[number])]):
                raise Unanswered(heard[number][:200])
            if not heard[number].endswith(b"ok\n"):
                continue  # gunicorn sends head and body apart
            heard[number] = b""
            if (request := next(waiting, None)) is None:
                busy -= 1
            else:
                peers[number].sendall(request)


def _nothing() -> list[tuple[int, int]]:
    raise Unanswered("no answer in 30 seconds")


class Steady:
    """Sends at a rate, whatever the answers: what comes late delays nothing else.

    Each hook takes a connection that is free, or a new one. ``taken`` are the seconds from when a hook was
    due to its answer.
    """

    def __init__(self, port: int, requests: Sequence[bytes], rate: float) -> None:
        self.taken: list[float] = []
        self._port, self._requests, self._rate = port, requests, rate
        self._poll = select.epoll()
        self._free: dict[int, socket.socket] = {}
        self._busy: dict[int, tuple[socket.socket, float, bytes]] = {}

    def run(self) -> list[float]:
        """Returns ``taken`` when the last is answered. Raises `Unanswered`."""
        began = time.perf_counter()
        for number, request in enumerate(self._requests):
            due = began + number / self._rate
            while (rest := due - time.perf_counter()) > 0:
                self._listen(rest)
            self._send(request, due)
        while self._busy:
            self._listen(30) or _nothing()
        for peer in self._free.values():
            peer.close()
        self._poll.close()
        return self.taken

    def _send(self, request: bytes, due: float) -> None:
        if self._free:
            _, peer = self._free.popitem()
        else:
            peer = _connected(self._port)
            self._poll.register(peer, select.EPOLLIN)
        self._busy[peer.fileno()] = (peer, due, b"")
        peer.sendall(request)

    def _listen(self, seconds: float) -> int:
        events = self._poll.poll(seconds)
        for number, _ in events:
            if number in self._busy:
                self._hear(number)
            else:  # the server hung up on one that lay idle
                self._poll.unregister(number)
                self._free.pop(number).close()
        return len(events)

    def _hear(self, number: int) -> None:
        peer, due, heard = self._busy[number]
        piece = peer.recv(65_536)
        heard += piece
        if not piece or not heard.startswith(b"HTTP/1.1 200"[: len(heard)]):
            raise Unanswered(heard[:200])
        self._busy[number] = (peer, due, heard)
        if heard.endswith(b"ok\n"):
            del self._busy[number]
            self._free[number] = peer
            self.taken.append(time.perf_counter() - due)
