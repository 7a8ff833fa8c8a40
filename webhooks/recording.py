"""Turns a verified hook into what the ledger writes down: a verdict, an event, one delivery per account.

Used by intake for what arrives, by completion for what had to be fetched, and for mapping a kept hook
again. Nothing here answers anybody or opens a socket.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from integrations import discovery
from integrations import event as events
from integrations.event import Event
from integrations.store import Hook, Incomplete, Malformed, NotAnEvent, Shop
from webhooks import reporting
from webhooks.clock import SECOND
from webhooks.discretion import Fact
from webhooks.ledger import Arrival, NewDelivery, Recorded
from webhooks.relay import Relay

log = reporting.logger(__name__)


class Judged(msgspec.Struct, frozen=True):
    """What a hook turned out to be: an arrival ready to be written, and the event if it tells of one."""

    arrival: Arrival
    event: Event | None = None


def judge(relay: Relay, shop: Shop, hook: Hook, received_at: int) -> Judged:
    """Reads a verified hook. Never raises for what it holds: our own mistakes are quarantined too."""
    store = discovery.stores()[shop.store]
    topic = store.topic(hook)
    arrival = Arrival(
        store=shop.store,
        shop=shop.slug,
        digest=_digest(shop, topic, hook.body),
        topic=topic,
        received_at=received_at,
        sealed=relay.vault.seal_hook(hook),
        verdict="event",
    )
    facts: dict[str, Fact] = {"store": shop.store, "shop": shop.slug, "topic": topic}
    try:
        event = store.read(hook, shop)
    except NotAnEvent as no:
        return _judged(arrival, verdict="not_an_event", reason=no.reason, order_id=no.order_id)
    except Incomplete as no:
        return _judged(
            arrival, verdict="incomplete", reason=no.reason, order_id=no.order_id, due_at=received_at
        )
    except Malformed as no:
        if no.alarm:
            reporting.alert(
                "store_needs_you", "A store sends signed hooks that are no orders", error=None, **facts
            )
        else:
            log.warning("a signed hook could not be used and was quarantined", error=None, **facts)
        return _judged(arrival, verdict="quarantined", reason=no.reason, order_id=no.order_id)
    except Exception as error:  # noqa: BLE001 - the hook is kept, so that it can be mapped again
        reporting.alert("broken", "Mapping a hook failed; it is kept", error=error, **facts)
        reason = f"our mapping failed: {type(error).__name__}"
        return _judged(arrival, verdict="quarantined", reason=reason)
    return Judged(msgspec.structs.replace(arrival, order_id=event.order_id), event)


def record(relay: Relay, shop: Shop, judged: Judged, *, source: str = "webhook") -> Recorded:
    """Writes it down; when this returns, it is committed."""
    event = judged.event
    if event is None:
        return relay.ledger.record(judged.arrival)
    sealed = relay.vault.seal(events.encode(event))
    shares = shares_of(relay, shop, event)
    return relay.ledger.record(judged.arrival, event, sealed, shares, source=source)


def record_event(relay: Relay, shop: Shop, event: Event, row: Mapping[str, Any]) -> Recorded:
    """Writes down the event of a hook that is in the ledger already."""
    sealed = relay.vault.seal(events.encode(event))
    shares = shares_of(relay, shop, event)
    return relay.ledger.record_of_hook(row["id"], row["received_at"], event, sealed, shares)


def shares_of(relay: Relay, shop: Shop, event: Event) -> list[NewDelivery]:
    """One delivery for each of the shop's accounts whose destination takes such an event."""
    shares = []
    for slug in shop.accounts:
        account = relay.settings.account(slug)
        if account is None:
            continue
        adapter = relay.destination(account)
        if event.event_name not in adapter.event_names:
            continue
        template = shop.event_ids.get(slug, events.DEFAULT_EVENT_ID)
        share = NewDelivery(
            account=slug,
            destination=account.destination,
            event_id=events.event_id(event, template),
            expires_at=(event.event_time + adapter.window(event)) * SECOND,
        )
        shares.append(share)
    return shares


def _judged(arrival: Arrival, **changes: Any) -> Judged:
    return Judged(msgspec.structs.replace(arrival, **changes))


def _digest(shop: Shop, topic: str, body: bytes) -> bytes:
    """Tells a hook that was sent again from another one: same shop, same topic, same bytes."""
    head = f"{shop.slug}\n{topic}\n".encode("utf-8", "replace")
    return hashlib.sha256(head + body).digest()
