"""Fetches the orders that some hooks only name, and records them as if the hook had told everything."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from integrations import discovery
from integrations.destination import Request
from integrations.store import Incomplete, Malformed, NotAnEvent, Shop, Store, Verdict
from webhooks import recording, reporting
from webhooks.clock import HOUR, MINUTE, now_ms
from webhooks.relay import Relay
from webhooks.transport import Transport

log = reporting.logger(__name__)

TRIES = 12
FIRST_PAUSE = MINUTE // 2
LONGEST_PAUSE = 6 * HOUR

SECONDS, FETCH_SECONDS = 10.0, 8.0
"""For one round, and for one order: a sweep has more to do, and must end when it is asked to."""


def complete_due(relay: Relay, transport: Transport, stopping: threading.Event) -> int:
    """Fetches what is due, for a while; returns how many new events that gave.

    A shop that did not tell an order is not asked for another one in this round: it may not answer at all.
    """
    until, count, silent = time.monotonic() + SECONDS, 0, set[str]()
    while time.monotonic() < until and not stopping.is_set():
        now = now_ms()
        row = relay.ledger.lease_incomplete(now, now + MINUTE, but=silent)
        if row is None:
            break
        try:
            count += _complete(relay, transport, row)
        except Incomplete as error:
            silent.add(row["shop"])
            _try_later(relay, row, error.reason)
    return count


def _complete(relay: Relay, transport: Transport, row: Mapping[str, Any]) -> bool:
    """One hook: True if it became a new event. Raises `Incomplete` when it has to be tried again."""
    shop = relay.settings.shop(row["store"], row["shop"])
    if shop is None:
        _close(relay, row, "quarantined", "the shop is no longer configured")
        return False
    store = discovery.stores()[shop.store]
    try:
        return _fetch(relay, transport, row, store, shop)
    except Malformed as error:
        _close(relay, row, "quarantined", error.reason)
        reporting.alert("hook_incomplete", "An order could not be fetched from the store", shop=shop.slug)
    except NotAnEvent as error:
        _close(relay, row, "not_an_event", error.reason)
    except (Incomplete, SQLAlchemyError):
        raise
    except Exception as error:  # noqa: BLE001 - our bug, or a key that is gone: of this hook alone
        _close(relay, row, "quarantined", f"our mapping failed: {type(error).__name__}")
        reporting.alert("broken", "Completing a hook failed; it is kept", error=error, shop=shop.slug)
    return False


def _fetch(relay: Relay, transport: Transport, row: Mapping[str, Any], store: Store, shop: Shop) -> bool:
    hook = relay.vault.open_hook(row["sealed"])
    request = _request(store, hook, shop)
    if request is None:
        event = store.read(hook, shop)
    else:
        event = store.complete(hook, transport.send(request, seconds=FETCH_SECONDS), shop)
    return recording.record_event(relay, shop, event, row).is_new


def _request(store: Store, hook: Any, shop: Shop) -> Request | None:
    try:
        store.read(hook, shop)
    except Incomplete as missing:
        return missing.request
    return None  # the settings have changed, and the hook alone is enough now


def _close(relay: Relay, row: Mapping[str, Any], verdict: Verdict, reason: str) -> None:
    relay.ledger.close_hook(row["id"], verdict, reason)


def _try_later(relay: Relay, row: Mapping[str, Any], reason: str) -> None:
    if row["tries"] >= TRIES:
        _close(relay, row, "quarantined", reason)
        reporting.alert("hook_incomplete", "An order could not be fetched from the store", shop=row["shop"])
        return
    pause = min(FIRST_PAUSE * 2 ** row["tries"], LONGEST_PAUSE)
    relay.ledger.close_hook(row["id"], "incomplete", reason, due_at=now_ms() + pause)
