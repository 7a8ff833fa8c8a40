"""What is written down of a hook, as intake hands it to the ledger, and the rows that it becomes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from integrations.event import Consent, Event
from integrations.store import Verdict
from webhooks.clock import SECOND
from webhooks.twins import AWAITS, NOTHING_EXPECTED, Expected


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A verified hook, judged, as it is written down. Times in milliseconds."""

    store: str
    shop: str
    digest: bytes
    topic: str
    received_at: int
    sealed: bytes | None
    verdict: Verdict
    reason: str = ""
    order_id: str = ""
    due_at: int | None = None
    marks: str | None = None


class NewDelivery(msgspec.Struct, frozen=True):
    """One destination account's share of a new event."""

    account: str
    destination: str
    event_id: str
    expires_at: int


class NewEvent(msgspec.Struct, frozen=True):
    """An event to write down: sealed, with one share per account that receives it, and where its buyer was
    taken to live."""

    event: Event
    sealed: bytes
    shares: Sequence[NewDelivery] = ()
    expected: Expected = NOTHING_EXPECTED
    region: str = ""


class NewWish(msgspec.Struct, frozen=True):
    """A privacy request that a hook brings, sealed; ``shop`` is the one that it is about."""

    shop: str
    action: str
    sealed: bytes


class Sale(msgspec.Struct, frozen=True):
    """An event as it is written down: when it was heard of, and by which way."""

    received_at: int
    new: NewEvent
    source: str


def answers(consent: Consent) -> dict[str, Any]:
    """The columns that hold what a buyer allowed."""
    return {
        "ad_storage": consent.ad_storage,
        "ad_user_data": consent.ad_user_data,
        "ad_personalization": consent.ad_personalization,
        "consent_source": consent.source,
        "consent_at": consent.at,
    }


def event_row(sale: Sale) -> dict[str, Any]:
    """Of `events`."""
    event = sale.new.event
    return {
        "store": event.store,
        "shop": event.shop,
        "event_name": event.event_name,
        "key": event.key,
        "order_id": event.order_id,
        "order_name": event.order_name,
        "event_time": event.event_time * SECOND,
        "value": f"{event.value:f}",
        "currency": event.currency,
        "origin": event.origin,
        "source": sale.source,
        "received_at": sale.received_at,
        **answers(event.consent),
        "region": sale.new.region,
        "sealed": sale.new.sealed,
    }


def delivery_rows(event: int, sale: Sale) -> list[dict[str, Any]]:
    """Of `deliveries`, for the event of that number."""
    wait = sale.new.expected.wait
    about = {
        "event": event,
        "state": "due",
        "created_at": sale.received_at,
        "due_at": sale.received_at + wait,
        "reason": AWAITS if wait else "",
    }
    return [{**about, **msgspec.structs.asdict(share)} for share in sale.new.shares]


def hook_row(arrival: Arrival, event: int | None, is_new: bool) -> dict[str, Any]:
    """Of `hooks`. ``is_new``: it is the first to tell of the event."""
    row = msgspec.structs.asdict(arrival)
    row |= {"event": event, "last_received_at": arrival.received_at}
    if arrival.verdict == "event" and not is_new:
        row["verdict"] = "duplicate"
    return row


EVENT = frozenset(
    {"store", "shop", "event_name", "key", "order_id", "order_name", "event_time", "value", "currency"}
    | {"origin", "source", "received_at", "ad_storage", "ad_user_data", "ad_personalization"}
    | {"consent_source", "consent_at", "region", "sealed"}
)
DELIVERY = frozenset({*NewDelivery.__struct_fields__, "event", "state", "created_at", "due_at", "reason"})
HOOK = frozenset({*Arrival.__struct_fields__, "event", "last_received_at"})
"""What the rows above name."""
