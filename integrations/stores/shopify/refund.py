"""The Refund resource of Shopify (shopify.dev, REST Admin API, 2023-01 to 2026-10) as an event.

It says neither the order's total nor, at its top, a currency. "Created without errors, independent of the
movement of money": only its transactions tell what was given back.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from integrations import money, untrusted
from integrations.event import Event, Line
from integrations.store import Malformed, Shop
from integrations.stores.shopify.order import TEST_NOTIFICATION, Side, amount_in, line_of
from integrations.untrusted import record, records, text

_ID = re.compile(r"[1-9][0-9]*", re.ASCII)
_SIDES = ("shop_money", "presentment_money")


def identify(body: dict[str, Any]) -> tuple[str, str]:
    """The ids of order and refund, or `Malformed` if the body is no refund: topics are not signed."""
    gid = text(body.get("admin_graphql_api_id"))
    order_id, refund_id = text(body.get("order_id"), 30), text(body.get("id"), 30)
    is_named = _ID.fullmatch(order_id) and _ID.fullmatch(refund_id)
    if not is_named or (gid and not gid.startswith("gid://shopify/Refund/")) or "transactions" not in body:
        raise Malformed("the body is not a refund, though its topic says so")
    return order_id, refund_id


def refunds(body: dict[str, Any], shop: Shop, order_id: str, refund_id: str) -> tuple[Event, ...]:
    """One event, or none if no money moved. Raises `Malformed` or `NotMoney`."""
    moved = [payment for payment in records(body.get("transactions")) if _moved(payment, shop)]
    value = sum((money.amount(payment.get("amount")) for payment in moved), Decimal(0))
    if value <= 0 or order_id == TEST_NOTIFICATION:
        return ()
    given_back = untrusted.moment(body.get("processed_at")) or untrusted.moment(body.get("created_at"))
    if given_back is None:
        raise Malformed("the refund has no time", order_id=order_id)
    currency = _currency(moved, body, order_id)
    event = Event(
        event_name="Refund",
        store=shop.store,
        shop=shop.slug,
        key=f"{order_id}:{refund_id}",
        order_id=order_id,
        event_time=given_back,
        value=value,
        currency=currency,
        lines=tuple(_lines(body, currency)),
    )
    return (event,)


def _moved(payment: dict[str, Any], shop: Shop) -> bool:
    """Whether this transaction gave money back: it may be pending, failed, or a test's."""
    is_real = payment.get("test") is not True or shop.options["test_orders"] is True
    return is_real and (payment.get("kind"), payment.get("status")) == ("refund", "success")


def _currency(moved: list[dict[str, Any]], body: dict[str, Any], order_id: str) -> str:
    """That of the transactions. Where they have null there, it is known only if the order has just one."""
    named = {text(payment.get("currency")).upper() for payment in moved} - {""}
    if not named:
        named = {text(both.get("currency_code")) for pair in _pairs(body) for both in pair.values()} - {""}
    if len(named) != 1:
        raise Malformed("the refund does not say one currency", order_id=order_id)
    return money.currency(named.pop())


def _pairs(body: dict[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """Every amount that the refund has in both currencies of the order."""
    sets = [body.get("total_duties_set")]
    sets += [item.get("subtotal_set") for item in records(body.get("refund_line_items"))]
    sets += [item.get("amount_set") for item in records(body.get("order_adjustments"))]
    for both in map(record, sets):
        yield {name: record(both.get(name)) for name in _SIDES}


def _lines(body: dict[str, Any], currency: str) -> Iterator[Line]:
    for item in records(body.get("refund_line_items")):
        quantity = untrusted.integer(item.get("quantity"))
        if quantity > 0:
            yield line_of(record(item.get("line_item")), quantity, _subtotal(item, currency))


def _subtotal(item: dict[str, Any], currency: str) -> Decimal | None:
    """After discounts, with tax if the shop's prices have it: like the price of a line that was bought."""
    amounts = (amount_in(item, "subtotal", Side(name, currency, plain=False)) for name in _SIDES)
    return next((found for found in amounts if found is not None and found >= 0), None)
