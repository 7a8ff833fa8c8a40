"""The part of Shopify's Admin API that is asked for: its types, and an order as they show it.

Names and types are those of shopify.dev (GraphQL Admin API, 2026-07). What a field costs follows its page on
rate limits: an object one point, a mutation ten, a list as many times as may come. Invented: that lists
without a size cost like one object, and page information nothing.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

from webhooks.sandbox.graphql import Field, Schema

_PAGED = frozenset({"first", "after", "query", "sortKey", "reverse"})

ORDER_FIELDS: Mapping[str, Field | str] = {
    "id": "ID",
    "legacyResourceId": "String",
    "name": "String",
    "number": "Int",
    "test": "Boolean",
    "createdAt": "DateTime",
    "processedAt": "DateTime",
    "updatedAt": "DateTime",
    "cancelledAt": "DateTime",
    "displayFinancialStatus": "Enum",
    "currencyCode": "Enum",
    "sourceName": "String",
    "checkoutToken": "String",
    "clientIp": "String",
    "discountCodes": "String",
    "email": Field(kind="String", right="email"),
    "phone": Field(kind="String", right="phone"),
    "app": "OrderApp",
    "totalPriceSet": "MoneyBag",
    "customAttributes": Field(kind="Attribute", listed=True),
    "customerJourneySummary": "CustomerJourneySummary",
    "billingAddress": "MailingAddress",
    "shippingAddress": "MailingAddress",
    "customer": Field(kind="Customer", right="read_customers"),
    "transactions": Field(kind="OrderTransaction", listed=True, sized=True, arguments=frozenset({"first"})),
    "lineItems": Field(kind="LineItemConnection", sized=True, arguments=frozenset({"first", "after"})),
}

SCHEMA: Schema = {
    "Query": {
        "shop": "Shop",
        "currentAppInstallation": "AppInstallation",
        "order": Field(kind="Order", arguments=frozenset({"id"}), right="read_orders"),
        "orders": Field(kind="OrderConnection", sized=True, arguments=_PAGED, right="read_orders"),
        "webhookSubscriptions": Field(
            kind="WebhookSubscriptionConnection", sized=True, arguments=_PAGED | {"topics"}
        ),
    },
    "Mutation": {
        "webhookSubscriptionCreate": Field(
            kind="Payload", arguments=frozenset({"topic", "webhookSubscription"}), right="read_orders"
        ),
        "webhookSubscriptionUpdate": Field(
            kind="Payload", arguments=frozenset({"id", "webhookSubscription"})
        ),
        "webhookSubscriptionDelete": Field(kind="Deleted", arguments=frozenset({"id"})),
    },
    "Payload": {
        "webhookSubscription": "WebhookSubscription",
        "userErrors": Field(kind="UserError", listed=True),
    },
    "Deleted": {"deletedWebhookSubscriptionId": "ID", "userErrors": Field(kind="UserError", listed=True)},
    "UserError": {"field": "String", "message": "String"},
    "Shop": {"name": "String", "myshopifyDomain": "String", "primaryDomain": "Domain"},
    "Domain": {"url": "URL", "host": "String"},
    "AppInstallation": {"accessScopes": Field(kind="AccessScope", listed=True)},
    "AccessScope": {"handle": "String"},
    "PageInfo": {"hasNextPage": "Boolean", "endCursor": "String"},
    "WebhookSubscriptionConnection": {
        "pageInfo": "PageInfo",
        "nodes": Field(kind="WebhookSubscription", listed=True),
    },
    "WebhookSubscription": {
        "id": "ID",
        "topic": "Enum",
        "uri": "String",
        "format": "Enum",
        "includeFields": "String",
        "filter": "String",
        "apiVersion": "ApiVersion",
    },
    "ApiVersion": {"handle": "String"},
    "OrderConnection": {"pageInfo": "PageInfo", "nodes": Field(kind="Order", listed=True)},
    "Order": ORDER_FIELDS,
    "OrderApp": {"id": "ID", "name": "String"},
    "MoneyBag": {"shopMoney": "MoneyV2", "presentmentMoney": "MoneyV2"},
    "MoneyV2": {"amount": "Decimal", "currencyCode": "Enum"},
    "Attribute": {"key": "String", "value": "String"},
    "CustomerJourneySummary": {"ready": "Boolean", "lastVisit": "CustomerVisit"},
    "CustomerVisit": {"landingPage": "URL", "referrerUrl": "URL"},
    "MailingAddress": {
        "firstName": Field(kind="String", right="name"),
        "lastName": Field(kind="String", right="name"),
        "city": Field(kind="String", right="address"),
        "zip": Field(kind="String", right="address"),
        "phone": Field(kind="String", right="phone"),
        "province": "String",
        "provinceCode": "String",
        "countryCodeV2": "Enum",
    },
    "Customer": {
        "id": "ID",
        "firstName": Field(kind="String", right="name"),
        "lastName": Field(kind="String", right="name"),
        "defaultEmailAddress": Field(kind="CustomerEmailAddress", right="email"),
        "defaultPhoneNumber": Field(kind="CustomerPhoneNumber", right="phone"),
        "defaultAddress": "MailingAddress",
    },
    "CustomerEmailAddress": {"emailAddress": "String"},
    "CustomerPhoneNumber": {"phoneNumber": "String"},
    "OrderTransaction": {"kind": "Enum", "status": "Enum", "processedAt": "DateTime"},
    "LineItemConnection": {"pageInfo": "PageInfo", "nodes": Field(kind="LineItem", listed=True)},
    "LineItem": {
        "id": "ID",
        "title": "String",
        "name": "String",
        "sku": "String",
        "quantity": "Int",
        "isGiftCard": "Boolean",
        "originalUnitPriceSet": "MoneyBag",
        "discountAllocations": Field(kind="DiscountAllocation", listed=True),
        "product": Field(kind="Product", right="read_products"),
        "variant": Field(kind="ProductVariant", right="read_products"),
    },
    "DiscountAllocation": {"allocatedAmountSet": "MoneyBag"},
    "Product": {"id": "ID"},
    "ProductVariant": {"id": "ID"},
}


def node(body: Mapping[str, Any], site: str) -> dict[str, Any]:
    """An order as the Admin API shows it, from a webhook's body. Total and currency must be there."""
    visit = {
        "landingPage": urljoin(site, body["landing_site"]) if body.get("landing_site") else None,
        "referrerUrl": body.get("referring_site"),
    }
    lines = [_line(item, body) for item in body.get("line_items") or []]
    return {
        "id": gid("Order", body["id"]),
        "legacyResourceId": str(body["id"]),
        "name": body.get("name"),
        "number": body.get("order_number"),
        "test": body.get("test") is True,
        "createdAt": _utc(body.get("created_at")),
        "processedAt": _utc(body.get("processed_at") or body.get("created_at")),
        "updatedAt": _utc(body.get("updated_at") or body.get("created_at")),
        "cancelledAt": _utc(body.get("cancelled_at")),
        "displayFinancialStatus": (body.get("financial_status") or "").upper() or None,
        "currencyCode": body["currency"],
        "sourceName": body.get("source_name"),
        "checkoutToken": body.get("checkout_token"),
        "clientIp": body.get("browser_ip"),
        "discountCodes": [code["code"] for code in body.get("discount_codes") or []],
        "email": body.get("email") or body.get("contact_email"),
        "phone": body.get("phone"),
        "app": _linked("App", body.get("app_id"), name="An app"),
        "totalPriceSet": _money(body, "total_price", body),
        "customAttributes": [
            {"key": pair["name"], "value": pair["value"]} for pair in body.get("note_attributes") or []
        ],
        "customerJourneySummary": {"ready": True, "lastVisit": visit},
        "billingAddress": _address(body.get("billing_address")),
        "shippingAddress": _address(body.get("shipping_address")),
        "customer": _customer(body.get("customer")),
        "transactions": lambda first: _payments(body)[:first],
        "lineItems": lambda first, after=None: connection(
            [(str(index), line) for index, line in enumerate(lines)], first, after
        ),
    }


def connection(nodes: Iterable[tuple[str, Any]], first: int, after: str | None) -> dict[str, Any]:
    """A page of nodes in the order of their places: what stands behind a place, not behind a count."""
    place = json.loads(base64.b64decode(after))["last"] if after else None
    there = list(nodes)
    left = [one for one in there if place is None or _behind(one[0], place)]
    page = left[:first]
    cursor = base64.b64encode(json.dumps({"last": page[-1][0]}).encode()).decode() if page else None
    return {
        "nodes": [found for _, found in page],
        "pageInfo": {"hasNextPage": len(left) > len(page), "endCursor": cursor},
    }


def gid(kind: str, number: object) -> str:
    """``gid://shopify/Order/5512345678901``"""
    return f"gid://shopify/{kind}/{number}"


def _behind(place: str, last: str) -> bool:
    return (len(place), place) > (len(last), last)


def _utc(written: str | None) -> str | None:
    if not written:
        return None
    return datetime.fromisoformat(written).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _payments(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One payment, at the time of `paid_at` (ours, no field of a webhook) or of the order."""
    if body.get("financial_status") not in {"paid", "partially_refunded", "refunded"}:
        return []
    paid_at = body.get("paid_at") or body.get("processed_at") or body.get("created_at")
    return [{"kind": "SALE", "status": "SUCCESS", "processedAt": _utc(paid_at)}]


def _linked(kind: str, number: object, **more: Any) -> dict[str, Any] | None:
    return {"id": gid(kind, number), **more} if number else None


def _money(item: Mapping[str, Any], field: str, order: Mapping[str, Any]) -> dict[str, Any]:
    both = item.get(f"{field}_set") or {}
    plain = {"amount": item.get(field), "currency_code": order["currency"]}
    sides = {"shopMoney": both.get("shop_money"), "presentmentMoney": both.get("presentment_money")}
    return {
        name: {"amount": (side or plain)["amount"], "currencyCode": (side or plain)["currency_code"]}
        for name, side in sides.items()
    }


def _line(item: Mapping[str, Any], order: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": gid("LineItem", item.get("id")),
        "title": item.get("title"),
        "name": item.get("name"),
        "sku": item.get("sku"),
        "quantity": item["quantity"],
        "isGiftCard": item.get("gift_card") is True,
        "originalUnitPriceSet": _money(item, "price", order),
        "discountAllocations": [
            {"allocatedAmountSet": _money(part, "amount", order)}
            for part in item.get("discount_allocations") or []
        ],
        "product": _linked("Product", item.get("product_id")),
        "variant": _linked("ProductVariant", item.get("variant_id")),
    }


def _customer(customer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not customer:
        return None
    email, phone = customer.get("email"), customer.get("phone")
    return {
        "id": gid("Customer", customer.get("id")),
        "firstName": customer.get("first_name"),
        "lastName": customer.get("last_name"),
        "defaultEmailAddress": {"emailAddress": email} if email else None,
        "defaultPhoneNumber": {"phoneNumber": phone} if phone else None,
        "defaultAddress": _address(customer.get("default_address")),
    }


def _address(address: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not address:
        return None
    return {
        "firstName": address.get("first_name"),
        "lastName": address.get("last_name"),
        "city": address.get("city"),
        "zip": address.get("zip"),
        "phone": address.get("phone"),
        "province": address.get("province"),
        "provinceCode": address.get("province_code"),
        "countryCodeV2": address.get("country_code"),
    }
