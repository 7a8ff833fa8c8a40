"""The stage of the demo: a relay and its destinations as real processes, in a folder that vanishes."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from integrations import discovery
from webhooks import embedded, migrations
from webhooks.children import Process, spawn
from webhooks.database import Database
from webhooks.sandbox.cast import Telling
from webhooks.sandbox.shop import Shop
from webhooks.sandbox.wire import NoStandIn, stand_in

HASTE = {
    "RELAY_RETRY_SCHEDULE": "0.4,0.8,1.2",
    "RELAY_LEASE_SECONDS": "3",
    "RELAY_SWEEP_SECONDS": "0.3",
    "RELAY_WATCH_SECONDS": "1",
    "RELAY_RECONCILE_SECONDS": "1",
    "RELAY_RECONCILE_DELAY": "0",
}
"""Hours become seconds."""

LEAD = "meta"
"""Everything goes wrong at this destination; the others just receive."""

SHOP = "woocommerce"
"""The store whose shop has its own API, and loses hooks."""

STOP_SECONDS = 12.0
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stuck(Exception):
    """Something that should have happened did not; the message says what."""


def until(condition: Callable[[], object], what: str, seconds: float = 12.0) -> None:
    """Waits for it, or raises `Stuck`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Stuck(what)
        time.sleep(0.03)


class Stand:
    """Somebody's stand-in. ``port`` is known once it stands."""

    def __init__(self, slug: str, label: str) -> None:
        self.slug, self.label = slug, label
        self.port = 0

    def control(self, action: str, document: Any = None) -> Any:
        """Tells the stand-in what to do, or asks what it has seen."""
        method = "GET" if document is None else "POST"
        body = b"" if document is None else json.dumps(document).encode()
        status, answer = _request(self.port, method, f"/_control/{action}", body)
        if status != 200:
            raise Stuck(f"{self.label}'s stand-in does not know {action}")
        return json.loads(answer)


class ShopActor(Stand):
    """A shop with an API of its own. In the other acts its hooks are sent without it."""

    def __init__(self, store: str) -> None:
        super().__init__(f"{store}_shop", discovery.stores()[store].label)
        self.store = store

    def settings(self) -> dict[str, str]:
        """What the relay must know to ask it."""
        shop = stand_in(self.slug)()
        if not isinstance(shop, Shop):
            raise Stuck(f"{self.slug} is no shop")
        options = shop.settings(f"http://127.0.0.1:{self.port}")
        shop.close()
        return {f"{self.store}_{name}".upper(): value for name, value in options.items()}


class Actor(Stand):
    """A destination's stand-in."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug, discovery.destinations()[slug].label)
        self.account = dict(stand_in(slug).demo)

    def script(self, *steps: Mapping[str, Any]) -> None:
        """What happens to its next requests; nothing unusual without steps."""
        self.control("script", {"steps": steps})

    def record(self) -> list[dict[str, Any]]:
        """Every event that it was told of, by us and by browsers."""
        events: list[dict[str, Any]] = self.control("record")["events"]
        return events


class Stage:
    """Everything that the demo runs. `built` gives one and takes it away again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.secrets = {slug: token_hex(16) for slug in discovery.stores()}
        slugs = sorted(filter(_stands_in, discovery.destinations()), key=lambda slug: (slug != LEAD, slug))
        self.actors = [Actor(slug) for slug in slugs]
        self.shop = ShopActor(SHOP)
        self.database = Database(f"sqlite:///{folder / 'ledger.db'}", patience=5)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Starts everything and waits until a hook can come."""
        self._start("valkey", embedded.server_command(self.folder))
        slugs = [stand.slug for stand in (*self.actors, self.shop)]
        self._start("stand-ins", [sys.executable, "-m", "webhooks.sandbox", *slugs])
        migrations.upgrade(self.database)
        until(self._find_actors, "the stand-ins did not start", 20)
        self._start("web", [sys.executable, "-m", "gunicorn", "-c", "python:webhooks.server"])
        self.start_worker()
        until(lambda: _listens(self.port), "the web server did not start", 20)
        until(self.worker_pid, "the worker did not start", 20)

    def _find_actors(self) -> bool:
        """Reads from what they said at which port each of them stands."""
        said = (self.folder / "stand-ins.log").read_text()
        ports = dict(re.findall(r"^(\w+) stands in at http://[^:]+:(\d+)$", said, re.MULTILINE))
        stands = (*self.actors, self.shop)
        for stand in stands:
            stand.port = int(ports.get(stand.slug, 0))
        return all(stand.port for stand in stands)

    def start_worker(self) -> None:
        """Worker and sweep, as a host runs them in one process slot."""
        self._start(
            "worker", [sys.executable, "-m", "webhooks", "worker", "--processes", "1", "--with-sweeper"]
        )

    def environment(self) -> dict[str, str]:
        """Settings of the relay. The machine's own environment stays outside: it may hold real tokens."""
        settings = {
            "PYTHONUTF8": "1",
            "RELAY_DATA_DIR": str(self.folder),
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            "RELAY_WEB_THREADS": "8",
            "RELAY_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            **HASTE,
            **self.shop.settings(),
        }
        for slug, secret in self.secrets.items():
            settings[f"{slug}_webhook_secrets".upper()] = secret
        for actor in self.actors:
            known = {setting.name for setting in discovery.destinations()[actor.slug].settings}
            settings[f"{actor.slug}_api_base".upper()] = f"http://127.0.0.1:{actor.port}"
            for name in known & actor.account.keys():
                settings[f"{actor.slug}_{name}".upper()] = actor.account[name]
        return settings

    # --- the relay ---------------------------------------------------------------------------------------

    def post(self, telling: Telling) -> tuple[int, float]:
        """Sends a hook as its store does; returns the answer's status and the seconds it took."""
        return self.post_raw(telling.store, telling.body, self.signed(telling))

    def signed(self, telling: Telling) -> dict[str, str]:
        """The headers that the store sends with it."""
        return telling.signed(self.secrets[telling.store], int(time.time()))

    def post_raw(self, store: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        """Sends bytes to the address of that store's hooks."""
        begun = time.monotonic()
        status, _ = _request(self.port, "POST", f"/webhooks/{store}", body, headers)
        return status, time.monotonic() - begun

    def command(self, *arguments: str) -> str:
        """What `purchase-relay` answers to its owner; raises `Stuck` if it fails."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "webhooks", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise Stuck(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def worker_pid(self) -> int | None:
        """The number of the worker's process, as its supervisor tells in its log."""
        told = [line for line in self._log("worker") if line.get("message") == "a process started"]
        return next((line["pid"] for line in reversed(told) if line["process"].startswith("worker")), None)

    def _log(self, name: str) -> Iterator[dict[str, Any]]:
        for line in (self.folder / f"{name}.log").read_text().splitlines():
            with suppress(ValueError):
                yield json.loads(line)

    def last_words(self) -> Iterator[str]:
        """What the processes said last, for a person who asks why."""
        for path in sorted(self.folder.glob("*.log")):
            for line in path.read_text(errors="replace").splitlines()[-5:]:
                yield f"{path.stem}: {line}"

    @property
    def running(self) -> bool:
        """Whether any process is left."""
        return bool(self._running)

    # --- processes ---------------------------------------------------------------------------------------

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = spawn(Process(name, command, self.environment()), log)

    def stop(self, *names: str) -> None:
        """Asks these processes to end, all at once, and makes those end that do not."""
        popens = [self._running.pop(name) for name in names if name in self._running]
        for popen in popens:
            popen.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for popen in popens:
            with suppress(subprocess.TimeoutExpired):
                popen.wait(max(deadline - time.monotonic(), 0))
            if popen.returncode is None:
                os.killpg(popen.pid, signal.SIGKILL)
                popen.wait()

    def close(self) -> None:
        """Ends everything, the queue last. Impatience does not interrupt it: it takes a moment only."""
        for number in INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)
        self.stop(*(name for name in self._running if name != "valkey"))
        self.stop("valkey")
        self.database.close()


@contextmanager
def built() -> Iterator[Stage]:
    """A stage with the curtain down; afterwards no process and no file is left, however it ends.

    SIGTERM and SIGHUP are raised as `KeyboardInterrupt`, too.
    """
    with ExitStack() as stack:
        for number in INTERRUPTS:
            stack.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-demo-"))
        stage = Stage(Path(folder))
        stack.callback(stage.close)
        yield stage


def _request(
    port: int, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _stands_in(slug: str) -> bool:
    try:
        stand_in(slug)
    except NoStandIn:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
