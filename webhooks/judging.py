"""Judges deliveries before they go out, and answers when they come back.

Neither can stop the worker: a mistake of ours ends one delivery as `broken`, visibly, and no other.
"""

from integrations import event as events
from integrations.destination import Account, Delivery, Outcome
from webhooks import filters, reporting, retries
from webhooks.leases import Claimed
from webhooks.parcels import Parcel
from webhooks.relay import Relay
from webhooks.tokens import Answer
from webhooks.tombstones import ERASED
from webhooks.vault import Sealed


def before(relay: Relay, account: Account, one: Claimed, now: int) -> Delivery | Outcome:
    """What may be sent, or why it must not. ``now`` is in milliseconds."""
    adapter = relay.destination(account)
    verdict = retries.too_late(one, now, adapter.dedup_seconds * 1_000)
    if verdict is not None or one.sealed is None:
        return verdict or _gone(one)
    try:
        event = events.decode(relay.vault.open(one.sealed))
        shop = relay.settings.shop(event.store, event.shop)
        no = filters.withheld(event, account, shop) or adapter.unfit(event, account, now // 1_000)
        return no or Delivery(event, one.event_id)
    except Sealed as error:
        return Outcome("broken", "sealed", str(error), spent=False)
    except Exception as error:  # noqa: BLE001 - our bug must not stop the others in the batch
        return broken("judging an event failed", account, one, error)


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
