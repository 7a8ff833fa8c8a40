"""A web worker whose threads see whole requests only: a client that stalls costs a socket, not a thread.

gunicorn's threaded worker gives each new connection to a thread, which then waits for headers and body as
long as the client pleases; as many stalled clients as there are threads stop the relay. Here the main
loop, which waits for all sockets at once, collects what arrives and never waits for a single one. A
thread gets the request when it is complete, and never reads from the socket. TLS is not ended here, so what
is on the socket is HTTP.
"""

import errno
import os
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from socket import SHUT_WR, socket
from typing import Any

from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    PollableMethodQueue,
    TConn,
    ThreadWorker,
)

from webhooks import reporting
from webhooks.arrival import Arriving, Refused, Taken
from webhooks.grouping import Exchange, Groups

log = reporting.logger(__name__)

ARRIVE_SECONDS = 10.0
"""From a request's first byte to its last. A store's server takes well under one."""

LINGER_SECONDS = 2.0
"""How long an answered client may take to read the answer and to hang up, before we do."""

STALE_SECONDS = 2.5
"""How long a whole request may wait for a thread. Later it is told to come again, unread: of work that nobody
waits for any more, each piece makes the next one late as well."""

THREAD_SECONDS = 5.0
"""How long a thread waits for a client that does not take its answer."""

LOOK_SECONDS = 0.25
TELL_SECONDS = 0.5

PIECE = 65_536
MEMORY = 64 * 1024 * 1024
"""Bytes of unfinished requests in one worker. Beyond, the one that has been arriving for longest goes."""

_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Connection(TConn):  # type: ignore[misc]
    """A client's connection: either waited for in the main loop, or in the hands of one thread."""

    def __init__(self, worker: "BufferingWorker", sock: socket, client: Any, listener: socket) -> None:
        super().__init__(worker.cfg, sock, client, listener.getsockname())
        self.arriving = Arriving(worker.cfg, client, worker.max_body)
        self.taken = Taken()
        self.taken_at = 0.0
        self.deadline = 0.0


class _Parser(RequestParser):  # type: ignore[misc]
    """Gives the one request that was taken; of one that is unfit it finds out why."""

    def __init__(self, cfg: Any, taken: Taken, client: Any) -> None:
        super().__init__(cfg, [taken.unfit], client)
        self._taken = taken

    def __next__(self) -> Any:
        if self._taken.is_whole:
            self.mesg, self.unreader = self._taken.request, self._taken.request.unreader
        else:
            super().__next__()
        self.mesg._expected_100_continue = False  # noqa: SLF001 - it was told when its head had come
        return self.mesg


class _Bell(PollableMethodQueue):  # type: ignore[misc]
    """What threads want done by the main loop. Rings once until it is heard, not once for each wish."""

    _has_rung = False

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        """Has the main loop call it, soon."""
        self._queue.put(partial(callback, *args))
        if not self._has_rung:
            self._has_rung = True
            with suppress(BlockingIOError):  # so full that it is heard anyway
                os.write(self._write_fd, b"1")

    def run_callbacks(self, _pipe: object, max_callbacks: int = 50) -> None:  # noqa: ARG002 - gunicorn's own
        """Does all of it. Who comes from now on rings again."""
        with suppress(BlockingIOError):
            os.read(self._read_fd, PIECE)
        self._has_rung = False
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()()


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker with a patient main loop. ``max_body``: bytes that the application takes.
    ``together``: how the path of a POST begins that may be answered together with others; see `grouping.py`.

    Everything runs in the main loop's thread, except what says otherwise.
    """

    max_body = 2 * 1024 * 1024
    together = ""
    sockets: list[Any]
    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: set[Connection] = set()
        self.buffered = 0  # bytes that have arrived for those who wait
        self._look_at = self._tell_at = 0.0
        self.method_queue = _Bell()
        self._groups = Groups(self, lambda over: self.method_queue.defer(self._all_over, over))

    def notify(self) -> None:
        """Tells the master that we live. Its patience is many seconds, a turn of our loop takes none."""
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            super().notify()

    # --- connections come -----------------------------------------------------------------------------------

    def accept(self, listener: socket) -> bool:
        """Takes a new connection, if there is one."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self.worker_connections = max(self.nr_conns, 1)  # the system gives us no more than these
            elif error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED}:
                raise
            return False
        self.nr_conns += 1
        self._expect(Connection(self, sock, client, listener))
        return True

    def set_accept_enabled(self, enabled: bool) -> None:
        """At the end, who has come as far as the door is let in; then the door is closed at once."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                while self.nr_conns < self.worker_connections and self.accept(listener):
                    continue
                listener.close()
            self.sockets = []

    def is_parent_alive(self) -> bool:
        """A worker whose master was killed ends like one that was asked to."""
        self.alive = self.alive and super().is_parent_alive()
        return self.alive

    # --- requests arrive ------------------------------------------------------------------------------------

    def _expect(self, connection: Connection) -> None:
        """Waits for a request. Its beginning may be here: not every client waits for an answer first."""
        self._wait(connection, self._receive, self.cfg.keepalive)
        if connection.arriving.data:
            self._feed(connection, b"")
        else:
            self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            piece = connection.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if piece:
            self._feed(connection, piece)
        elif connection.arriving.data:
            self._refuse(connection, 400)  # it will never be whole
        else:
            self._drop(connection)

    def _feed(self, connection: Connection, piece: bytes) -> None:
        """Adds what has arrived, and decides whether a thread can have it."""
        arriving, before = connection.arriving, len(connection.arriving.data)
        if not before or not piece:
            connection.deadline = time.monotonic() + ARRIVE_SECONDS
        try:
            taken = arriving.feed(piece)
        except Refused as refused:
            self.buffered += len(piece)
            self._refuse(connection, refused.status)
            return
        self.buffered += len(arriving.data) - before
        if taken is not None:
            self._stop_waiting(connection)
            connection.taken, connection.taken_at = taken, time.monotonic()
            self._hand_over(connection)
        elif arriving.awaits_continue:
            arriving.awaits_continue = False
            self._say(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
        self._make_room()

    def _make_room(self) -> None:
        while self.buffered > MEMORY:
            unfinished = (one for one in self.waiting if one.arriving.data)
            self._refuse(min(unfinished, key=lambda one: one.deadline), 503)

    # --- a thread has it ------------------------------------------------------------------------------------

    def _hand_over(self, connection: Connection) -> None:
        if self._is_answered_together(connection.taken.request):
            self._groups.add(connection)
        else:
            self.enqueue_req(connection)

    def _is_answered_together(self, request: Any) -> bool:
        if not self.together or request is None:
            return False
        return bool(request.method == "POST" and request.path.startswith(self.together))

    def handle(self, conn: Connection) -> object:
        """Answers one whole request. Runs in a thread."""
        return self.is_in_time(conn) and super().handle(conn)

    def is_in_time(self, conn: Connection) -> bool:
        """Whether its client may wait for an answer yet; else it is sent away. Runs in a thread."""
        if time.monotonic() - conn.taken_at > STALE_SECONDS:
            self._send_away(conn, 503)
            return False
        conn.initialized, conn.parser = True, _Parser(self.cfg, conn.taken, conn.client)
        return True

    def is_read(self, conn: Connection) -> bool:
        """Whether nothing is left of the request that was answered; reads it to its end."""
        return bool(self._keepalive_after(conn, keepalive=True))

    def may_come_again(self) -> bool:
        """Counts a request. Whether its client may send another one. Runs in a thread."""
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        return self.alive and bool(self.cfg.keepalive)

    def handle_request(self, req: Any, conn: Connection) -> object:
        """Calls the application. Runs in a thread."""
        if not conn.taken.is_whole:
            req.force_close()  # where the next request begins is unknown
        conn.sock.settimeout(THREAD_SECONDS)
        return super().handle_request(req, conn)

    def finish_request(self, conn: Connection, fs: Future[object]) -> None:
        """The thread is done with it."""
        self._over(conn, again=not fs.cancelled() and fs.exception() is None and fs.result() is True)

    def _all_over(self, exchanges: Sequence[Exchange]) -> None:
        for one in exchanges:
            self._over(one.connection, again=one.again)

    def _over(self, connection: Connection, *, again: bool) -> None:
        """Another request may come, or it is the end."""
        connection.taken = Taken()
        # What the parser left over it has understood otherwise than `Arriving`: no further request is safe.
        if again and not connection.parser.unreader.take_buffered():
            self._expect(connection)
        else:
            self._hang_up(connection)

    # --- connections go -------------------------------------------------------------------------------------

    def _refuse(self, connection: Connection, status: int) -> None:
        """Answers without a thread."""
        log.warning("a request did not arrive", status=status, bytes=len(connection.arriving.data))
        self._send_away(connection, status)
        self._hang_up(connection)

    def _send_away(self, connection: Connection, status: int) -> None:
        """An answer that needs no request to be read."""
        phrase = f"{_PHRASES[status]}\n"
        again = "Retry-After: 30\r\n" if status == 503 else ""
        head = (
            f"HTTP/1.1 {status} {phrase.strip()}\r\nConnection: close\r\n{again}Content-Type: text/plain\r\n"
        )
        self._say(connection, f"{head}Content-Length: {len(phrase)}\r\n\r\n{phrase}".encode())

    def _say(self, connection: Connection, words: bytes) -> None:
        with suppress(OSError):  # a client that is gone, or takes nothing, is found out when we read
            connection.sock.send(words)

    def _hang_up(self, connection: Connection) -> None:
        """Says that nothing follows, and reads on for a while: closing at once would take back the answer
        that is still on its way (RFC 9112, 9.6). gunicorn does the same, but its whole loop waits for it."""
        self._stop_waiting(connection)
        connection.arriving.data.clear()
        try:
            connection.sock.shutdown(SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        self._wait(connection, self._discard, LINGER_SECONDS)
        self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        try:
            gone = not connection.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self.nr_conns -= 1
        connection.close()

    # --- waiting --------------------------------------------------------------------------------------------

    def _wait(self, connection: Connection, then: Callable[[Connection], None], seconds: float) -> None:
        seconds = seconds if self.alive else min(seconds, LINGER_SECONDS)
        connection.sock.setblocking(False)
        connection.deadline = time.monotonic() + seconds
        self.waiting.add(connection)
        self.buffered += len(connection.arriving.data)
        self.poller.register(connection.sock, EVENT_READ, partial(self._turn, connection, then))

    def _turn(self, connection: Connection, then: Callable[[Connection], None], _socket: object) -> None:
        if connection in self.waiting:  # else another one's turn has ended it
            then(connection)

    def _stop_waiting(self, connection: Connection) -> None:
        if connection in self.waiting:
            self.waiting.discard(connection)
            self.buffered -= len(connection.arriving.data)
            self.poller.unregister(connection.sock)

    def murder_pending(self) -> None:
        """Ends what has waited for too long. gunicorn calls this after every turn of its loop."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for connection in [one for one in self.waiting if one.deadline <= now]:
            if connection.arriving.data:
                self._refuse(connection, 408)
            else:
                self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """At the end, a connection on which no request has begun is not waited for as long."""
        for connection in self.waiting:
            if not connection.arriving.data:
                connection.deadline = min(connection.deadline, deadline)
