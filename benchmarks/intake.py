"""Durable intake: what an acknowledged order costs, against bare gunicorn and what one would write first.

Every contestant is gunicorn with two processes of eight threads (ours with its own worker class); all get
the same distinct orders, in turn, over 16 connections. Requests per second are bounded by the client where
the server is fast: the honest figure is the time that the server's processes use (not PostgreSQL's own).
Whoever answers anything but 200, or does not have all that it acknowledged, ends the run.
"""

import shutil
import sqlite3
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import rq
from redis import Redis
from sqlalchemy import func, select

from benchmarks import client, measure, naive, naive_job, orders, processes
from benchmarks.processes import SECRET, Running
from tests import ports, servers
from webhooks.database import Database
from webhooks.schema import deliveries

BARE, NAIVE, NAIVE_PG = "bare gunicorn", "naive, SQLite", "naive, PostgreSQL"
OURS, OURS_PG = "ours, SQLite", "ours, PostgreSQL"
WATCHED = "ours, SQLite, Sentry on"

Rounds = Mapping[str, list[tuple[float, float]]]
"""Of each contestant, round by round: seconds, and seconds of the processor."""


def run(count: int = 1_000, turns: int = 5) -> None:
    """Prints the tables."""
    with servers.folder() as folder, _contestants(folder) as (all_of_them, check):
        taken = _measure(all_of_them, count, turns)
        check(count * (turns + 1))
        _show("Intake, this disk", taken, count)
        _show_watched(taken)
    with servers.folder() as folder, _on_a_slow_disk(folder) as contestants:
        if contestants:
            _show("Intake, every fsync 2 ms longer", _measure(contestants, count, turns, first=2), count)


@contextmanager
def _contestants(folder: Path) -> Iterator[tuple[list[Running], Callable[[int], None]]]:
    """All of them, and what checks that each has so many orders."""
    with ExitStack() as stack:
        redis, told_of_pg = stack.enter_context(servers.valkey()), stack.enter_context(servers.valkey())
        address = stack.enter_context(processes.postgres(folder))
        path, conninfo = str(folder / "naive.db"), processes.conninfo(address)
        naive.make_sqlite(path)
        naive.make_postgresql(conninfo)
        sentry = f"http://public@127.0.0.1:{ports.free()}/1"  # nobody is there, and nobody needs to be
        databases = {
            OURS: (f"sqlite:///{folder / 'ledger.db'}", {}),
            WATCHED: (f"sqlite:///{folder / 'watched.db'}", {"SENTRY_DSN": sentry}),
            OURS_PG: (address, {}),
        }
        ledgers = {name: processes.migrated(where) for name, (where, _) in databases.items()}
        started = [
            processes.gunicorn(BARE, "benchmarks.naive:bare"),
            processes.gunicorn("bare Flask", "benchmarks.naive:flask()"),
            processes.gunicorn(NAIVE, f"benchmarks.naive:sqlite('{path}', '{redis}', '{SECRET}')"),
            processes.gunicorn(
                NAIVE_PG, f"benchmarks.naive:postgresql('{conninfo}', '{told_of_pg}', '{SECRET}')"
            ),
            *(
                processes.web(name, processes.environ(folder, where, redis, **more))
                for name, (where, more) in databases.items()
            ),
        ]

        def check(expected: int) -> None:
            for name, ledger in ledgers.items():
                _expect(name, expected, _deliveries(ledger))
            _expect(NAIVE, expected, _naive_rows(path), _jobs(redis))
            _expect(NAIVE_PG, expected, _naive_pg_rows(conninfo), _jobs(told_of_pg))

        yield [stack.enter_context(one) for one in started], check
        for ledger in ledgers.values():
            ledger.close()


@contextmanager
def _on_a_slow_disk(folder: Path) -> Iterator[list[Running]]:
    """SQLite writes in the web process, so it can be slowed there. Without a C compiler, nobody."""
    shim, source = folder / "slow_disk.so", Path(__file__).with_name("slow_disk.c")
    compiler = shutil.which("cc")
    if compiler is None:
        measure.console.print("no C compiler: the slow disk is left out")
        yield []
        return
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    with ExitStack() as stack:
        redis = stack.enter_context(servers.valkey())
        where = f"sqlite:///{folder / 'ledger.db'}"
        processes.migrated(where).close()
        path = str(folder / "naive.db")
        naive.make_sqlite(path)
        slow = {"LD_PRELOAD": str(shim)}
        yield [
            stack.enter_context(processes.gunicorn(BARE, "benchmarks.naive:bare")),
            stack.enter_context(
                processes.gunicorn(NAIVE, f"benchmarks.naive:sqlite('{path}', '{redis}', '{SECRET}')", **slow)
            ),
            stack.enter_context(processes.web(OURS, processes.environ(folder, where, redis, **slow))),
        ]


def _measure(contestants: list[Running], count: int, turns: int, first: int = 1) -> Rounds:
    """The first round warms and does not count."""
    taken: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contestants}
    for turn in range(turns + 1):
        made = orders.bodies(count, first * 1_000_000_000 + turn * count)
        requests = client.hooks(made, SECRET)
        for one in contestants:
            before = one.seconds()
            seconds = _storm(one, requests)
            if turn:
                taken[one.name].append((seconds, one.seconds() - before))
    return taken


def _storm(one: Running, requests: list[bytes]) -> float:
    try:
        return client.storm(one.port, requests)
    except client.Unanswered as error:
        raise SystemExit(f"{one.name} did not answer 200: {error}") from error


def _show(title: str, taken: Rounds, count: int) -> None:
    """Each against the naive design on the same database."""
    heads = ("requests/s", "× bare", "× naive", "spread", "CPU µs", "× bare", "× naive", "spread")
    table = measure.table(title, "", *heads)
    bare = taken[BARE]
    for name, own in taken.items():
        naive = taken[NAIVE_PG if name in {OURS_PG, NAIVE_PG} and NAIVE_PG in taken else NAIVE]
        seconds, used = _columns(own)
        table.add_row(
            name,
            f"{count / statistics.median(seconds):.0f}",
            measure.spread(measure.ratios(_columns(bare)[0], seconds))[0],
            *measure.spread(measure.ratios(_columns(naive)[0], seconds)),
            f"{statistics.median(used) / count * 1e6:.0f}",
            measure.spread(measure.ratios(used, _columns(bare)[1]))[0],
            *measure.spread(measure.ratios(used, _columns(naive)[1])),
        )
    measure.console.print(table)


def _columns(taken: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [seconds for seconds, _ in taken], [used for _, used in taken]


def _show_watched(taken: Rounds) -> None:
    """What Sentry costs where nothing goes wrong."""
    without, with_ = _columns(taken[OURS]), _columns(taken[WATCHED])
    of_rate, of_time = (measure.spread(measure.ratios(*pair)) for pair in zip(without, with_, strict=True))
    measure.console.print(
        f"Sentry on: {of_rate[0]} of the requests/s without it ({of_rate[1]});"
        f" by the processor's time {of_time[0]} ({of_time[1]})\n"
    )


# --- who is fast because orders are lost has not won ------------------------------------------------------


def _expect(name: str, expected: int, *found: int) -> None:
    for count in found:
        if count != expected:
            raise SystemExit(f"{name} has {count} of {expected} acknowledged orders")


def _deliveries(ledger: Database) -> int:
    with ledger.read() as db:
        return db.execute(select(func.count()).select_from(deliveries)).scalar_one()


def _naive_rows(path: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        count: int = db.execute("SELECT count(*) FROM orders").fetchone()[0]
    return count


def _naive_pg_rows(conninfo: str) -> int:
    with psycopg.connect(conninfo) as db:
        count: int = db.execute("SELECT count(*) FROM naive_orders").fetchall()[0][0]
    return count


def _jobs(redis: str) -> int:
    with Redis.from_url(redis) as client_:
        return rq.Queue(naive_job.QUEUE, connection=client_).count
