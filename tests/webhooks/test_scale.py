"""A ledger of years: what workers and the sweep ask all the time never reads the whole of a table."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text, update
from werkzeug import Response

from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel
from webhooks.clock import DAY, MINUTE, now_ms
from webhooks.delivery import Drain, open_drain
from webhooks.relay import Relay
from webhooks.schema import accounts, attempts, deliveries, events, hooks
from webhooks.sweep import Sweep

MANY = 4_000
Orders = Callable[[int], list[str]]
Asked = dict[str, Any]


@pytest.fixture
def long(relay: Relay) -> None:
    """Thousands of orders that were delivered and forgotten long ago."""
    then = now_ms() - 400 * DAY
    told = {"store": "shopify", "shop": "shopify", "event_time": then, "received_at": then}
    order = told | {"event_name": "Purchase", "value": "1", "currency": "EUR", "origin": "web"}
    heard = {"store": "shopify", "shop": "shopify", "topic": "orders/paid", "verdict": "event", "reason": ""}
    sent = {"account": "meta", "destination": "meta", "event_id": "1", "state": "delivered", "due_at": then}
    with relay.database.write() as db:
        names = [{"key": f"old-{n}", "order_id": f"old-{n}", "order_name": ""} for n in range(MANY)]
        db.execute(insert(events), [order | one for one in names])
        ids = db.execute(select(events.c.id)).scalars().all()
        db.execute(
            insert(hooks),
            [
                heard
                | {"order_id": f"old-{one}", "event": one, "digest": str(one).encode()}
                | {"received_at": then, "last_received_at": then}
                for one in ids
            ],
        )
        rows = [sent | {"event": one, "created_at": then, "expires_at": then + DAY} for one in ids]
        db.execute(insert(deliveries), rows)
        tried = {"size": 1, "opened_at": then, "closed_at": then}
        sends = db.execute(select(deliveries.c.id)).scalars().all()
        db.execute(insert(attempts), [tried | {"delivery": one, "batch": f"b{one}"} for one in sends])
    with relay.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(text("ANALYZE"))


@contextmanager
def listening(relay: Relay) -> Iterator[Asked]:
    """Every sentence that is said to the database, with what it was filled with."""
    heard: Asked = {}

    def hear(_c: Any, _cursor: Any, sentence: str, facts: Any, _context: Any, many: bool) -> None:
        if re.match(r"\s*(SELECT|UPDATE|WITH)", sentence):
            heard[sentence] = facts[0] if many else facts

    event.listen(relay.database.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(relay.database.engine, "before_cursor_execute", hear)


_PARTIAL = "due|crashed|undone|unconfirmed|ambiguous|incomplete|quarantined|kept|erased"
_WHOLE = re.compile(
    rf"^SCAN (?:deliveries|events|hooks|attempts)(?! USING (?:COVERING )?INDEX ix_\w+_(?:{_PARTIAL}))"
    r"|Seq Scan on (?:deliveries|events|hooks|attempts)",
    re.MULTILINE,
)


def plans(relay: Relay, asked: Asked) -> dict[str, str]:
    explain = "EXPLAIN QUERY PLAN" if relay.database.is_sqlite else "EXPLAIN"
    found = {}
    for sentence, facts in asked.items():
        with relay.database.engine.connect() as db:
            rows = db.exec_driver_sql(f"{explain} {sentence}", facts).all()
            found[sentence] = "\n".join(str(row[-1]) for row in rows)
            db.rollback()
    return found


def test_nothing_that_is_asked_all_the_time_reads_a_whole_table(
    environment: Environment, relay: Relay, long: None, pixel: Pixel, orders: Orders
) -> None:
    drain, sweep = open_drain(relay, threading.Event()), Sweep(relay)
    with listening(relay) as asked:
        orders(6)
        _live(relay, drain, pixel)
        sweep.once()
    drain.close()
    sweep.transport.close()
    assert len(asked) > 20
    whole = {sentence: plan for sentence, plan in plans(relay, asked).items() if _WHOLE.search(plan)}
    assert not whole, "\n\n".join(f"{sentence}\n{plan}" for sentence, plan in whole.items())


def test_a_backlog_is_not_read_to_find_what_has_seen_workers_die(relay: Relay, orders: Orders) -> None:
    if not relay.database.is_sqlite:
        pytest.skip("it goes by how much is in an index")
    orders(2)
    with listening(relay) as asked:
        relay.leases.look(["meta"], now_ms())
        relay.leases.claim("meta", 1, "b", now_ms(), now_ms(), alone=True)
    found = plans(relay, asked).values()
    assert sum("ix_deliveries_crashed" in plan for plan in found) == 2


def _live(relay: Relay, drain: Drain, pixel: Pixel) -> None:
    """Everything that happens to deliveries: tried again, alone, held, released, resting, confirmed."""
    pixel.answer = lambda _: Response("oops", 500)
    drain.run(0.1)
    with relay.database.write() as db:
        some = select(deliveries.c.id).where(deliveries.c.state == "due").limit(2)
        db.execute(update(deliveries).where(deliveries.c.id.in_(some)).values(crashes=2, due_at=0))
    pixel.answer = lambda _: pixel.error(401, code=190, message="expired", fbtrace_id="t")
    drain.run(0.1)
    with relay.database.write() as db:
        db.execute(update(deliveries).where(deliveries.c.state == "due").values(due_at=0))
        db.execute(update(accounts).values(state="held", probe_at=now_ms() + MINUTE))
    drain.run(0.1)
    with relay.database.write() as db:
        db.execute(update(accounts).values(probe_at=0))
    pixel.answer = pixel.accept
    drain.run(1)
    with relay.database.write() as db:
        fresh = deliveries.c.id > MANY  # the sweep asks what became of these
        db.execute(update(deliveries).where(fresh).values(confirm_at=1, trace="t"))
