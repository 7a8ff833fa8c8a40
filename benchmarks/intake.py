"""Durable intake: what an acknowledged order costs, against bare gunicorn and what one would write first.

Every contestant is gunicorn with two processes of eight threads (ours with its own worker class); all get
the same distinct orders, in turn, over 16 connections. Requests per second are bounded by the client where
the server is fast: the honest figure is the time that the server's processes use (not PostgreSQL's own).
"""

import shutil
import statistics
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import func, select

from benchmarks import client, measure, orders, processes
from benchmarks.processes import SECRET, Running
from tests import servers
from webhooks.database import Database
from webhooks.schema import deliveries

BARE, NAIVE, NAIVE_PG = "bare gunicorn", "naive, SQLite", "naive, PostgreSQL"
OURS, OURS_PG = "ours, SQLite", "ours, PostgreSQL"

Rounds = Mapping[str, list[tuple[float, float]]]
"""Of each contestant, round by round: seconds, and seconds of the processor."""


def run(count: int = 1_000, turns: int = 5) -> None:
    """Prints the tables."""
    with servers.folder() as folder, _contestants(folder) as (all_of_them, ledgers):
        _show("Intake, this disk", _measure(all_of_them, count, turns), count)
        _check(ledgers, count * (turns + 1))
    with servers.folder() as folder, _on_a_slow_disk(folder) as contestants:
        if contestants:
            _show("Intake, every fsync 2 ms longer", _measure(contestants, count, turns, first=2), count)


@contextmanager
def _contestants(folder: Path) -> Iterator[tuple[list[Running], list[Database]]]:
    with ExitStack() as stack:
        redis = stack.enter_context(servers.valkey())
        address = stack.enter_context(processes.postgres(folder))
        naive = f"'{folder / 'naive.db'}', '{redis}', '{SECRET}'"
        naive_pg = f"'{processes.conninfo(address)}', '{redis}', '{SECRET}'"
        databases = {OURS: f"sqlite:///{folder / 'ledger.db'}", OURS_PG: address}
        ledgers = [processes.migrated(where) for where in databases.values()]
        started = [
            processes.gunicorn(BARE, "benchmarks.naive:bare"),
            processes.gunicorn("bare Flask", "benchmarks.naive:flask()"),
            processes.gunicorn(NAIVE, f"benchmarks.naive:sqlite({naive})"),
            processes.gunicorn(NAIVE_PG, f"benchmarks.naive:postgresql({naive_pg})"),
            *(
                processes.web(name, processes.environ(folder, where, redis))
                for name, where in databases.items()
            ),
        ]
        yield [stack.enter_context(one) for one in started], ledgers
        for ledger in ledgers:
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
        naive = f"benchmarks.naive:sqlite('{folder / 'naive.db'}', '{redis}', '{SECRET}')"
        slow = {"LD_PRELOAD": str(shim)}
        yield [
            stack.enter_context(processes.gunicorn(BARE, "benchmarks.naive:bare")),
            stack.enter_context(processes.gunicorn(NAIVE, naive, **slow)),
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
            seconds = client.storm(one.port, requests)
            if turn:
                taken[one.name].append((seconds, one.seconds() - before))
    return taken


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


def _check(ledgers: list[Database], expected: int) -> None:
    """Who is fast because orders are lost has not won."""
    for ledger in ledgers:
        with ledger.read() as db:
            kept = db.execute(select(func.count()).select_from(deliveries)).scalar_one()
        if kept != expected:
            raise AssertionError(f"{kept} deliveries in the ledger after {expected} acknowledged orders")
