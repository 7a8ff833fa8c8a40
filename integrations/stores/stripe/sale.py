"""A session, payment intent or invoice of Stripe as an `Event`, in the shapes of 2020 to 2026."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from integrations import consent, money
from integrations.event import Buyer, Event, Line, Origin
from integrations.money import NotMoney
from integrations.store import Malformed, NotAnEvent, Shop
from integrations.stores.stripe.admission import Kind, account, other_flow
from integrations.untrusted import countries, first, integer, moment, page, pairs, record, records, site, text

# docs.stripe.com/currencies. Not ISO 4217: MGA has no minor unit here, UGX and ISK have none in life only.
_MINOR_UNITS: Mapping[str, int] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"), 0),
    **dict.fromkeys(("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3),
}

# docs.stripe.com/api/invoices/object, billing_reason: nobody buys at a renewal; staff writes manual ones.
_RENEWALS = frozenset({"subscription_cycle", "subscription_threshold"})
_ORIGINS: Mapping[str, Origin] = {"subscription_create": "web", "manual": "staff"}

# Stripe has no data of the browser. A shop may hand it on as metadata under one of these names.
_IP = ("client_ip", "client_ip_address")
_USER_AGENT = ("client_user_agent", "user_agent", "client_ua")
_PAGE = ("event_source_url", "page_url")

_PLACE = ("city", "state", "postal_code", "country")


class _Sale(NamedTuple):
    """What session, payment intent and invoice say in different places.

    ``totals`` are pairs of minor units and currency, the wanted one first; ``people`` are objects with
    e-mail, name, phone and address, the buyer before the receiver; ``lines`` is a list object of Stripe.
    """

    key: str
    totals: list[tuple[object, object]]
    people: list[dict[str, Any]]
    names: dict[str, str]
    lines: object = None
    origin: Origin = "web"


def read_sale(body: dict[str, Any], found: dict[str, Any], kind: Kind, shop: Shop) -> Event:
    """The event of Stripe's event ``body`` and the object ``found`` (within it, or fetched).

    Raises `Malformed` for what cannot be used and `NotAnEvent` for what is not paid or not wanted.
    """
    order = order_id(found, shop)
    if found.get("object") != kind.object or not id_of(found):
        raise Malformed(f"the event holds no {kind.object}", order_id=order)
    sale = _READERS[kind.object](found, shop, order)
    value, currency = _total(sale, shop, order)
    attributes = _metadata(found)
    return Event(
        store=shop.store,
        shop=shop.slug,
        # With Connect, several accounts may share an endpoint.
        key=":".join(filter(None, (account(body), sale.key))),
        order_id=order,
        order_name=text(found.get("number"), 100),
        event_time=told_at(body.get("created"), order),
        value=value,
        currency=currency,
        origin=sale.origin,
        names={name: written for name, written in sale.names.items() if written},
        # A renewal has those of its subscription, whose clicks and ids are the first sale's.
        attributes={} if sale.origin == "renewal" else attributes,
        page_url=page(_first([attributes], *_PAGE)) if sale.origin == "web" else "",
        site=site(_first([found], "success_url", "return_url")),  # where Checkout sends the shopper
        lines=tuple(_lines(sale.lines, currency)),
        buyer=_buyer(sale, id_of(found.get("customer")), attributes),
        consent=consent.from_attributes(attributes),  # Stripe's own `consent` is about e-mail and terms
    )


def order_id(found: dict[str, Any], shop: Shop) -> str:
    """The shop's own id of the order, else Stripe's of the payment, session or invoice.

    ``""`` when the object is none of these and names no payment.
    """
    metadata = pairs(record(found.get("metadata")).items())
    # A subscription was ordered once, with its first invoice: renewals under that id would be one order.
    if found.get("billing_reason") == "subscription_create":
        metadata = _metadata(found)
    keys = shop.options.get("order_id_keys")
    named = {**metadata, "client_reference_id": found.get("client_reference_id")}
    kind = text(found.get("object"))
    return first(
        *(named.get(key) for key in (keys if isinstance(keys, tuple) else ())),
        "" if kind == "invoice" else id_of(found.get("payment_intent")),
        id_of(found) if kind in _READERS else "",
        limit=255,
    )


# --- three kinds of sale ---------------------------------------------------------------------------------


def _session(found: dict[str, Any], shop: Shop, order: str) -> _Sale:
    """docs.stripe.com/api/checkout/sessions/object. Shipping has stood in three places since 2020."""
    if found.get("mode") == "setup":
        raise NotAnEvent("setup_mode", "the session stored a card, nothing was bought", order_id=order)
    status = found.get("payment_status")
    if status == "unpaid":
        detail = "a delayed payment: checkout.session.async_payment_succeeded tells when it is paid"
        raise NotAnEvent("not_paid", detail, order_id=order)
    if status not in ("paid", "no_payment_required"):
        raise Malformed("the session does not say whether it is paid", order_id=order)
    intent, session = id_of(found.get("payment_intent")), id_of(found)
    shipping = record(found.get("collected_information")).get("shipping_details")
    return _Sale(
        # Subscriptions and free orders have no payment intent, free orders no invoice either.
        key=intent or id_of(found.get("invoice")) or session,
        totals=_totals(found, found.get("amount_total"), shop),
        people=[
            record(found.get("customer_details")),
            {"email": found.get("customer_email")},
            *map(record, (shipping, found.get("shipping_details"), found.get("shipping"))),
        ],
        names={"session_id": session, "payment_intent": intent},
        lines=found.get("line_items"),  # in fetched sessions only
    )


def _payment_intent(found: dict[str, Any], shop: Shop, order: str) -> _Sale:
    """docs.stripe.com/api/payment_intents/object. Before 2022-11-15 its charges stood in a list."""
    if found.get("status") != "succeeded":
        raise NotAnEvent("not_paid", "the payment intent has not succeeded", order_id=order)
    received = found.get("amount_received")
    charges = [record(found.get("latest_charge")), *records(record(found.get("charges")).get("data"))[:1]]
    return _Sale(
        key=id_of(found),
        totals=_totals(found, found.get("amount") if received is None else received, shop),
        people=[
            {"email": found.get("receipt_email")},
            *(record(charge.get("billing_details")) for charge in charges),
            record(found.get("shipping")),
        ],
        names={"payment_intent": id_of(found)},
    )


def _invoice(found: dict[str, Any], shop: Shop, order: str) -> _Sale:
    """docs.stripe.com/api/invoices/object. Its own id is the key: since 2025-03-31 it names no payment."""
    reason = text(found.get("billing_reason"), 100)
    if reason not in _RENEWALS and shop.options.get("flow") != "invoice":
        raise other_flow(shop, order)
    if reason in _RENEWALS and shop.options.get("renewals") != "send":
        raise NotAnEvent("renewal", "STRIPE_RENEWALS does not let renewals count", order_id=order)
    if found.get("status") != "paid":
        raise NotAnEvent("not_paid", "the invoice is not paid", order_id=order)
    customer = {field: found.get(f"customer_{field}") for field in ("email", "name", "phone", "address")}
    return _Sale(
        key=id_of(found),
        # Not amount_paid: what a credit balance or a bank transfer settled was sold all the same.
        totals=_totals(found, found.get("total"), shop),
        people=[customer, record(found.get("customer_shipping"))],
        names={"payment_intent": id_of(found.get("payment_intent"))},
        lines=found.get("lines"),
        origin="renewal" if reason in _RENEWALS else _ORIGINS.get(reason, "api"),
    )


_READERS: Mapping[str, Callable[[dict[str, Any], Shop, str], _Sale]] = {
    "checkout.session": _session,
    "payment_intent": _payment_intent,
    "invoice": _invoice,
}

# --- money and time --------------------------------------------------------------------------------------


def _totals(found: dict[str, Any], amount: object, shop: Shop) -> list[tuple[object, object]]:
    """Adaptive pricing (docs.stripe.com/payments/currencies/localize-prices) states the total twice.

    ``presentment_details`` is what the buyer saw. In sessions before 2025-03-31 the object itself was that
    and ``currency_conversion`` held the shop's side.
    """
    if shop.options.get("currency_side") == "presentment":
        shown = record(found.get("presentment_details"))
        other = (shown.get("presentment_amount"), shown.get("presentment_currency"))
    else:
        source = record(found.get("currency_conversion"))
        other = (source.get("amount_total"), source.get("source_currency"))
    return [other, (amount, found.get("currency"))]


def _total(sale: _Sale, shop: Shop, order: str) -> tuple[Decimal, str]:
    """The first usable total, amount and currency of the same pair; the last one must be usable."""
    *preferred, last = sale.totals
    for amount, code in preferred:
        try:
            return _wanted(major(amount, code), shop, order)
        except NotMoney:
            continue
    try:
        return _wanted(major(*last), shop, order)
    except NotMoney as error:
        raise Malformed(str(error), order_id=order) from error


def _wanted(total: tuple[Decimal, str], shop: Shop, order: str) -> tuple[Decimal, str]:
    if total[0] < 0:
        raise NotAnEvent("credit", "the total is a credit to the buyer", order_id=order)
    if not total[0] and shop.options.get("zero_total") == "skip":
        raise NotAnEvent("zero_total", "STRIPE_ZERO_TOTAL does not let free orders count", order_id=order)
    return total


def major(minor: object, code: object) -> tuple[Decimal, str]:
    """Major units with the currency's own number of decimals, from Stripe's smallest unit."""
    currency = money.currency(code)
    if not isinstance(minor, int):
        raise NotMoney("an amount of the order is not a whole number of minor units")
    amount = money.amount(minor).scaleb(-_MINOR_UNITS.get(currency, 2))
    return money.rounded(amount, currency), currency


def told_at(created: object, order: str) -> int:
    """When the event happened: the session's own time is when the shopper entered Checkout.

    Unix seconds in snapshots, RFC 3339 in thin events.
    """
    seconds = created if isinstance(created, int) else moment(created)
    if seconds is None or isinstance(created, bool) or not 946_684_800 <= seconds < 4_102_444_800:
        raise Malformed("the event has no usable time", order_id=order)
    return seconds


# --- buyer and lines -------------------------------------------------------------------------------------


def _buyer(sale: _Sale, customer_id: str, attributes: Mapping[str, str]) -> Buyer:
    """Stripe has one field for the whole name. The address is the fullest one, since Checkout often asks
    for no more than the country of the card's owner but for all of the parcel's."""
    first_name, _, last_name = _first(sale.people, "individual_name", "name").partition(" ")
    address = max((record(person.get("address")) for person in sale.people), key=_fullness)
    country = text(address.get("country"), 2).upper()
    browser = [attributes] if sale.origin == "web" else []
    return Buyer(
        email=_first(sale.people, "email"),
        phone=_first(sale.people, "phone"),
        first_name=first_name,
        last_name=last_name.strip(),
        city=text(address.get("city"), 200),
        region=text(address.get("state"), 200),
        postcode=text(address.get("postal_code"), 50),
        country=country if re.fullmatch("[A-Z]{2}", country) else "",
        customer_id=customer_id,
        ip=_first(browser, *_IP),
        user_agent=_first(browser, *_USER_AGENT),
        countries=countries(record(person.get("address")).get("country") for person in sale.people),
    )


def _fullness(address: Mapping[str, object]) -> int:
    return sum(bool(text(address.get(field))) for field in _PLACE)


def _lines(listed: object, currency: str) -> Iterator[Line]:
    """The lines of an invoice or fetched session. Credits within an invoice are no wares and left out."""
    for item in records(record(listed).get("data")):
        price = record(item.get("price"))
        details = record(record(item.get("pricing")).get("price_details"))
        quantity = max(integer(item.get("quantity"), 1), 1)
        unit_price = _unit_price(item, quantity, currency)
        if unit_price is None or unit_price >= 0:
            yield Line(
                product_id=id_of(price.get("product")) or id_of(details.get("product")),
                variant_id=id_of(item.get("price")) or id_of(details.get("price")),
                title=text(item.get("description"), 500),
                quantity=quantity,
                unit_price=unit_price,
            )


def _unit_price(item: dict[str, Any], quantity: int, currency: str) -> Decimal | None:
    """Per piece after discounts. Tax is within as far as the price itself is tax-inclusive at Stripe."""
    amount = item.get("amount_subtotal", item.get("amount"))
    discounts = [item.get("amount_discount", 0)]
    discounts += [discount.get("amount") for discount in records(item.get("discount_amounts"))]
    try:
        total, code = major(amount, item.get("currency"))
        net = total - sum(major(discount, code)[0] for discount in discounts)
    except NotMoney:
        return None
    # Adaptive pricing: lines stay in the shop's currency, and amounts of two currencies must not mix.
    return money.rounded(net / quantity, currency) if code == currency else None


# --- reading ---------------------------------------------------------------------------------------------


def _metadata(found: dict[str, Any]) -> dict[str, str]:
    """The shop's own pairs; an invoice has those of its subscription too (before 2025-03-31 elsewhere)."""
    subscriptions = (
        record(found.get("parent")).get("subscription_details"),
        found.get("subscription_details"),
    )
    owners = [found, *map(record, subscriptions)]
    return pairs(chain.from_iterable(record(owner.get("metadata")).items() for owner in owners))


def id_of(value: object) -> str:
    """The id of an object, or the id that stands in its place when it is not expanded."""
    return text(value.get("id") if isinstance(value, dict) else value, 255)


def _first(places: Iterable[Mapping[str, object]], *fields: str) -> str:
    return first(*(place.get(field) for place in places for field in fields))
