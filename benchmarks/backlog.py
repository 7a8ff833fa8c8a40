"""A backlog: how fast is it delivered, against one job and one call for each order?

Two worker processes and a destination that answers after 150 ms. The naive design's rate does not depend on
how much waits, so it is sampled with few orders.
"""

import json
import statistics
from contextlib import ExitStack
from pathlib import Path

import rq
from redis import Redis
from sqlalchemy import func, select

from benchmarks import filling, measure, naive_job, orders, processes
from benchmarks.processes import Running
from tests import servers
from webhooks.relay import Relay
from webhooks.schema import deliveries

WORKERS, ANSWER_SECONDS = 2, 0.15
NAIVE = "naive: a job, a fork, a call for each"

Taken = tuple[float, float]
"""Seconds, and seconds of the processor, for each event."""


def run(count: int = 5_000, sample: int = 100, turns: int = 3) -> None:
    """Prints the table."""
    taken: dict[str, list[Taken]] = {NAIVE: [], "ours, SQLite": [], "ours, PostgreSQL": []}
    with servers.folder() as folder, ExitStack() as stack:
        address = stack.enter_context(processes.destination(ANSWER_SECONDS))
        postgres = stack.enter_context(processes.postgres(folder))
        for turn in range(turns):
            first = 1_000_000_000 + turn * count
            taken[NAIVE].append(_naive(address, orders.bodies(sample, first)))
            for name, where in (("SQLite", f"sqlite:///{folder / 'ledger.db'}"), ("PostgreSQL", postgres)):
                taken[f"ours, {name}"].append(_ours(folder, where, address, count, first))
    _show(taken, count)


def _show(taken: dict[str, list[Taken]], count: int) -> None:
    heads = ("events/s", "× naive", "spread", "CPU µs per event", "of naive's")
    title = f"A backlog of {count}, {WORKERS} workers, {ANSWER_SECONDS * 1e3:.0f} ms"
    table = measure.table(title, "", *heads)
    for name, own in taken.items():
        seconds, used = zip(*own, strict=True)
        naive_seconds, naive_used = zip(*taken[NAIVE], strict=True)
        table.add_row(
            name,
            f"{1 / statistics.median(seconds):.0f}",
            *measure.spread(measure.ratios(naive_seconds, seconds)),
            f"{statistics.median(used) * 1e6:.0f}",
            measure.spread(measure.ratios(used, naive_used))[0],
        )
    measure.console.print(table)


def _naive(address: str, bodies: list[bytes]) -> Taken:
    with (
        servers.valkey() as redis,
        processes.naive_workers(redis, WORKERS) as workers,
        Redis.from_url(redis) as client,
    ):
        queue = rq.Queue(naive_job.QUEUE, connection=client)
        before = _used(workers)
        jobs = [queue.prepare_data(naive_job.deliver, (json.loads(body), address)) for body in bodies]
        queue.enqueue_many(jobs)
        done = queue.finished_job_registry
        seconds = processes.patiently(lambda: done.get_job_count(cleanup=False) == len(bodies), 120)
        return seconds / len(bodies), (_used(workers) - before) / len(bodies)


def _ours(folder: Path, where: str, address: str, count: int, first: int) -> Taken:
    processes.migrated(where).close()
    with servers.valkey() as redis:
        told = processes.environ(folder, where, redis, META_API_BASE=address)
        ledger = filling.relay(told)
        filling.fill(ledger, count, first)
        with processes.workers(told, WORKERS) as workers:
            before = _used(workers)
            for _ in workers:  # as two shops that ring
                ledger.wake.now(unless_flagged=False)
            seconds = processes.patiently(lambda: not _undone(ledger), 120)
            taken = seconds / count, (_used(workers) - before) / count
        ledger.close()
    return taken


def _undone(ledger: Relay) -> int:
    undone = select(func.count()).where(deliveries.c.state != "delivered")
    with ledger.database.read() as db:
        return db.execute(undone).scalar_one()


def _used(workers: list[Running]) -> float:
    return sum(worker.seconds() for worker in workers)
