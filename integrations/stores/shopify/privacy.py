"""Shopify's privacy topics: what each asks for, and of which shop.

Source: shopify.dev, "Privacy law compliance". The topic stands in a header, which is not signed: a request
for a copy must not become one to erase because somebody sent it again under another header.
"""

from collections.abc import Sequence
from typing import Any

from integrations.privacy import Wish
from integrations.store import Malformed, Shop
from integrations.untrusted import record, text

_MOST_ORDERS = 10_000


def wish(topic: str, body: dict[str, Any]) -> Wish:
    """Raises `Malformed` for a body that does not belong to its topic."""
    match topic:
        case "customers/data_request" if "orders_to_redact" not in body:
            return _customer("export", body, "orders_requested")
        case "customers/redact" if not {"orders_requested", "data_request"} & body.keys():
            return _customer("erase", body, "orders_to_redact")
        case "shop/redact" if "shop_id" in body and "customer" not in body:
            return Wish(action="erase", everything=True)
    raise Malformed("the body does not belong to its topic", alarm=True)


def _customer(action: Any, body: dict[str, Any], orders: str) -> Wish:
    """A customer may have no phone, or no id (who is known by e-mail only)."""
    customer, listed = record(body.get("customer")), body.get(orders)
    ids = listed if isinstance(listed, list) else []
    return Wish(
        action=action,
        email=text(customer.get("email"), 320),
        phone=text(customer.get("phone"), 40),
        customer_id=text(customer.get("id"), 30),
        orders=tuple(order for one in ids[:_MOST_ORDERS] if (order := text(one, 30))),
    )


def meant(name: str, shops: Sequence[Shop]) -> Shop | None:
    """The shop with this myshopify.com name. One whose name nobody has set is taken for it if it is alone."""
    named = [shop for shop in shops if name and shop.options["domain"] == name]
    if named:
        return named[0]
    if len(shops) == 1 and not (name and shops[0].options["domain"]):
        return shops[0]
    return None
