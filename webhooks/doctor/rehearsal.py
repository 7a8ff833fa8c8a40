"""An invented order on its whole way: signed as its store signs, verified, mapped, built, and sent to each
destination's own test mode. The ledger is not touched, and nothing counts anywhere."""

from collections.abc import Iterator
from time import time

import msgspec

from integrations import discovery
from integrations import event as events
from integrations.destination import Account, Delivery, Outcome
from integrations.event import Consent, Event
from integrations.hook import Hook
from integrations.store import Incomplete, Malformed, NotAnEvent, Shop, Unverified
from webhooks.doctor.findings import Finding, fault, note, said, warning, word
from webhooks.doctor.ground import Ground
from webhooks.doctor.receiving import link as account_link
from webhooks.sandbox import invented

_YES = Consent(ad_storage="granted", ad_user_data="granted", ad_personalization="granted", source="rehearsal")
"""Whom nobody is has nothing against it."""


def link(shop: Shop) -> str:
    """The link's name."""
    return f"order of {shop.slug}"


def examine(ground: Ground, shop: Shop) -> Iterator[Finding]:
    """The order's way, as far as it comes."""
    event: Event | None = None
    for number, secret in enumerate(shop.secrets, 1):
        told = list(invented.hooks(shop, secret, int(time())))
        if not told:
            yield note(link(shop), "nobody can invent an order of its store, so none was tried")
            return
        if not _verifies(shop, told[0]):
            yield fault(
                link(shop),
                f"what is signed with webhook secret {number} is not verified with it",
                "copy the secret anew from the store, without blanks or quotes around it",
            )
        event = event or _event(shop, told)
    if event is None:
        yield warning(
            link(shop),
            "a paid order of the web would not count as a purchase",
            "see which orders the shop's settings let count (.env.example)",
        )
        return
    for account in ground.accounts:
        if account.slug in shop.accounts:
            yield from _arrival(ground, shop, account, event)


def _verifies(shop: Shop, hook: Hook) -> bool:
    try:
        discovery.stores()[shop.store].verify(hook, shop.secrets)
    except Unverified:
        return False
    return True


def _event(shop: Shop, told: list[Hook]) -> Event | None:
    """The sale that one of the hooks tells of."""
    for hook in told:
        try:
            event = discovery.stores()[shop.store].read(hook, shop)
        except (NotAnEvent, Malformed, Incomplete):
            continue
        return msgspec.structs.replace(event, consent=_YES)
    return None


def _arrival(ground: Ground, shop: Shop, account: Account, event: Event) -> Iterator[Finding]:
    adapter, now = ground.relay.destination(account), int(time())
    template = shop.event_ids.get(account.slug, events.DEFAULT_EVENT_ID)
    delivery = Delivery(event, events.event_id(event, template))
    if no := adapter.unfit(event, account, now):
        yield _unfit(shop, account, no)
        return
    adapter.build([delivery], account, now)
    request = adapter.rehearse(delivery, account, now)
    if request is None or ground.is_quick or account_link(account) in ground.troubled:
        return  # nowhere would it not count; or it was said already that nothing arrives
    answer = ground.tokens.send(adapter, account, request)
    outcome = answer.outcome or adapter.read_check(answer.response)
    if outcome.state != "delivered":
        yield warning(
            link(shop),
            f"{account.slug} does not take it ({_why(outcome)})",
            f"see that the settings of account {account.slug} fit this shop's orders",
        )


def _unfit(shop: Shop, account: Account, no: Outcome) -> Finding:
    if no.state == "suppressed":
        return note(link(shop), f"an order like it would not be sent to {account.slug} ({_why(no)})")
    return warning(
        link(shop),
        f"{account.slug} would refuse an order like it ({_why(no)})",
        "have the storefront hand on what is missing, or set it for the account",
    )


def _why(outcome: Outcome) -> str:
    return ", ".join(filter(None, (word(outcome.reason), said(outcome.detail))))
