"""A trickle: how long from a hook's arrival until the destination has accepted it?

At a fixed rate, whatever the answers, against a destination that answers after 150 ms: less is impossible.
The naive design forks for each order; beyond some ten a second its queue grows without end.
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import rq
from redis import Redis
from rq.job import Job
from sqlalchemy import select

from benchmarks import client, filling, measure, naive, naive_job, orders, processes
from benchmarks.processes import SECRET
from tests import servers
from webhooks.relay import Relay
from webhooks.schema import deliveries, events

ANSWER_SECONDS, WORKERS = 0.15, 2
WARM = 20
"""Orders that come first and do not count: of a destination that has not answered yet, little is asked."""


def run(seconds: float = 10.0) -> None:
    """Prints the table."""
    heads = ("orders/s", "orders", "p50 ms", "p99 ms", "p50 × answer", "p99 × answer")
    table = measure.table(
        f"From the hook to accepted, answer after {ANSWER_SECONDS * 1e3:.0f} ms", "", *heads
    )
    for name, rate, timed in (
        ("ours", 5.0, _ours),
        ("ours", 50.0, _ours),
        ("ours", 150.0, _ours),
        ("ours", 300.0, _ours),
        ("naive", 5.0, _naive),
        ("naive", 50.0, _naive),
    ):
        taken = timed(rate, int(rate * seconds))
        p50, p99 = statistics.median(taken), measure.p99(taken)
        figures = (p50 * 1e3, p99 * 1e3, p50 / ANSWER_SECONDS, p99 / ANSWER_SECONDS)
        table.add_row(name, f"{rate:.0f}", str(len(taken)), *(f"{figure:.4g}" for figure in figures))
    measure.console.print(table)


def _ours(rate: float, count: int) -> list[float]:
    with servers.folder() as folder, _redis_and_destination() as (redis, address):
        where = f"sqlite:///{folder / 'ledger.db'}"
        processes.migrated(where).close()
        told = processes.environ(folder, where, redis, META_API_BASE=address)
        with processes.workers(told, WORKERS), processes.web("ours", told) as web:
            ledger = filling.relay(told)
            _send(web.port, count, rate)
            processes.patiently(lambda: len(_delivered(ledger)) == WARM + count, 60)
            taken = _delivered(ledger)[WARM:]
            ledger.close()
    return taken


def _delivered(ledger: Relay) -> list[float]:
    """Seconds from received to accepted, as the ledger has them."""
    columns = (events.c.received_at, deliveries.c.delivered_at)
    both = select(*columns).join(deliveries, deliveries.c.event == events.c.id)
    with ledger.database.read() as db:
        rows = db.execute(both.where(deliveries.c.state == "delivered").order_by(events.c.id)).all()
    return [(delivered - received) / 1_000 for received, delivered in rows]


def _naive(rate: float, count: int) -> list[float]:
    with servers.folder() as folder, _redis_and_destination() as (redis, address), ExitStack() as stack:
        path: Path = folder / "naive.db"
        naive.make_sqlite(str(path))
        application = f"benchmarks.naive:sqlite('{path}', '{redis}', '{SECRET}', '{address}')"
        stack.enter_context(processes.naive_workers(redis, WORKERS))
        web = stack.enter_context(processes.gunicorn("naive", application))
        client_ = stack.enter_context(Redis.from_url(redis))
        _send(web.port, count, rate)
        done = rq.Queue(naive_job.QUEUE, connection=client_).finished_job_registry
        processes.patiently(lambda: done.get_job_count(cleanup=False) == WARM + count, 400, every=0.2)
        jobs = Job.fetch_many(done.get_job_ids(cleanup=False), connection=client_)
        times = sorted((job.created_at, job.ended_at) for job in jobs if job is not None and job.ended_at)
        return [(ended - created).total_seconds() for created, ended in times[WARM:]]


@contextmanager
def _redis_and_destination() -> Iterator[tuple[str, str]]:
    with servers.valkey() as redis, processes.destination(ANSWER_SECONDS) as address:
        yield redis, address


def _send(port: int, count: int, rate: float) -> None:
    requests = client.hooks(orders.bodies(WARM + count), SECRET)
    client.Steady(port, requests[:WARM], rate=WARM).run()
    client.Steady(port, requests[WARM:], rate).run()
