"""Judges deliveries before they go out, and answers when they come back.

Neither can stop the worker: a mistake of ours ends one delivery as `broken`, visibly, and no other.
"""

import msgspec

from integrations import event as events
from integrations.destination import Account, Delivery, Outcome
from integrations.event import Event
from integrations.store import ConsentPolicy
from webhooks import consenting, filters, reporting, retries
from webhooks.consenting import Decision
from webhooks.leases import Claimed
from webhooks.parcels import Parcel
from webhooks.relay import Relay
from webhooks.tokens import Answer
from webhooks.tombstones import ERASED
from webhooks.vault import Sealed

SEALED_SECONDS = 60
"""When to look again whether there is a key that opens an order."""


def before(relay: Relay, account: Account, one: Claimed, now: int) -> tuple[Claimed, Delivery | Outcome]:
    """What may be sent, or why it must not, and the delivery with the basis of it. ``now`` is in
    milliseconds."""
    adapter = relay.destination(account)
    verdict = retries.too_late(one, now, adapter.dedup_seconds * 1_000)
    if verdict is not None or one.sealed is None:
        return one, verdict or _gone(one)
    try:
        event = events.decode(relay.vault.open(one.sealed))
        decision, no = decide(relay, account, event, now)
        judged = msgspec.structs.replace(one, basis=decision.basis, restricted=decision.restricted)
        return judged, no or Delivery(event, one.event_id, decision.restricted)
    except Sealed as error:
        return one, _sealed(account, one, error)
    except Exception as error:  # noqa: BLE001 - our bug must not stop the others in the batch
        return one, broken("judging an event failed", account, one, error)


def decide(relay: Relay, account: Account, event: Event, now: int) -> tuple[Decision, Outcome | None]:
    """What consent allows at this account, and why nothing is sent, if so. ``now`` is in milliseconds."""
    adapter, shop = relay.destination(account), relay.settings.shop(event.store, event.shop)
    policy = shop.consent if shop is not None else ConsentPolicy()
    decision = consenting.decide(event, adapter.restricts, policy)
    no = decision.outcome or filters.withheld(event, account) or adapter.unfit(event, account, now // 1_000)
    return decision, no


def _sealed(account: Account, one: Claimed, error: Sealed) -> Outcome:
    """Waits for the key: a deploy may have brought it to other processes first, or somebody lost it."""
    what = "An order cannot be opened and waits: its key is missing in RELAY_SECRET_KEYS"
    reporting.alert("key_missing", what, error=error, account=account.slug, delivery=one.id)
    return Outcome("retry", "sealed", str(error), spent=False, retry_after=SEALED_SECONDS)


def _gone(one: Claimed) -> Outcome:
    if one.is_erased:
        return Outcome("suppressed", ERASED, spent=False)
    return Outcome("refused", "forgotten", "its personal data was erased", spent=False)


def after(relay: Relay, parcel: Parcel, answer: Answer) -> list[tuple[Claimed, Outcome]]:
    """What the answer means for each delivery of the parcel."""
    if answer.outcome is not None:
        return [(one, answer.outcome) for one in parcel.claimed]
    try:
        adapter = relay.destination(parcel.account)
        outcomes = adapter.read(len(parcel.claimed), answer.response)
        return list(zip(parcel.claimed, outcomes, strict=True))
    except Exception as error:  # noqa: BLE001 - our bug, after the wire: it may have counted
        outcome = broken("reading an answer failed", parcel.account, parcel.claimed[0], error, ambiguous=True)
        return [(one, outcome) for one in parcel.claimed]


def broken(
    what: str, account: Account, one: Claimed, error: Exception, *, ambiguous: bool = False
) -> Outcome:
    """The outcome of a mistake of ours, which is told."""
    reporting.alert("broken", what, error=error, account=account.slug, delivery=one.id)
    return Outcome("broken", type(error).__name__, what, spent=False, ambiguous=ambiguous)
