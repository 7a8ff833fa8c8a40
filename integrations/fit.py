"""What no destination is told of, whatever its own rules: the first questions of every `unfit`."""

import re

from integrations.destination import Outcome
from integrations.event import Event

AHEAD = 600
"""Seconds. Destinations hardly document the bound; a clock ten minutes ahead is wrong anyway."""

_CURRENCY = re.compile(r"[A-Z]{3}")


def unfit(event: Event, now: int) -> Outcome | None:
    """Why the event must not be sent anywhere. Consent first: of a person who said no, nothing else is
    looked at."""
    if "denied" in (event.consent.ad_user_data, event.consent.ad_storage):
        return Outcome("suppressed", "consent_denied", "the shopper declined advertising", spent=False)
    if not event.value.is_finite() or event.value < 0:
        return refused("value", "a purchase's value cannot be negative")
    if not _CURRENCY.fullmatch(event.currency):
        return refused("currency", "the currency is not a three-letter code")
    if event.event_time > now + AHEAD:
        return refused("time_ahead", "the order's time lies in the future: check the shop's clock")
    return None


def refused(reason: str, detail: str) -> Outcome:
    """The outcome of an event that was never sent."""
    return Outcome("refused", reason, detail, spent=False)
