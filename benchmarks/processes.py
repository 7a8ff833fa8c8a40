"""Processes under measurement: started, watched for the time they use, ended."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from redis import Redis

from benchmarks import naive_job
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
        self.name, self.port, self.pid = name, port, process.pid

    def seconds(self) -> float:
        """The processor's time that all of them have used so far, those that have ended included."""
        return sum(_used(pid) for pid in tree(self.pid))


def _used(pid: int) -> float:
    here = Path(f"/proc/{pid}")
    now = sum(int(task.read_text().split()[0]) for task in here.glob("task/*/schedstat")) / 1e9
    children = here.joinpath("stat").read_text().rpartition(")")[2].split()[13:15]  # cutime, cstime
    return now + sum(map(int, children)) / os.sysconf("SC_CLK_TCK")


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
        "SHOPIFY_CONSENT_POLICY": "opt_out",
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
def workers(told: Mapping[str, str], count: int) -> Iterator[list[Running]]:
    """Our own workers, listening."""
    command = [sys.executable, "-m", "webhooks", "worker", "--processes", "1"]
    with _several("worker", command, told, count) as running:
        _listening(told["REDIS_URL"], count)
        yield running


@contextmanager
def naive_workers(redis: str, count: int) -> Iterator[list[Running]]:
    """RQ's own, which fork for every job, listening."""
    command = [sys.executable, "-m", "rq.cli", "worker", naive_job.QUEUE, "--url", redis, "--quiet"]
    with _several("naive worker", command, {}, count) as running:
        _listening(redis, count)
        yield running


@contextmanager
def _several(name: str, command: list[str], told: Mapping[str, str], count: int) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        yield [stack.enter_context(started(f"{name} {one}", command, told)) for one in range(count)]


def _listening(redis: str, count: int) -> None:
    with Redis.from_url(redis) as client:
        patiently(lambda: client.scard("rq:workers") == count, 30)


@contextmanager
def tuned_workers(redis: str, address: str, count: int, threads: int) -> Iterator[list[Running]]:
    """Processes of many threads, each with a connection that is kept."""
    told = ("--redis", redis, "--address", address, "--threads", str(threads))
    command = [sys.executable, "-m", "benchmarks.tuned", *told]
    with _several("tuned worker", command, {}, count) as running, Redis.from_url(redis) as client:
        patiently(lambda: client.info("clients")["blocked_clients"] == count * threads, 30)
        yield running


@contextmanager
def destination(seconds: float, refused: str = "") -> Iterator[str]:
    """The address of a destination that answers after that time, and takes no event of that id."""
    port = ports.free()
    manner = ("--port", str(port), "--manner", "healthy", "--seconds", str(seconds), "--refused", refused)
    with started("destination", [sys.executable, "-m", "benchmarks.destination", *manner], port=port):
        yield f"http://127.0.0.1:{port}"


def patiently(fulfilled: Callable[[], bool], seconds: float, every: float = 0.02) -> float:
    """Waits until it is; returns how long that took, or raises `TimeoutError`."""
    began = time.perf_counter()
    while not fulfilled():
        if time.perf_counter() - began > seconds:
            raise TimeoutError
        time.sleep(every)
    return time.perf_counter() - began


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
        patiently(lambda: _answers(conninfo(cluster.address)), 20)
        yield cluster.address
    finally:
        server.terminate()
        server.wait(20)


def conninfo(address: str) -> str:
    """The address as psycopg wants it."""
    return address.replace("postgresql+psycopg:", "postgresql:")


def _answers(where: str) -> bool:
    try:
        psycopg.connect(where, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
