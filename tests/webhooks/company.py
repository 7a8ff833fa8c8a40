"""A small application whose requests are answered together, for `test_grouping.py`; what each does, its path
says. ``GET`` tells what has happened so far, and ``POST /release`` lets those go on who wait."""

import json
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from webhooks.buffering import BufferingWorker
from webhooks.grouping import TOGETHER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Worker(BufferingWorker):
    """As ours, for other addresses."""

    together = "/together/"

    def not_begun(self) -> int:
        """How many have come that nobody has begun."""
        return len(self._groups._waiting)

    def init_process(self) -> None:
        """Runs until the end."""
        running.append(self)
        super().init_process()


running: list[Worker] = []
happened: list[str] = []
released = threading.Event()


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """WSGI."""
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] == "GET":
        return _said(start_response, json.dumps([happened, running[0].not_begun()]))
    if path == "/release":
        released.set()
        return _said(start_response, "released")
    assert TOGETHER in environ
    what = path.removeprefix("/together/")
    happened.append(f"begin {what}")
    if what == "fail":
        raise ValueError(what)
    return _answered(what, environ, start_response)


def _answered(what: str, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
    happened.append(f"end {what}")
    if what == "alone":
        yield b""
    if what in {"alone", "hold"}:
        released.wait(30)
    if what == "fail-late":
        raise ValueError(what)
    said = what if what == "unread" else environ["wsgi.input"].read().decode()
    yield from _said(start_response, said)


def _said(start_response: "StartResponse", words: str) -> list[bytes]:
    body = words.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
