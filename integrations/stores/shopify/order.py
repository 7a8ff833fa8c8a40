"""The Order resource of Shopify (shopify.dev, REST Admin API, 2023-01 to 2026-10) as an event.

Keys go missing with the app's scopes (protected customer data) and with `include_fields`; the same field
is null, empty or absent from shop to shop. Plain amounts are in the shop's currency; ``…_set`` has both.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from integrations import money, untrusted
from integrations.consent import from_attributes
from integrations.event import Buyer, Event, Line, Origin
from integrations.money import NotMoney
from integrations.store import Malformed, NotAnEvent, Shop
from integrations.untrusted import first, record, records, text

# "Send test notification" and `shopify app webhook trigger` always send this order.
TEST_NOTIFICATION = "820982911946154508"

# Orders that were paid once; `total_price` stays as it was when they are refunded.
_PAID = frozenset({"paid", "partially_refunded", "refunded"})
_PAYMENT_GONE = frozenset({"voided", "expired"})

# `app_id` and `source_name` of Shopify's own channels; other apps have a number as their source_name.
_SOURCE_OF_APP = {"580111": "web", "1354745": "shopify_draft_order", "129785": "pos"}
_ORIGINS: dict[str, Origin] = {
    "": "web",
    "web": "web",
    "580111": "web",
    "iphone": "web",
    "android": "web",
    "pos": "pos",
    "shopify_draft_order": "staff",
}

_SHOPIFYS_OWN = re.compile(r"https?://(?:[^/]+\.)?shopify\.com/")

# Paid longer after the order than this (seconds), the order would be too old for windows of 7 days.
LATE = 6 * 86_400

# `landing_site` is cut after this many characters, wherever that falls.
_LANDING_CUT = 255

_ZERO = Decimal(0)

_ID = re.compile(r"[1-9][0-9]*", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}")
# The paths of the thank-you and the order status page hold the key that opens them.
_PRIVATE_PATH = re.compile(r"/(?:orders|checkouts)/.*", re.DOTALL)


def identify(body: dict[str, Any]) -> str:
    """The order's id as decimal text, or `Malformed` if the body is none: topics are not signed."""
    gid = text(body.get("admin_graphql_api_id"))
    if (gid and not gid.startswith("gid://shopify/Order/")) or _is_foreign(body):
        raise Malformed("the body is not an order, though its topic says so")
    order_id = text(body.get("id"), 30)
    if not _ID.fullmatch(order_id):
        raise Malformed("the order has no id")
    if "total_price" not in body and "total_price_set" not in body:
        raise Malformed(
            "the order has no total; see the webhook's include_fields", order_id=order_id, alarm=True
        )
    return order_id


def _is_foreign(body: dict[str, Any]) -> bool:
    """Whether it has a key that other resources have and an order has not."""
    return "order_edit" in body or "refund_line_items" in body or "abandoned_checkout_url" in body


def check_sale(topic: str, body: dict[str, Any], shop: Shop, order_id: str, origin: Origin) -> None:
    """Raises `NotAnEvent` with the first reason why this order does not count, or not yet."""
    for reason, detail in _objections(topic, body, shop, order_id, origin):
        raise NotAnEvent(reason, detail, order_id=order_id)


def _objections(
    topic: str, body: dict[str, Any], shop: Shop, order_id: str, origin: Origin
) -> Iterator[tuple[str, str]]:
    """Reason and sentence of each."""
    options, status = shop.options, text(body.get("financial_status"), 40).lower()
    if order_id == TEST_NOTIFICATION:
        yield "test_notification", "Shopify's test notification has arrived"
    if body.get("test") is True and not options["test_orders"]:
        yield "test_order", "it is a test order"
    if text(body.get("cancelled_at")):
        yield "cancelled", "the order was cancelled"
    if status in _PAYMENT_GONE:
        yield "payment_gone", f"its payment is {status}"
    if options["trigger"] == "paid" and status not in _PAID:
        # The topic is not signed, so orders/paid alone does not make a pending order paid.
        if status:
            yield "not_paid", f"its payment is {status}"
        # Where the body does not say (include_fields, imports), the topic is all there is.
        if topic != "orders/paid":
            yield "payment_unknown", "the order does not say if it is paid"
    if origin in _UNWANTED and options[_UNWANTED[origin][0]] == "skip":
        yield _UNWANTED[origin][1:]
    if origin == "api" and not _listed(body, shop, "api_apps"):
        yield "unlisted_app", f"made by {_source(body)!r}, which neither api_apps nor web_apps names"


# By how the sale came about: the setting that may skip it, and then the reason and the sentence.
_UNWANTED: Mapping[str, tuple[str, str, str]] = {
    "pos": ("pos", "pos_order", "it was sold at a till"),
    "staff": ("drafts", "draft_order", "it was made by staff"),
    "renewal": ("renewals", "renewal", "a subscription made it"),
}


def purchase(topic: str, body: dict[str, Any], shop: Shop, order_id: str, origin: Origin) -> Event:
    """The event of an order that counts. Raises `NotMoney`, `Malformed`, or `NotAnEvent` at zero."""
    side, value = _total(body, f"{shop.options['currency_side']}_money")
    bought = _bought(body)
    if shop.options["gift_cards"] == "exclude":
        cards = [(item, count) for item, count in bought if item.get("gift_card") is True]
        worth = [_line_total(item, count, side) or _ZERO for item, count in cards]
        value = max(value - sum(worth, _ZERO), _ZERO)
        bought = [(item, count) for item, count in bought if item.get("gift_card") is not True]
    if value == 0 and shop.options["zero_total"] == "skip":
        raise NotAnEvent("zero_total", "there was nothing to pay", order_id=order_id)
    attributes, created = _attributes(body), untrusted.moment(body.get("created_at"))
    visit = _visit(body, attributes, created) if origin == "web" else _Visit({}, None, "", "")
    return Event(
        store=shop.store,
        shop=shop.slug,
        key=order_id,
        order_id=order_id,
        order_name=text(body.get("name"), 255),
        event_time=_event_time(topic, body, order_id, created),
        value=value,
        currency=side.currency,
        origin=origin,
        names={name: known for name in ("order_number", "checkout_token") if (known := text(body.get(name)))},
        # A renewal may copy the attributes of the first order: its clicks and ids are not this sale's.
        attributes={} if origin == "renewal" else attributes,
        landing=visit.landing,
        landing_at=visit.landing_at,
        page_url=visit.page_url,
        site=_site(body),
        referrer=visit.referrer,
        lines=tuple([line_of(item, count, _line_total(item, count, side)) for item, count in bought]),
        buyer=_buyer(body, origin),
        consent=from_attributes(attributes),
        discount_codes=_discount_codes(body),
    )


# --- where it came from ----------------------------------------------------------------------------------


def _source(body: dict[str, Any]) -> str:
    return text(body.get("source_name"), 60).lower() or _SOURCE_OF_APP.get(text(body.get("app_id")), "")


def origin_of(body: dict[str, Any], shop: Shop) -> Origin:
    """How the sale came about, as the order tells and the shop's settings name its apps."""
    source = _source(body)
    if source.startswith("subscription_contract"):
        return "renewal"
    origin = "web" if _listed(body, shop, "web_apps") else _ORIGINS.get(source, "api")
    # `user_id` is the member of staff who made the order.
    return "staff" if origin == "web" and text(body.get("user_id")) else origin


def _listed(body: dict[str, Any], shop: Shop, option: str) -> bool:
    listed = shop.options[option]
    if not listed or not isinstance(listed, tuple):
        return False
    return not {_source(body), text(body.get("app_id"))}.isdisjoint(listed)


def _event_time(topic: str, body: dict[str, Any], order_id: str, created: int | None) -> int:
    placed = untrusted.moment(body.get("processed_at")) or created
    if placed is None:
        raise Malformed(
            "the order has no time; see the webhook's include_fields", order_id=order_id, alarm=True
        )
    # Created long after it was taken: an import, paid for back then.
    imported = created is not None and created - placed > LATE
    # Paid weeks later (invoice, cash on delivery): that is today's sale. An orders/updated never is: an
    # old order is touched for any reason.
    if topic == "orders/paid" and not imported:
        updated = untrusted.moment(body.get("updated_at"))
        return updated if updated and updated - placed > LATE else placed
    return placed


def _site(body: dict[str, Any]) -> str:
    """The shop's primary domain, from the address of the order's page, whose path is a key to it."""
    site = untrusted.site(text(body.get("order_status_url")))
    return "" if _SHOPIFYS_OWN.fullmatch(site) else site


# --- money -----------------------------------------------------------------------------------------------


class Side(NamedTuple):
    """One of the order's two currencies; ``plain`` if the fields that are not sets are in it too."""

    name: str
    currency: str
    plain: bool


def _total(body: dict[str, Any], wanted: str) -> tuple[Side, Decimal]:
    """The total, and the side it is of: the wanted one if the total is there in it, else the shop's. Never
    one's value in the other, and not `current_total_price`, which a refund brings down to 0.00."""
    written = record(record(body.get("total_price_set")).get(wanted))
    total: Decimal | None
    try:
        total, code = money.amount(written.get("amount")), money.currency(written.get("currency_code"))
        side = Side(wanted, code, plain=code == text(body.get("currency")).upper())
    except NotMoney:
        side = Side("shop_money", money.currency(body.get("currency")), plain=True)
        total = amount_in(body, "total_price", side)
    if total is None or total < 0:
        raise NotMoney("the total of the order is not an amount")
    return side, total


def amount_in(item: dict[str, Any], field: str, side: Side) -> Decimal | None:
    """The item's amount in the currency of this side, from ``<field>_set`` or the plain field."""
    both = record(record(item.get(f"{field}_set")).get(side.name))
    code = both.get("currency_code")
    in_set = code == side.currency or text(code).upper() == side.currency
    found = _amount(both.get("amount")) if in_set else None
    return _amount(item.get(field)) if found is None and side.plain else found


def _amount(written: object) -> Decimal | None:
    try:
        return money.amount(written)
    except NotMoney:
        return None


def _bought(body: dict[str, Any]) -> list[tuple[dict[str, Any], int]]:
    """The line items, and how many pieces of each."""
    # Not `current_quantity`: like the total, it is what was bought.
    counted = [(item, untrusted.integer(item.get("quantity"), 1)) for item in records(body.get("line_items"))]
    return [(item, count) for item, count in counted if count > 0]


def _line_total(item: dict[str, Any], quantity: int, side: Side) -> Decimal | None:
    """Price times quantity less the discounts; includes tax if the shop's prices do."""
    price = amount_in(item, "price", side)
    if price is None:
        return None
    parts = records(item.get("discount_allocations"))
    discounts = [amount_in(part, "amount", side) or _ZERO for part in parts]
    return max(price * quantity - sum(discounts, _ZERO), _ZERO)


def line_of(item: dict[str, Any], quantity: int, total: Decimal | None) -> Line:
    """A line item, of which ``quantity`` pieces (at least one) cost ``total`` together."""
    return Line(
        product_id=text(item.get("product_id")),
        variant_id=text(item.get("variant_id")),
        sku=text(item.get("sku")),
        title=first(item.get("title"), item.get("name")),
        quantity=quantity,
        unit_price=None if total is None else total / quantity,
        gift_card=item.get("gift_card") is True,
    )


def _discount_codes(body: dict[str, Any]) -> tuple[str, ...]:
    codes = (text(discount.get("code"), 255) for discount in records(body.get("discount_codes")))
    return tuple(code for code in codes if code)  # a manual discount has an empty one


# --- the buyer and their visit ---------------------------------------------------------------------------


def _buyer(body: dict[str, Any], origin: Origin) -> Buyer:
    customer, client = record(body.get("customer")), record(body.get("client_details"))
    billing, shipping = record(body.get("billing_address")), record(body.get("shipping_address"))
    home = record(customer.get("default_address"))
    address = _having((billing, shipping, home), "city", "zip", "country_code")
    person = _having((billing, shipping, customer, home), "first_name", "last_name")
    country = text(address.get("country_code"), 2).upper()
    province, code = address.get("province"), address.get("province_code")
    # A draft carries the browser of staff, an app's order that of a server.
    shoppers = origin == "web" and _source(body)
    return Buyer(
        email=first(body.get("email"), body.get("contact_email"), customer.get("email")),
        phone=text(_having((body, billing, shipping, customer, home), "phone").get("phone")),
        first_name=text(person.get("first_name")),
        last_name=text(person.get("last_name")),
        city=text(address.get("city")),
        region=first(code, province) if country == "US" else first(province, code),
        postcode=text(address.get("zip")),
        country=country if _COUNTRY.fullmatch(country) else "",
        customer_id=text(customer.get("id")),
        ip=first(body.get("browser_ip"), client.get("browser_ip")) if shoppers else "",
        user_agent=text(client.get("user_agent")) if shoppers else "",
        countries=untrusted.countries(one.get("country_code") for one in (billing, shipping, home)),
    )


def _having(items: tuple[dict[str, Any], ...], *names: str) -> dict[str, Any]:
    for item in items:
        for name in names:
            if text(item.get(name)):
                return item
    return {}


def _attributes(body: dict[str, Any]) -> dict[str, str]:
    """The cart attributes. A real boolean becomes text: a consent of false must not become unknown."""
    return untrusted.pairs(
        [
            (item.get("name"), str(value).lower() if isinstance(value := item.get("value"), bool) else value)
            for item in records(body.get("note_attributes"))
        ]
    )


class _Visit(NamedTuple):
    landing: dict[str, str]
    landing_at: int | None
    page_url: str
    referrer: str


def _visit(body: dict[str, Any], attributes: dict[str, str], created: int | None) -> _Visit:
    landing = _landing(text(body.get("landing_site")))
    return _Visit(
        landing=landing,
        # When the visit began is not known; the creation of the order is the nearest there is.
        landing_at=created * 1000 if created and landing else None,
        page_url=_page_url(attributes),
        referrer=untrusted.page(text(body.get("referring_site"))),
    )


def _landing(site: str) -> dict[str, str]:
    if len(site) >= _LANDING_CUT:  # then the last parameter may be half of one, and half a click id is none
        site = re.sub(r"[?&][^?&]*\Z", "", site)
    return untrusted.query(site)


def _page_url(attributes: dict[str, str]) -> str:
    names = ("event_source_url", "_event_source_url", "page_url", "_page_url")
    page = untrusted.page(next(filter(None, map(attributes.get, names)), ""))
    return _PRIVATE_PATH.sub("/", page) if page else ""
