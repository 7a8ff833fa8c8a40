"""The answers of the web process: a sentence, and what no answer goes without."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HARDENING = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "no-store",
}
"""Headers of every answer, whoever makes it."""

RETRY_SECONDS = 30


class Answer:
    """A whole answer of one sentence, as a WSGI application. Holds no data of a request."""

    def __init__(self, status: int, sentence: str, **more: str) -> None:
        self._status = f"{status} {HTTPStatus(status).phrase}"
        self._body = f"{sentence}\n".encode()
        self._headers = {"Content-Type": "text/plain; charset=utf-8", **HARDENING, **more}
        self._headers["Content-Length"] = str(len(self._body))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._headers["Retry-After"] = str(RETRY_SECONDS)

    def __call__(self, _environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Gives it."""
        start_response(self._status, list(self._headers.items()))
        return [self._body]
