"""An order of the Admin API in the shape of the webhook that would have told of it (shopify.dev, Order).

Only what `order.py` reads. Times are UTC there, and in the shop's zone in webhooks; ids are `gid://…` there
and numbers in webhooks; everything else has another name and the same meaning.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from integrations.access import Away, Pulled
from integrations.hook import Hook
from integrations.stores.shopify.order import LATE
from integrations.untrusted import moment, record, records, text

LACKS = (
    "the buyer's user agent",
    "the member of staff who made the order, if one did so in the online store's name",
    "refunds (Shopify tells of them by webhooks alone)",
)

LINES = 5
"""Line items that come with an order. Further ones are asked for: Shopify charges for what might come."""

_MONEY = "{shopMoney{amount currencyCode} presentmentMoney{amount currencyCode}}"
_ADDRESS = (
    "{firstName @include(if:$name) lastName @include(if:$name) city @include(if:$address) "
    "zip @include(if:$address) phone @include(if:$phone) province provinceCode countryCodeV2}"
)
_LINES = f"""{{
  pageInfo{{hasNextPage endCursor}}
  nodes{{
    id title name sku quantity isGiftCard
    originalUnitPriceSet{_MONEY}
    discountAllocations{{allocatedAmountSet{_MONEY}}}
    product @include(if:$product){{id}}
    variant @include(if:$product){{id}}
  }}
}}"""
_ORDER = f"""{{
  id name number test createdAt processedAt updatedAt cancelledAt
  displayFinancialStatus currencyCode sourceName checkoutToken clientIp discountCodes
  email @include(if:$email)
  phone @include(if:$phone)
  app{{id}}
  totalPriceSet{_MONEY}
  customAttributes{{key value}}
  customerJourneySummary{{lastVisit{{landingPage referrerUrl}}}}
  billingAddress @include(if:$country){_ADDRESS}
  shippingAddress @include(if:$country){_ADDRESS}
  customer @include(if:$customer){{
    id
    firstName @include(if:$name)
    lastName @include(if:$name)
    defaultEmailAddress @include(if:$email){{emailAddress}}
    defaultPhoneNumber @include(if:$phone){{phoneNumber}}
    defaultAddress @include(if:$country){_ADDRESS}
  }}
  transactions(first:10){{kind status processedAt}}
  lineItems(first:{LINES}){_LINES}
}}"""
_FLAGS = (
    "$name:Boolean! $country:Boolean! $address:Boolean! $phone:Boolean! $email:Boolean! "
    "$customer:Boolean! $product:Boolean!"
)

ORDERS = f"""query Orders($first:Int! $after:String $query:String! {_FLAGS}){{
  shop{{primaryDomain{{url}}}}
  orders(first:$first after:$after query:$query sortKey:UPDATED_AT){{
    pageInfo{{hasNextPage endCursor}}
    nodes{_ORDER}
  }}
}}"""
MORE_LINES = f"""query Lines($id:ID! $after:String! $product:Boolean!){{
  order(id:$id){{lineItems(first:50 after:$after){_LINES}}}
}}"""

_WITHHELD = {
    "firstName": "name",
    "lastName": "name",
    "city": "address",
    "zip": "address",
    "billingAddress": "country",
    "shippingAddress": "country",
    "defaultAddress": "country",
    "phone": "phone",
    "defaultPhoneNumber": "phone",
    "email": "email",
    "defaultEmailAddress": "email",
    "customer": "customer",
    "product": "product",
    "variant": "product",
}
"""What an app may not be allowed to see, and the part of the question to leave out then: Shopify gives up an
answer in which it denies too much."""

PARTS = frozenset(_WITHHELD.values())

_GID = re.compile(r"gid://shopify/[A-Za-z]+/([1-9][0-9]{0,18})", re.ASCII)
_PAYMENTS = frozenset({"SALE", "CAPTURE"})


def withheld(path: Iterable[str]) -> str:
    """The part of the question that a withheld field belongs to, ``""`` for none."""
    return next((_WITHHELD[name] for name in reversed(tuple(path)) if name in _WITHHELD), "")


def order_of(node: dict[str, Any], site: str, domain: str, now: int) -> Pulled:
    """The order as if its webhook had come. ``site`` is the shop's own domain. Raises `Away` for what is no
    order."""
    order_id, changed_at = number(node.get("id")), moment(node.get("updatedAt"))
    if order_id is None or changed_at is None:
        raise Away("Shopify's answer has an order without id or time")
    topic, told_at = "orders/updated", node.get("updatedAt")
    if paid_late := _paid_late(node):
        # Paid weeks after it was placed: that was told of by orders/paid, with the time of the payment.
        topic, told_at = "orders/paid", paid_late
    body = {**_body(node, order_id, site), "updated_at": told_at}
    headers = {"x-shopify-topic": topic, "x-shopify-shop-domain": domain}
    return Pulled(
        hook=Hook(headers, json.dumps(body).encode(), now), order_id=str(order_id), changed_at=changed_at
    )


def number(gid: object) -> int | None:
    """The number at the end of ``gid://shopify/Order/5512345678901``, which webhooks say."""
    found = _GID.fullmatch(text(gid, 80))
    return int(found[1]) if found else None


def _paid_late(node: dict[str, Any]) -> str:
    """When the last payment came, if that was long after the order."""
    placed = moment(node.get("processedAt")) or moment(node.get("createdAt"))
    times = [
        (paid_at, text(payment.get("processedAt"), 40))
        for payment in records(node.get("transactions"))
        if payment.get("kind") in _PAYMENTS and payment.get("status") == "SUCCESS"
        if (paid_at := moment(payment.get("processedAt")))
    ]
    last, written = max(times, default=(0, ""))
    return written if placed and last - placed > LATE else ""


def _body(node: dict[str, Any], order_id: int, site: str) -> dict[str, Any]:
    total, visit = (
        _money(node.get("totalPriceSet")),
        record(record(node.get("customerJourneySummary")).get("lastVisit")),
    )
    return {
        "id": order_id,
        "admin_graphql_api_id": node.get("id"),
        "name": node.get("name"),
        "order_number": node.get("number"),
        "test": node.get("test"),
        "created_at": node.get("createdAt"),
        "processed_at": node.get("processedAt"),
        "cancelled_at": node.get("cancelledAt"),
        "financial_status": text(node.get("displayFinancialStatus"), 40).lower() or None,
        "currency": node.get("currencyCode"),
        "total_price": total["shop_money"]["amount"],
        "total_price_set": total,
        "source_name": node.get("sourceName"),
        "app_id": number(record(node.get("app")).get("id")),
        "checkout_token": node.get("checkoutToken"),
        "browser_ip": node.get("clientIp"),
        "discount_codes": [{"code": code} for code in _listed(node.get("discountCodes"))],
        "note_attributes": [
            {"name": pair.get("key"), "value": pair.get("value")}
            for pair in records(node.get("customAttributes"))
        ],
        "landing_site": _path(text(visit.get("landingPage"))),
        "referring_site": visit.get("referrerUrl"),
        "order_status_url": site,
        "email": node.get("email"),
        "phone": node.get("phone"),
        "customer": _customer(node.get("customer")),
        "billing_address": _address(node.get("billingAddress")),
        "shipping_address": _address(node.get("shippingAddress")),
        "line_items": [_line(item) for item in records(record(node.get("lineItems")).get("nodes"))],
    }


def _line(item: dict[str, Any]) -> dict[str, Any]:
    price = _money(item.get("originalUnitPriceSet"))
    return {
        "id": number(item.get("id")),
        "product_id": number(record(item.get("product")).get("id")),
        "variant_id": number(record(item.get("variant")).get("id")),
        "sku": item.get("sku"),
        "title": item.get("title"),
        "name": item.get("name"),
        "quantity": item.get("quantity"),
        "price": price["shop_money"]["amount"],
        "price_set": price,
        "gift_card": item.get("isGiftCard"),
        "discount_allocations": list(_discounts(item)),
    }


def _discounts(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in records(item.get("discountAllocations")):
        amount = _money(part.get("allocatedAmountSet"))
        yield {"amount": amount["shop_money"]["amount"], "amount_set": amount}


def _customer(value: object) -> dict[str, Any] | None:
    customer = record(value)
    if not customer:
        return None
    return {
        "id": number(customer.get("id")),
        "first_name": customer.get("firstName"),
        "last_name": customer.get("lastName"),
        "email": record(customer.get("defaultEmailAddress")).get("emailAddress"),
        "phone": record(customer.get("defaultPhoneNumber")).get("phoneNumber"),
        "default_address": _address(customer.get("defaultAddress")),
    }


def _address(value: object) -> dict[str, Any] | None:
    address = record(value)
    if not address:
        return None
    return {
        "first_name": address.get("firstName"),
        "last_name": address.get("lastName"),
        "city": address.get("city"),
        "zip": address.get("zip"),
        "province": address.get("province"),
        "province_code": address.get("provinceCode"),
        "country_code": address.get("countryCodeV2"),
        "phone": address.get("phone"),
    }


def _money(value: object) -> dict[str, dict[str, Any]]:
    """Both currencies of an amount."""
    both = record(value)
    sides = {
        "shop_money": record(both.get("shopMoney")),
        "presentment_money": record(both.get("presentmentMoney")),
    }
    return {
        name: {"amount": side.get("amount"), "currency_code": side.get("currencyCode")}
        for name, side in sides.items()
    }


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _path(url: str) -> str | None:
    """Path and query of a page, which is how webhooks name the landing page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or None
