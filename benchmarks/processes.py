"""Processes under measurement: started, watched for the time they use, ended."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests import ports, servers
from tests.environments import KEY, META
from tests.faults.processes import tree
from webhooks import migrations
from webhooks.database import Database

ROOT = Path(__file__).parents[1]
SECRET = "a-secret-for-the-benchmark"
WEB_PROCESSES, THREADS = 2, 8
"""Of every web server that is measured."""


class Running:
    """A process and its children."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name, self.port, self._process = name, port, process

    def seconds(self) -> float:
        """The processor's time that all of them have used so far."""
        return sum(_used(pid) for pid in tree(self._process.pid))


def _used(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def started(
    name: str, command: list[str], environ: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[Running]:
    """Until the end of the block; with a port, as soon as it listens. Its words are shown if it fails."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.defpath, **(environ or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if port:
                ports.wait(port)
            yield Running(name, port, process)
        except BaseException:
            log.seek(0)
            sys.stderr.write(f"{name}: {log.read()[-3_000:].decode(errors='replace')}\n")
            raise
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


@contextmanager
def gunicorn(name: str, application: str, **environ: str) -> Iterator[Running]:
    """A naive application, in gunicorn's threaded worker like ours."""
    port = ports.free()
    size = ("--workers", str(WEB_PROCESSES), "--threads", str(THREADS), "--worker-class", "gthread")
    where = ("--bind", f"127.0.0.1:{port}", "--log-level", "error", "--no-control-socket")
    command = [sys.executable, "-m", "gunicorn", *size, *where, application]
    with started(name, command, environ, port) as running:
        yield running


def environ(folder: Path, database: str, redis: str, **more: str) -> dict[str, str]:
    """What the relay is told; all else is as it comes."""
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "RELAY_DATA_DIR": str(folder),
        "RELAY_SECRET_KEYS": KEY,
        "SHOPIFY_WEBHOOK_SECRETS": SECRET,
        "WEB_CONCURRENCY": str(WEB_PROCESSES),
        "RELAY_WEB_THREADS": str(THREADS),
        **META,
        **more,
    }


def migrated(address: str) -> Database:
    """The ledger, empty; also for counting what is in it."""
    database = Database(address, connections=2)
    migrations.upgrade(database)
    return database


@contextmanager
def web(name: str, told: Mapping[str, str]) -> Iterator[Running]:
    """Our own web process."""
    port = ports.free()
    command = [sys.executable, "-m", "webhooks", "web"]
    with started(name, command, {**told, "PORT": str(port)}, port) as running:
        yield running


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL that writes as it does by default: the tests' own does without fsync."""
    home = folder / "postgres"
    home.mkdir()
    folder.chmod(0o755)  # it may run as somebody else
    cluster = servers.prepared_postgres(home)
    command = [part for part in cluster.command if part != "-F"]
    server = subprocess.Popen(
        command, user=cluster.owner, group=cluster.owner, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(conninfo(cluster.address))
        yield cluster.address
    finally:
        server.terminate()
        server.wait(20)


def conninfo(address: str) -> str:
    """The address as psycopg wants it."""
    return address.replace("postgresql+psycopg:", "postgresql:")


def _wait(where: str) -> None:
    for _ in range(400):
        try:
            psycopg.connect(where, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("PostgreSQL does not start")
