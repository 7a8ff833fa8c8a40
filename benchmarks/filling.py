"""A ledger with something in it, written as intake writes it."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select

from benchmarks import orders
from benchmarks.processes import SECRET
from integrations.hook import Hook
from webhooks import recording, settings
from webhooks.clock import now_ms
from webhooks.relay import Relay
from webhooks.sandbox import shopify_sender
from webhooks.schema import deliveries


def relay(told: Mapping[str, str]) -> Relay:
    """The relay of these settings, in this process."""
    return Relay(settings.load(told), connections=16)


def fill(ledger: Relay, count: int, first: int) -> None:
    """That many orders, each due for delivery."""
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(lambda body: record(ledger, judged(ledger, body)), orders.bodies(count, first)):
            pass


def count(ledger: Relay, *states: str) -> int:
    """How many deliveries are in one of these states."""
    such = select(func.count()).where(deliveries.c.state.in_(states))
    with ledger.database.read() as db:
        return db.execute(such).scalar_one()


def record(ledger: Relay, what: recording.Judged) -> None:
    """Writes it down."""
    recording.record(ledger, ledger.settings.shops[0], what)


def judged(ledger: Relay, body: bytes) -> recording.Judged:
    """An order, ready to be written down."""
    [shop] = ledger.settings.shops
    now = int(time.time())
    headers = shopify_sender.sign(body, SECRET, topic="orders/paid", now=now)
    hook = Hook({name.lower(): value for name, value in headers.items()}, body, now)
    return recording.judge(ledger, shop, hook, now_ms())
