"""Scenes of strangers at the door, while the stores go on."""

import socket
from collections.abc import Mapping
from contextlib import suppress

from tests.faults import orders
from tests.faults.scenes import Promise, Scene, Stage

STALLED = 300
LOOK_SECONDS = 1.0


def _stalled(stage: Stage) -> None:
    """Each sends a part of a hook and no more; who is sent away comes back."""
    told = orders.place(1)[0]
    lines = {"Host": "relay", "Content-Length": str(len(told.body)), **told.headers()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"POST {told.path} HTTP/1.1\r\n{head}\r\n".encode() + told.body
    host, port = stage.relay.web_url.removeprefix("http://").split(":")
    clients: list[socket.socket] = []
    for _ in stage.times(round(20 / LOOK_SECONDS)):
        clients = [one for one in clients if not _is_gone(one)]
        while len(clients) < STALLED:
            client = socket.create_connection((host, int(port)), timeout=5)
            client.sendall(request[: stage.chance.randrange(1, len(request) - 1)])
            client.setblocking(False)
            clients.append(client)
        stage.last(LOOK_SECONDS / stage.scale)
    for client in clients:
        client.close()


def _is_gone(client: socket.socket) -> bool:
    """Whether it was answered or let go."""
    with suppress(BlockingIOError):
        client.recv(1_024)
        client.close()
        return True
    return False


SCENES: Mapping[str, Scene] = {"clients stalled": Scene(_stalled, Promise(frozenset({200}), p99=1.0))}
