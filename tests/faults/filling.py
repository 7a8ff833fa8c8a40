"""Orders that are in the ledger as if their hooks had arrived.

``python -m tests.faults.filling FIRST COUNT``, a process of its own, does not slow down whoever measures.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from integrations.hook import Hook
from tests.faults import orders
from tests.faults.orders import Told
from webhooks import recording, settings
from webhooks.clock import now_ms
from webhooks.relay import Relay

_THREADS = 4


def fill(environ: Mapping[str, str] | None, told: Iterable[Told]) -> Iterator[Told]:
    """Writes down what these hooks tell, as intake does; yields each when it is committed. ``environ``: the
    relay's settings; None for this process's own."""
    ledger = Relay(settings.load(environ), connections=_THREADS)
    try:
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from threads.map(lambda one: _recorded(ledger, one), told)
    finally:
        ledger.close()


def _recorded(ledger: Relay, told: Told) -> Told:
    shop = ledger.settings.shop(told.store, None)
    assert shop is not None
    headers = {name.lower(): value for name, value in told.headers().items()}
    hook = Hook(headers, told.body, int(time.time()))
    recording.record(ledger, shop, recording.judge(ledger, shop, hook, now_ms()))
    return told


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    placed = (orders.place(number)[0] for number in range(first, first + count))
    for _ in fill(None, placed):
        pass
