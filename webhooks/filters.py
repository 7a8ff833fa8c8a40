"""Which events an account wants at all. What it does not want is suppressed, visibly and with the reason.

Set per account (`META_ONLY_COUNTRIES`), the same for every destination.
"""

from decimal import Decimal

from integrations import discovery
from integrations.destination import Account, Outcome
from integrations.event import Event
from integrations.setting import Setting

SETTINGS = (
    Setting(
        name="only_events",
        kind="list",
        help="Send only these events (Purchase, Refund). Empty: all that the destination takes.",
        pattern="[A-Za-z]{3,40}",
        example="Purchase",
    ),
    Setting(
        name="only_origins",
        kind="list",
        help="Send only orders that came about so: web, pos, staff, api, renewal. Empty: all.",
        pattern="web|pos|staff|api|renewal",
        example="web,pos",
    ),
    Setting(
        name="only_countries",
        kind="list",
        help="Send only orders of buyers in these countries (two-letter codes). Empty: all.",
        pattern="[A-Z]{2}",
        example="DE,AT,CH",
    ),
    Setting(
        name="minimum_value",
        help="Send only orders of at least this value, in the order's own currency. Empty: all.",
        pattern=r"[0-9]{1,9}(\.[0-9]{1,3})?",
        example="0.01",
    ),
)


def withheld(event: Event, account: Account) -> Outcome | None:
    """Why this event is not for this account: its destination takes none such, or by the account's own
    wishes; else None."""
    if event.event_name not in discovery.destinations()[account.destination].event_names:
        # It was given no delivery; should there be one all the same, a refund is never told as a purchase.
        why = f"{account.destination} takes no {event.event_name}"
        return Outcome("suppressed", "event_not_taken", why, spent=False)
    return unwanted(event, account)


def unwanted(event: Event, account: Account) -> Outcome | None:
    """Why the account does not want this event, or None."""
    for name, value in (
        ("only_events", event.event_name),
        ("only_origins", event.origin),
        ("only_countries", event.buyer.country),
    ):
        wanted = account.options.get(name)
        if isinstance(wanted, tuple) and wanted and value not in wanted:
            return _filtered(name, f"{value or 'an order without country'} is not among {', '.join(wanted)}")
    minimum = account.text("minimum_value")
    if minimum and event.event_name == "Purchase" and event.value < Decimal(minimum):
        return _filtered("minimum_value", f"the order's value is below {minimum}")
    return None


def _filtered(name: str, detail: str) -> Outcome:
    return Outcome("suppressed", name, detail, spent=False)
