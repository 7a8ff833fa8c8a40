"""Orders that were never placed before: real samples of every store with new ids, times and totals."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from integrations.discovery import stores
from tests.contract.samples import SECRET, Case, cases, sender
from tests.environments import META

Body = dict[str, Any]

ENVIRON = {
    "SHOPIFY_WEBHOOK_SECRETS": SECRET,
    "WOOCOMMERCE_WEBHOOK_SECRETS": SECRET,
    "STRIPE_WEBHOOK_SECRETS": SECRET,
    "SHOPIFY_CONSENT_POLICY": "opt_out",
    "WOOCOMMERCE_CONSENT_POLICY": "opt_out",
    "STRIPE_CONSENT_POLICY": "opt_out",
    **META,
}
"""One shop of each store, and one destination. No sample says yes to anything, and all are to be sent."""

TOPICS = {
    "shopify": ("orders/create", "orders/paid", "orders/updated"),
    "woocommerce": ("order.updated", "order.created"),
    "stripe": ("checkout.session.completed", "checkout.session.async_payment_succeeded"),
}
"""All that may tell of the same sale; each hook carries the whole of it."""

SAMPLES = {
    "shopify": "orders_create_web_full_pii_2024-04",
    "woocommerce": "09-classic-customer-cod--order.created",
    "stripe": "checkout_session_completed_paid_2026_DERIVED",
}
"""What the load is made of."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One hook that a store is going to send. ``value`` is the order's total, None if it is the sample's."""

    store: str
    topic: str
    order_id: str
    body: bytes
    value: Decimal | None = None

    @property
    def path(self) -> str:
        return f"/webhooks/{self.store}"

    def headers(self) -> dict[str, str]:
        """Signed now: what Stripe sends again it signs again."""
        adapter = stores()[self.store]
        return sender(adapter).sign(self.body, SECRET, topic=self.topic, now=int(time.time()))


def place(number: int, *, hooks: int = 1) -> list[Told]:
    """The hooks of the number-th order, at most that many. The stores take turns."""
    store = list(SAMPLES)[number % len(SAMPLES)]
    value = Decimal(10 + number % 990) + Decimal(number % 100) / 100
    return tell(store, sample(store), number, value=value)[:hooks]


def tell(store: str, written: Body, number: int, *, value: Decimal | None = None) -> list[Told]:
    """A sample as a new order, once for each of its store's topics. Each number is another order."""
    order_id, body = _RENEWED[store](written, number, value)
    return [
        Told(store=store, topic=topic, order_id=order_id, body=_written(store, body, topic), value=value)
        for topic in TOPICS[store]
    ]


def sales() -> Iterator[Case]:
    """Every sample that is a sale without further settings, each once."""
    seen = set()
    for case in cases():
        if case.expected.verdict == "event" and not case.expected.options and case.sample not in seen:
            seen.add(case.sample)
            yield case


def sample(store: str) -> Body:
    """The order that the load is made of."""
    if store not in _read:
        body = next(case.hook.body for case in cases() if case.sample == SAMPLES[store])
        _read[store] = json.loads(body)
    return _read[store]


_read: dict[str, Body] = {}


def _written(store: str, body: Body, topic: str) -> bytes:
    # Stripe says the topic in the body.
    return json.dumps(body | {"type": topic} if store == "stripe" else body).encode()


# --- how an order of each store is made a new one ----------------------------------------------------------


def _shopify(sample: Body, number: int, value: Decimal | None) -> tuple[str, Body]:
    order, now = 5_000_000_000_000 + number, _now()
    fresh: Body = {
        "id": order,
        "name": f"#{number}",
        "admin_graphql_api_id": f"gid://shopify/Order/{order}",
        **dict.fromkeys(("created_at", "processed_at", "updated_at"), f"{now}Z"),
    }
    if value is not None:
        both = {"amount": str(value), "currency_code": sample["currency"]}
        fresh |= {
            "total_price": str(value),
            "total_price_set": {"shop_money": both, "presentment_money": both},
        }
    return str(order), _replaced(sample, fresh)


def _woocommerce(sample: Body, number: int, value: Decimal | None) -> tuple[str, Body]:
    order, now = 1_000_000 + number, _now()
    fresh: Body = {
        "id": order,
        "number": str(order),
        **{name: now for name in ("date_created_gmt", "date_paid_gmt") if sample.get(name)},
    }
    if value is not None:
        fresh["total"] = str(value)
    # Another plugin's id of the event would be this order's, too.
    meta = [field for field in sample.get("meta_data") or [] if field.get("key") != "_meta_event_id"]
    return str(order), _replaced(sample, fresh) | {"meta_data": meta}


def _stripe(sample: Body, number: int, value: Decimal | None) -> tuple[str, Body]:
    found: Body = sample["data"]["object"]
    order = f"ORD-{number}"
    fresh: Body = {
        "id": f"{found['id']}{number}",
        "client_reference_id": order,
        "payment_intent": f"{found['payment_intent']}{number}" if found.get("payment_intent") else None,
    }
    if value is not None:
        fresh["amount_total"] = int(value * 100)
    body = {"id": f"{sample['id']}{number}", "created": int(time.time())}
    return order, sample | body | {"data": {"object": found | fresh}}


_RENEWED: Mapping[str, Callable[[Body, int, Decimal | None], tuple[str, Body]]] = {
    "shopify": _shopify,
    "woocommerce": _woocommerce,
    "stripe": _stripe,
}


def _replaced(sample: Body, fresh: Body) -> Body:
    """Only what the sample has: a subset of fields stays one."""
    return sample | {name: value for name, value in fresh.items() if name in sample}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
