"""The socket of a stand-in: HTTP/1.1 on loopback, real connection resets, and control from other processes.

POST /_control/script   {"steps": [Step, ...]}      what goes wrong next
GET  /_control/record                               every event counted, every request seen
POST /_control/browser  {"account", "event_name", "event_id"}
POST /_control/clock    {"now": Unix seconds or null}
POST /_control/accounts {"accounts": [{option: value}, ...]}     the accounts that it knows from now on
POST /_control/poison   {"event_id", "step": Step}               what answers requests with this event

And of a shop:

POST /_control/keep     {"order_id", "order": {...}}             an order that nobody is told of
POST /_control/lose     {}                                       all its subscriptions are gone
GET  /_control/hooks                                             the addresses that it sends hooks to
"""

import argparse
import importlib
import inspect
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from webhooks.sandbox.shop import Shop
from webhooks.sandbox.standin import Hit, Reply, StandIn, Step, UnknownScene, json_reply

MAX_BODY = 50_000_000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: closing sends RST instead of FIN


class NoStandIn(LookupError):
    """There is no stand-in of that name."""


def stand_in(slug: str) -> type[StandIn]:
    """The stand-in in the module of that name; raises `NoStandIn`."""
    try:
        module = importlib.import_module(f"webhooks.sandbox.{slug}")
    except ModuleNotFoundError as error:
        raise NoStandIn(f"there is no stand-in of {slug!r}") from error
    for kind in vars(module).values():
        if inspect.isclass(kind) and issubclass(kind, StandIn) and getattr(kind, "slug", "") == slug:
            return kind
    raise NoStandIn(f"{module.__name__} has no StandIn with the slug {slug!r}")


@contextmanager
def serving(kind: StandIn, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The address at which the stand-in answers, in threads of this process."""
    server = _Server((host, port), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], kind: StandIn) -> None:
        super().__init__(address, _Connection)
        self.kind = kind
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that went away is what tests are made of
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Ends the connections that clients keep open."""
        for connection in list(self._open):
            _quietly(connection.shutdown, socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # of an answer in two pieces the kernel holds the second back for 40 ms
    timeout = 60

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            self._write(Reply(413))
            return
        address = urlsplit(self.path)
        hit = Hit(
            method=self.command,
            path=address.path,
            query=dict(parse_qsl(address.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
        )
        own = address.path.startswith("/_control/")
        reply = control(self.server.kind, hit) if own else self.server.kind.receive(hit)
        time.sleep(reply.delay)
        self._write(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that the base calls

    def _write(self, reply: Reply) -> None:
        if reply.reset in {"before", "after"}:
            self._break_off()
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.reset else reply.body)
        if reply.reset:
            self._break_off()

    def _break_off(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base names it so
        """Silent: the record says more."""


def control(kind: StandIn, hit: Hit) -> Reply:
    """The answer to a request of the tests or of the demo."""
    try:
        action = _ACTIONS[hit.method, hit.path.removeprefix("/_control/")]
    except KeyError:
        return json_reply(404, {"error": "no such control"})
    try:
        return json_reply(200, action(kind, hit.body))
    except (msgspec.DecodeError, UnknownScene, _NoShop) as error:
        return json_reply(400, {"error": str(error)})


class _NoShop(ValueError):
    """A destination is told what only a shop can do."""


class _Keep(msgspec.Struct, forbid_unknown_fields=True):
    order_id: str
    order: dict[str, Any]


class _Script(msgspec.Struct, forbid_unknown_fields=True):
    steps: list[Step]


class _Browser(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    event_name: str
    event_id: str


class _Clock(msgspec.Struct, forbid_unknown_fields=True):
    now: float | None


class _Accounts(msgspec.Struct, forbid_unknown_fields=True):
    accounts: list[dict[str, str]]


class _Poison(msgspec.Struct, forbid_unknown_fields=True):
    event_id: str
    step: Step


def _script(kind: StandIn, body: bytes) -> Any:
    steps = msgspec.json.decode(body, type=_Script).steps
    kind.script(steps)
    return {"steps": len(steps)}


def _record(kind: StandIn, _body: bytes) -> Any:
    events = list(kind.record)
    return {"events": events, "kept": sum(one.kept for one in events), "requests": list(kind.requests)}


def _browser(kind: StandIn, body: bytes) -> Any:
    told = msgspec.json.decode(body, type=_Browser)
    return kind.browser(told.account, told.event_name, told.event_id)


def _clock(kind: StandIn, body: bytes) -> Any:
    kind.freeze(msgspec.json.decode(body, type=_Clock).now)
    return {"now": kind.now()}


def _accounts(kind: StandIn, body: bytes) -> Any:
    kind.accounts = list(msgspec.json.decode(body, type=_Accounts).accounts)
    return {"accounts": len(kind.accounts)}


def _poison(kind: StandIn, body: bytes) -> Any:
    told = msgspec.json.decode(body, type=_Poison)
    kind.poison(told.event_id, told.step)
    return {"event_id": told.event_id}


def _shop(kind: StandIn) -> Shop:
    if not isinstance(kind, Shop):
        raise _NoShop(f"{kind.slug} is no shop")
    return kind


def _keep(kind: StandIn, body: bytes) -> Any:
    told = msgspec.json.decode(body, type=_Keep)
    _shop(kind).keep(told.order_id, told.order)
    return {"orders": len(_shop(kind).orders)}


def _lose(kind: StandIn, _body: bytes) -> Any:
    _shop(kind).subscriptions.clear()
    return {}


def _hooks(kind: StandIn, _body: bytes) -> Any:
    return {"addresses": [one.url for one in _shop(kind).subscriptions if one.active]}


_ACTIONS: Mapping[tuple[str, str], Callable[[StandIn, bytes], Any]] = {
    ("POST", "script"): _script,
    ("GET", "record"): _record,
    ("POST", "browser"): _browser,
    ("POST", "clock"): _clock,
    ("POST", "accounts"): _accounts,
    ("POST", "poison"): _poison,
    ("POST", "keep"): _keep,
    ("POST", "lose"): _lose,
    ("GET", "hooks"): _hooks,
}


def _quietly(call: Callable[[int], None], argument: int) -> None:
    try:
        call(argument)
    except OSError:
        return  # it is closed already, which is all that was wanted


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m webhooks.sandbox SLUG...``: serves until it is stopped."""
    parser = _arguments()
    options = parser.parse_args(arguments)
    if len(options.slug) > 1 and (options.port or options.account):
        parser.error("--port and --account are for one stand-in alone")
    accounts = [dict(pair.split("=", 1) for pair in account.split(",")) for account in options.account]
    with ExitStack() as stack:
        for slug in options.slug:
            kind = stand_in(slug)(accounts, journal=options.journal)
            address = stack.enter_context(serving(kind, host=options.host, port=options.port))
            sys.stdout.write(f"{slug} stands in at {address}\n")
            sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m webhooks.sandbox")
    parser.add_argument("slug", nargs="+", help="the destinations to stand in for")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--journal", type=Path, help="a file that receives one line per event")
    parser.add_argument(
        "--account", action="append", default=[], metavar="NAME=VALUE,...", help="an account it knows"
    )
    return parser
