"""A store that never tires: sends prepared hooks over a few connections, each waiting for its answer."""

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
    """Sends all of them as fast as they are answered; returns the seconds. Raises `Unanswered`.

    One thread and one `epoll`: it must take less of the two cores than what is measured.
    """
    waiting = iter(requests)
    poll, open_ = select.epoll(), {}
    began = time.perf_counter()
    for _, request in zip(range(connections), waiting, strict=False):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
