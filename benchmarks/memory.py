"""Memory: what each process holds after many orders, against what it held after the first thousand.

The orders come as fast as they are acknowledged and are delivered meanwhile. Resident memory, of a process
with all its children, when nothing is left to do.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import client, filling, measure, orders, processes
from benchmarks.processes import SECRET, Running
from tests import servers
from tests.faults.processes import tree
from webhooks.relay import Relay

ANSWER_SECONDS, WORKERS, FIRST, SLICE = 0.02, 2, 1_000, 2_000


def run(count: int = 10_000) -> None:
    """Prints the table."""
    with servers.folder() as folder, servers.valkey() as redis, ExitStack() as stack:
        address = stack.enter_context(processes.destination(ANSWER_SECONDS))
        where = f"sqlite:///{folder / 'ledger.db'}"
        processes.migrated(where).close()
        told = processes.environ(folder, where, redis, META_API_BASE=address)
        ledger = filling.relay(told)
        running = [
            *stack.enter_context(processes.workers(told, WORKERS)),
            stack.enter_context(processes.web("web", told)),
        ]
        _take(ledger, running[-1].port, FIRST, 1_000_000_000)
        before = _held(running)
        for sent in range(0, count, SLICE):
            _take(ledger, running[-1].port, SLICE, 2_000_000_000 + sent)
        _show(before, _held(running), count)
        ledger.close()


def _take(ledger: Relay, port: int, count: int, first: int) -> None:
    client.storm(port, client.hooks(orders.bodies(count, first), SECRET))
    processes.patiently(lambda: not filling.count(ledger, "due"), 120)


def _held(running: list[Running]) -> Mapping[str, float]:
    """Megabytes by name."""
    return {one.name: sum(map(_resident, tree(one.pid))) / 1e6 for one in running}


def _resident(pid: int) -> int:
    """Bytes, those shared with others counted in part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [kilobytes] = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    return kilobytes * 1_024


def _show(before: Mapping[str, float], after: Mapping[str, float], count: int) -> None:
    heads = (f"after {FIRST:,} orders, MB", f"after {count:,} more", "ratio")
    table = measure.table("Memory", "", *heads)
    for name, megabytes in before.items():
        table.add_row(name, f"{megabytes:.1f}", f"{after[name]:.1f}", f"{after[name] / megabytes:.3f}")
    measure.console.print(table)
