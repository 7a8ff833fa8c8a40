"""Fetches the orders that some hooks only name, and records them as if the hook had told everything."""

from collections.abc import Mapping
from typing import Any

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


def complete_due(relay: Relay, transport: Transport) -> int:
    """Fetches what is due; returns how many new events that gave."""
    now = now_ms()
    rows = relay.ledger.lease_incomplete(now, now + MINUTE)
    return sum(_complete(relay, transport, row) for row in rows)


def _complete(relay: Relay, transport: Transport, row: Mapping[str, Any]) -> bool:
    """One hook: True if it became a new event."""
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
    except Incomplete as error:
        _try_later(relay, row, error.reason)
    return False


def _fetch(relay: Relay, transport: Transport, row: Mapping[str, Any], store: Store, shop: Shop) -> bool:
    hook = relay.vault.open_hook(row["sealed"])
    request = _request(store, hook, shop)
    event = store.complete(hook, transport.send(request), shop) if request else store.read(hook, shop)
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
