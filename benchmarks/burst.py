"""A burst: orders for a minute at a rate, and what of them is delivered when the last is acknowledged?

And before it: how much longer an acknowledgement takes while workers empty a backlog. 150 ms of answer time,
one relay in real processes on SQLite, its web, workers and the store that sends on the same two cores.
"""

import statistics
import time
from collections.abc import Sequence

from benchmarks import client, filling, measure, orders, processes
from benchmarks.processes import SECRET
from tests import servers
from webhooks.relay import Relay

ANSWER_SECONDS, WORKERS = 0.15, 2
RATE = 20_000 / 60
CALM_RATE = 50.0
"""At which acknowledgements are timed, with and without a backlog."""


def run(count: int = 4_000, backlog: int = 20_000) -> None:
    """Prints both; ``count`` orders in the burst."""
    with (
        servers.folder() as folder,
        servers.valkey() as redis,
        processes.destination(ANSWER_SECONDS) as address,
    ):
        where = f"sqlite:///{folder / 'ledger.db'}"
        processes.migrated(where).close()
        told = processes.environ(folder, where, redis, META_API_BASE=address)
        ledger = filling.relay(told)
        with processes.web("web", told) as web:
            _draining(told, ledger, web.port, backlog)
            _burst(told, ledger, web.port, count)
        ledger.close()


def _draining(told: dict[str, str], ledger: Relay, port: int, backlog: int) -> None:
    with processes.workers(told, WORKERS):
        idle = _taken(port, 500, CALM_RATE, 1_000_000_000)
        processes.patiently(lambda: not filling.count(ledger, "due"), 60)
    filling.fill(ledger, backlog, 2_000_000_000)
    with processes.workers(told, WORKERS):
        for _ in range(WORKERS):
            ledger.wake.now(unless_flagged=False)
        busy: list[float] = []
        first = 3_000_000_000
        while filling.count(ledger, "due") > backlog / 10:
            busy += _taken(port, 50, CALM_RATE, first)
            first += 50
        processes.patiently(lambda: not filling.count(ledger, "due"), 60)
    table = measure.table(f"Acknowledged at {CALM_RATE:.0f}/s", "", "hooks", "p50 ms", "p99 ms", "p99 × idle")
    for name, taken in (("workers idle", idle), (f"{backlog:,} orders being delivered", busy)):
        table.add_row(
            name, str(len(taken)), *_figures(taken), f"{measure.p99(taken) / measure.p99(idle):.2f}"
        )
    measure.console.print(table)


def _burst(told: dict[str, str], ledger: Relay, port: int, count: int) -> None:
    with processes.workers(told, WORKERS):
        began = time.perf_counter()
        taken = _taken(port, count, RATE, 4_000_000_000)
        seconds, waiting = time.perf_counter() - began, filling.count(ledger, "due")
        delivered = 1 - waiting / count
        rest = processes.patiently(lambda: not filling.count(ledger, "due"), 60)
    p50, p99 = _figures(taken)
    console = measure.console
    console.print(f"{count:,} orders in {seconds:.0f} s ({RATE:.0f}/s): p50 {p50} ms, p99 {p99} ms;")
    console.print(
        f"{delivered:.4f} of them delivered when the last was acknowledged, all {rest:.1f} s later\n"
    )


def _taken(port: int, count: int, rate: float, first: int) -> list[float]:
    return client.Steady(port, client.hooks(orders.bodies(count, first), SECRET), rate).run()


def _figures(taken: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(taken) * 1e3:.1f}", f"{measure.p99(taken) * 1e3:.1f}"
