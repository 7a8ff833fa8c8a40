"""Growth: does it get slower as the ledger fills?

The same sentences on a small and on a large ledger, in turn: recording an order, claiming and settling a
batch, the sweep's look for what is due, its look for what became too old. Old orders are delivered and their
bodies short, as they are once retention has passed; ids of events are as stores make them.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from benchmarks import filling, measure, orders, processes
from integrations.destination import Outcome
from tests import servers
from webhooks.clock import DAY, now_ms
from webhooks.leases import Settled
from webhooks.relay import Relay
from webhooks.schema import attempts, deliveries, events, hooks

SMALL, LARGE = 10_000, 200_000
BATCH, TURNS, DUE = 100, 12, 2_000
_RECORDS, _CHUNK = 20, 2_000


def run(rows: int = LARGE) -> None:
    """Prints a table for each database."""
    with servers.folder() as folder, ExitStack() as stack:
        redis = stack.enter_context(servers.valkey())
        postgres = stack.enter_context(processes.postgres(folder))
        other = stack.enter_context(servers.database(postgres, "large"))
        for name, small, large in (
            ("SQLite", f"sqlite:///{folder / 'small.db'}", f"sqlite:///{folder / 'large.db'}"),
            ("PostgreSQL", postgres, other),
        ):
            ledgers = [
                _grown(folder, redis, where, count) for where, count in ((small, SMALL), (large, rows))
            ]
            _compare(name, ledgers, rows)
            for ledger in ledgers:
                ledger.close()


def _grown(folder: Path, redis: str, where: str, count: int) -> Relay:
    processes.migrated(where).close()
    ledger = filling.relay(processes.environ(folder, where, redis))
    for first in range(0, count, _CHUNK):
        _old_orders(ledger, range(first, first + _CHUNK))
    filling.fill(ledger, DUE, first=9_000_000_000)
    return ledger


def _old_orders(ledger: Relay, numbers: range) -> None:
    then = now_ms() - 30 * DAY
    with ledger.database.write() as db:
        db.execute(insert(events), [_event(number, then) for number in numbers])
        db.execute(insert(hooks), [_hook(number, then) for number in numbers])
        db.execute(insert(deliveries), [_delivery(number, then) for number in numbers])
        db.execute(insert(attempts), [_attempt(number, then) for number in numbers])
        if not ledger.database.is_sqlite:  # ids given by hand do not move PostgreSQL's own counters
            for table in ("events", "hooks", "deliveries", "attempts"):
                db.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {numbers[-1] + 1})"
                )


def _event(number: int, then: int) -> dict[str, Any]:
    order = str(5_000_000_000 + number)
    texts = {"store": "shopify", "shop": "shopify", "event_name": "Purchase", "key": order}
    more = {
        "order_id": order,
        "order_name": f"#{number}",
        "value": "10.00",
        "currency": "USD",
        "origin": "web",
    }
    times = {"event_time": then, "received_at": then, "sealed": os.urandom(1_000)}
    return {"id": number + 1, **texts, **more, **times}


def _hook(number: int, then: int) -> dict[str, Any]:
    texts = {"store": "shopify", "shop": "shopify", "topic": "orders/paid", "verdict": "event", "reason": ""}
    times = {"received_at": then, "last_received_at": then, "order_id": str(5_000_000_000 + number)}
    return {"id": number + 1, "digest": os.urandom(32), "event": number + 1, **texts, **times}


def _delivery(number: int, then: int) -> dict[str, Any]:
    texts = {"account": "meta", "destination": "meta", "state": "delivered", "event_id": str(number)}
    times = {"due_at": then, "created_at": then, "expires_at": then + 7 * DAY, "delivered_at": then}
    return {"id": number + 1, "event": number + 1, "attempts": 1, "trace": "t", **texts, **times}


def _attempt(number: int, then: int) -> dict[str, Any]:
    what = {
        "delivery": number + 1,
        "batch": uuid4().hex,
        "size": 1,
        "outcome": "delivered",
        "http_status": 200,
    }
    return {"id": number + 1, **what, "opened_at": then, "closed_at": then + 200}


# --- what is measured ------------------------------------------------------------------------------------


def _compare(name: str, ledgers: list[Relay], rows: int) -> None:
    table = measure.table(
        f"Growth, {name}: p50 in µs", "", f"{SMALL:,} orders", f"{rows:,}", "ratio", "spread"
    )
    taken: dict[str, list[list[float]]] = {}
    for turn in range(TURNS):
        for place, ledger in enumerate(ledgers):
            for sentence, seconds in _turn(ledger, turn):
                taken.setdefault(sentence, [[], []])[place].append(seconds)
    for sentence, (small, large) in taken.items():
        p50s = (f"{statistics.median(one) * 1e6:.0f}" for one in (small, large))
        table.add_row(sentence, *p50s, *measure.spread(measure.ratios(large, small)))
    measure.console.print(table)


def _turn(ledger: Relay, turn: int) -> Iterator[tuple[str, float]]:
    """Each sentence, and the median of how long it took."""
    fresh = orders.bodies(_RECORDS, 10_000_000_000 + turn * _RECORDS)
    prepared = iter([filling.judged(ledger, body) for body in fresh])
    yield "record an order", _median(lambda: filling.record(ledger, next(prepared)), _RECORDS)
    claims: list[float] = []
    settles: list[float] = []
    for _ in range(2):
        batch, now = uuid4().hex, now_ms()
        began = time.perf_counter()
        claimed = ledger.leases.claim("meta", BATCH, batch, now, now + 60_000)
        claims.append(time.perf_counter() - began)
        ids = [one.id for one in claimed]
        began = time.perf_counter()
        ledger.leases.open_attempts(batch, claimed, now, now + 60_000)
        outcome = Outcome("delivered", trace="t")
        ledger.leases.close(batch, [Settled(one, outcome, "delivered", now) for one in ids], now, 200)
        settles.append(time.perf_counter() - began)
    yield f"claim {BATCH}", statistics.median(claims)
    yield f"open and close {BATCH} attempts", statistics.median(settles)
    yield "anything due?", _median(lambda: ledger.leases.look(["meta"], now_ms()), 50)
    yield "anything too old?", _median(lambda: ledger.ledger.expire(now_ms()), 10)


def _median(work: Callable[[], object], count: int) -> float:
    return statistics.median(measure.seconds(work) for _ in range(count))
