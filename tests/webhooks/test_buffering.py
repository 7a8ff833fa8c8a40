"""The web server as it runs, spoken to over raw sockets by clients that stall, break off, lie or hurry."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.message import Request  # type: ignore[import-untyped]
from gunicorn.http.unreader import IterUnreader  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis.strategies import DataObject, binary, data, integers, lists, tuples
from sqlalchemy import select

from tests import environments, ports
from webhooks import migrations
from webhooks.arrival import Arriving, Refused
from webhooks.database import Database
from webhooks.schema import hooks

LIMIT = 2 * 1024 * 1024
PATIENCE = 2.0
"""Instead of ten seconds, for a request to arrive."""

SECRET = environments.SHOPIFY["SHOPIFY_WEBHOOK_SECRETS"]
START = f"""
import sys
from webhooks import buffering
buffering.ARRIVE_SECONDS = {PATIENCE}
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", "-c", "python:webhooks.server"]
run()
"""


class Server:
    """One gunicorn with one worker of four threads, on a ledger of its own."""

    def __init__(self, home: Path, start: str = START) -> None:
        self.port = ports.free()
        self.log = home / "log"
        self.file = home / "ledger.db"
        self.database = Database(f"sqlite:///{self.file}")
        migrations.upgrade(self.database)
        environment = (
            environments.SHOPIFY
            | environments.META
            | {
                "PORT": str(self.port),
                "RELAY_DATA_DIR": str(home),
                "WEB_CONCURRENCY": "1",
                "RELAY_WEB_THREADS": "4",
                "GUNICORN_CMD_ARGS": "--keep-alive 1",
            }
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", start], env=environment, stdout=log, stderr=log
            )
        ports.wait(self.port)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=8)

    def topics(self) -> set[str]:
        """The topics of the hooks in the ledger; each test uses its own."""
        with self.database.read() as db:
            return set(db.execute(select(hooks.c.topic)).scalars())

    def stop(self) -> float:
        """Seconds from SIGTERM to the end."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(25)
        self.database.close()
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: whatever a client does must not spoil the next."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """One that the test may stop or harm."""
    running = Server(tmp_path)
    yield running
    running.stop()


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = json.dumps({"id": 1, "total_price": "1.00"}).encode()


def signed(topic: str, body: bytes = BODY, *extra: str, length: int | None = None) -> bytes:
    """A signed hook; ``length`` None announces the right one, -1 none at all."""
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    length = len(body) if length is None else length
    lines = [
        "POST /webhooks/shopify HTTP/1.1",
        "Host: relay.example",
        "Content-Type: application/json",
        f"X-Shopify-Topic: {topic}",
        f"X-Shopify-Hmac-Sha256: {signature}",
        *([f"Content-Length: {length}"] if length >= 0 else []),
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(topic: str, body: bytes, framed: bytes) -> bytes:
    """A signed hook with a chunked body, framed as given."""
    request = signed(topic, body, "Transfer-Encoding: chunked", length=-1)
    return request.removesuffix(body) + framed


def in_chunks(body: bytes, size: int, trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def answer(client: socket.socket) -> int:
    """The status of the next answer; 0 if the connection was closed without one."""
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            piece = client.recv(1)
        except ConnectionResetError:
            return 0
        if not piece:
            return 0
        head += piece
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    remaining = int(length[1]) if length else 0
    while remaining:
        remaining -= len(client.recv(remaining))
    return int(head.split()[1])


def ask(server: Server, *pieces: bytes, pause: float = 0.0) -> int:
    with server.connect() as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(pause)
        return answer(client)


# --- what is whole is answered -----------------------------------------------------------------------------


def test_a_hook_in_one_piece(server: Server) -> None:
    assert ask(server, signed("one/piece")) == 200
    assert "one/piece" in server.topics()


def test_a_hook_byte_by_byte(server: Server) -> None:
    request = signed("byte/by/byte")
    assert ask(server, *(request[at : at + 1] for at in range(len(request))), pause=0.0005) == 200
    assert "byte/by/byte" in server.topics()


@pytest.mark.parametrize(
    ("topic", "framed"),
    [
        ("chunks/one", in_chunks(BODY, 10_000)),
        ("chunks/many", in_chunks(BODY, 1)),
        ("chunks/trailers", in_chunks(BODY, 7, b"X-Sum: 1\r\nX-Other: 2\r\n")),
        ("chunks/extension", in_chunks(BODY, 9).replace(b"9\r\n", b'9 ; name="a;b"\r\n', 1)),
        ("chunks/zeros", in_chunks(BODY, 9).replace(b"9\r\n", b"0009\r\n", 1)),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_chunked_hook(server: Server, topic: str, framed: bytes, piece: int) -> None:
    request = chunked(f"{topic}/{piece}", BODY, framed)
    assert ask(server, *(request[at : at + piece] for at in range(0, len(request), piece))) == 200
    assert f"{topic}/{piece}" in server.topics()


def test_a_large_body_is_asked_for(server: Server) -> None:
    """WooCommerce sends more than a megabyte only after `100 Continue`."""
    body = b" " * 1_300_000 + BODY
    request = signed("large/asked", body, "Expect: 100-Continue")
    with server.connect() as client:
        client.sendall(request.removesuffix(body))
        assert answer(client) == 100
        client.sendall(body)
        assert answer(client) == 200
        client.sendall(HEALTH)
        assert answer(client) == 200, "and no second `100 Continue` in between"
    assert "large/asked" in server.topics()


def test_a_client_that_does_not_wait_to_be_asked(server: Server) -> None:
    body = b" " * 1_300_000 + BODY
    with server.connect() as client:
        client.sendall(signed("large/unasked", body, "Expect: 100-continue"))
        assert answer(client) in {100, 200}
    assert ask(server, signed("http/1.0").replace(b"HTTP/1.1", b"HTTP/1.0")) == 200


def test_several_requests_on_one_connection(server: Server) -> None:
    with server.connect() as client:
        for number in range(3):
            client.sendall(signed(f"again/{number}"))
            assert answer(client) == 200
    assert {f"again/{number}" for number in range(3)} <= server.topics()


def test_requests_that_do_not_wait_for_answers(server: Server) -> None:
    framed = chunked("hurry/chunked", BODY, in_chunks(BODY, 5))
    hurry = (
        signed("hurry/first") + framed + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + signed("hurry/last")
    )
    with server.connect() as client:
        client.sendall(hurry[:-3])
        assert [answer(client) for _ in range(3)] == [200] * 3
        client.sendall(hurry[-3:])
        assert answer(client) == 200
    assert {"hurry/first", "hurry/chunked", "hurry/last"} <= server.topics()


def test_a_body_that_nobody_reads_does_not_spoil_the_next_request(server: Server) -> None:
    unread = signed("un/read").replace(b"/webhooks/shopify", b"/nowhere")
    with server.connect() as client:
        client.sendall(unread + signed("after/unread"))
        assert [answer(client), answer(client)] == [404, 200]


# --- what is not is refused --------------------------------------------------------------------------------

ONE_CHUNK = BODY + b"\r\n0\r\n\r\n"
BLANKS = b" " * (LIMIT + 2_000)
MALFORMED = {
    "chunk size is no number": (chunked("bad/size", BODY, b"zz\r\n" + ONE_CHUNK), 400),
    "chunk size is negative": (chunked("bad/negative", BODY, b"-5\r\n" + ONE_CHUNK), 400),
    "chunk size with underscore": (chunked("bad/underscore", BODY, b"1_0\r\n" + ONE_CHUNK), 400),
    "chunk is longer than its size": (chunked("bad/longer", BODY, b"3\r\n" + ONE_CHUNK), 400),
    "chunk size line never ends": (chunked("bad/endless", BODY, b"1;" + b"a" * 9_000), 400),
    "length and chunks": (signed("bad/both", in_chunks(BODY, 9), "Transfer-Encoding: chunked"), 400),
    "two lengths": (signed("bad/two", BODY, "Content-Length: 5"), 400),
    "length with a sign": (signed("bad/signed").replace(b"Length: ", b"Length: +"), 400),
    "unknown transfer coding": (signed("bad/coding", BODY, "Transfer-Encoding: magic"), 501),
    "unknown expectation": (signed("bad/expect", BODY, "Expect: miracles"), 417),
    "folded header": (signed("bad/folded", BODY, "X-A: b\r\n c"), 400),
    "header without colon": (signed("bad/colon", BODY, "X-A"), 400),
    "NUL in a header": (signed("bad/nul", BODY, "X-A: \0"), 400),
    "lines end with LF": (signed("bad/lf").replace(b"\r\n", b"\n"), 400),
    "nothing but blank lines": (b"\r\n\r\n\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "chunks in HTTP/1.0": (
        chunked("bad/1.0", BODY, in_chunks(BODY, 9)).replace(b"HTTP/1.1", b"HTTP/1.0"),
        400,
    ),
    "long address": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long header": (signed("bad/long", BODY, "X-A: " + "b" * 9_000), 431),
    "many headers": (signed("bad/many", BODY, *(f"X-{number}: b" for number in range(200))), 431),
    "headers without end": (b"GET / HTTP/1.1\r\n" + b"X-A: bbbbbbbb\r\n" * 6_000, 431),
    "announced too large": (signed("bad/announced", BODY, length=LIMIT + 1), 413),
    "announced far too large": (signed("bad/announced", BODY, length=10**15), 413),
    "too large but asked": (signed("bad/asked", BODY, "Expect: 100-continue", length=LIMIT + 1), 413),
    "chunks too large": (chunked("bad/chunks", BODY, in_chunks(BLANKS, 65_536)), 413),
    "one chunk too large": (chunked("bad/chunk", BODY, b"%x\r\n" % (10 * LIMIT) + BLANKS), 413),
    "much ado about few bytes": (chunked("bad/ado", BODY, in_chunks(b" " * 500_000, 1)), 413),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request(server: Server, name: str) -> None:
    """Refused at once, and what follows on the connection is not taken for a request."""
    request, status = MALFORMED[name]
    with server.connect() as client:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may be refused before it is sent
            client.sendall(request + signed("smuggled/in"))
        assert answer(client) == status, "another status than that of a client who stalls"
        assert answer(client) == 0, "the connection is closed"
    told = server.topics()
    assert "smuggled/in" not in told
    assert not {topic for topic in told if topic.startswith("bad/")}


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        pytest.param(signed("short/length", BODY, length=len(BODY) + 9), len(BODY), id="announced length"),
        pytest.param(chunked("short/chunk", BODY, b"ff\r\n" + BODY), 9, id="chunk"),
        pytest.param(chunked("short/end", BODY, in_chunks(BODY, 9)[:-2]), 9, id="end of chunks"),
        pytest.param(signed("short/head")[:60], 0, id="head"),
    ],
)
def test_a_client_that_breaks_off(server: Server, request_: bytes, kept: int) -> None:
    """It has hung up halfway but still listens: never 200, for the body is not what was signed."""
    with server.connect() as client:
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
        assert answer(client) == 400
    assert not {topic for topic in server.topics() if topic.startswith("short/")}


# --- clients that stall ------------------------------------------------------------------------------------

STALLED = {
    "in the request line": signed("stalled/line")[:9],
    "in the headers": signed("stalled/headers")[:70],
    "before the body": signed("stalled/body", b"", length=500),
    "in the body": signed("stalled/half")[:-9],
    "in a chunk": chunked("stalled/chunk", BODY, b"ff\r\n" + BODY),
    "after the last chunk": chunked("stalled/end", BODY, in_chunks(BODY, 9)[:-2]),
}


def test_stalled_clients_are_told(server: Server) -> None:
    """All at once: each gets 408 when its time is up; one that sent nothing is simply let go."""
    with ExitStack() as stack:
        clients = {name: stack.enter_context(server.connect()) for name in STALLED}
        silent = stack.enter_context(server.connect())
        begun = time.monotonic()
        for name, client in clients.items():
            client.sendall(STALLED[name])
        assert {name: answer(client) for name, client in clients.items()} == dict.fromkeys(STALLED, 408)
        assert PATIENCE <= time.monotonic() - begun < PATIENCE + 6
        assert answer(silent) == 0


def test_a_client_that_drips_is_told_too(server: Server) -> None:
    """Time runs from the first byte: sending another one now and then does not buy more."""
    request, begun = signed("stalled/drip"), time.monotonic()
    with server.connect() as client:
        client.settimeout(0.1)
        for at in range(len(request)):
            client.sendall(request[at : at + 1])
            try:
                status = answer(client)
            except TimeoutError:
                continue
            assert status == 408
            assert PATIENCE <= time.monotonic() - begun < PATIENCE + 6
            return
    pytest.fail("nobody told it")


def test_three_hundred_stalled_clients_keep_nobody_waiting(server: Server) -> None:
    """Four threads. Stalled in header, body and chunks; and as many that were answered and do not hang up."""
    with ExitStack() as stack:
        for number in range(300):
            client = stack.enter_context(server.connect())
            client.sendall(STALLED[list(STALLED)[number % len(STALLED)]])
        for _ in range(50):
            client = stack.enter_context(server.connect())
            client.sendall(HEALTH[:-2] + b"Connection: close\r\n\r\n")
        with ThreadPoolExecutor(8) as pool:
            waits = sorted(pool.map(lambda number: timed(server, f"fast/{number}"), range(200)))
    assert waits[int(len(waits) * 0.99)] < 1.0
    assert {f"fast/{number}" for number in range(200)} <= server.topics()


def timed(server: Server, topic: str) -> float:
    begun = time.monotonic()
    assert ask(server, signed(topic)) == 200
    return time.monotonic() - begun


def test_unfinished_requests_have_a_bound_of_memory(server: Server) -> None:
    """64 MiB: of fifty clients that stall close to the limit, those who came first are sent away."""
    half = signed("stalled/large", b" " * (LIMIT - 1_000), length=LIMIT)
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(50)]
        for client in clients:
            client.sendall(half)
        assert answer(clients[0]) == 503
        assert ask(server, signed("beside/large")) == 200
        assert answer(clients[-1]) == 408


# --- more than it can take ---------------------------------------------------------------------------------


SLOW = f"""
import time
from webhooks import recording
judge = recording.judge
recording.judge = lambda *facts: (time.sleep(0.8), judge(*facts))[1]
{START}
"""
"""Four threads take five hooks per second, however fast the machine is."""


@pytest.fixture
def slow_server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path, SLOW)
    yield running
    running.stop()


def many(server: Server, name: str, count: int) -> list[tuple[int, float]]:
    """So many hooks at the same time; the answer to each, and how long it took."""

    def tell(number: int) -> tuple[int, float]:
        begun = time.monotonic()
        return ask(server, signed(f"{name}/{number}")), time.monotonic() - begun

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(tell, range(count)))


def test_who_would_wait_too_long_is_sent_away(slow_server: Server) -> None:
    """The last one of sixty would wait for twelve seconds, and its store for five."""
    answers = many(slow_server, "crowd", 60)
    taken = [f"crowd/{number}" for number, (status, _) in enumerate(answers) if status == 200]
    assert {status for status, _ in answers} == {200, 503}
    assert slow_server.topics() == set(taken), "who was sent away has left nothing"
    assert max(took for _, took in answers) < 5
    with slow_server.connect() as client:
        client.sendall(signed("afterwards"))
        assert answer(client) == 200


def test_who_comes_while_the_ledger_is_locked_is_told_soon(own_server: Server) -> None:
    """Four threads, each of which would wait for the lock; and the others for a thread."""
    with sqlite3.connect(own_server.file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = many(own_server, "locked", 40)
        other.execute("ROLLBACK")
    assert {status for status, _ in answers} == {503}
    assert max(took for _, took in answers) < 5
    assert ask(own_server, signed("unlocked")) == 200
    assert own_server.topics() == {"unlocked"}


# --- the end -----------------------------------------------------------------------------------------------


def test_a_stop_waits_for_what_has_begun(own_server: Server) -> None:
    """SIGTERM with half a request here: the rest is taken and answered, then the port is closed."""
    server = own_server
    request = signed("stop/half")
    with server.connect() as half, server.connect() as idle, server.connect() as stalled:
        for client in (half, stalled):
            client.sendall(HEALTH)
            assert answer(client) == 200, "it has been let in"
            client.sendall(request[:-9])
        begun = time.monotonic()
        server.process.terminate()
        wait_until_closed(server)
        half.sendall(request[-9:])
        assert answer(half) == 200
        assert "stop/half" in server.topics()
        assert answer(stalled) == 408
        assert answer(idle) == 0
    assert server.process.wait(25) == 0
    assert time.monotonic() - begun < PATIENCE + 10
    lines = server.log.read_text().splitlines()
    assert lines
    assert all(json.loads(line)["level"] in {"info", "warning"} for line in lines), "all logs are JSON lines"


def test_a_killed_worker_is_replaced(own_server: Server) -> None:
    children = Path(f"/proc/{own_server.process.pid}/task/{own_server.process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc")
    assert ask(own_server, signed("kill/before")) == 200
    os.kill(int(children.read_text()), signal.SIGKILL)
    assert ask(own_server, signed("kill/after")) == 200
    assert {"kill/before", "kill/after"} <= own_server.topics()
    assert own_server.stop() < 5


def test_a_killed_master_does_not_leave_its_door_open(own_server: Server) -> None:
    """Its worker finishes what has begun, and meanwhile nobody is let in whom it would not answer."""
    request = signed("master/killed")
    with own_server.connect() as half:
        half.sendall(HEALTH)
        assert answer(half) == 200, "it has been let in"
        half.sendall(request[:-9])
        own_server.process.kill()
        wait_until_closed(own_server)
        half.sendall(request[-9:])
        assert answer(half) == 200
    assert "master/killed" in own_server.topics()


def wait_until_closed(server: Server) -> None:
    """Until nobody is let in any more; while a half request may still arrive."""
    until = time.monotonic() + PATIENCE - 0.4
    while not is_closed(server):
        assert time.monotonic() < until, "the door is still open"


def is_closed(server: Server) -> bool:
    try:
        ask(server, HEALTH)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # let in at the very moment of closing
    return False


def test_a_reload_turns_nobody_away(own_server: Server) -> None:
    """SIGHUP, while hooks come in on new connections and on old ones."""
    with own_server.connect() as old, ThreadPoolExecutor(4) as pool:
        old.sendall(signed("reload/old"))
        assert answer(old) == 200
        told = [pool.submit(timed, own_server, f"reload/{number}") for number in range(300)]
        for _ in range(2):
            own_server.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
        assert max(one.result() for one in told) < 2
    assert {f"reload/{number}" for number in range(300)} <= own_server.topics()


# --- when a request is whole -------------------------------------------------------------------------------


@given(data())
def test_it_does_not_matter_how_a_request_is_cut_up(draw: DataObject) -> None:
    """Several requests in a row, in pieces of any size, are the same requests, and nothing is left of any."""
    bodies = draw.draw(lists(tuples(binary(max_size=300), integers(0, 50)), min_size=1, max_size=4))
    requests = [
        chunked("any", body, in_chunks(body, size)) if size and body else signed("any", body)
        for body, size in bodies
    ]
    stream = b"".join(requests)
    arriving, taken = Arriving(Config(), ("127.0.0.1", 1), LIMIT), []
    while stream or arriving.data:
        cut = draw.draw(integers(1, 200)) if stream else 0
        one = arriving.feed(stream[:cut])
        stream = stream[cut:]
        taken += [one] if one else []
        assert one or stream, "the end was not found"
    for one, sent, (body, _) in zip(taken, requests, bodies, strict=True):
        alone = Request(Config(), IterUnreader([sent]), None)
        assert (one.request.uri, one.request.headers) == (alone.uri, alone.headers)
        assert one.request.body.read() == alone.body.read() == body
        assert not one.request.unreader.take_buffered()


@given(binary(max_size=500), integers(1, 500))
def test_no_bytes_break_it(noise: bytes, cut: int) -> None:
    """Whatever comes is wanted more of, taken or refused."""
    for start in (b"", chunked("any", BODY, b"")):
        arriving = Arriving(Config(), ("127.0.0.1", 1), 1_000)
        for piece in ((start + noise)[:cut], (start + noise)[cut:]):
            with suppress(Refused):
                arriving.feed(piece)
