"""An order of WooCommerce's REST API (wc/v3) as an event.

Source: the wc/v3 orders controller and its documentation; oddities as seen on running shops.
"""

import html
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from integrations import consent, money
from integrations.event import Buyer, Event, Line, Origin, fingerprint
from integrations.store import Malformed, Shop
from integrations.untrusted import (
    countries,
    integer,
    moment,
    page,
    pairs,
    query,
    record,
    records,
    site,
    text,
)

# Plugins add dozens of meta fields; one that fell off could be the event_id that another plugin has used.
_META_LIMIT = 500
_ATTRIBUTION = "_wc_order_attribution_"
_ORIGINS: Mapping[str, Origin] = {
    "admin": "staff",
    "pos-rest-api": "pos",
    "point-of-sale": "pos",
    "subscription": "renewal",
}


def purchase(order: Mapping[str, Any], order_id: str, shop: Shop) -> Event:
    """The sale that a paid order is. Raises `Malformed` without a total, a currency or a time."""
    value, currency = _value(order, order_id)
    meta = _meta(order)
    origin = _origin(order, meta, shop)
    attributes = _without_keys(
        {name: written for name, written in meta.items() if not name.startswith(_ATTRIBUTION)}
    )
    entry = meta.get(f"{_ATTRIBUTION}session_entry", "")
    landing = _without_keys(query(entry))
    allowed = consent.from_attributes(attributes)
    if origin == "renewal":  # it copies the fields of the first order, whose clicks and ids are not its own
        attributes, landing = {}, {}
    number = text(order.get("number"), 100)
    return Event(
        store=shop.store,
        shop=shop.slug,
        key=order_id,
        order_id=order_id,
        event_time=_event_time(order, order_id),
        value=value,
        currency=currency,
        order_name=number,
        origin=origin,
        names=pairs((("order_number", number), ("order_key", fingerprint(text(order.get("order_key")))))),
        attributes=attributes,
        landing=landing,
        landing_at=_landing_at(order) if landing else None,
        page_url=page(meta.get("event_source_url") or meta.get("_event_source_url") or entry),
        site=site(text(order.get("payment_url"))),  # of which only the host is no key to the order
        referrer=page(meta.get(f"{_ATTRIBUTION}referrer", "")),
        lines=_lines(order, currency),
        buyer=_buyer(order, meta, origin),
        consent=allowed,
        discount_codes=_discount_codes(order),
    )


def refunds(order: Mapping[str, Any], order_id: str, shop: Shop) -> tuple[Event, ...]:
    """What was given back so far; amounts are written ``"-10.00"``, in no stable order. Raises `Malformed`.

    A refund has no time in an order. The first hook that lists it leaves because the order was changed by
    it, and only that one makes an event.
    """
    modified, amounts = _utc(order, "date_modified_gmt"), _refunded(order)
    if modified is None or not amounts:
        raise Malformed("the order's refunds have no id, amount or time", order_id=order_id)
    currency = money.currency(order.get("currency"))
    return tuple(
        Event(
            event_name="Refund",
            store=shop.store,
            shop=shop.slug,
            key=f"{order_id}:{refund_id}",
            order_id=order_id,
            event_time=modified,
            value=amount,
            currency=currency,
        )
        for refund_id, amount in amounts.items()
        if amount  # wares that came back without money
    )


def _refunded(order: Mapping[str, Any]) -> dict[str, Decimal]:
    """The amounts by the refunds' ids; one that cannot be read must not hide the others."""
    amounts = {}
    for item in records(order.get("refunds")):
        refund_id = _number(item.get("id"))
        try:
            if refund_id:
                amounts[refund_id] = money.amount(item.get("total")).copy_abs()
        except money.NotMoney:
            continue
    return amounts


def listed(shop: Shop, option: str) -> tuple[str, ...]:
    """The shop's option of kind ``list``."""
    found = shop.options.get(option)
    return found if isinstance(found, tuple) else ()


# --- money and time --------------------------------------------------------------------------------------


def _value(order: Mapping[str, Any], order_id: str) -> tuple[Decimal, str]:
    """``total`` has the decimals of the shop, not of the currency, and stays the same after refunds."""
    try:
        value, currency = money.amount(order.get("total")), money.currency(order.get("currency"))
    except money.NotMoney as error:
        raise Malformed(str(error), order_id=order_id) from error
    if value < 0:
        raise Malformed("the order's total is negative", order_id=order_id)
    return value, currency


def _event_time(order: Mapping[str, Any], order_id: str) -> int:
    """When the order was paid, else when it was begun: cash on delivery has no payment date at first.

    A block checkout begins its order when it is opened, which can be hours early. ``date_modified_gmt``
    is no substitute: it would make an old order new each time that somebody edits it.
    """
    for name in ("date_paid_gmt", "date_created_gmt"):
        if seconds := _utc(order, name):
            return seconds
    if "date_created_gmt" not in order:
        remedy = "choose the API version 'WP REST API Integration v3' in the webhook's settings"
        raise Malformed(f"the order has no date_created_gmt: {remedy}", order_id=order_id, alarm=True)
    raise Malformed("the order has neither date_paid_gmt nor date_created_gmt", order_id=order_id)


def _landing_at(order: Mapping[str, Any]) -> int | None:
    """Milliseconds. The visit's own start is there too, but as local time of a zone that nobody names."""
    begun = _utc(order, "date_created_gmt")
    return begun * 1000 if begun else None


def _utc(order: Mapping[str, Any], name: str) -> int | None:
    return moment(order.get(name), assume_utc=True)  # the *_gmt fields are UTC and do not say so


# --- where it came from ----------------------------------------------------------------------------------


def _meta(order: Mapping[str, Any]) -> dict[str, str]:
    fields = records(order.get("meta_data"))
    return pairs(((field.get("key"), _told(field)) for field in fields), _META_LIMIT)


def _told(field: Mapping[str, Any]) -> object:
    """WordPress keeps a false as ``""``: an answer about consent that is there and empty is a no."""
    key, value = field.get("key"), field.get("value")
    return "0" if key in consent.NAMES and value in ("", False) else value


def _without_keys(found: Mapping[str, str]) -> dict[str, str]:
    """Without values that hold an order's key, such as the address of its page: it opens the order."""
    return {name: written for name, written in found.items() if "wc_order_" not in written}


def _origin(order: Mapping[str, Any], meta: Mapping[str, str], shop: Shop) -> Origin:
    source = text(order.get("created_via"), 100)
    if meta.get("_subscription_renewal"):
        return "renewal"
    if source in listed(shop, "web_sources"):
        return "web"
    # REST leaves the user agent empty: one that is there was handed on by a storefront of its own.
    if source == "rest-api" and text(order.get("customer_user_agent")):
        return "web"
    return _ORIGINS.get(source, "api")


# --- what was bought -------------------------------------------------------------------------------------


def _lines(order: Mapping[str, Any], currency: str) -> tuple[Line, ...]:
    items = records(order.get("line_items"))
    return tuple(_line(item, currency) for item in items if item.get("quantity") != 0)


def _line(item: Mapping[str, Any], currency: str) -> Line:
    # Plugins sell 0.5 kg: such a line counts as one piece at its whole price.
    quantity = max(1, integer(item.get("quantity")))
    return Line(
        product_id=_number(item.get("product_id")),
        variant_id=_number(item.get("variation_id")),
        sku=text(item.get("sku"), 200),
        title=_words(item.get("name")),
        quantity=quantity,
        unit_price=_unit_price(item, quantity, currency),
    )


def _unit_price(item: Mapping[str, Any], quantity: int, currency: str) -> Decimal | None:
    """Per piece after discounts, with tax: a line's total is without it, but the order's is with it."""
    try:
        whole = money.amount(item.get("total")) + money.amount(item.get("total_tax") or "0")
    except money.NotMoney:
        return None
    return money.rounded(whole / quantity, currency)


def _discount_codes(order: Mapping[str, Any]) -> tuple[str, ...]:
    codes = (_words(coupon.get("code")) for coupon in records(order.get("coupon_lines")))
    return tuple(code for code in codes if code)


# --- who bought it ---------------------------------------------------------------------------------------


def _buyer(order: Mapping[str, Any], meta: Mapping[str, str], origin: Origin) -> Buyer:
    billing, shipping = record(order.get("billing")), record(order.get("shipping"))
    person = _filled(billing, shipping, ("first_name", "last_name"))
    place = _filled(billing, shipping, ("city", "state", "postcode", "country"))
    country = text(place.get("country")).upper()
    agent = text(order.get("customer_user_agent")) or meta.get(f"{_ATTRIBUTION}user_agent", "")
    own = origin == "web"  # of another origin they are a server's or those of staff
    return Buyer(
        email=text(billing.get("email")),
        phone=text(billing.get("phone")) or text(shipping.get("phone")),
        first_name=_words(person.get("first_name")),
        last_name=_words(person.get("last_name")),
        city=_words(place.get("city")),
        region=_words(place.get("state")),
        postcode=text(place.get("postcode")),
        country=country if re.fullmatch(r"[A-Z]{2}", country, re.ASCII) else "",
        customer_id=_number(order.get("customer_id")),
        ip=text(order.get("customer_ip_address")) if own else "",
        user_agent=agent if own else "",
        countries=countries(one.get("country") for one in (billing, shipping)),
    )


def _filled(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """The address that has any of these fields: halves of two addresses would make a wrong one."""
    return one if any(text(one.get(name)) for name in names) else other


def _words(value: object) -> str:
    """Text that WooCommerce may keep with HTML entities: names, places, titles."""
    return text(html.unescape(text(value)))


def _number(value: object) -> str:
    """An id as text; 0 stands for a guest, a deleted product, a product without variations."""
    found = integer(value)
    return str(found) if found > 0 else ""
