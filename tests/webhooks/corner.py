"""The corner shop, a store that does not exist: the least that a store with an API of its own can be.

What the stations do with a shop's API must hold for any store. This one keeps its orders in memory, so that a
test can change them between two pages, and breaks where a test says so.
"""

import base64
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations import discovery
from integrations.access import Access, NoAccess, Page, Pulled, Subscription
from integrations.destination import Request, Response, Token
from integrations.event import Buyer, Event
from integrations.hook import Hook
from integrations.setting import Secret, Setting
from integrations.store import Malformed, NotAnEvent, Shop, Store, Unverified

BASE = "https://relay.example.com"
SECRET = "corner-secret-for-tests"
BUYER = "ada.byron@example.com"
TOPICS = ("sale.made", "sale.changed")


class Corner:
    """The shop itself. ``faults`` are raised by the next calls of its API, one each; None is none."""

    def __init__(self) -> None:
        self.orders: dict[int, dict[str, Any]] = {}
        self.subscriptions: list[Subscription] = []
        self.faults: deque[Exception | None] = deque()
        self.calls: list[str] = []
        self.page = 50
        self.tokens: list[str] = []
        self.office = ""
        self.forgotten = False
        self.makes_secret = ""
        self.details: dict[int, str] = {}
        self.between_pages: Callable[[], None] = lambda: None
        self._made = 0

    def sell(self, number: int, at: float, *, state: str = "sold", changed: float | None = None) -> None:
        """An order placed at that time (Unix seconds)."""
        self.orders[number] = {
            "id": number,
            "total": "12.50",
            "currency": "EUR",
            "at": int(at),
            "changed": int(at if changed is None else changed),
            "state": state,
            "email": BUYER,
        }

    def hook(self, number: int) -> tuple[bytes, dict[str, str]]:
        """The body and headers of the hook about an order."""
        body = json.dumps(self.orders[number] | {"told_by": "hook"}).encode()
        return body, {"X-Corner-Topic": "sale.made", "X-Corner-Signature": _signature(body, SECRET)}

    def call(self, name: str, token: str) -> None:
        """Notes a call, and lets it fail if it is to."""
        self.calls.append(name)
        if self.faults and (fault := self.faults.popleft()) is not None:
            raise fault
        if self.office and token not in self.tokens[-1:]:
            raise NoAccess("credentials", "The token has ended.")

    def made(self, topic: str, url: str, **more: Any) -> Subscription:
        """A new subscription, as its owner would make it by hand."""
        self._made += 1
        subscription = Subscription(id=str(self._made), topic=topic, url=url, **more)
        self.subscriptions.append(subscription)
        return subscription


class CornerAccess(Access):
    """Its API."""

    lacks = ("the buyer's browser",)

    def __init__(self, corner: Corner, token: str) -> None:
        self.corner, self.token = corner, token

    def probe(self) -> str:
        self.corner.call("probe", self.token)
        return "The corner shop"

    def subscriptions(self) -> list[Subscription]:
        self.corner.call("subscriptions", self.token)
        return list(self.corner.subscriptions)

    def subscribe(self, topic: str, url: str) -> Subscription:
        self.corner.call(f"subscribe {topic}", self.token)
        there = [one for one in self.corner.subscriptions if (one.topic, one.url) == (topic, url)]
        if there and there[0].active:
            return there[0]
        for one in there:
            self.corner.subscriptions.remove(one)
        made = self.corner.made(topic, url)
        return msgspec.structs.replace(made, secret=Secret(self.corner.makes_secret))

    def unsubscribe(self, subscription: Subscription) -> None:
        self.corner.call(f"unsubscribe {subscription.topic}", self.token)
        self.corner.subscriptions = [one for one in self.corner.subscriptions if one.id != subscription.id]

    def pull(self, since: int, until: int, after: str = "") -> Page:
        self.corner.call(f"pull {after}".strip(), self.token)
        last = tuple(int(part) for part in after.split(":")) if after else (0, 0)
        found = sorted(
            (order for order in self.corner.orders.values() if since <= order["changed"] <= until),
            key=_place,
        )
        found = [order for order in found if _place(order) > last]
        page = found[: self.corner.page]
        more = ":".join(map(str, _place(page[-1]))) if len(found) > len(page) else ""
        orders = tuple(_pulled(order) for order in page)
        self.corner.between_pages()
        return Page(orders=orders, next=more)

    def complete(self, pulled: Pulled) -> Pulled:
        number = int(pulled.order_id)
        if number not in self.corner.details:
            return pulled
        self.corner.call(f"complete {number}", self.token)
        order = self.corner.orders[number] | {"email": self.corner.details[number]}
        return _pulled(order)


class CornerStore(Store):
    """Its adapter."""

    slug = "corner"
    label = "Corner shop"
    topics = TOPICS
    settings = (
        Setting("api_key", "The key of its API", secret=True),
        Setting("floor", "On which floor it is", pattern="[0-9]+"),
    )

    def supported_until(self, api_version: str) -> int | None:
        return int(api_version) if api_version else None

    def __init__(self, corner: Corner) -> None:
        self.corner = corner

    def verify(self, hook: Hook, secrets: Sequence[Secret]) -> int:
        for index, secret in enumerate(secrets):
            if hmac.compare_digest(_signature(hook.body, secret), hook.header("x-corner-signature")):
                return index
        raise Unverified("nobody we know")

    def topic(self, hook: Hook) -> str:
        return hook.header("x-corner-topic")

    def map(self, hook: Hook, body: dict[str, Any], shop: Shop) -> Event:  # noqa: ARG002
        if body.get("code"):
            raise Malformed("the shop says that it may not show the order", alarm=True)
        if body.get("state") == "odd":
            raise Malformed("the order is odd", order_id=str(body["id"]))
        if body["state"] != "sold":
            raise NotAnEvent("open", order_id=str(body["id"]))
        return Event(
            store=self.slug,
            shop=shop.slug,
            key=str(body["id"]),
            order_id=str(body["id"]),
            event_time=body["at"],
            value=Decimal(body["total"]),
            currency=body["currency"],
            buyer=Buyer(email=body["email"]),
        )

    def exchange(self, shop: Shop, now: int) -> Request | None:  # noqa: ARG002
        return Request(f"{self.corner.office}/token") if self.corner.office else None

    def read_exchange(self, response: Response) -> Token:
        if response.status != 200:
            raise NoAccess("credentials", "Set CORNER_API_KEY anew.")
        return Token(Secret(json.loads(response.body)["token"]), 86_400)

    def access(self, shop: Shop, token: Secret, seconds: float) -> Access:
        assert seconds > 0
        if not shop.options["api_key"]:
            raise NoAccess("not_set_up", "Set CORNER_API_KEY: the shop's admin shows it under Keys.")
        return CornerAccess(self.corner, token)


def public_environment(database_url: str, folder: Path) -> dict[str, str]:
    """A relay with this shop and a public address, and without a Redis."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": f"unix://{folder / 'nobody-listens.sock'}",
        "RELAY_DATA_DIR": str(folder),
        "RELAY_PUBLIC_URL": BASE,
        "CORNER_WEBHOOK_SECRETS": SECRET,
        "CORNER_API_KEY": "key-for-tests",
    }


@pytest.fixture
def corner(monkeypatch: pytest.MonkeyPatch) -> Corner:
    """An empty corner shop, among the stores that there are."""
    shop = Corner()
    stores = discovery.stores() | {"corner": CornerStore(shop)}
    monkeypatch.setattr(discovery, "stores", lambda: stores)
    return shop


def _place(order: dict[str, Any]) -> tuple[int, int]:
    return order["changed"], order["id"]


def _pulled(order: dict[str, Any]) -> Pulled:
    hook = Hook({"x-corner-topic": "sale.changed"}, json.dumps(order).encode(), int(time.time()))
    return Pulled(hook=hook, order_id=str(order["id"]), changed_at=order["changed"])


def _signature(body: bytes, secret: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
