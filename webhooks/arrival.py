"""When a request has arrived whole. Bytes in, a verdict out; the sockets are in `webhooks/buffering.py`.

gunicorn's own parser reads the head, once, and the application gets the request as it was understood here;
only where a chunked body ends is found out here, byte by byte as it comes.
"""

import re
from typing import Any, NamedTuple, Protocol

from gunicorn.http.body import ChunkedReader  # type: ignore[import-untyped]
from gunicorn.http.message import Request  # type: ignore[import-untyped]
from gunicorn.http.unreader import IterUnreader  # type: ignore[import-untyped]

MAX_HEAD = 65_536
MAX_OVERHEAD = 65_536
"""What chunk sizes and trailers may take beside the body itself."""

_READ_AHEAD = 1_024
"""gunicorn's reader asks for as much even if the application wants a single byte more."""

_LONGEST_LINE = 1_024
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Refused(Exception):
    """A request that is answered without a thread; ``status`` says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Taken(NamedTuple):
    """One request as gunicorn read it, its body at hand. If it is not whole, it is one that must be refused:
    then its bytes, and a thread says why."""

    request: Any = None
    unfit: bytes = b""

    @property
    def is_whole(self) -> bool:
        """Whether it has all that was announced."""
        return self.request is not None


class _Unfit(Exception):
    """No more of this request needs to be read in order to refuse it."""


class _Body(Protocol):
    def end(self, data: bytearray) -> int | None:
        """Where the request ends; None if that has not arrived yet. Raises `_Unfit` or `Refused`."""


class Arriving:
    """One request of a connection while it arrives, and after it the next one.

    ``cfg`` is gunicorn's, ``client`` the peer's address, ``max_body`` in bytes.
    """

    def __init__(self, cfg: Any, client: Any, max_body: int) -> None:
        self.data = bytearray()
        self.awaits_continue = False
        self._cfg, self._client, self._max_body = cfg, client, max_body
        self._request: Any = None
        self._body: _Body | None = None
        self._start = 0
        self._searched = 0

    def feed(self, piece: bytes) -> Taken | None:
        """Adds what has arrived. Returns the request once it is whole, or unfit; raises `Refused`."""
        self.data += piece
        try:
            if self._body is None:
                self._body = self._read_head()
            end = None if self._body is None else self._body.end(self.data)
        except _Unfit:
            return Taken(unfit=self._cut(0, len(self.data)))
        if end is None:
            return None
        request = self._request
        request.unreader.unread(self._cut(self._start, end))
        return Taken(request)

    def _cut(self, start: int, end: int) -> bytes:
        """Takes a request off; what follows is the beginning of the next."""
        cut = bytes(self.data[start:end])
        del self.data[:end]
        self.awaits_continue, self._request, self._body, self._searched = False, None, None, 0
        return cut

    def _read_head(self) -> _Body | None:
        """How the body will end, as soon as the head is there."""
        blank = self.data.find(b"\r\n\r\n", max(0, self._searched - 3))
        if blank < 0:
            if len(self.data) > MAX_HEAD:
                raise Refused(431)
            if _BARE_LF.search(self.data, max(0, self._searched - 1)):
                raise _Unfit  # such a head never ends
            self._searched = len(self.data)
            return None
        return self._announced(blank + 4)

    def _announced(self, start: int) -> _Body:
        try:
            request = Request(self._cfg, IterUnreader([bytes(self.data[:start])]), self._client)
        except Exception as error:  # the thread's parser raises the same again, and answers
            raise _Unfit from error
        self._request, self._start = request, start
        self.awaits_continue = request._expected_100_continue  # noqa: SLF001 - gunicorn tells it nowhere else
        if isinstance(request.body.reader, ChunkedReader):
            return _Chunked(start, self._max_body)
        length: int = request.body.reader.length
        if length > self._max_body:
            raise _Unfit
        return _Counted(start + length)


class _Counted:
    """A body whose length was announced."""

    def __init__(self, end: int) -> None:
        self._end = end

    def end(self, data: bytearray) -> int | None:
        return self._end if len(data) >= self._end else None


class _Chunked:
    """A chunked body (RFC 9112, 7.1). Looks at every byte once."""

    def __init__(self, start: int, limit: int) -> None:
        self._start = self._at = start
        self._size, self._limit = 0, limit + _READ_AHEAD

    def end(self, data: bytearray) -> int | None:
        while (line_end := self._line_end(data)) is not None:
            line = _CHUNK_LINE.fullmatch(data, self._at, line_end)
            if line is None:
                raise _Unfit
            size, first = int(line[1], 16), line_end + 2
            if size == 0:
                return self._trailers_end(data, line_end)
            if self._size + min(size, len(data) - first) > self._limit:
                raise _Unfit
            if len(data) < first + size + 2:
                break
            self._size += size
            self._at = first + size + 2
            _bound(self._at - self._start - self._size)
        return None

    def _line_end(self, data: bytearray) -> int | None:
        found = data.find(b"\r\n", self._at, self._at + _LONGEST_LINE)
        if found < 0 and len(data) >= self._at + _LONGEST_LINE:
            raise _Unfit
        return found if found >= 0 else None

    def _trailers_end(self, data: bytearray, last_line_end: int) -> int | None:
        if data.startswith(b"\r\n", last_line_end + 2):
            return last_line_end + 4
        found = data.find(b"\r\n\r\n", last_line_end + 2)
        if found < 0:
            _bound(len(data) - last_line_end)
        return found + 4 if found >= 0 else None


def _bound(overhead: int) -> None:
    """Each chunk costs us time: many tiny ones are an attack."""
    if overhead > MAX_OVERHEAD:
        raise Refused(413)
