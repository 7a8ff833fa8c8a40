"""Turns a verified hook into what the ledger writes down: a verdict, an event, one delivery per account.

Used by intake for what arrives, by completion for what had to be fetched, and for mapping a kept hook
again. Nothing here answers anybody or opens a socket.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from integrations import discovery, privacy
from integrations import event as events
from integrations.event import Buyer, Consent, Event
from integrations.hook import Hook
from integrations.privacy import Identity, Wish
from integrations.store import Incomplete, Malformed, NotAnEvent, Shop, Store, Unverified
from webhooks import consenting, joining, learning, reporting
from webhooks.clock import SECOND, now_ms
from webhooks.database import Unavailable
from webhooks.discretion import Fact
from webhooks.entries import Arrival, NewDelivery, NewEvent, NewWish
from webhooks.ledger import Recorded, insert_wish
from webhooks.relay import Relay
from webhooks.tombstones import Traces
from webhooks.vault import Sealed

log = reporting.logger(__name__)


class Judged(msgspec.Struct, frozen=True):
    """What a hook turned out to be: an arrival ready to be written, the event if it tells of one, and the
    refunds that it tells of besides, as the store tells them. ``people`` are all whom it names; ``wish`` is
    what somebody asks for, of that shop."""

    arrival: Arrival
    event: Event | None = None
    refunds: tuple[Event, ...] = ()
    people: frozenset[Identity] = frozenset()
    wish: Wish | None = None
    wished_of: str = ""


def judge(relay: Relay, shop: Shop, hook: Hook, received_at: int) -> Judged:
    """Reads a verified hook. Never raises for what it holds: our own mistakes are quarantined too."""
    judged = _judge(relay, shop, hook, received_at)
    if judged.arrival.reason == privacy.REASON and judged.arrival.verdict == "not_an_event":
        judged = _wish(relay, shop, hook, judged)
    refunds = _refunds(shop, hook, judged.arrival)
    return msgspec.structs.replace(judged, refunds=refunds, people=privacy.in_body(hook.body))


def _judge(relay: Relay, shop: Shop, hook: Hook, received_at: int) -> Judged:
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


def _wish(relay: Relay, shop: Shop, hook: Hook, judged: Judged) -> Judged:
    """What somebody asks for, and of which shop: those that share a secret may share an address, too."""
    store = discovery.stores()[shop.store]
    arrival = judged.arrival
    facts: dict[str, Fact] = {"store": shop.store, "shop": shop.slug, "topic": arrival.topic}
    try:
        of = _shop_meant(relay, store, hook, shop).slug
        return msgspec.structs.replace(judged, wish=store.read_wish(hook), wished_of=of)
    except Malformed as no:
        told = "A privacy request cannot be understood: act on it by `purchase-relay privacy`"
        reporting.alert("privacy_unclear", told, error=None, **facts)
        return _judged(arrival, verdict="quarantined", reason=no.reason)
    except Exception as error:  # noqa: BLE001 - the hook is kept, so that it can be mapped again
        reporting.alert("broken", "Reading a privacy request failed; it is kept", error=error, **facts)
        return _judged(arrival, verdict="quarantined", reason=f"our mapping failed: {type(error).__name__}")


def _shop_meant(relay: Relay, store: Store, hook: Hook, shop: Shop) -> Shop:
    siblings = [one for one in relay.settings.shops if _signed_for(store, hook, one)]
    found = store.meant(hook, siblings) or store.meant(hook, [shop])
    if found is None:
        raise Malformed("the request names a shop that the settings do not have", alarm=True)
    return found


def _signed_for(store: Store, hook: Hook, shop: Shop) -> bool:
    try:
        return shop.store == store.slug and store.verify(hook, shop.secrets) >= 0
    except Unverified:
        return False


def _refunds(shop: Shop, hook: Hook, arrival: Arrival) -> tuple[Event, ...]:
    """The refunds that a hook tells of. One that cannot be read must not cost the hook its verdict."""
    facts: dict[str, Fact] = {"store": shop.store, "shop": shop.slug, "topic": arrival.topic}
    try:
        return discovery.stores()[shop.store].read_refunds(hook, shop)
    except Malformed:
        if arrival.verdict != "quarantined":
            log.warning("a refund could not be used", error=None, **facts)
    except Exception as error:  # noqa: BLE001 - the hook is kept, so that it can be mapped again
        reporting.alert("broken", "Reading a refund failed; its hook is kept", error=error, **facts)
    return ()


def record(relay: Relay, shop: Shop, judged: Judged, *, source: str = "webhook") -> Recorded:
    """Writes it down; when this returns, it is committed."""
    entered = enter(relay, shop, judged, source=source)
    return entered.follow(entered.committed())


def enter(relay: Relay, shop: Shop, judged: Judged, *, source: str = "webhook") -> "Entered":
    """Has it written down in the next commit, together with whatever else is entered by then. Asks the
    database before that if it has refunds, or if the shop has a storefront."""
    new = _new(relay, shop, judged.event) if judged.event else None
    refunds = _new_refunds(relay, shop, judged.refunds, judged.event)
    traces = traces_of(relay, judged)
    arrival = msgspec.structs.replace(judged.arrival, marks=traces.marks or None)
    wish = _new_wish(relay, judged)
    committed = relay.ledger.enter(arrival, new, refunds, source=source, traces=traces, wish=wish)
    return Entered(relay, shop, new, committed)


class Entered:
    """A judged hook on its way into the ledger. ``committed`` waits for that, and raises `Unavailable`."""

    def __init__(
        self, relay: Relay, shop: Shop, new: NewEvent | None, committed: Callable[[], Recorded]
    ) -> None:
        self._relay, self._shop, self._new = relay, shop, new
        self.committed = committed

    def is_followed(self, recorded: Recorded) -> bool:
        """Whether what it brings about is yet to be asked of the database."""
        if self._new is None:
            return False
        return bool(self._new.expected.bridges) if recorded.is_new else self._new.event.consent != Consent()

    def follow(self, recorded: Recorded) -> Recorded:
        """Does what it brings about besides: its beacon is found, and what it tells of consent is heard.
        Raises `Unavailable`."""
        if self._new is None or not self.is_followed(recorded):
            return recorded
        _meet(self._relay, self._shop, self._new, recorded)
        return _heard(self._relay, self._new.event, recorded)


def record_event(
    relay: Relay, shop: Shop, event: Event, row: Mapping[str, Any], refunds: Sequence[Event] = ()
) -> Recorded:
    """Writes down the event of a hook that is in the ledger already, and the refunds that it tells of."""
    new_refunds = _new_refunds(relay, shop, refunds, event)
    people = privacy.in_body(relay.vault.open_hook(row["sealed"]).body)
    traces = traces_of_row(relay, row, event, people)
    new = _new(relay, shop, event)
    recorded = relay.ledger.record_of_hook(row["id"], row["received_at"], new, new_refunds, traces)
    _meet(relay, shop, new, recorded)
    return _heard(relay, event, msgspec.structs.replace(recorded, heard_at=row["received_at"]))


def record_refunds(relay: Relay, shop: Shop, refunds: Sequence[Event], row: Mapping[str, Any]) -> int:
    """Writes down the refunds of a hook that is in the ledger already and no event; how many are new."""
    if not refunds:
        return 0
    return relay.ledger.record_refunds(row["received_at"], _new_refunds(relay, shop, refunds, None))


def _new(relay: Relay, shop: Shop, event: Event) -> NewEvent:
    sealed, shares = relay.vault.seal(events.encode(event)), shares_of(relay, shop, event)
    region = consenting.place(event.buyer, shop.consent).code
    return NewEvent(event, sealed, shares, joining.expected(relay, shop, event), region)


def _heard(relay: Relay, event: Event | None, recorded: Recorded) -> Recorded:
    """Lets what a later hook tells of consent change what is to be sent. Raises `Unavailable`: then the hook
    is not acknowledged, and told once more."""
    if event is None or recorded.event is None or recorded.is_new:
        return recorded
    try:
        is_due = learning.hear(relay, recorded.event, event, recorded.heard_at, now_ms())
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - our bug must not cost an acknowledgement
        reporting.alert("broken", "Learning of consent failed", error=error, shop=event.shop)
        return recorded
    return msgspec.structs.replace(recorded, is_released=is_due)


def _meet(relay: Relay, shop: Shop, new: NewEvent | None, recorded: Recorded) -> None:
    """Looks for what the order's browser told: its beacon may have come before the order, or meanwhile. No
    order is lost for it: without its beacon it goes out when it has waited."""
    if new is None or not recorded.is_new or not new.expected.bridges:
        return
    if new.expected.wait:
        relay.wake.later(new.expected.wait / SECOND)
    try:
        joining.join(relay, shop, new.expected.bridges, recorded.event)
    except Unavailable as error:
        log.warning("an order goes without its beacon: the database did not answer", error=error)
    except Exception as error:  # noqa: BLE001 - our bug must not cost an acknowledgement
        reporting.alert("broken", "Joining an order with its beacon failed", error=error, shop=shop.slug)


# --- what was erased ---------------------------------------------------------------------------------------


def traces_of(relay: Relay, judged: Judged) -> Traces:
    """By what a hook is found when somebody wants to be forgotten, and known when it comes again."""
    arrival, event = judged.arrival, judged.event
    orders = {arrival.order_id, *((event.key, event.order_id) if event else ())}
    orders |= {refund.order_id for refund in judged.refunds}
    people = judged.people | (privacy.of_buyer(event.buyer) if event else frozenset())
    marks = relay.marks.of_people(arrival.shop, people)
    sought = marks if relay.marks.has_one_key() else relay.marks.sought(arrival.shop, people)
    return Traces(
        marks=" ".join(marks),
        orders=tuple(relay.marks.of_orders(arrival.shop, orders)),
        people=(*sought, *relay.marks.of_shop(arrival.shop)),
        ordered_at=event.event_time * SECOND if event else arrival.received_at,
        digest=relay.marks.digest(arrival.digest),
    )


def traces_of_row(
    relay: Relay, row: Mapping[str, Any], event: Event | None, people: frozenset[Identity]
) -> Traces:
    """The same of a hook that is in the ledger already."""
    names = ("store", "shop", "topic", "received_at", "order_id", "verdict")
    arrival = Arrival(**{name: row[name] for name in names}, digest=row["digest"], sealed=None)
    traces = traces_of(relay, Judged(arrival, event, people=people))
    # Beside it a copy may stand that came later.
    own = b"%s hook %d" % (row["digest"], row["id"])
    return msgspec.structs.replace(traces, digest=relay.marks.digest(own))


def record_wish(relay: Relay, judged: Judged, row: Mapping[str, Any]) -> None:
    """Writes down what a hook asks for that is in the ledger already, and was of no use before."""
    new = _new_wish(relay, judged)
    if new is not None and row["verdict"] == "quarantined":
        with relay.database.write() as db:
            at, origin = row["received_at"], row["topic"]
            insert_wish(db, new, store=row["store"], origin=origin, at=at, hook=row["id"])


def _new_wish(relay: Relay, judged: Judged) -> NewWish | None:
    wish = judged.wish
    if wish is None:
        return None
    return NewWish(judged.wished_of, wish.action, relay.vault.seal(msgspec.msgpack.encode(wish)))


# --- refunds -----------------------------------------------------------------------------------------------


def _new_refunds(relay: Relay, shop: Shop, refunds: Sequence[Event], told: Event | None) -> list[NewEvent]:
    """The refunds, all of one order, with what is known of its purchase. ``told`` is the hook's own sale."""
    if not refunds:
        return []
    purchase = _purchase_of(relay, refunds[0], told)
    return [_new(relay, shop, _joined(refund, purchase) if purchase else refund) for refund in refunds]


def _purchase_of(relay: Relay, refund: Event, told: Event | None) -> Event | None:
    """The purchase as it was recorded, or as this very hook tells it; None if it is unknown or forgotten."""
    key = refund.key.rpartition(":")[0]
    known = relay.ledger.purchase(refund.shop, key)
    if known is None:
        return told if told is not None and told.key == key else None
    try:
        return None if known.sealed is None else events.decode(relay.vault.open(known.sealed))
    except (Sealed, msgspec.DecodeError) as error:
        reporting.alert("broken", "A refund's purchase cannot be read", error=error, shop=refund.shop)
        return None


def _joined(refund: Event, purchase: Event) -> Event:
    """The refund with the identity of its purchase: the same event_id comes of the same template, and a
    destination finds what was captured at the checkout. The buyer stays out, except for the country."""
    return msgspec.structs.replace(
        refund,
        order_id=purchase.order_id,
        order_name=purchase.order_name,
        origin=purchase.origin,
        names=purchase.names,
        attributes=purchase.attributes,
        landing=purchase.landing,
        landing_at=purchase.landing_at,
        buyer=Buyer(country=purchase.buyer.country, countries=purchase.buyer.countries),
        consent=purchase.consent,
    )


# --- deliveries --------------------------------------------------------------------------------------------


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
