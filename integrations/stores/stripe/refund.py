"""A refund as `charge.refunded` tells it: the charge as it is now, and how much was refunded before.

Source: docs.stripe.com/api/charges/object, docs.stripe.com/api/events/object (``previous_attributes``). Since
2022-11-15 the charge does not list its refunds.
"""

import re
from typing import Any

from integrations.event import Event
from integrations.store import Malformed, Shop
from integrations.stores.stripe.admission import account
from integrations.stores.stripe.sale import id_of, major, order_id, told_at
from integrations.untrusted import integer, record


def refunds(body: dict[str, Any], shop: Shop) -> tuple[Event, ...]:
    """One event, or none if the charge is of nothing that counts here. Raises `Malformed` or `NotMoney`."""
    data = record(body.get("data"))
    charge, before = record(data.get("object")), record(data.get("previous_attributes"))
    charge_id = id_of(charge)
    if charge.get("object") != "charge" or not re.fullmatch(r"[A-Za-z0-9_]+", charge_id, re.ASCII):
        raise Malformed("the event holds no charge")
    paid = _paid(charge, shop)
    order = order_id(charge, shop) or paid
    total, earlier = integer(charge.get("amount_refunded"), -1), integer(before.get("amount_refunded"), -1)
    if min(total, earlier) < 0:
        raise Malformed("the event does not say how much was refunded", order_id=order)
    value, currency = major(total - earlier, charge.get("currency"))
    if not paid or value <= 0:
        return ()
    # The sum so far tells partial refunds apart. If one fails and is made again, the sum is the same: the
    # buyer gets the money once.
    event = Event(
        event_name="Refund",
        store=shop.store,
        shop=shop.slug,
        key=":".join(filter(None, (account(body), paid, f"{charge_id}-{total}"))),
        order_id=order,
        event_time=told_at(body.get("created"), order),
        value=value,
        currency=currency,
    )
    return (event,)


def _paid(charge: dict[str, Any], shop: Shop) -> str:
    """The key of the sale that the charge paid, as far as a charge can tell.

    A subscription's sale has its invoice as key. Charges name it in versions before 2025-03-31 only; later
    ones lead from a subscription's refund to no sale.
    """
    intent, invoice = id_of(charge.get("payment_intent")), id_of(charge.get("invoice"))
    return intent if shop.options.get("flow") == "payment_intent" else invoice or intent
