"""A whole relay as a host runs it: web, workers, sweeper, Valkey, database, and a destination that counts."""

import os
import random
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from redis import Redis
from sqlalchemy import func, select

from tests import ports, servers
from tests.environments import KEY
from tests.faults.orders import ENVIRON
from tests.faults.processes import Fleet, Program
from webhooks import embedded, migrations
from webhooks.database import HASTY, Database, Unavailable
from webhooks.questions import Questions
from webhooks.sandbox.standin import Received
from webhooks.schema import deliveries

Kind = Literal["sqlite", "postgresql"]

ROOT = Path(__file__).parents[2]

WORKERS = ("worker-1", "worker-2")
OURS = ("web", *WORKERS, "sweeper")
"""What a deploy replaces; Valkey and PostgreSQL stay."""

SCALED: Mapping[str, str] = {
    "RELAY_LEASE_SECONDS": "4",
    "RELAY_SWEEP_SECONDS": "0.5",
    "RELAY_RETRY_SCHEDULE": "0.3,0.6,1",
    "WEB_CONCURRENCY": "2",
    "RELAY_WEB_THREADS": "16",
}
"""Hours become seconds; everything else is as it comes."""

DELAYS = (0.005, 0.05)
"""Within what time the destination answers, in seconds: it counts first, and a worker may die between."""

_ANSWERS = 20_000
_READY_SECONDS = 30.0


class Changes(NamedTuple):
    """What a test may have otherwise than a host: the arguments of Python, the time of the answers, more
    arguments of PostgreSQL, a disk of the ledger's own (SQLite's) that is soon full."""

    web: tuple[str, ...] = ("-m", "webhooks", "web")
    worker: tuple[str, ...] = ("-m", "webhooks", "worker")
    sweeper: tuple[str, ...] = ("-m", "webhooks", "sweep")
    delays: tuple[float, float] = DELAYS
    postgresql: tuple[str, ...] = ()
    disk_megabytes: int = 0


AS_ON_A_HOST = Changes()


class NotReady(Exception):
    """The relay does not come up; the message is the end of what its processes wrote."""


class Installation:
    """Its processes by name: web, worker-1, worker-2, sweeper, valkey, postgresql, destination."""

    def __init__(
        self, home: Path, fleet: Fleet, database: Kind, changes: Changes, settings: Mapping[str, str]
    ) -> None:
        self.home, self.fleet, self.database_kind = home, fleet, database
        self.settings = {**SCALED, **settings}
        self._changes = changes
        self.journal = home / "received.jsonl"
        self.valkey_folder = home / "valkey"
        self._web_port, self._destination_port = ports.free(), ports.free()
        self.web_url = f"http://127.0.0.1:{self._web_port}"
        self._cluster: servers.Cluster | None = None
        self.disk = home / "disk"
        self.disk.mkdir()
        self.ledger_file = self.disk / "ledger.db"
        self.database_url = self._database_url()
        self.database = Database(self.database_url, patience=HASTY, connections=1)

    @property
    def redis_url(self) -> str:
        return f"unix://{self.valkey_folder / 'v.sock'}"

    # --- start ---------------------------------------------------------------------------------------------

    def start(self, chance: random.Random) -> None:
        """Everything, in the order in which a host has it."""
        if self._cluster is not None:
            owner = self._cluster.owner
            command = (*self._cluster.command, *self._changes.postgresql)
            self.fleet.start(self._program("postgresql", *command, owner=owner))
        self.start_valkey()
        destination = ("-m", "webhooks.sandbox", "meta", "--port", str(self._destination_port))
        account = ",".join(
            f"{name.removeprefix('META_').lower()}={value}"
            for name, value in ENVIRON.items()
            if name.startswith("META_")
        )
        journal = ("--journal", str(self.journal), "--account", account)
        self.fleet.start(self._program("destination", sys.executable, *destination, *journal))
        self._migrate()
        for program in self._ours():
            self.fleet.start(program)
        self.delay_answers(chance)
        self.wait_until_ready()

    def start_valkey(self) -> None:
        """Without any persistence: a killed one has forgotten everything."""
        self.valkey_folder.mkdir(exist_ok=True)
        program = embedded.server_command(self.valkey_folder)[0]
        where = ("--port", "0", "--unixsocket", str(self.valkey_folder / "v.sock"))
        forgetful = ("--dir", str(self.valkey_folder), "--save", "", "--appendonly", "no")
        self.fleet.start(self._program("valkey", program, *where, *forgetful))

    def wait_until_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Until a hook would be taken and both workers listen; raises `NotReady`."""
        self.wait_for_hooks(seconds)
        with Redis.from_url(self.redis_url) as redis:
            _until(lambda: redis.scard("rq:workers") == len(WORKERS), seconds, self._last_words)

    def wait_for_hooks(self, seconds: float = _READY_SECONDS) -> None:
        """Until a hook would be taken; raises `NotReady`."""
        _until(self._is_ready, seconds, self._last_words)

    def reconfigure(self, names: Iterable[str] = OURS, **settings: str) -> None:
        """What these processes are told when they start the next time; those that run go on as they are."""
        self.settings |= settings
        for name in names:
            self.fleet.change(name, self.environ)

    def replace(self, name: str, *arguments: str) -> None:
        """Another program of Python's in the place of that process; it ends as in a deploy."""
        self.fleet.stop([name])
        self.fleet.change(name, self.environ, (sys.executable, *arguments))
        self.fleet.start_again([name])

    def move(self, database_url: str) -> None:
        """To another ledger, of the same kind, from the next start of our processes on."""
        self.database.close()
        self.database_url = database_url
        self.database = Database(database_url, patience=HASTY, connections=1)
        if self.database.is_sqlite:
            self.ledger_file = Path(self.database.url.database or "")
        self.reconfigure()

    def postgresql_program(self, name: str) -> Path:
        """`pg_dump` and the like, beside the server that runs."""
        assert self._cluster is not None
        return Path(self._cluster.command[0]).with_name(name)

    def restart(self, **settings: str) -> dict[str, float]:
        """All of our processes end and start anew with other settings, as an owner does it. Returns how many
        seconds each took to end."""
        took = self.fleet.stop(OURS)
        self.reconfigure(**settings)
        self.fleet.start_again(OURS)
        self.wait_until_ready()
        return took

    def control(self, action: str, document: object = None) -> Any:
        """Tells the destination something (`webhooks.sandbox.wire`), or asks it; returns its answer."""
        address = f"http://127.0.0.1:{self._destination_port}/_control/{action}"
        body = None if document is None else msgspec.json.encode(document)
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=30) as answer:
            return msgspec.json.decode(answer.read())

    def _ours(self) -> Iterator[Program]:
        python = sys.executable
        yield self._program("web", python, *self._changes.web)
        for name in WORKERS:
            yield self._program(name, python, *self._changes.worker)
        yield self._program("sweeper", python, *self._changes.sweeper)

    def _program(self, name: str, *command: str, owner: int | None = None) -> Program:
        folder = self.home / "postgresql" if name == "postgresql" else ROOT
        return Program(name=name, command=command, environ=self.environ, folder=folder, owner=owner)

    @property
    def environ(self) -> Mapping[str, str]:
        """What each of our processes is told; nothing of this machine's own."""
        return {
            "PATH": os.defpath,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "RELAY_DATA_DIR": str(self.home),
            "RELAY_SECRET_KEYS": KEY,
            "PORT": str(self._web_port),
            "META_API_BASE": f"http://127.0.0.1:{self._destination_port}",
            **ENVIRON,
            **self.settings,
        }

    def _database_url(self) -> str:
        if self.database_kind == "sqlite":
            return f"sqlite:///{self.ledger_file}"
        if self._cluster is None:
            folder = self.home / "postgresql"
            folder.mkdir()
            self.home.chmod(0o755)  # PostgreSQL may have to run as somebody else
            self._cluster = servers.prepared_postgres(folder)
        return self._cluster.address

    def _migrate(self) -> None:
        def migrated() -> bool:
            try:
                migrations.upgrade(self.database)
            except Unavailable:
                return False  # it starts still
            return True

        _until(migrated, _READY_SECONDS, self._last_words)

    def delay_answers(self, chance: random.Random) -> None:
        """From now on the destination answers, and takes its time."""
        steps = [{"delay": round(chance.uniform(*self._changes.delays), 3)} for _ in range(_ANSWERS)]
        ports.wait(self._destination_port)
        self.control("script", {"steps": steps})

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.web_url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:  # nobody listens, or not ready yet
            return False

    def _last_words(self) -> str:
        logs = sorted(self.home.glob("*.log"))
        return "\n".join(f"{log.stem}: {log.read_text(errors='replace')[-1_500:]}" for log in logs)

    # --- what is known -------------------------------------------------------------------------------------

    def received(self) -> list[Received]:
        """Every event that the destination has counted."""
        lines = self.journal.read_bytes().splitlines() if self.journal.exists() else []
        return [msgspec.json.decode(line, type=Received) for line in lines]

    def ledger(self) -> list[dict[str, Any]]:
        """Every delivery, as `purchase-relay ledger export` tells of it."""
        return [told for chunk in Questions(self.database).export() for told in chunk]

    def open_deliveries(self) -> int:
        """How many wait or are on their way."""
        undone = select(func.count()).where(deliveries.c.state.in_(("due", "held")))
        with self.database.read() as db:
            return db.execute(undone).scalar_one()

    def settle(self, seconds: float = 60.0) -> float:
        """Waits until nothing is left to deliver; returns how long that took, or ``seconds``."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                if self.open_deliveries() == 0:
                    return time.monotonic() - began
            except Unavailable:
                pass  # it was killed last and comes back
            time.sleep(0.1)
        return seconds


@contextmanager
def installed(
    database: Kind,
    *,
    seed: int = 0,
    changes: Changes = AS_ON_A_HOST,
    **settings: str,
) -> Iterator[Installation]:
    """A relay that is ready. Nothing of it is left afterwards."""
    with servers.folder() as home, ExitStack() as disk, Fleet(home) as fleet:
        relay = Installation(home, fleet, database, changes, settings)
        if changes.disk_megabytes:
            disk.enter_context(servers.disk(relay.disk, changes.disk_megabytes))
        try:
            relay.start(random.Random(seed))
            yield relay
        finally:
            relay.database.close()


def _until(fulfilled: Callable[[], bool], seconds: float, last_words: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not fulfilled():
        if time.monotonic() > deadline:
            raise NotReady(last_words())
        time.sleep(0.05)
