"""POST /collect/<shop>: takes what a shopper's browser tells of an order, and believes little of it.

Anybody can send here. So whatever is sent costs little, is bounded, and never touches what the store itself
said: it may only add to an order that the store reported (`enriching.py`), and wake deliveries that waited
for it. The answer is the same whether such an order exists or not. Sent as text/plain, by sendBeacon or by
fetch with keepalive and without credentials, it needs no preflight; one that is asked for is answered.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from flask import Blueprint, Response, current_app, request

from integrations import discovery, untrusted
from integrations.store import Shop
from webhooks import beacon, bodies, joining, reporting
from webhooks.beacon import Beacon, NotABeacon
from webhooks.bodies import Refusal
from webhooks.clock import now_ms
from webhooks.database import Unavailable
from webhooks.enriching import bridges
from webhooks.limits import Buckets, disguised
from webhooks.relay import Relay
from webhooks.twins import NewTwin

log = reporting.logger(__name__)
blueprint = Blueprint("collect", __name__)

AT_ONCE = 2
"""Beacons of one process that may be with the database at the same time: other connections are for hooks."""

IN_LINE = 8
"""Those and the ones that wait for them, each with a thread: the other threads are for hooks."""

WAIT_SECONDS = 0.25

_LONGEST_AGENT = 500


class Limits:
    """Of one process. A shopper's page sends one beacon for an order, or a few; what a shop may have here
    would do for ninety thousand orders in an hour."""

    def __init__(self) -> None:
        self.clients = Buckets(rate=0.5, burst=20)
        self.shops = Buckets(rate=25, burst=250)
        self.told = Buckets(rate=1 / 600, burst=1)
        self.line = threading.BoundedSemaphore(IN_LINE)
        self.places = threading.BoundedSemaphore(AT_ONCE)


@blueprint.route("/collect/<shop>", methods=["POST", "OPTIONS"], strict_slashes=False)
def receive(shop: str) -> Response:
    """One beacon. Answers: 204 taken, 400 none, 403 from elsewhere, 404 unknown, 413 too large, 429 too many,
    503 not now."""
    relay: Relay = current_app.extensions["relay"]
    limits: Limits = current_app.extensions["beacon_limits"]
    try:
        found = _find(relay, shop)
    except Refusal as refusal:
        return _answer(refusal.status, refusal.sentence)
    try:
        is_framed = _check_origin(limits, found)
        if request.method == "POST":
            _limit(relay, limits, found)
            told = _read(found, is_framed=is_framed)
            _take(relay, limits, found, _with_client(relay, told))
    except Refusal as refusal:
        return _open_to(found, _answer(refusal.status, refusal.sentence))
    return _open_to(found, _answer(204, ""))


def _find(relay: Relay, slug: str) -> Shop:
    shop = next((one for one in relay.settings.shops if one.slug == slug and one.origins), None)
    if shop is None:
        raise Refusal(404, "there is no such shop, or it takes no beacons")
    return shop


# --- who may -----------------------------------------------------------------------------------------------


def _check_origin(limits: Limits, shop: Shop) -> bool:
    """Whether the page stands in a frame without an origin. A browser lets no page lie about it; others can,
    so that nothing else is left to it."""
    origin = request.headers.get("Origin", "")
    if origin in shop.origins:
        return False
    if origin == "null" and discovery.stores()[shop.store].framed_pixel:
        return True
    if limits.told.take(shop.slug.encode()):
        log.warning("a beacon came from a site that is not among the shop's origins", shop=shop.slug)
    raise Refusal(403, "this site is not among the shop's origins")


def _open_to(shop: Shop, response: Response) -> Response:
    """What a browser wants to hear before a page of the shop may see the answer. Never with credentials."""
    origin = request.headers.get("Origin", "")
    is_framed = origin == "null" and discovery.stores()[shop.store].framed_pixel
    response.headers["Vary"] = "Origin"
    if origin in shop.origins or is_framed:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "POST"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type"
        response.headers["Access-Control-Max-Age"] = "86400"
    return response


def _limit(relay: Relay, limits: Limits, shop: Shop) -> None:
    """One client must not use up what all others of the shop share, so it is asked first."""
    address = _peer(relay)
    # A proxy that nobody told us of is no client.
    if address and not limits.clients.take(disguised(address)):
        raise Refusal(429, "too many")
    if not limits.shops.take(shop.slug.encode()):
        raise Refusal(429, "too many")


def _peer(relay: Relay) -> str:
    """The client's public address, as far as the proxies before us can be believed; else ``""``."""
    passed = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    way = [*passed, request.remote_addr or ""]
    written = way[-1 - relay.settings.proxies] if len(way) > relay.settings.proxies else ""
    try:
        return str(ip_address(written)) if ip_address(written).is_global else ""
    except ValueError:
        return ""


# --- what it says ------------------------------------------------------------------------------------------


def _read(shop: Shop, *, is_framed: bool) -> Beacon:
    raw = bodies.read(request, beacon.MAX_BYTES)
    try:
        told = beacon.read(raw)
    except NotABeacon as error:
        raise Refusal(400, str(error)) from error
    is_own = told.origin in shop.origins
    if is_framed and not is_own:  # such a frame says nothing of the site around it but this
        raise Refusal(403, "this site is not among the shop's origins")
    return told if is_own else told.elsewhere()


def _with_client(relay: Relay, told: Beacon) -> Beacon:
    """With what the request itself shows of the browser. Behind a proxy that the settings do not count, the
    address is the proxy's, and left out."""
    is_counted = relay.settings.proxies or "X-Forwarded-For" not in request.headers
    agent = untrusted.text(request.headers.get("User-Agent", ""), _LONGEST_AGENT)
    return told.of(_peer(relay) if is_counted else "", agent)


def _take(relay: Relay, limits: Limits, shop: Shop, told: Beacon) -> None:
    with _a_place(limits.line, 0), _a_place(limits.places, WAIT_SECONDS):
        try:
            _record(relay, shop, told)
        except Unavailable as error:
            raise Refusal(503, "not now") from error


@contextmanager
def _a_place(places: threading.BoundedSemaphore, seconds: float) -> Iterator[None]:
    if not places.acquire(timeout=seconds):
        raise Refusal(503, "not now")
    try:
        yield
    finally:
        places.release()


def _record(relay: Relay, shop: Shop, told: Beacon) -> None:
    found = bridges(shop.slug, told.names)
    new = NewTwin(
        shop=shop.slug,
        digest=told.digest(shop.slug),
        bridges=found,
        denies=told.denies,
        received_at=now_ms(),
        sealed=relay.vault.seal(beacon.encode(told)),
    )
    relay.twins.record(new)
    if joining.join(relay, shop, found):  # also of one that is known: the last try may have failed
        relay.wake()


def _answer(status: int, sentence: str) -> Response:
    if status == 204:
        return Response(status=204)
    return Response(f"{sentence}\n", status, mimetype="text/plain")
