"""A backlog: how fast is it delivered, against one job and one call for each order?

Two worker processes and a destination that answers after 150 ms. What the other designs deliver in a second
does not depend on how much waits, so they are sampled with few orders. Then the same backlog with one event
in it that the destination refuses, together with its batch.
"""

import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

import rq
from redis import Redis

from benchmarks import filling, mapping, measure, naive_job, orders, processes, tuned
from benchmarks.processes import Running
from tests import servers
from webhooks.relay import Relay

WORKERS, ANSWER_SECONDS, THREADS = 2, 0.15, 64
NAIVE = "naive: a job, a fork, a call for each"
TUNED = f"tuned: {THREADS} threads each, a call for each"
OURS, OURS_PG = "ours, SQLite", "ours, PostgreSQL"

Taken = tuple[float, float]
"""Seconds, and seconds of the processor, for each event."""


def run(count: int = 5_000, sample: int = 100, turns: int = 3) -> None:
    """Prints the tables."""
    taken: dict[str, list[Taken]] = {NAIVE: [], TUNED: [], OURS: [], OURS_PG: []}
    refusing: list[Taken] = []
    with servers.folder() as folder, ExitStack() as stack:
        postgres = stack.enter_context(processes.postgres(folder))
        address = stack.enter_context(processes.destination(ANSWER_SECONDS))
        for turn in range(turns):
            first = 1_000_000_000 + turn * count
            taken[NAIVE].append(_naive(address, orders.bodies(sample, first)))
            taken[TUNED].append(_tuned(address, orders.bodies(20 * sample, first)))
            for name, where in ((OURS, f"sqlite:///{folder / f'{turn}.db'}"), (OURS_PG, postgres)):
                taken[name].append(_ours(folder, where, address, count, first))
            with processes.destination(ANSWER_SECONDS, refused=str(first + count // 2)) as refuses:
                where = f"sqlite:///{folder / f'refused-{turn}.db'}"
                refusing.append(_ours(folder, where, refuses, count, first, refused=1))
    _show(taken, count)
    _show_refused(taken[OURS], refusing, count)


def _show(taken: dict[str, list[Taken]], count: int) -> None:
    heads = ("events/s", "× naive", "spread", "× tuned", "CPU µs per event", "× mapping")
    title = f"A backlog of {count:,}, {WORKERS} workers, {ANSWER_SECONDS * 1e3:.0f} ms"
    table = measure.table(title, "", *heads)
    mapped = mapping.seconds_per_order()
    for name, own in taken.items():
        seconds, used = zip(*own, strict=True)
        table.add_row(
            name,
            f"{1 / statistics.median(seconds):.0f}",
            *measure.spread(measure.ratios(_seconds(taken[NAIVE]), seconds)),
            measure.spread(measure.ratios(_seconds(taken[TUNED]), seconds))[0],
            f"{statistics.median(used) * 1e6:.0f}",
            f"{statistics.median(used) / mapped:.2f}",
        )
    measure.console.print(table)


def _show_refused(clean: list[Taken], refusing: list[Taken], count: int) -> None:
    ratio, between = measure.spread(measure.ratios(_seconds(refusing), _seconds(clean)))
    console = measure.console
    console.print(f"with one event of {count:,} refused, SQLite: {ratio} × the time ({between})\n")


def _seconds(taken: list[Taken]) -> list[float]:
    return [seconds for seconds, _ in taken]


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


def _tuned(address: str, bodies: list[bytes]) -> Taken:
    with (
        servers.valkey() as redis,
        processes.tuned_workers(redis, address, WORKERS, THREADS) as workers,
        Redis.from_url(redis) as client,
    ):
        before, began = _used(workers), time.perf_counter()
        client.rpush(tuned.WAITING, *bodies)
        processes.patiently(lambda: int(client.get(tuned.DONE) or 0) == len(bodies), 120)
        seconds = time.perf_counter() - began
        return seconds / len(bodies), (_used(workers) - before) / len(bodies)


def _ours(folder: Path, where: str, address: str, count: int, first: int, refused: int = 0) -> Taken:
    processes.migrated(where).close()
    with servers.valkey() as redis:
        told = processes.environ(folder, where, redis, META_API_BASE=address)
        ledger = filling.relay(told)
        filling.fill(ledger, count, first)
        with processes.workers(told, WORKERS) as workers:
            before = _used(workers)
            for _ in workers:  # as two shops that ring
                ledger.wake.now(unless_flagged=False)
            seconds = processes.patiently(lambda: not filling.count(ledger, "due"), 300)
            taken = seconds / count, (_used(workers) - before) / count
        _check(ledger, refused)
        ledger.close()
    return taken


def _check(ledger: Relay, refused: int) -> None:
    """Whoever is fast because orders are lost has not won."""
    if filling.count(ledger, "refused") != refused or filling.count(ledger, "held"):
        raise AssertionError("a delivery ended otherwise than it should")


def _used(workers: list[Running]) -> float:
    return sum(worker.seconds() for worker in workers)
