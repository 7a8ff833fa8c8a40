"""One question to a shop's Admin API: GraphQL, through ShopifyAPI's session (shopify.dev, GraphQL Admin API).

ShopifyAPI knows a shop's address, the API's version and the header of the token. What it would do with them
is left out: its `GraphQL.execute` waits for ever, follows redirects with the token, and prints what Shopify
answers to an error, buyers included. And its session is shared by whoever comes next, so it is left before
anything goes out.
"""

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from integrations.access import Away, NoAccess
from integrations.setting import Secret
from integrations.untrusted import NotJson, load_json, record, records, text

API_VERSION = "2026-07"
"""The first with `Order.checkoutToken`. Each is served for a year at least; then Shopify takes the oldest."""

MAX_ANSWER = 8_000_000
"""Bytes. A page of orders has some hundred thousand."""

_TRIES = 3
_DEFAULT_WAIT = 10.0  # seconds, where a throttled answer does not say

_RIGHT = re.compile(r"\b(?:read|write)_[a-z_]{3,40}\b")
_SECONDS = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,6})?", re.ASCII)

_REFUSED = (
    "Shopify takes neither SHOPIFY_CLIENT_ID with SHOPIFY_CLIENT_SECRET nor SHOPIFY_ACCESS_TOKEN: copy them "
    "again (Dev Dashboard > Apps > your app > Settings), and see that the app is installed in this shop"
)
_RIGHTS = (
    "give the app the scope read_orders and access to protected customer data (Dev Dashboard > Apps > your "
    "app > Versions), then release the version and let the shop approve it"
)
_FROZEN = "Shopify has frozen the shop; its owner must settle the bill in the Shopify admin"
_NO_ACCESS: Mapping[int, tuple[str, str]] = {
    401: ("credentials_refused", _REFUSED),
    402: ("shop_frozen", _FROZEN),
    403: ("missing_right", _RIGHTS),
    404: ("no_such_shop", "there is no such shop: set SHOPIFY_DOMAIN to its own name.myshopify.com"),
    423: ("shop_locked", "Shopify has locked the shop; its owner must ask Shopify's support"),
}
NOT_UNDERSTOOD = (
    "not_understood",
    f"Shopify's API {API_VERSION} did not understand the question: update purchase-relay",
)


class Answer(NamedTuple):
    """``denied`` are the fields that Shopify withholds, each as the names that lead to it from the top."""

    data: dict[str, Any]
    denied: tuple[tuple[str, ...], ...] = ()
    rights: tuple[str, ...] = ()


class _Throttled(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Client:
    """One shop's Admin API. ``base`` is empty save where a stand-in takes Shopify's place; ``seconds`` is the
    deadline of a single call."""

    def __init__(self, domain: str, token: Secret, seconds: float, *, base: str = "") -> None:
        if not re.fullmatch(r"[!-~]+", token):  # else it would be quoted by the error of who cannot send it
            raise NoAccess(*_NO_ACCESS[401])
        self._domain, self._base, self._token, self._seconds = domain, base, token, seconds

    def ask(self, query: str, variables: Mapping[str, Any]) -> Answer:
        """What Shopify answers. A short wait for its throttle is taken here: whoever began a page would have
        to begin it again. Raises `NoAccess` or `Away`."""
        for _ in range(_TRIES):
            try:
                return self._once(query, variables)
            except _Throttled as throttled:
                wait = throttled.seconds
            if wait > self._seconds:
                break
            time.sleep(wait)
        raise Away("Shopify throttles the app", retry_after=wait)

    def _once(self, query: str, variables: Mapping[str, Any]) -> Answer:
        endpoint, headers = self._opened()
        body = json.dumps({"query": query, "variables": variables}).encode()
        return _read(*_post(endpoint, headers, body, self._seconds))

    def _opened(self) -> tuple[str, dict[str, str]]:
        """Address and headers, from a session that nobody else will find."""
        import shopify

        try:
            shopify.ShopifyResource.activate_session(shopify.Session(self._domain, API_VERSION, self._token))
            asked = shopify.GraphQL()
            kinds = {"Accept": "application/json", "Content-Type": "application/json"}
            headers: dict[str, str] = asked.merge_headers(kinds, asked.headers)
            endpoint: str = asked.endpoint
        finally:
            shopify.ShopifyResource.clear_session()
        return (self._base + urlsplit(endpoint).path if self._base else endpoint), headers


# --- the socket ------------------------------------------------------------------------------------------


class _Came(NamedTuple):
    status: int
    retry_after: str
    body: bytes


def _post(endpoint: str, headers: Mapping[str, str], body: bytes, seconds: float) -> _Came:
    """One exchange without redirects, proxies or retries, of so many seconds at most. Raises `Away`."""
    parts = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=seconds)
    begun = time.monotonic()
    try:
        connection.connect()
        with _deadline(connection.sock, seconds - (time.monotonic() - begun)):
            connection.request("POST", parts.path, body, dict(headers))
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Its text may hold the address; its class says enough.
        raise Away(f"no answer from Shopify ({type(error).__name__})") from None
    finally:
        connection.close()
    if len(answer) > MAX_ANSWER:
        raise Away("Shopify's answer is too long")
    return _Came(response.status, response.getheader("Retry-After", ""), answer)


@contextmanager
def _deadline(sock: Any, seconds: float) -> Iterator[None]:
    """Cuts the connection when the time is up: a timeout alone never ends against a server that drips."""

    def cut() -> None:
        with suppress(OSError):  # it has ended by itself meanwhile
            sock.shutdown(2)  # both ways

    watch = threading.Timer(max(seconds, 0), cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


# --- what came back --------------------------------------------------------------------------------------


def _read(status: int, retry_after: str, body: bytes) -> Answer:
    refuse_status(status, retry_after)
    try:
        document = record(load_json(body))
    except NotJson:
        raise Away("Shopify's answer is not JSON") from None
    errors = records(document.get("errors"))
    _refuse_errors(errors, document)
    if not isinstance(document.get("data"), dict):
        raise NoAccess(*_NO_ACCESS[403]) if errors else Away("Shopify's answer has no data")
    rights = {right for error in errors for right in _RIGHT.findall(text(error.get("message")))}
    return Answer(document["data"], tuple(map(_path, errors)), tuple(sorted(rights)))


def refuse_status(status: int, retry_after: str = "") -> None:
    """Raises `NoAccess` or `Away` for every answer but 200."""
    if status in _NO_ACCESS:
        raise NoAccess(*_NO_ACCESS[status])
    if 300 <= status < 400:
        raise NoAccess(
            "redirected", "the shop has another address: set SHOPIFY_DOMAIN to its own name.myshopify.com"
        )
    if status == 429:
        wait = float(retry_after) if _SECONDS.fullmatch(retry_after) else _DEFAULT_WAIT
        raise Away("Shopify throttles the app", retry_after=wait)
    if status != 200:
        raise Away(f"Shopify answers {status}")


def _refuse_errors(errors: list[dict[str, Any]], document: dict[str, Any]) -> None:
    """Shopify answers 200 to most of what goes wrong. Withheld fields are the caller's to judge."""
    codes = {text(record(error.get("extensions")).get("code")) for error in errors}
    if "THROTTLED" in codes:
        raise _Throttled(_wait(document))
    if codes & {"INTERNAL_SERVER_ERROR", "TIMEOUT"} or (document.get("errors") and not errors):
        raise Away("Shopify could not answer")
    if "SHOP_INACTIVE" in codes:
        raise NoAccess(*_NO_ACCESS[402])
    # Of too many denials Shopify tells only some, and then that there were too many.
    if codes and "ACCESS_DENIED" not in codes:
        raise NoAccess(*NOT_UNDERSTOOD)


def _wait(document: dict[str, Any]) -> float:
    """Seconds until what was asked can be paid for."""
    cost = record(record(document.get("extensions")).get("cost"))
    status = record(cost.get("throttleStatus"))
    written = (cost.get("requestedQueryCost"), status.get("currentlyAvailable"), status.get("restoreRate"))
    asked, there, rate = (_number(value) for value in written)
    if asked is None or there is None or not rate:
        return _DEFAULT_WAIT
    return min(max((asked - there) / rate, 0.5), 3_600.0)


def _number(value: object) -> float | None:
    written = text(value, 20)
    return float(written) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", written, re.ASCII) else None


def _path(error: dict[str, Any]) -> tuple[str, ...]:
    path = error.get("path")
    return tuple(step for step in path if isinstance(step, str)) if isinstance(path, list) else ()
