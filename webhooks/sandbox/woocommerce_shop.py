"""A WooCommerce shop: orders, webhooks and their failures as a running shop (10.5.2, with tables for
orders) was seen to behave, and where nothing was seen as the wc/v3 controllers say.

Invented, since a sandbox must be quick: hooks leave at once, while a shop sends them when somebody visits it;
and an OAuth timestamp may be of any time, because the shop's clock is moved and the caller's is not.
"""

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from integrations.destination import Request
from integrations.signing import digest
from webhooks.sandbox import woocommerce_sender
from webhooks.sandbox.cast import load
from webhooks.sandbox.shop import Registered, Shop, _Due
from webhooks.sandbox.standin import Hit, Refusal, Reply, Step, json_reply, strict_json

_API = "/wp-json/wc/v3/"
_TOPICS = re.compile(r"(order|product|customer|coupon)\.(created|updated|deleted|restored)|action\.\w+")
_ORDERBY = {"date": "date_created", "modified": "date_modified", "id": "id"}
_OAUTH = ("consumer_key", "timestamp", "nonce", "signature", "signature_method")


class WooCommerceShop(Shop):
    """``may_write``: the key's permission is Read/Write. ``owner_is_gone``: the
    user who made the webhooks was deleted, so that every hook is a signed error."""

    slug = "woocommerce_shop"
    demo: ClassVar[Mapping[str, str]] = {
        "consumer_key": "ck_sandbox00000001",
        "consumer_secret": "cs_sandbox00000001",
    }
    answer_seconds = 60.0
    gives_up_after = 7
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=429, body="<html>Too Many Requests</html>")
    }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.zone = ZoneInfo("Europe/Berlin")
        self.may_write = True
        self.owner_is_gone = False
        self._nonces: set[str] = set()
        self._numbers = 26

    # --- orders ---------------------------------------------------------------------------------------------

    def settings(self, address: str) -> dict[str, str]:
        """See `Shop.settings`."""
        return {"url": address, **self.accounts[0]}

    def order(self, number: int, at: float) -> dict[str, Any]:
        """See `Shop.order`."""
        made = load("woocommerce", "paid") | {"id": number, "number": str(number)}
        for name in ("date_created", "date_modified", "date_paid"):
            made |= self._written(name, at)
        return made

    def place(self, order: dict[str, Any]) -> None:
        """See `Shop.place`. Both topics, as a block checkout tells them: updated first."""
        order_id = str(order["id"])
        self.keep(order_id, order)
        for topic in ("order.updated", "order.created"):
            self.tell(topic, order_id, self._body(order))

    def touch(self, order_id: str) -> None:
        """See `Shop.touch`."""
        self.edit(order_id)

    def edit(self, order_id: str, **changes: Any) -> None:
        """Changes fields of the order; the shop tells of it."""
        changed = self.orders[order_id] | changes | self._written("date_modified", self.now())
        self.keep(order_id, changed)
        self.tell("order.updated", order_id, self._body(changed))

    def _written(self, name: str, at: float) -> dict[str, str]:
        """A time as an order has it: the wall clock, and UTC, neither with its zone."""
        utc = datetime.fromtimestamp(int(at), UTC)
        shape = "%Y-%m-%dT%H:%M:%S"
        return {f"{name}_gmt": utc.strftime(shape), name: utc.astimezone(self.zone).strftime(shape)}

    def _body(self, order: Mapping[str, Any]) -> bytes:
        if self.owner_is_gone:
            return _error(401, "woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.").body
        return _php(order)

    # --- hooks ----------------------------------------------------------------------------------------------

    def takes(self, status: int) -> bool:
        """See `Shop.takes`. A redirect counts as success and is not followed."""
        return 200 <= status <= 302

    def disable(self, registered: Registered) -> None:
        """See `Shop.disable`."""
        registered.active = False
        registered.more["status"] = "disabled"

    def signed(self, registered: Registered, topic: str, body: bytes, number: int) -> Mapping[str, str]:  # noqa: ARG002
        """See `Shop.signed`. There is no second try."""
        headers = woocommerce_sender.sign(body, registered.more["secret"], topic=topic, now=int(self.now()))
        return headers | {"X-WC-Webhook-ID": registered.id}

    def _send(self, due: _Due) -> None:
        super()._send(due)
        registered = self.registered(due.subscription)
        if registered is not None and not registered.more["greeted"]:
            self._greet(registered)

    def _greet(self, registered: Registered) -> None:
        """The unsigned ping; answered with anything but 200 it comes again after every hook."""
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "WooCommerce/10.5.2 Hookshot (WordPress/6.9.1)",
        }
        request = Request(registered.url, f"webhook_id={registered.id}".encode(), headers)
        registered.more["greeted"] = self._transport.send(request).status == 200

    # --- the API --------------------------------------------------------------------------------------------

    def answer(self, hit: Hit) -> Reply:
        """See `Shop.answer`."""
        if not hit.path.startswith(_API):
            return _error(404, "rest_no_route", "No route was found matching the URL and request method.")
        self._authenticate(hit)
        resource, _, rest = hit.path.removeprefix(_API).partition("/")
        answers: Mapping[tuple[str, str], Callable[[Hit], Reply]] = {
            ("GET", "orders"): self._list_orders,
            ("GET", "webhooks"): self._list_webhooks,
            ("POST", "webhooks"): self._make_webhook,
            ("POST", "webhooks/batch"): lambda _hit: _reply([]),
            ("PUT", "webhooks/N"): lambda hit: self._change_webhook(hit, rest),
            ("DELETE", "webhooks/N"): lambda hit: self._end_webhook(hit, rest),
        }
        place = f"{resource}/N" if rest.isdigit() else f"{resource}/{rest}".rstrip("/")
        if (hit.method, place) not in answers:
            return _error(404, "rest_no_route", "No route was found matching the URL and request method.")
        return answers[hit.method, place](hit)

    def _authenticate(self, hit: Hit) -> None:
        """OAuth 1.0a, since the sandbox has no TLS: over plain http basic authentication is not looked at."""
        given = {name: hit.query.get(f"oauth_{name}", "") for name in _OAUTH}
        known = {account["consumer_key"]: account["consumer_secret"] for account in self.accounts}
        if not any(given.values()):
            raise Refusal(_error(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources."))
        if self.refuses == "credentials" or given["consumer_key"] not in known:
            raise Refusal(_unproved("Consumer key is invalid."))
        expected = _signature(hit, known[given["consumer_key"]])
        if given["signature"] != expected or given["signature_method"] != "HMAC-SHA256":
            raise Refusal(_unproved("Invalid signature - provided signature does not match."))
        if given["nonce"] in self._nonces:
            raise Refusal(_unproved("Invalid nonce - nonce has already been used."))
        self._nonces.add(given["nonce"])
        if hit.method != "GET" and not self.may_write:
            raise Refusal(_unproved("The API key provided does not have write permissions."))
        if self.refuses == "rights":
            raise Refusal(_error(403, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources."))

    def _list_orders(self, hit: Hit) -> Reply:
        query = hit.query
        wanted = {name for name in query.get("status", "any").split(",") if name}
        column = _ORDERBY.get(query.get("orderby", "date"))
        if column is None or query.get("order", "desc") not in {"asc", "desc"}:
            raise Refusal(_invalid("orderby"))
        found = [
            order
            for order in self.orders.values()
            if (order["status"] in wanted or ("any" in wanted and order["status"] != "trash"))
            and self._within(order, query)
        ]
        found.sort(key=lambda order: (order[column], order["id"]), reverse=query.get("order") != "asc")
        return _part(found, query, key=lambda order: order)

    def _within(self, order: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        """The date filters, all of which leave out the second that they name.

        With the flag the UTC column is compared, without it the wall clock's. A date without a zone is
        compared as it stands; one with a zone is first turned into the shop's wall clock, *whatever* column
        it is compared with: the trap.
        """
        gmt = query.get("dates_are_gmt", "").lower() in {"1", "true"}
        for name, column in (("", "date_created"), ("modified_", "date_modified")):
            at = datetime.fromisoformat(order[f"{column}_gmt" if gmt else column])
            after, before = (self._wall(query, f"{name}{side}") for side in ("after", "before"))
            if (after and at <= after) or (before and at >= before):
                return False
        return True

    def _wall(self, query: Mapping[str, str], name: str) -> datetime | None:
        if name not in query:
            return None
        try:
            if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", query[name]):
                raise Refusal(_invalid(name))
            written = datetime.fromisoformat(query[name])
        except ValueError:
            raise Refusal(_invalid(name)) from None
        return written.astimezone(self.zone).replace(tzinfo=None) if written.tzinfo else written

    # --- the API: webhooks ----------------------------------------------------------------------------------

    def _list_webhooks(self, hit: Hit) -> Reply:
        ordered = sorted(self.subscriptions, key=lambda one: int(one.id))
        return _part(ordered, hit.query, key=_webhook)

    def _make_webhook(self, hit: Hit) -> Reply:
        """Registering twice is not refused. The answer is 201 and active whatever the ping was answered."""
        told = strict_json(hit.body)
        if not isinstance(told, dict) or not {"topic", "delivery_url"} <= told.keys():
            return _error(400, "rest_missing_callback_param", "Missing parameter(s): topic, delivery_url")
        if not _TOPICS.fullmatch(str(told["topic"])):
            return _error(400, "woocommerce_rest_shop_webhook_invalid_topic", "Webhook topic must be valid.")
        if not re.match(r"https?://", str(told["delivery_url"])):
            return _error(400, "woocommerce_rest_shop_webhook_invalid_delivery_url", "Webhook delivery URL …")
        self._numbers += 1
        more = {
            "name": told.get("name", ""),
            "status": "active",
            "secret": told.get("secret") or secrets.token_urlsafe(38),
            "greeted": False,
        }
        made = Registered(id=str(self._numbers), topic=told["topic"], url=told["delivery_url"], more=more)
        self.subscriptions.append(made)
        self._greet(made)
        return _reply(_webhook(made), 201)

    def _change_webhook(self, hit: Hit, identity: str) -> Reply:
        """A status set anew keeps the count of failures."""
        registered, told = self.registered(identity), strict_json(hit.body)
        if registered is None:
            return _error(400, "woocommerce_rest_shop_webhook_invalid_id", "ID is invalid.")
        if not isinstance(told, dict) or told.get("status", "active") not in {"active", "paused", "disabled"}:
            raise Refusal(_invalid("status"))
        registered.more |= {name: told[name] for name in ("name", "status", "secret") if told.get(name)}
        registered.active = registered.more["status"] == "active"
        if told.get("delivery_url", registered.url) != registered.url:
            registered.url = told["delivery_url"]
            self._greet(registered)
        return _reply(_webhook(registered))

    def _end_webhook(self, hit: Hit, identity: str) -> Reply:
        if hit.query.get("force") not in {"true", "1"}:
            return _error(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
        registered = self.registered(identity)
        if registered is None:
            return _error(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
        self.subscriptions.remove(registered)
        return _reply(_webhook(registered))


def _webhook(registered: Registered) -> dict[str, Any]:
    """A webhook as the API shows it: never with its secret."""
    resource, _, event = registered.topic.partition(".")
    return {
        "id": int(registered.id),
        "name": registered.more["name"],
        "status": registered.more["status"],
        "topic": registered.topic,
        "resource": resource,
        "event": event,
        "delivery_url": registered.url,
    }


def _part(found: list[Any], query: Mapping[str, str], *, key: Callable[[Any], dict[str, Any]]) -> Reply:
    """The page asked for. One past the end is empty, and says that there is nothing at all."""
    size, page = query.get("per_page", "10"), query.get("page", "1")
    if not size.isdigit() or not 1 <= int(size) <= 100 or not page.isdigit() or not int(page):
        raise Refusal(_invalid("per_page"))
    first = int(query["offset"]) if "offset" in query else (int(page) - 1) * int(size)
    part = [key(item) for item in found[first : first + int(size)]]
    fields = query.get("_fields", "")
    shown = [{name: item[name] for name in fields.split(",")} for item in part] if fields else part
    total = len(found) if part else 0
    pages = -(-total // int(size))
    return _reply(shown, headers={"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)})


def _signature(hit: Hit, secret: str) -> str:
    """As `class-wc-rest-authentication.php` makes it: every parameter of the address, by name."""
    told = {name: value for name, value in hit.query.items() if name != "oauth_signature"}
    pairs = [f"{quote(name, '')}={quote(told[name], '')}" for name in sorted(told)]
    address = f"http://{hit.headers.get('host', '')}{hit.path}"
    base = "&".join((hit.method, quote(address, ""), quote("&".join(pairs), "")))
    return base64.b64encode(digest(f"{secret}&".encode(), base.encode())).decode()


def _php(document: Any) -> bytes:
    """JSON as PHP writes it: pure ASCII, and no bare slash."""
    return json.dumps(document, separators=(",", ":")).replace("/", "\\/").encode()


def _reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status, _php(document), {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
    )


def _error(status: int, code: str, message: str) -> Reply:
    return json_reply(status, {"code": code, "message": message, "data": {"status": status}})


def _unproved(message: str) -> Reply:
    return _error(401, "woocommerce_rest_authentication_error", message)


def _invalid(name: str) -> Reply:
    return _error(400, "rest_invalid_param", f"Invalid parameter(s): {name}")
