"""What every test stands on: a clean environment, no way to the outside world, and real servers."""

import gc
import ipaddress
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest
import redis

from tests import servers
from webhooks import clock, discretion, migrations
from webhooks.database import Database
from webhooks.schema import metadata

hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")  # how long an example takes says how busy the machine is

_KEPT = re.compile(r"PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|COV\w*|PYTEST\w*|SSL_CERT_\w+|CI")
"""The variables that a test may see. All others go, so that no setting of the machine leaks in."""


MEMORY = Path("/dev/shm")
ENOUGH = 4 * 1024**3


def pytest_configure() -> None:
    """What tests write goes into memory where there is plenty: on a disk, every commit waits for it."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return
    system = os.statvfs(MEMORY)
    if system.f_bavail * system.f_frsize > ENOUGH and not system.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Renewing generated tables is explicit."""
    parser.addoption("--update-guides", action="store_true", help="write the guides' tables anew")


def pytest_collection_finish() -> None:
    """Thousands of tests live until the end: to look through them for rubbish again and again takes time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """For what recurses until it may not: rubbish that is collected on that ground cannot be finalized, and
    pytest would blame the test for it."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes every variable of the machine; a test sets what it needs."""
    for name in list(os.environ):
        if not _KEPT.fullmatch(name):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def strict_facts() -> None:
    """An unknown fact's name in a log call is an error here."""
    discretion.strict = True


@pytest.fixture(autouse=True)
def level_of_logs() -> Iterator[None]:
    """A command that a test runs in this process sets how much is logged; the next test begins anew."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture(autouse=True)
def clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process goes by the clock of the PostgreSQL that it spoke to; the next test knows of none."""
    monkeypatch.setattr(clock, "_told", None)


class OutsideWorld(Exception):
    """A test tried to connect to another machine."""


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """No test talks to another machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_local(str(address[0])):
            raise OutsideWorld(f"a test must not connect to {address[0]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def _is_local(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A real Valkey, shared by the tests of one process."""
    with servers.valkey() as address:
        yield address


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """A real Valkey with nothing in it."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


def do_without(error: servers.CannotStart) -> NoReturn:
    """Skips the test; on CI a server or program that does not start is a failure."""
    if "CI" in os.environ:
        raise error
    pytest.skip(f"not on this machine: {error}")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL, shared by the tests of one process."""
    try:
        with servers.postgres() as address:
            yield address
    except servers.CannotStart as error:
        do_without(error)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it: once a SQLite file, once a database on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with servers.database(request.getfixturevalue("postgres_url"), name) as address:
        yield address


_numbers = iter(range(10**9))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with the ledger's tables and nothing in them: once a SQLite file, once on PostgreSQL."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    address: str = request.getfixturevalue("ledger_on_postgres")
    servers.empty(address, [table.name for table in reversed(metadata.sorted_tables)])
    return address


@pytest.fixture
def sqlite_url(ledger_file: Path, tmp_path: Path) -> str:
    """An empty ledger in a SQLite file, for what is asked of PostgreSQL elsewhere."""
    file = tmp_path / "ledger.db"
    shutil.copyfile(ledger_file, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger, to be copied: making its tables takes longer than most tests."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.db"
    make_ledger(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def ledger_on_postgres(postgres_url: str) -> Iterator[str]:
    """A ledger that the tests of one process use one after the other."""
    with servers.database(postgres_url, f"ledger_{os.getpid()}") as address:
        make_ledger(address)
        yield address


def make_ledger(address: str) -> None:
    """Makes the tables."""
    database = Database(address)
    migrations.upgrade(database)
    database.close()
