"""Ports of this machine: a free one for a server, and waiting until it listens."""

import socket
import time


def free() -> int:
    """A port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def wait(port: int, seconds: float = 20.0) -> None:
    """Returns as soon as somebody listens; raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens on port {port}") from None
            time.sleep(0.02)
        else:
            return
