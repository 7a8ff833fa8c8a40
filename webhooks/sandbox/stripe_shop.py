"""A Stripe account: its events, its webhook endpoints and what it does when they fail.

Sources: docs.stripe.com/webhooks (tries for three days, a new signature for each) and the API reference of
events, webhook endpoints and line items. Invented: the pauses between the tries, which Stripe does not
publish; the wording of errors; that a missing right is seen before a missing parameter; that an endpoint may
be without TLS; and that an order which is touched is told of by a second event of the same session *instead*
of the first (two are possible, but both stay listed).
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec

from webhooks.sandbox import stripe_sender
from webhooks.sandbox.cast import load
from webhooks.sandbox.shop import Registered, Shop
from webhooks.sandbox.standin import Hit, Refusal, Reply, Step, json_reply

_DAY = 86_400
_SESSIONS, _ENDPOINTS = "/v1/checkout/sessions", "/v1/webhook_endpoints"


class StripeShop(Shop):
    """Its orders are events of Checkout sessions that were paid."""

    slug = "stripe_shop"
    demo: ClassVar[Mapping[str, str]] = {"api_key": "rk_live_sandbox00000001"}
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=429, body={"error": {"code": "rate_limit", "message": "Too many requests"}})
    }
    answer_seconds = 20.0
    pauses = (60, 300, 1_800, 7_200, 18_000, 36_000, 43_200, 43_200, 43_200, 43_200)  # 3 days in all

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._replaced: list[dict[str, Any]] = []

    # --- orders ---------------------------------------------------------------------------------------------

    def settings(self, address: str) -> dict[str, str]:
        """See `Shop.settings`."""
        return {"api_base": address, **self.accounts[0]}

    def order(self, number: int, at: float) -> dict[str, Any]:
        """See `Shop.order`: the event that tells of it."""
        event, name = load("stripe", "session"), f"ORD-{number}"
        event |= {"id": f"evt_1Sandbox{number}", "created": int(at), "livemode": True}
        session = event["data"]["object"]
        session |= {"id": f"cs_live_Sandbox{number}", "created": int(at), "livemode": True}
        session |= {"payment_intent": f"pi_3Sandbox{number}", "client_reference_id": name}
        session["metadata"] = session["metadata"] | {"order_id": name}
        return event

    def place(self, order: dict[str, Any]) -> None:
        """See `Shop.place`."""
        order_id = order["data"]["object"]["client_reference_id"]
        self.keep(order_id, order)
        self.tell(order["type"], order_id, msgspec.json.encode(order))

    def touch(self, order_id: str) -> None:
        """See `Shop.touch`."""
        before = self.orders[order_id]
        event = before | {"id": f"{before['id']}x", "created": int(self.now())}
        with self._lock:
            self._replaced.append(before)
        self.keep(order_id, event)
        self.tell(event["type"], order_id, msgspec.json.encode(event))

    # --- hooks ----------------------------------------------------------------------------------------------

    def tell(self, topic: str, order_id: str, body: bytes) -> None:
        """See `Shop.tell`. An endpoint hears several topics."""
        with self._lock:
            for registered in self.subscriptions:
                if registered.active and {topic, "*"} & set(registered.more["enabled_events"]):
                    self._schedule(registered.id, topic, order_id, body)
        self.deliver()

    def disable(self, registered: Registered) -> None:
        """See `Shop.disable`."""
        registered.active = False

    def signed(self, registered: Registered, topic: str, body: bytes, number: int) -> Mapping[str, str]:  # noqa: ARG002
        """See `Shop.signed`. Each try has its own time and signature."""
        return stripe_sender.sign(body, registered.more["secret"], topic=topic, now=int(self.now()))

    # --- the API --------------------------------------------------------------------------------------------

    def answer(self, hit: Hit) -> Reply:
        """See `Shop.answer`."""
        self._authenticate(hit)
        if (hit.method, hit.path) == ("GET", "/v1/events"):
            return self._list_events(hit)
        if hit.method == "GET" and hit.path.startswith(_SESSIONS):
            return self._sessions(hit)
        if hit.path.startswith(_ENDPOINTS):
            return self._webhook_endpoints(hit)
        return _error(404, "Unrecognized request URL")

    def _authenticate(self, hit: Hit) -> None:
        key = hit.headers.get("authorization", "").removeprefix("Bearer ")
        if self.refuses == "credentials" or key not in {account["api_key"] for account in self.accounts}:
            raise Refusal(_error(401, f"Invalid API Key provided: {key[:8]}****{key[-4:]}"))
        if self.refuses == "rights":
            raise Refusal(_error(403, f"The provided key '{key}' does not have the required permissions"))

    def _list_events(self, hit: Hit) -> Reply:
        """What is asked for, the newest first; of one moment the one that was last. A replaced event has its
        place still, so that a list may go on behind it."""
        types = {value for name, value in hit.query.items() if name.startswith("types[")}
        if len(types) > 20:
            return _error(400, "Too many types")
        first = max(self.now() - 30 * _DAY, float(hit.query.get("created[gte]", "0")))
        last = float(hit.query.get("created[lte]", "inf"))
        found = [
            event
            for event in sorted([*self.orders.values(), *self._replaced], key=_place, reverse=True)
            if first <= event["created"] <= last and (not types or event["type"] in types)
        ]
        return _page(found, hit, "/v1/events", {event["id"] for event in self._replaced})

    def _sessions(self, hit: Hit) -> Reply:
        found = [order["data"]["object"] for order in self.orders.values()]
        if hit.path == _SESSIONS:
            return _page(found, hit, _SESSIONS)
        identity, _, rest = hit.path.removeprefix(f"{_SESSIONS}/").partition("/")
        session = next((one for one in found if one["id"] == identity), None)
        if session is None or rest != "line_items":
            return _error(404, f"No such checkout.session: '{identity}'", "resource_missing")
        return _page([_line(session)], hit, hit.path)

    # --- the API: endpoints ---------------------------------------------------------------------------------

    def _webhook_endpoints(self, hit: Hit) -> Reply:
        identity = hit.path.removeprefix(_ENDPOINTS).strip("/")
        if not identity:
            return self._make(hit) if hit.method == "POST" else _page(self._shown(), hit, _ENDPOINTS)
        registered = self.registered(identity)
        if registered is None:
            return _error(404, f"No such webhook endpoint: '{identity}'", "resource_missing")
        if hit.method == "DELETE":
            self.subscriptions.remove(registered)
            return json_reply(200, {"id": identity, "object": "webhook_endpoint", "deleted": True})
        if hit.method == "POST":
            self._change(registered, hit)
        return json_reply(200, _endpoint(registered))

    def _shown(self) -> list[dict[str, Any]]:
        """The newest first."""
        return [_endpoint(registered) for registered in reversed(self.subscriptions)]

    def _make(self, hit: Hit) -> Reply:
        """The one answer that shows the secret."""
        told = dict(parse_qsl(hit.body.decode()))
        events = _listed(told, "enabled_events")
        if not told.get("url", "").startswith("http") or not events:
            return _error(400, "Missing required param: url.", "parameter_missing")
        number = 1 + max((int(one.id.removeprefix("we_1Sandbox")) for one in self.subscriptions), default=0)
        more = {"enabled_events": events, "secret": f"whsec_{secrets.token_hex(16)}"}
        made = Registered(id=f"we_1Sandbox{number}", topic=events[0], url=told["url"], more=more)
        made.more["api_version"] = told.get("api_version")
        self.subscriptions.append(made)
        return json_reply(200, {**_endpoint(made), "secret": made.more["secret"]})

    def _change(self, registered: Registered, hit: Hit) -> None:
        told = dict(parse_qsl(hit.body.decode()))
        if events := _listed(told, "enabled_events"):
            registered.topic, registered.more["enabled_events"] = events[0], events
        registered.url = told.get("url", registered.url)
        if "disabled" in told:
            registered.active = told["disabled"] == "false"


def _place(event: Mapping[str, Any]) -> tuple[int, str]:
    return int(event["created"]), event["id"]


def _listed(told: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in told.items() if key.startswith(f"{name}[")]


def _endpoint(registered: Registered) -> dict[str, Any]:
    return {
        "id": registered.id,
        "object": "webhook_endpoint",
        "api_version": registered.more["api_version"],
        "enabled_events": registered.more["enabled_events"],
        "livemode": True,
        "status": "enabled" if registered.active else "disabled",
        "url": registered.url,
    }


def _line(session: Mapping[str, Any]) -> dict[str, Any]:
    """The session's one line."""
    return {
        "id": f"li_{session['id']}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": session["amount_total"],
        "amount_total": session["amount_total"],
        "currency": session["currency"],
        "description": "T-shirt",
        "price": {"id": "price_1Sandbox", "object": "price", "product": "prod_Sandbox"},
        "quantity": 1,
    }


def _page(
    found: Sequence[dict[str, Any]], hit: Hit, url: str, hidden: Collection[str] = frozenset()
) -> Reply:
    """A list object: the items behind ``starting_after``, without the hidden ones."""
    limit, after = hit.query.get("limit", "10"), hit.query.get("starting_after", "")
    if not limit.isdigit() or not 1 <= int(limit) <= 100:
        return _error(400, "Invalid integer: limit")
    ids = [item["id"] for item in found]
    if after and after not in ids:
        return _error(400, f"No such object: '{after}'", "resource_missing")
    behind = [item for item in found[ids.index(after) + 1 if after else 0 :] if item["id"] not in hidden]
    data = behind[: int(limit)]
    return json_reply(200, {"object": "list", "data": data, "has_more": len(data) < len(behind), "url": url})


def _error(status: int, message: str, code: str = "") -> Reply:
    error = {"type": "invalid_request_error", "message": message, **({"code": code} if code else {})}
    return json_reply(status, {"error": error})
