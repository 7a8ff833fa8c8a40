"""An invented order as a shop's store would tell of it: signed with the shop's own secret, by the shop's own
settings. For a rehearsal; nobody placed it, and it may only be sent where nothing counts."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from integrations import discovery
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Shop
from webhooks.sandbox.cast import Order

NUMBER = 1

_SAMPLES: Mapping[str, Mapping[str, str]] = {
    "shopify": {"orders/paid": "paid", "orders/create": "paid"},
    "woocommerce": {"order.created": "paid", "order.updated": "paid"},
    "stripe": {
        "checkout.session.completed": "session",
        "payment_intent.succeeded": "payment_intent",
        "charge.succeeded": "charge",
    },
}
"""The demo's body for each topic that tells of a sale."""


def hooks(shop: Shop, secret: Secret, now: int) -> Iterator[Hook]:
    """The order under each of the shop's topics that tell of a sale; none of a store that the sandbox does
    not know. ``now`` is Unix seconds."""
    samples = _SAMPLES.get(shop.store, {})
    for topic in discovery.stores()[shop.store].topics_of(shop):
        if topic in samples:
            yield _hook(shop, secret, now, topic, samples[topic])


def _hook(shop: Shop, secret: Secret, now: int, topic: str, sample: str) -> Hook:
    order = Order(shop.store, NUMBER, Decimal(0), "", "a rehearsal")
    changes: dict[str, Any] = {"type": topic} if shop.store == "stripe" else {}
    if shop.options.get("livemode") in {"test", False}:
        changes["livemode"] = False
    telling = order.told(topic, sample, **changes)
    headers = {name.lower(): value for name, value in telling.signed(secret, now).items()}
    domain = shop.options.get("domain")
    if domain and "x-shopify-shop-domain" in headers:
        headers["x-shopify-shop-domain"] = str(domain)
    return Hook(headers, telling.body, now)
