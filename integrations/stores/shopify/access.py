"""A shop's Admin API (shopify.dev, GraphQL Admin API): which webhooks it sends, and what it sold.

Only an app's own subscriptions can be seen: those made by hand in the admin, and those in the app's
configuration file, send without being listed.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from integrations.access import Access, Away, NoAccess, Page, Subscription
from integrations.setting import Secret
from integrations.store import Shop
from integrations.stores.shopify import grant, pulled
from integrations.stores.shopify.client import NOT_UNDERSTOOD, Answer, Client
from integrations.untrusted import record, records, text

ORDERS = 10
"""Orders of a page. Shopify charges beforehand for what a page may hold at most, and takes up to 1,000."""

SIXTY_DAYS = 60 * 86_400

_MANY_LINES = 100  # pages of 50: more than an order can have

_TOPICS = (
    "orders/create",
    "orders/paid",
    "orders/updated",
    "orders/edited",
    "orders/cancelled",
    "orders/fulfilled",
    "orders/partially_fulfilled",
    "orders/delete",
    "order_transactions/create",
    "refunds/create",
)
_ENUM = {topic: topic.upper().replace("/", "_") for topic in _TOPICS}
_TOPIC = {enum: topic for topic, enum in _ENUM.items()}

_SUBSCRIPTION = "{id topic uri format includeFields filter apiVersion{handle}}"
_PROBE = "query Probe{shop{name} currentAppInstallation{accessScopes{handle}}}"
_LIST = f"""query Subscriptions($after:String){{
  webhookSubscriptions(first:50 after:$after){{pageInfo{{hasNextPage endCursor}} nodes{_SUBSCRIPTION}}}
}}"""
_CREATE = """mutation Subscribe($topic:WebhookSubscriptionTopic! $with:WebhookSubscriptionInput!){
  webhookSubscriptionCreate(topic:$topic webhookSubscription:$with){
    webhookSubscription{id} userErrors{message}
  }
}"""
_UPDATE = """mutation Repair($id:ID! $with:WebhookSubscriptionInput!){
  webhookSubscriptionUpdate(id:$id webhookSubscription:$with){
    webhookSubscription{id} userErrors{message}
  }
}"""
_DELETE = """mutation Unsubscribe($id:ID!){
  webhookSubscriptionDelete(id:$id){deletedWebhookSubscriptionId userErrors{message}}
}"""

_PROTECTED = (
    "protected_customer_data",
    "ask for access to protected customer data: Dev Dashboard > Apps > your app > API access requests",
)
_HINTS = {
    "name": "Shopify withholds the buyers' names",
    "address": "Shopify withholds the buyers' cities and postcodes",
    "country": "Shopify withholds the buyers' countries",
    "phone": "Shopify withholds the buyers' phone numbers",
    "email": "Shopify withholds the buyers' e-mail addresses",
    "customer": "without the scope read_customers pulled orders lack the customer",
    "product": "without the scope read_products pulled orders lack the ids of products and variants",
}


class ShopifyAccess(Access):
    """One shop's Admin API, opened with a token."""

    lacks = pulled.LACKS

    def __init__(self, shop: Shop, token: Secret, seconds: float) -> None:
        self._domain = str(shop.options["domain"])
        # What an app registers is signed with its client secret; that of older apps is not known here.
        self._signs_with = Secret(grant.credentials(shop)[1])
        base = str(shop.options.get("api_base") or "")
        self._client = Client(self._domain, grant.lasting(shop, token), seconds, base=base)
        self._parts = set(pulled.PARTS)

    def probe(self) -> str:
        data = self._whole(_PROBE)
        scopes = self._scopes(data)
        if scopes.isdisjoint({"read_orders", "write_orders"}):
            raise _missing(("read_orders",))
        self._orders({"first": 1, "after": None, "query": "status:any"})
        self.hints = tuple(_HINTS[part] for part in sorted(pulled.PARTS - self._parts))
        return text(record(data.get("shop")).get("name"), 255)

    # --- webhooks ----------------------------------------------------------------------------------------

    def subscriptions(self) -> list[Subscription]:
        found: list[Subscription] = []
        after = None
        while True:
            page = _connection(self._whole(_LIST, {"after": after}), "webhookSubscriptions")
            nodes = records(page["nodes"])
            found += [self._subscription(node) for node in nodes if text(node.get("topic")) in _TOPIC]
            after = _next(page)
            if not after:
                return found

    def subscribe(self, topic: str, url: str) -> Subscription:
        known = self._find(topic, url)
        if known is not None and known.active:
            return known
        wanted = {"uri": url, "format": "JSON", "includeFields": []}
        if known is not None:
            self._change("webhookSubscriptionUpdate", _UPDATE, {"id": known.id, "with": wanted})
        else:
            self._change("webhookSubscriptionCreate", _CREATE, {"topic": _ENUM[topic], "with": wanted})
        unlisted = "in the app's own configuration, which is not listed here"
        made = self._find(topic, url)
        return made or Subscription(id="", topic=topic, url=url, detail=unlisted, secret=self._signs_with)

    def unsubscribe(self, subscription: Subscription) -> None:
        if subscription.id:
            self._change("webhookSubscriptionDelete", _DELETE, {"id": subscription.id})

    def _find(self, topic: str, url: str) -> Subscription | None:
        """The subscription, a working one first."""
        same = [one for one in self.subscriptions() if (one.topic, one.url) == (topic, url)]
        return min(same, key=lambda one: not one.active, default=None)

    def _change(self, name: str, query: str, variables: Mapping[str, Any]) -> None:
        """Does it, unless it is done already."""
        done = record(self._whole(query, variables).get(name))
        for error in records(done.get("userErrors")):
            message = text(error.get("message"), 300)
            if "already been taken" in message or "does not exist" in message:
                continue
            if "protected customer data" in message:
                raise NoAccess(*_PROTECTED)
            raise NoAccess("webhook_refused", f"Shopify refuses the webhook: {message}")

    def _subscription(self, node: Mapping[str, Any]) -> Subscription:
        detail = ""
        if node.get("format") != "JSON":
            detail = "sends XML, which is not read"
        elif node.get("includeFields"):
            detail = "sends only some fields of an order"
        return Subscription(
            id=text(node.get("id"), 100),
            topic=_TOPIC[text(node.get("topic"))],
            url=text(node.get("uri")),
            active=not detail,
            detail=detail or ("sends only what fits its filter" if node.get("filter") else ""),
            api_version=text(record(node.get("apiVersion")).get("handle"), 20),
            secret=self._signs_with,
        )

    # --- orders ------------------------------------------------------------------------------------------

    def pull(self, since: int, until: int, after: str = "") -> Page:
        now = int(time.time())
        if not after and since < now - SIXTY_DAYS:
            self._check_old()
        # Sorted by the change, and paged by where in that order one is: what changes goes to the end, and
        # moves none that stays. A change within the last second is up to a second later than it is written.
        # Without a status Shopify lists the open ones only, and a filter that it does not know it leaves out.
        window = f"status:any AND updated_at:>='{_utc(since)}' AND updated_at:<'{_utc(until + 1)}'"
        data = self._orders({"first": ORDERS, "after": after or None, "query": window})
        page = _connection(data, "orders")
        site = text(record(record(data.get("shop")).get("primaryDomain")).get("url"))
        nodes = (self._filled(node) for node in records(page["nodes"]))
        orders = tuple(pulled.order_of(node, site, self._domain, now) for node in nodes)
        if any(order.changed_at < since for order in orders):
            raise NoAccess(*NOT_UNDERSTOOD)
        return Page(orders=orders, next=_next(page))

    def _check_old(self) -> None:
        if "read_all_orders" not in self._scopes(self._whole(_PROBE)):
            raise NoAccess(
                "sixty_days",
                "Shopify shows orders of the last 60 days only: begin later, or give the app read_all_orders",
            )

    def _orders(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """A page of orders, of which only that is asked for which the app may see."""
        while True:
            flags = {part: part in self._parts for part in pulled.PARTS}
            answer = self._client.ask(pulled.ORDERS, {**variables, **flags})
            if not answer.denied:
                return answer.data
            self._leave_out(answer)

    def _leave_out(self, answer: Answer) -> None:
        denied = {pulled.withheld(path) for path in answer.denied}
        if not denied & self._parts:
            raise _missing(answer.rights)
        self._parts -= denied

    def _filled(self, node: dict[str, Any]) -> dict[str, Any]:
        """The order with all of its line items."""
        lines = record(node.get("lineItems"))
        items = records(lines.get("nodes"))
        for _ in range(_MANY_LINES):
            after = _next(lines)
            if not after:
                return {**node, "lineItems": {"nodes": items}}
            asked = {"id": node.get("id"), "after": after, "product": "product" in self._parts}
            lines = _connection(record(self._whole(pulled.MORE_LINES, asked).get("order")), "lineItems")
            items += records(lines["nodes"])
        raise Away("an order has no end of line items")

    # --- questions ---------------------------------------------------------------------------------------

    def _whole(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An answer of which nothing is withheld."""
        answer = self._client.ask(query, variables or {})
        if answer.denied:
            raise _missing(answer.rights)
        return answer.data

    def _scopes(self, data: dict[str, Any]) -> set[str]:
        installed = record(data.get("currentAppInstallation"))
        return {text(scope.get("handle")) for scope in records(installed.get("accessScopes"))}


def _missing(rights: Iterable[str]) -> NoAccess:
    named = ", ".join(rights) or "read_orders and access to protected customer data"
    return NoAccess(
        "missing_right",
        f"give the app {named}: Dev Dashboard > Apps > your app > Versions; then release the version and let "
        "the shop approve it",
    )


def _connection(data: dict[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name)
    if not isinstance(found, dict) or not isinstance(found.get("nodes"), list):
        raise Away(f"Shopify's answer has no {name}")
    return found


def _next(connection: dict[str, Any]) -> str:
    """Where the next page begins, ``""`` after the last."""
    info = record(connection.get("pageInfo"))
    after = text(info.get("endCursor"), 1_000) if info.get("hasNextPage") is True else ""
    if info.get("hasNextPage") is not False and not after:
        raise Away("Shopify's answer does not say where it goes on")
    return after


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
