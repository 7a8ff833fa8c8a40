"""The only socket to a destination: send(Request) -> Response.

No redirects (a 302 turns a POST into a GET that answers 200: an order counted as delivered that never
was), no retries of its own, a deadline for the whole exchange (a read timeout alone never ends against a
server that drips), a cap on the answer, and every network error as a `Response` that says whether the
request can have been seen.
"""

import socket
import threading
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

from urllib3 import PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from integrations.destination import Request, Response
from webhooks import reporting

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
TOTAL_SECONDS = 15.0
MAX_ANSWER = 1_000_000

USER_AGENT = f"purchase-relay/{metadata.version('purchase-relay')}"


class _Exchange:
    """What is known of one call while it runs."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.sent = False
        self.expired = False
        self.connection: HTTPConnection | None = None

    def cut(self) -> None:
        """Ends a call whose time is up, whatever it waits for."""
        self.expired = True
        sock = getattr(self.connection, "sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it ended by itself meanwhile


_running = threading.local()


class _Watched(HTTPConnection):
    """Tells the running exchange which socket it uses and when its first byte goes out."""

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange: _Exchange = _running.exchange
        if time.monotonic() >= exchange.deadline:  # a look-up of the name cannot be cut short
            exchange.expired = True
            raise TimeoutError
        exchange.connection, exchange.sent = self, True
        super().send(data)


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class Transport:
    """Keep-alive connections, shared by the threads of one process. Close it when done."""

    def __init__(self, *, connections: int = 8, total_seconds: float = TOTAL_SECONDS) -> None:
        """``total_seconds`` must stay below the lease of what is sent, or somebody else sends it too."""
        self._total = total_seconds
        self._pools = PoolManager(
            num_pools=32,
            maxsize=connections,
            timeout=Timeout(connect=CONNECT_SECONDS, read=min(READ_SECONDS, total_seconds)),
        )
        self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._exchanges: set[_Exchange] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def send(self, request: Request, *, seconds: float = TOTAL_SECONDS) -> Response:
        """One exchange, of so many seconds at most. Never raises."""
        exchange = _Exchange(time.monotonic() + min(seconds, self._total))
        _running.exchange = exchange
        with self._lock:
            self._exchanges.add(exchange)
            self._start_watch()
        try:
            return self._exchange(request)
        except (HTTPError, OSError) as error:
            return _fault(exchange, error)
        except Exception as error:  # noqa: BLE001 - our bug, or a header that cannot be sent: of this call alone
            reporting.alert("broken", "Sending a request failed by our own mistake", error=error)
            return _fault(exchange, error)
        finally:
            with self._lock:
                self._exchanges.discard(exchange)

    def close(self) -> None:
        """Closes the connections; the next call would open new ones."""
        self._closed.set()
        self._pools.clear()

    def _exchange(self, request: Request) -> Response:
        answer = self._pools.urlopen(
            request.method,
            request.url,
            body=request.body or None,
            headers={"User-Agent": USER_AGENT, **request.headers},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        try:
            body = answer.read(MAX_ANSWER, decode_content=True)
        except BaseException:
            answer.close()
            raise
        _running.exchange.connection = None  # somebody else's from here on: our deadline must not cut it
        if len(body) < MAX_ANSWER:
            answer.release_conn()
        else:
            answer.close()  # more than anybody has to say; what came is enough to judge
        return Response(
            status=answer.status,
            body=body,
            headers={name.lower(): value for name, value in answer.headers.items()},
        )

    def _start_watch(self) -> None:
        if self._watch is None or not self._watch.is_alive():
            self._watch = threading.Thread(target=self._cut_overdue, name="deadlines", daemon=True)
            self._watch.start()

    def _cut_overdue(self) -> None:
        while not self._closed.wait(0.1):
            now = time.monotonic()
            with self._lock:
                overdue = [one for one in self._exchanges if one.deadline <= now and not one.expired]
            for exchange in overdue:
                exchange.cut()


Send = Callable[[Request], Response]


def _fault(exchange: _Exchange, error: Exception) -> Response:
    # The text of a network error can hold the address; its class says enough.
    detail = "the deadline passed" if exchange.expired else type(error).__name__
    return Response(status=0, fault="maybe_sent" if exchange.sent else "not_sent", detail=detail)
