"""Calls of a shop's REST API (wc/v3) through the package `woocommerce`, and what answers other than 2xx mean.

Sources: the package (3.0.0), WooCommerce's `class-wc-rest-authentication.php` and REST controllers, and what
running shops answered. What shapes this file:

- The package follows redirects, raises nothing for an error, and waits five seconds. Over https it sends the
  key as basic authentication; over http it signs, and repeats every parameter in the address. A shop that is
  not on this machine is therefore only ever called over https.
- A wrong key looks like missing rights (401 woocommerce_rest_cannot_view), and whatever stands before
  WordPress answers in HTML.
"""

import logging
import re
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal
from urllib.parse import urlsplit

from integrations.access import Away, NoAccess
from integrations.answers import retry_after
from integrations.destination import Response
from integrations.store import Shop
from integrations.untrusted import NotJson, load_json, record, site, text

CONNECT_SECONDS = 5.0
MAX_ANSWER = 64_000_000
"""Bytes of one answer. An order with sixty lines has 23 kB; plugins can add some 700 kB to one."""

USER_AGENT = "purchase-relay"

_BOM = b"\xef\xbb\xbf"  # some plugin's file was saved with it, and every answer of the shop begins so
_KEYS = "WooCommerce > Settings > Advanced > REST API"

Method = Literal["get", "post", "put", "delete"]


class Client:
    """A shop's API, with the deadline of a single call in seconds. Raises `NoAccess` without credentials."""

    def __init__(self, shop: Shop, seconds: float) -> None:
        from woocommerce import API

        # Below it the addresses are logged, which have the key in them when they are signed.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        url, key, secret = _credentials(shop)
        self.address = urlsplit(url).netloc + urlsplit(url).path.rstrip("/")
        self._seconds = seconds
        self._api: Any = API(
            url,
            key,
            secret,
            version="wc/v3",
            timeout=(min(CONNECT_SECONDS, seconds), seconds),
            user_agent=USER_AGENT,
        )

    def call(
        self, method: Method, path: str, params: Mapping[str, str] | None = None, **more: Any
    ) -> Response:
        """The answer, whatever it is; ``data`` is the body of a post or put. Raises `Away`.

        The message of a network error can hold the address with the key's signature: only its class is told.
        """
        deadline = time.monotonic() + self._seconds
        send = getattr(self._api, method)
        try:
            answer = send(path, params=dict(params or {}), stream=True, allow_redirects=False, **more)
            with closing(answer):
                body = _drained(answer.raw, deadline)
        except Away:
            raise
        except Exception as error:  # noqa: BLE001 - of two packages, whose errors have no ancestor in common
            raise Away(f"the shop did not answer ({type(error).__name__})") from None
        headers = {str(name).lower(): str(value) for name, value in answer.headers.items()}
        return Response(answer.status_code, body.removeprefix(_BOM), headers)

    def ask(
        self, method: Method, path: str, params: Mapping[str, str] | None = None, **more: Any
    ) -> Response:
        """The answer to a call that went well and looks like JSON. Raises `NoAccess` or `Away` for others."""
        answer = self.call(method, path, params, **more)
        if not 200 <= answer.status < 300:
            raise refusal(answer, is_write=method != "get")
        if not answer.body.lstrip().startswith((b"{", b"[")):
            raise Away(_NOT_JSON)
        return answer


def code(answer: Response) -> str:
    """WordPress' own word for an error, ``""`` if the answer is none of its errors."""
    try:
        found = text(record(load_json(answer.body)).get("code"), 100)
    except NotJson:
        return ""
    return found if re.fullmatch(r"[A-Za-z0-9_-]+", found, re.ASCII) else ""


def refusal(answer: Response, *, is_write: bool) -> NoAccess | Away:
    """What an answer other than 2xx means: the owner must act, or a later try may help."""
    status, word = answer.status, code(answer)
    if status >= 500 or status in {408, 425, 429}:
        return Away(f"the shop answered {status}", retry_after=retry_after(answer))
    if 300 <= status < 400:
        return _redirected(answer)
    if word.startswith("woocommerce_rest_") and status in {401, 403}:
        return _rights(word, is_write=is_write)
    if word == "rest_no_route" or (status == 404 and not word):
        return NoAccess("no_api", _NO_WOOCOMMERCE if word else _NO_WORDPRESS)
    if status in {400, 404} and word:
        remedy = "update WooCommerce to 5.8 or newer"
        return NoAccess("not_understood", f"the shop does not understand the request ({word}): {remedy}")
    said = f"{status} ({word})" if word else str(status)
    return NoAccess("closed", f"something before WooCommerce answered {said}: {_OPEN}")


_NO_WOOCOMMERCE = "WordPress answered, but without WooCommerce's API: activate WooCommerce there"
_NO_WORDPRESS = (
    "there is no REST API at WOOCOMMERCE_URL: in WordPress choose anything but 'Plain' under Settings > "
    "Permalinks, and let the address be that of WordPress, with its folder if it has one"
)
_OPEN = (
    "allow /wp-json/wc/v3 in the shop's security plugin, firewall or password protection, at least for the "
    "address of this server"
)
_NOT_JSON = (
    "the shop answered with something that is no JSON: WOOCOMMERCE_URL leads to another site, a login or "
    "maintenance page stands before the shop, or PHP prints its warnings (set display_errors to off)"
)
_CHECK_KEY = (
    "check WOOCOMMERCE_CONSUMER_KEY and WOOCOMMERCE_CONSUMER_SECRET; the key needs Read/Write, and its user "
    "must be an administrator or shop manager still. If all is right, the shop's web server keeps the header "
    "Authorization from WordPress"
)


def _credentials(shop: Shop) -> tuple[str, str, str]:
    names = ("url", "consumer_key", "consumer_secret")
    url, key, secret = (text(shop.options.get(name)) for name in names)
    missing = [f"WOOCOMMERCE_{name.upper()}" for name in names if not shop.options.get(name)]
    if missing:
        where = f"make a key under {_KEYS}, with Read/Write, for an administrator or shop manager"
        raise NoAccess("credentials_missing", f"set {', '.join(missing)}: {where}")
    return url, key, secret


def _drained(raw: Any, deadline: float) -> bytes:
    """The body, as long as it comes in time: the timeout of a socket is one of silence only."""
    parts, size = [], 0
    while part := raw.read1(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise Away("the shop's answer is too large")
        if time.monotonic() > deadline:
            raise Away("the shop's answer took too long")
    return b"".join(parts)


def _redirected(answer: Response) -> NoAccess:
    """Never followed: the key would go to whoever the redirect names, and a POST would become a GET."""
    target = site(answer.headers.get("location", "")) or "another address"
    remedy = "set WOOCOMMERCE_URL to the final one, with https and with or without www"
    return NoAccess("redirected", f"the shop redirects to {target}: {remedy}")


def _rights(word: str, *, is_write: bool) -> NoAccess:
    """A key that may only read fails at the first thing that it should write, without a word of its own."""
    if is_write:
        remedy = f"under {_KEYS} give it the permission Read/Write"
        return NoAccess("read_only", f"the key may not write ({word}): {remedy}")
    return NoAccess("credentials_refused", f"the shop refuses the key ({word}): {_CHECK_KEY}")
