"""Reads a request's raw body, whole and within bounds, whatever its framing."""

from typing import Protocol

from werkzeug.wrappers import Request

STALLED_SECONDS = 5.0
"""How long a client may pause within a request's body."""


class Refusal(Exception):
    """A request that is answered before anybody reads what it says."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class TooLarge(Refusal):
    """Of that ``size`` at least, in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(413, "the body is too large")
        self.size = size


class _Timed(Protocol):
    def settimeout(self, seconds: float) -> None: ...


def read(request: Request, limit: int) -> bytes:
    """The raw body of at most ``limit`` bytes; raises `Refusal`. Counts for itself: a chunked body has no
    length that could be checked before."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "send the body without content encoding")
    declared = request.content_length
    if declared is not None and declared > limit:
        raise TooLarge(declared)
    client: _Timed | None = request.environ.get("gunicorn.socket")
    if client is not None:
        client.settimeout(STALLED_SECONDS)
    try:
        body: bytes = request.environ["wsgi.input"].read(limit + 1 if declared is None else declared)
    except TimeoutError as error:
        raise Refusal(408, "the body did not arrive in time") from error
    except Exception as error:  # a broken chunk, a reset: whatever the server's reader makes of it
        raise Refusal(400, "the body is broken") from error
    if len(body) > limit:
        raise TooLarge(len(body))
    if declared is not None and len(body) < declared:
        raise Refusal(400, "the body is shorter than announced")
    return body
