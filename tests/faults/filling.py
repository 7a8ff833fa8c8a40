"""Orders that are in the ledger as if their hooks had arrived."""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from integrations.hook import Hook
from tests.faults.orders import Told
from webhooks import recording, settings
from webhooks.clock import now_ms
from webhooks.relay import Relay

_THREADS = 4


def fill(environ: Mapping[str, str], told: Iterable[Told]) -> Iterator[Told]:
    """Writes down what these hooks tell, as intake does; yields each when it is committed."""
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
