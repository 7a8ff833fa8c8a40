"""A Shopify shop: the Admin API, tokens that live for 24 hours, and webhooks by Shopify's rules.

Sources: shopify.dev (GraphQL Admin API 2026-07; client credentials grant; rate limits; webhooks: delivery).
Invented, since Shopify does not say: the pauses between the tries of a webhook (their number and the four
hours are documented), the wording of some errors, that an unknown filter of a search is refused (Shopify
leaves it out), and that a webhook may go to plain HTTP on this machine.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from importlib import resources
from secrets import token_hex
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from webhooks.sandbox import shopify_sender
from webhooks.sandbox.graphql import Question, Refused
from webhooks.sandbox.shop import Registered, Shop
from webhooks.sandbox.shopify_schema import SCHEMA, connection, gid, node
from webhooks.sandbox.standin import Hit, Refusal, Reply, Step, json_reply, strict_json

VERSIONS = frozenset({"2025-10", "2026-01", "2026-04", "2026-07", "2026-10"})
TOKEN_SECONDS = 86_399
MOST_COSTLY = 1_000
SCOPES = frozenset({"read_orders", "read_all_orders", "read_customers", "read_products"})
CONTACT = frozenset({"name", "address", "phone", "email"})
TOPICS = frozenset(
    {
        "ORDERS_CREATE",
        "ORDERS_PAID",
        "ORDERS_UPDATED",
        "ORDERS_CANCELLED",
        "REFUNDS_CREATE",
        "APP_UNINSTALLED",
    }
)

_ENDPOINT = re.compile(r"/admin/api/(\d{4}-\d{2})/graphql\.json")
_FILTER = re.compile(r"updated_at:(>=|<=|>|<)'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)'|status:(any)")
_TAKEN = "Address for this topic has already been taken"
_INVALID = "[API] Invalid API key or access token (unrecognized login or wrong password)"


class ShopifyShop(Shop):
    """``rights`` are the scopes of the app and the fields of protected customer data that it may see.
    ``unlisted`` are the subscriptions of its configuration file. Questions are paid from a bucket, which
    fills by the machine's time: who waits for it really waits."""

    slug = "shopify_shop"
    demo: ClassVar[Mapping[str, str]] = {
        "domain": shopify_sender.SHOP_DOMAIN,
        "client_id": "5f2ce1b0a7d94c3e8b1a6d0f9e7c4b2a",
        "client_secret": "shpss_0123456789abcdef0123456789abcdef",
    }
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(
            status=200,
            body={
                "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
                "extensions": {
                    "cost": {
                        "requestedQueryCost": 902,
                        "actualQueryCost": None,
                        "throttleStatus": {
                            "maximumAvailable": 2000.0,
                            "currentlyAvailable": 2,
                            "restoreRate": 100.0,
                        },
                    }
                },
            },
            times=None,
        ),
        "internal": Step(
            status=200,
            body={"errors": [{"message": "Internal error", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]},
        ),
    }
    pauses: ClassVar[tuple[float, ...]] = (30, 90, 270, 600, 1_200, 2_400, 3_600, 6_200)
    answer_seconds: ClassVar[float] = 5.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.name = "Example Store"
        self.site = "https://shop.example.com"
        self.rights = SCOPES | CONTACT
        self.bucket = 2_000.0
        self.restores = 100.0
        self._filled_at = time.monotonic()
        self.left = self.bucket
        self.unlisted: list[Registered] = []
        self._tokens: dict[str, float] = {}
        self._made = 0

    # --- as its owner and its buyers have it ---------------------------------------------------------------

    def settings(self, address: str) -> dict[str, str]:
        """See `Shop`."""
        known = {name: value for name, value in self.accounts[0].items() if name != "signs_with"}
        return {**known, "api_base": address}

    def order(self, number: int, at: float) -> dict[str, Any]:
        """See `Shop`."""
        raw = resources.files("webhooks.sandbox").joinpath("orders/shopify_paid.json").read_bytes()
        body: dict[str, Any] = json.loads(raw)
        order_id, when = 5_600_000_000_000 + number, _written(at, self.zone)
        return body | {
            "id": order_id,
            "admin_graphql_api_id": gid("Order", order_id),
            "name": f"#{number}",
            "order_number": number,
            "created_at": when,
            "processed_at": when,
            "updated_at": when,
            "financial_status": "paid",
            "checkout_token": f"{number:032x}",
            "order_status_url": f"{self.site}/orders/{number:032x}/authenticate",
        }

    def place(self, order: dict[str, Any]) -> None:
        """See `Shop`."""
        order_id = str(order["id"])
        self.keep(order_id, order)
        body = json.dumps(order).encode()
        self.tell("orders/create", order_id, body)
        if order.get("financial_status") == "paid":
            self.tell("orders/paid", order_id, body)

    def touch(self, order_id: str) -> None:
        """See `Shop`."""
        changed = self.orders[order_id] | {"updated_at": _written(self.now(), self.zone), "note": "touched"}
        self.keep(order_id, changed)
        self.tell("orders/updated", order_id, json.dumps(changed).encode())

    def disable(self, registered: Registered) -> None:
        """Shopify knows no disabled subscription: it deletes them."""
        self.subscriptions = [one for one in self.subscriptions if one.id != registered.id]

    def gives_up(self, registered: Registered, number: int) -> bool:
        """When a hook has failed in its last try; nobody says how failures of several hooks count."""
        return number > len(self.pauses) and registered.failures > len(self.pauses)

    def signed(
        self,
        registered: Registered,  # noqa: ARG002
        topic: str,
        body: bytes,
        number: int,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """See `Shop`. A repetition has the same ids."""
        secret = self.accounts[0].get("signs_with") or self.accounts[0]["client_secret"]
        return shopify_sender.sign(body, secret, topic=topic, now=int(self.now()))

    def end_tokens(self) -> None:
        """See `Shop`."""
        self._tokens.clear()

    # --- its API -------------------------------------------------------------------------------------------

    def is_scripted(self, hit: Hit) -> bool:
        """See `StandIn`."""
        return hit.path != "/admin/oauth/access_token"

    def answer(self, hit: Hit) -> Reply:
        """See `Shop`."""
        if hit.method == "POST" and hit.path == "/admin/oauth/access_token":
            return self._token(hit)
        found = _ENDPOINT.fullmatch(hit.path)
        if hit.method != "POST" or found is None or found[1] not in VERSIONS:
            raise Refusal(json_reply(404, {"errors": "Not Found"}))
        self._check_token(hit.headers.get("x-shopify-access-token", ""))
        body = strict_json(hit.body)
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise Refusal(json_reply(400, {"errors": {"query": "Required parameter missing or invalid"}}))
        return self._ask(body["query"], body.get("variables") or {})

    def _token(self, hit: Hit) -> Reply:
        form = dict(parse_qsl(hit.body.decode("utf-8", "replace")))
        known = [(one.get("client_id"), one.get("client_secret")) for one in self.accounts]
        if form.get("grant_type") != "client_credentials":
            raise Refusal(json_reply(400, {"error": "invalid_request"}))
        pair = (form.get("client_id"), form.get("client_secret"))
        if self.refuses == "credentials" or None in pair or pair not in known:
            raise Refusal(json_reply(400, {"error": "invalid_client"}))
        token = f"shpat_{token_hex(16)}"
        self._tokens[token] = self.now() + TOKEN_SECONDS
        scope = ",".join(sorted(self._rights() - CONTACT))
        return json_reply(200, {"access_token": token, "scope": scope, "expires_in": TOKEN_SECONDS})

    def _check_token(self, token: str) -> None:
        lasting = {one["access_token"] for one in self.accounts if one.get("access_token")}
        is_good = token in lasting or self._tokens.get(token, 0) > self.now()
        if not is_good or self.refuses == "credentials":
            raise Refusal(json_reply(401, {"errors": _INVALID}))

    def _rights(self) -> frozenset[str]:
        return self.rights - {"read_orders"} if self.refuses == "rights" else self.rights

    def _ask(self, document: str, variables: Mapping[str, Any]) -> Reply:
        try:
            question = Question(SCHEMA, document, variables)
            self._pay(question.cost)
            data, errors = question.answer(self._root(), self._rights())
        except Refused as refused:
            error = {"message": refused.message, "extensions": {"code": refused.code}}
            cost = question.cost if refused.code in {"THROTTLED", "MAX_COST_EXCEEDED"} else 0
            return json_reply(200, {"errors": [error], "extensions": self._cost(cost)})
        answer = {"data": data, "extensions": self._cost(question.cost)}
        return json_reply(200, {**answer, "errors": errors} if errors else answer)

    def _pay(self, cost: int) -> None:
        if cost > MOST_COSTLY:
            raise Refused(f"Query cost is {cost}, over {MOST_COSTLY}", "MAX_COST_EXCEEDED")
        now = time.monotonic()
        self.left = min(self.bucket, self.left + (now - self._filled_at) * self.restores)
        self._filled_at = now
        if self.throttles and cost > self.left:
            raise Refused("Throttled", "THROTTLED")
        self.left -= cost if self.throttles else 0

    def _cost(self, cost: int) -> dict[str, Any]:
        status = {
            "maximumAvailable": self.bucket,
            "currentlyAvailable": int(self.left),
            "restoreRate": self.restores,
        }
        return {"cost": {"requestedQueryCost": cost, "throttleStatus": status}}

    # --- what can be asked ---------------------------------------------------------------------------------

    def _root(self) -> dict[str, Any]:
        domain = {"url": self.site, "host": urlsplit(self.site).hostname}
        scopes = sorted(self._rights() - CONTACT)
        return {
            "shop": {
                "name": self.name,
                "myshopifyDomain": self.accounts[0]["domain"],
                "primaryDomain": domain,
            },
            "currentAppInstallation": {"accessScopes": [{"handle": scope} for scope in scopes]},
            "order": self._order,
            "orders": self._orders,
            "webhookSubscriptions": self._listed,
            "webhookSubscriptionCreate": self._create,
            "webhookSubscriptionUpdate": self._update,
            "webhookSubscriptionDelete": self._delete,
        }

    def _order(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        found = self.orders.get(id.rpartition("/")[2])
        return node(found, self.site) if found else None

    def _orders(
        self,
        first: int,
        query: str = "",
        after: str | None = None,
        sortKey: str = "PROCESSED_AT",  # noqa: N803 - the vendor's arguments, here and below
    ) -> dict[str, Any]:
        if sortKey != "UPDATED_AT" or not 1 <= first <= 250:
            raise Refused("this shop lists at most 250 orders, by UPDATED_AT", "BAD_REQUEST")
        terms = _terms(query)
        chosen = [body for body in self.orders.values() if _fits(body, terms)]
        # The place of an order: its change, and of one second its id. Both have a fixed length.
        places = sorted((f"{_utc(body)}{int(body['id']):020d}", body) for body in chosen)
        shown = [(place, node(body, self.site)) for place, body in places]
        return connection(shown, first, after)

    def _listed(self, first: int, after: str | None = None) -> dict[str, Any]:
        return connection(((one.id, _shown(one)) for one in self.subscriptions), first, after)

    def _create(self, topic: str, webhookSubscription: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        name, uri = _topic(topic), str(webhookSubscription.get("uri") or "")
        if topic not in TOPICS:
            raise Refused(f"Variable $topic: {topic} is no topic", "INVALID_VARIABLE")
        if any((one.topic, one.url) == (name, uri) for one in (*self.subscriptions, *self.unlisted)):
            return _payload(None, _TAKEN)
        if not _is_public(uri):
            return _payload(None, "Address is not allowed")
        self._made += 1
        made = Registered(id=gid("WebhookSubscription", 1_000 + self._made), topic=name, url=uri)
        made.more = _more(webhookSubscription)
        self.subscriptions.append(made)
        return _payload(made)

    def _update(self, id: str, webhookSubscription: dict[str, Any]) -> dict[str, Any]:  # noqa: A002, N803
        found = self.registered(id)
        if found is None:
            return _payload(None, "Webhook subscription does not exist")
        found.url = str(webhookSubscription.get("uri") or found.url)
        found.more |= _more(webhookSubscription)
        return _payload(found)

    def _delete(self, id: str) -> dict[str, Any]:  # noqa: A002
        if found := self.registered(id):
            self.subscriptions = [one for one in self.subscriptions if one.id != id]
        errors = [] if found else _errors("Webhook subscription does not exist")
        return {"deletedWebhookSubscriptionId": id if found else None, "userErrors": errors}


def _more(given: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := given.keys() - {"uri", "format", "includeFields", "filter"}:
        raise Refused(f"WebhookSubscriptionInput has no field {min(unknown)}", "INVALID_VARIABLE")
    return {name: given[name] for name in ("format", "includeFields", "filter") if name in given}


def _shown(one: Registered) -> dict[str, Any]:
    more = {"format": "JSON", "includeFields": [], "filter": None} | one.more
    version = {"handle": shopify_sender.API_VERSION}
    return {"id": one.id, "topic": _enum(one.topic), "uri": one.url, "apiVersion": version, **more}


def _payload(made: Registered | None, problem: str = "") -> dict[str, Any]:
    return {"webhookSubscription": _shown(made) if made else None, "userErrors": _errors(problem)}


def _errors(problem: str) -> list[dict[str, Any]]:
    return [{"field": ["webhookSubscription", "callbackUrl"], "message": problem}] if problem else []


def _enum(topic: str) -> str:
    return topic.upper().replace("/", "_")


def _topic(enum: str) -> str:
    return enum.lower().replace("_", "/", 1)


def _is_public(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    )


def _terms(query: str) -> list[re.Match[str]]:
    found = [_FILTER.fullmatch(term) for term in query.split(" AND ")] if query else []
    if None in found:
        raise Refused("this shop knows no such filter", "BAD_REQUEST")
    return [term for term in found if term is not None]


def _fits(body: Mapping[str, Any], terms: Iterable[re.Match[str]]) -> bool:
    """Whether the order is found. Without a status only open orders are."""
    if not any(term[3] for term in terms) and (body.get("closed_at") or body.get("cancelled_at")):
        return False
    return all(_compares(_utc(body), term[1], term[2]) for term in terms if term[1])


def _compares(value: str, operator: str, limit: str) -> bool:
    return {">=": value >= limit, "<=": value <= limit, ">": value > limit, "<": value < limit}[operator]


def _utc(body: Mapping[str, Any]) -> str:
    written = body.get("updated_at") or body["created_at"]
    return datetime.fromisoformat(written).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _written(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(int(at), zone).isoformat()
