"""The orders of the demo: bodies as the stores send them, with new ids and the present time.

What each is worth stands here as a person reads it in the body, not as our adapters do: at the end the one
is held against the other.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module, resources
from typing import Any, Literal, NamedTuple

from integrations.event import ConsentState

Ending = Literal["counted", "refused", "suppressed"]
"""What should come of an order at a destination that takes orders of its kind."""

LABELS = {"shopify": "Shopify", "woocommerce": "WooCommerce", "stripe": "Stripe"}

_ORDERS = resources.files(__package__) / "orders"


class Telling(NamedTuple):
    """A hook before it is signed."""

    store: str
    topic: str
    body: bytes

    def signed(self, secret: str, now: int) -> dict[str, str]:
        """All headers that the store sends with it."""
        sender = import_module(f"webhooks.sandbox.{self.store}_sender")
        headers: dict[str, str] = sender.sign(self.body, secret, topic=self.topic, now=now)
        return headers


class Order(NamedTuple):
    """One order: ``value`` in the buyer's ``currency``, ``about`` in a few words for the table, and what its
    buyer answered when they were asked about advertising; empty: nobody asked."""

    store: str
    number: int
    value: Decimal
    currency: str
    about: str
    ending: Ending = "counted"
    consent: ConsentState = "granted"

    @property
    def id(self) -> str:
        """As the store's API knows it; also the event_id that browser and relay use."""
        return _IDS[self.store](self.number)

    @property
    def name(self) -> str:
        """As its buyer knows it."""
        return {"shopify": f"#{self.number}", "woocommerce": f"#{self.number}"}.get(self.store, self.id)

    @property
    def money(self) -> str:
        """``56.44 USD``."""
        return f"{self.value} {self.currency}"

    def told(self, topic: str, sample: str, **changes: Any) -> Telling:
        """A hook of this topic about the order, made of a sample body with some fields changed."""
        body = load(self.store, sample)
        _FRESH[self.store](body, self.number, datetime.now(UTC))
        if self.consent:
            _ANSWERS[self.store](body, "marketing_consent", self.consent)
        body |= changes
        return Telling(self.store, topic, json.dumps(body).encode())


def load(store: str, sample: str) -> dict[str, Any]:
    """A sample body as it stands in the file."""
    body: dict[str, Any] = json.loads((_ORDERS / f"{store}_{sample}.json").read_bytes())
    return body


# --- new ids, present time ---------------------------------------------------------------------------------

_IDS: Mapping[str, Callable[[int], str]] = {
    "shopify": lambda number: str(6_100_000_000_000 + number * 1_001),
    "woocommerce": str,
    "stripe": lambda number: f"ORD-{number}",
}


def _shopify(body: dict[str, Any], number: int, now: datetime) -> None:
    order_id = int(_IDS["shopify"](number))
    written = now.astimezone(timezone(timedelta(hours=-5))).isoformat(timespec="seconds")
    body |= dict.fromkeys(("created_at", "processed_at", "updated_at"), written)
    body |= {"id": order_id, "admin_graphql_api_id": f"gid://shopify/Order/{order_id}"}
    body |= {"order_number": number, "name": f"#{number}", "checkout_token": f"{order_id:032x}"}


def _woocommerce(body: dict[str, Any], number: int, now: datetime) -> None:
    times = {f"{name}_gmt": now for name in ("date_created", "date_modified", "date_paid")}
    times |= {name.removesuffix("_gmt"): at + timedelta(hours=1) for name, at in times.items()}
    body |= {"id": number, "number": str(number)}
    body |= {name: f"{at:%Y-%m-%dT%H:%M:%S}" for name, at in times.items() if body.get(name)}


def _stripe(body: dict[str, Any], number: int, now: datetime) -> None:
    found, seconds = body["data"]["object"], int(now.timestamp())
    intent = f"pi_3Demo{number}"
    ids = {"checkout.session": f"cs_live_Demo{number}", "payment_intent": intent}
    kind = found["object"]
    body |= {"id": f"evt_1Demo{number}{kind}".replace(".", ""), "created": seconds}
    # Old samples come from the test mode; here all are of one shop, which is live.
    body["livemode"] = found["livemode"] = True
    found |= {"id": ids.get(kind, f"ch_3Demo{number}"), "created": seconds}
    if kind != "payment_intent":
        found["payment_intent"] = intent
    if kind == "checkout.session":
        found["client_reference_id"] = _IDS["stripe"](number)
        found["metadata"] = found["metadata"] | {"order_id": _IDS["stripe"](number)}


_FRESH: Mapping[str, Callable[[dict[str, Any], int, datetime], None]] = {
    "shopify": _shopify,
    "woocommerce": _woocommerce,
    "stripe": _stripe,
}

# --- what the storefront attached --------------------------------------------------------------------------


def _cart_attribute(body: dict[str, Any], name: str, value: str) -> None:
    others = [one for one in body.get("note_attributes", []) if one["name"] != name]
    body["note_attributes"] = [*others, {"name": name, "value": value}]


def _order_field(body: dict[str, Any], name: str, value: str) -> None:
    body["meta_data"] = [*body.get("meta_data", []), {"id": 1, "key": name, "value": value}]


def _metadata(body: dict[str, Any], name: str, value: str) -> None:
    found = body["data"]["object"]
    found["metadata"] = found.get("metadata", {}) | {name: value}


_ANSWERS: Mapping[str, Callable[[dict[str, Any], str, str], None]] = {
    "shopify": _cart_attribute,
    "woocommerce": _order_field,
    "stripe": _metadata,
}
