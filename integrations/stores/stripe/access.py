"""A Stripe account's own API: its webhook endpoints, and the events of a window, told or not.

Through Stripe's package, which comes with the extra ``stripe`` of this one. Sources:
docs.stripe.com/api/events, /api/webhook_endpoints and /api/checkout/sessions/line_items. Event destinations
with thin events are another list (v2), made and seen in the dashboard only.

An endpoint of Stripe hears several topics; here each of them is a `Subscription`, whose id is the endpoint's
and the topic.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import msgspec

from integrations.access import Access, Away, NoAccess, Page, Pulled, Subscription
from integrations.answers import retry_after
from integrations.destination import Response
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Shop
from integrations.stores.stripe.admission import SALES, account
from integrations.stores.stripe.sale import id_of, order_id
from integrations.untrusted import NotJson, integer, load_json, record, records, text

API_VERSION = "2026-10-28.endive"
"""Of everything that we ask for ourselves, and of the endpoints that we make."""

KEPT_SECONDS = 30 * 86_400  # docs.stripe.com/api/events: events are kept for 30 days

PAGE = 50
_ENDPOINTS, _EVENTS = "/v1/webhook_endpoints", "/v1/events"
_REFUND = "charge.refunded"
_SESSION = "checkout.session"

_MAKE_KEY = (
    "in the dashboard under Developers > API keys make a restricted key that may write Webhook Endpoints and "
    "read Events and Checkout Sessions"
)


def topics_of(shop: Shop) -> tuple[str, ...]:
    """The events that are needed by the shop's settings."""
    flow = shop.options.get("flow")
    renews = flow == "checkout" and shop.options.get("renewals") == "send"
    sales = [
        topic for topic, kind in SALES.items() if kind.flow == flow or (renews and kind.flow == "invoice")
    ]
    return (*sales, _REFUND) if shop.options.get("refunds") == "send" else tuple(sales)


class StripeAccess(Access):
    """See `Access`. Raises `NoAccess` without the package or a key."""

    reaches_back = KEPT_SECONDS

    def __init__(self, shop: Shop, seconds: float) -> None:
        key = text(shop.options.get("api_key"))
        if not key:
            raise NoAccess("credentials_missing", f"set STRIPE_API_KEY: {_MAKE_KEY}")
        self._shop, self._stripe = shop, _package()
        _check_mode(key, shop)
        self._http, self._client = _opened(self._stripe, shop, key, seconds)
        wanted = shop.options.get("connect_accounts")
        self._accounts: tuple[str, ...] = wanted if isinstance(wanted, tuple) and wanted else ("",)

    def probe(self) -> str:
        """See `Access`. An endpoint without an address is refused for that by a key that may make one, and
        for the missing right by any other."""
        for path in (_EVENTS, _ENDPOINTS, "/v1/checkout/sessions"):
            self._ask("get", path, limit=1)
        self._asked(lambda: self._client.raw_request("post", _ENDPOINTS), may_be_invalid=True)
        return "Stripe"

    def close(self) -> None:
        self._http.close()

    # --- endpoints ------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[Subscription]:
        return [found for endpoint in self._endpoints() for found in self._told(endpoint)]

    def subscribe(self, topic: str, url: str) -> Subscription:
        """See `Access`. Stripe signs with a secret of its own, that only the answer to the first topic of a
        new endpoint shows."""
        there = [endpoint for endpoint in self._endpoints() if endpoint.get("url") == url]
        if there:
            kept = next((one for one in there if _hears(one, topic)), there[0])
            events = sorted({*_events(kept), topic}) if not _hears(kept, topic) else _events(kept)
            path = f"{_ENDPOINTS}/{id_of(kept)}"
            endpoint = self._ask("post", path, enabled_events=events, disabled="false")
        else:
            made = {"url": url, "enabled_events": [topic], "api_version": API_VERSION}
            connect = {"connect": "true"} if self._accounts != ("",) else {}
            endpoint = self._ask("post", _ENDPOINTS, description="purchase-relay", **made, **connect)
        return _subscription(endpoint, topic)

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `Access`. An endpoint that hears nothing else, or everything, goes."""
        endpoint_id, _, topic = subscription.id.partition(":")
        endpoint = next((one for one in self._endpoints() if id_of(one) == endpoint_id), None)
        if endpoint is None:
            return
        path, left = (
            f"{_ENDPOINTS}/{endpoint_id}",
            [one for one in _events(endpoint) if one not in {topic, "*"}],
        )
        if left:
            self._ask("post", path, enabled_events=left)
        else:
            self._asked(lambda: self._client.raw_request("delete", path), may_be_invalid=True)

    def _endpoints(self) -> Iterator[dict[str, Any]]:
        after: dict[str, str] = {}
        while True:
            page = self._ask("get", _ENDPOINTS, limit=PAGE, **after)
            found = records(page.get("data"))
            yield from found
            if page.get("has_more") is not True or not found:
                return
            after = {"starting_after": id_of(found[-1])}

    def _told(self, endpoint: dict[str, Any]) -> Iterator[Subscription]:
        """What of the endpoint is about orders."""
        heard = _events(endpoint)
        topics = topics_of(self._shop) if "*" in heard else [one for one in heard if one in _ABOUT_ORDERS]
        return (_subscription(endpoint, topic) for topic in topics)

    # --- events ---------------------------------------------------------------------------------------------

    def pull(self, since: int, until: int, after: str = "") -> Page:
        """See `Access`. An event never changes; the newest page comes first. ``next`` is
        ``<number of the connected account>:<last event's id>``."""
        index, last = _place(after)
        if index >= len(self._accounts):
            return Page(orders=())
        connected = self._accounts[index]
        more = {"starting_after": last} if last else {}
        page = self._raw(
            _EVENTS,
            connected,
            types=list(topics_of(self._shop)),
            created={"gte": since, "lte": until},
            limit=PAGE,
            **more,
        )
        pulled = [self._pulled(bytes(raw), connected) for raw in reversed(page.data)]
        if page.has_more and page.data:
            return Page(orders=tuple(pulled), next=f"{index}:{_head(page.data[-1]).id}")
        following = f"{index + 1}:" if index + 1 < len(self._accounts) else ""
        return Page(orders=tuple(pulled), next=following)

    def complete(self, pulled: Pulled) -> Pulled:
        """See `Access`. The lines of a Checkout session, which no event has."""
        event = record(_read(pulled.hook.body))
        found = record(record(event.get("data")).get("object"))
        if found.get("object") != _SESSION or found.get("line_items"):
            return pulled
        path = f"/v1/checkout/sessions/{id_of(found)}/line_items"
        lines = self._raw(path, account(event), limit=PAGE)
        try:
            body = msgspec.json.decode(pulled.hook.body)
        except ValueError:
            return pulled
        body["data"]["object"]["line_items"] = {"object": "list", "data": lines.data}
        hook = msgspec.structs.replace(pulled.hook, body=msgspec.json.encode(body))
        return msgspec.structs.replace(pulled, hook=hook)

    def _pulled(self, raw: bytes, connected: str) -> Pulled:
        event = record(_read(raw))
        if connected and not account(event):  # a hook says whose it is, a list that was asked for does not
            raw = raw.rstrip()[:-1] + b',"account":' + msgspec.json.encode(connected) + b"}"
        found = record(record(event.get("data")).get("object"))
        return Pulled(
            hook=Hook({}, raw, int(time.time())),
            order_id=order_id(found, self._shop) or id_of(event),
            changed_at=integer(event.get("created")),
        )

    # --- calls ----------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        answer = self._asked(lambda: self._client.raw_request(method, path, **params))
        found = _read(answer.body)
        if not isinstance(found, dict) or "object" not in found:
            raise Away("Stripe answered with something else than was asked for")
        return found

    def _raw(self, path: str, connected: str, **params: Any) -> "_List":
        """A list whose items stay as Stripe wrote them."""
        options = {"stripe_account": connected} if connected else {}
        answer = self._asked(lambda: self._client.raw_request("get", path, **params, **options))
        try:
            return _lists.decode(answer.body)
        except ValueError:
            raise Away("Stripe's answer cannot be read") from None

    def _asked(self, call: Callable[[], Any], *, may_be_invalid: bool = False) -> Any:
        """The messages of the package's errors are left out: they repeat a part of the key, and addresses."""
        errors = self._stripe
        try:
            return call()
        except errors.InvalidRequestError as error:
            if may_be_invalid:
                return None
            word = text(error.code, 100) or "400"
            raise NoAccess("not_understood", f"Stripe does not understand the request ({word})") from None
        except errors.AuthenticationError:
            remedy = "check STRIPE_API_KEY: it was mistyped, rolled or ended"
            raise NoAccess("credentials_refused", f"Stripe refuses the key: {remedy}") from None
        except errors.PermissionError:
            raise NoAccess("rights", f"the key may not do this: {_MAKE_KEY}") from None
        except errors.StripeError as error:
            raise _away(error) from None


class _List(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]
    has_more: bool = False


class _Head(msgspec.Struct, frozen=True):
    id: str


_lists = msgspec.json.Decoder(_List)
_ABOUT_ORDERS = frozenset({*SALES, _REFUND})


def _package() -> ModuleType:
    try:
        import stripe
    except ImportError:
        remedy = "install purchase-relay with its extra: pip install 'purchase-relay[stripe]'"
        raise NoAccess("extra_missing", f"Stripe's own package is not installed: {remedy}") from None
    stripe.enable_telemetry = False
    logging.getLogger(stripe.__name__).setLevel(
        logging.WARNING
    )  # it logs addresses, and bodies when asked to
    return stripe


def _opened(stripe: ModuleType, shop: Shop, key: str, seconds: float) -> tuple[Any, Any]:
    """The HTTP client and the API's. One try, since whoever asks comes again; no redirect is followed."""
    session = stripe.RequestsClient().requests.Session()
    session.max_redirects = 0
    http = stripe.RequestsClient(timeout=seconds, session=session)
    client = stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": text(shop.options.get("api_base")).rstrip("/")},
        max_network_retries=0,
        http_client=http,
    )
    return http, client


def _check_mode(key: str, shop: Shop) -> None:
    """``rk_live_…``, ``sk_test_…``: a key opens one mode and is silent about the other."""
    found = re.match(r"[rs]k_(live|test)_", key)
    wanted = shop.options.get("livemode")
    if found and wanted not in {found[1], "any"}:
        remedy = f"set STRIPE_API_KEY to one of {wanted} mode"
        raise NoAccess("other_mode", f"the key is of {found[1]} mode, but STRIPE_LIVEMODE={wanted}: {remedy}")


def _away(error: Any) -> Away:
    status = integer(error.http_status)
    told = error.headers or error.json_body  # where the package puts the headers of what it cannot read
    headers = {str(name).lower(): str(value) for name, value in dict(told or {}).items()}
    said = f"answered {status}" if status else f"did not answer ({type(error).__name__})"
    return Away(f"Stripe {said}", retry_after=retry_after(Response(status, headers=headers)))


def _events(endpoint: Mapping[str, Any]) -> list[str]:
    listed = endpoint.get("enabled_events")
    return [text(one, 100) for one in listed] if isinstance(listed, list) else []


def _hears(endpoint: Mapping[str, Any], topic: str) -> bool:
    return bool({topic, "*"} & set(_events(endpoint)))


def _subscription(endpoint: Mapping[str, Any], topic: str) -> Subscription:
    status = text(endpoint.get("status"), 100)
    return Subscription(
        id=f"{id_of(endpoint)}:{topic}",
        topic=topic,
        url=text(endpoint.get("url")),
        active=status == "enabled",
        detail="" if status == "enabled" else "disabled: by hand, or by Stripe after days of failures",
        api_version=text(endpoint.get("api_version"), 100),
        secret=Secret(text(endpoint.get("secret"), 200)),
    )


def _place(after: str) -> tuple[int, str]:
    """Where to go on; from the beginning if that is no place."""
    found = re.fullmatch(r"([0-9]{1,4}):([A-Za-z0-9_]{0,255})", after, re.ASCII)
    return (int(found[1]), found[2]) if found else (0, "")


def _head(raw: msgspec.Raw) -> _Head:
    try:
        return msgspec.json.decode(raw, type=_Head)
    except ValueError:
        raise Away("Stripe's list of events cannot be read") from None


def _read(body: str | bytes) -> Any:
    try:
        return load_json(body.encode() if isinstance(body, str) else body)
    except NotJson:
        raise Away("Stripe's answer cannot be read") from None
