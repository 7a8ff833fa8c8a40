"""Requests that come at once are answered together by one thread.

Python runs one thread at a time. Where each request has a thread of its own, they hand the processor to each
other at every statement and every lock, some forty times a request, which takes as long as the work itself.
Here one thread takes all that have come, begins each, and then ends each: they wait for the same commit.

What is answered so says by an empty piece that from here on it waits for what concerns it alone: then a
thread of its own goes on with it. Its answer must be short, too: a client that does not take the few bytes at
once is not waited for.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

from gunicorn.http import wsgi  # type: ignore[import-untyped]

TOGETHER = "relay.together"
"""In an environ: the request is answered together with others."""

MOST = 64
"""Requests of one group: as many as the ledger commits at once."""

AT_ONCE = 2
"""Groups at the same time: while one waits for the disk, the other can be begun."""


Connection = Any
"""gunicorn's, with the request that was ``taken`` from it."""


class Worker(Protocol):
    """What is asked of gunicorn's worker, and of ours."""

    cfg: Any
    tpool: ThreadPoolExecutor
    wsgi: Any

    def is_in_time(self, connection: Connection) -> bool:
        """Whether its client may wait for an answer yet; else it was sent away."""

    def may_come_again(self) -> bool:
        """Counts a request. Whether its client may send another one."""

    def is_read(self, connection: Connection) -> bool:
        """Whether nothing is left of the request that was answered."""

    def handle_error(self, request: Any, socket: Any, client: Any, error: BaseException) -> object:
        """Tells a client that it was our mistake."""


class Exchange:
    """A whole request and its answer, in two steps; ``again``: whether its client may send another one."""

    def __init__(self, worker: Worker, connection: Connection) -> None:
        self.connection, self.again, self.is_over = connection, False, False
        self._worker = worker
        self._pieces: Iterator[bytes] = iter(())
        self._response: Any = None

    def begin(self) -> None:
        """Everything up to what is waited for."""
        with self._guarded():
            self._begin()

    def go_on(self) -> None:
        """Waits for the answer and gives it. It is not over then if it goes on in a thread of its own."""
        with self._guarded():
            self._go_on()

    def _begin(self) -> None:
        worker, connection = self._worker, self.connection
        if not worker.is_in_time(connection):
            self.is_over = True
            return
        request = next(connection.parser)
        self._response, environ = wsgi.create(
            request, connection.sock, connection.client, connection.server, worker.cfg
        )
        environ |= {"wsgi.multithread": True, TOGETHER: True}
        if not worker.may_come_again():
            self._response.force_close()
        self._pieces = iter(worker.wsgi(environ, self._response.start_response))

    def _go_on(self) -> None:
        for piece in self._pieces:
            if not piece:
                return
            self._response.write(piece)
        self._response.close()
        self.again = not self._response.should_close() and self._worker.is_read(self.connection)
        self.is_over = True

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever happens to one, the others go on."""
        try:
            yield
        except OSError:
            self.is_over = True  # its client is gone
        except Exception as error:  # noqa: BLE001 - the server says so, as it does for every other request
            self.is_over = True
            self._worker.handle_error(
                self.connection.taken.request, self.connection.sock, self.connection.client, error
            )


class Groups:
    """The requests of one worker that are answered together. ``over`` is told which are, from any thread."""

    def __init__(self, worker: Worker, over: Callable[[list[Exchange]], object]) -> None:
        self._worker, self._over = worker, over
        self._lock = threading.Lock()
        self._waiting: deque[Connection] = deque()
        self._busy = 0
        self._threads = ThreadPoolExecutor(AT_ONCE, "group")

    def add(self, connection: Connection) -> None:
        """One more; a thread takes it as soon as one is free."""
        with self._lock:
            self._waiting.append(connection)
            if self._busy == AT_ONCE:
                return
            self._busy += 1
        self._threads.submit(self._work)

    def _work(self) -> None:
        while group := self._take():
            self._answer([Exchange(self._worker, one) for one in group])

    def _take(self) -> list[Connection]:
        """Those who came first. Nobody left: this thread is free."""
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            if not taken:
                self._busy -= 1
        return taken

    def _answer(self, group: list[Exchange]) -> None:
        for one in group:
            one.begin()
        for one in group:
            if not one.is_over:
                one.go_on()
        self._over([one for one in group if one.is_over])
        for one in group:
            if not one.is_over:
                self._worker.tpool.submit(self._go_on_alone, one)

    def _go_on_alone(self, one: Exchange) -> None:
        while not one.is_over:
            one.go_on()
        self._over([one])
