"""POST /webhooks/<store>[/<shop>]: read raw, verify, record, wake, answer.

Acknowledged means committed: 200 is answered after the ledger's commit and never before. What is signed
but unusable is acknowledged too (a store that is refused often enough deletes its webhook) and kept in
quarantine. The answers hold no data.
"""

import threading
import time
from contextlib import suppress

from flask import Blueprint, Response, current_app, request

from integrations import discovery
from integrations.hook import Hook
from integrations.store import Shop, Store, Unverified
from webhooks import bodies, recording, reporting
from webhooks.bodies import Refusal, TooLarge
from webhooks.clock import now_ms
from webhooks.database import Unavailable
from webhooks.ledger import Recorded
from webhooks.relay import Relay

log = reporting.logger(__name__)
blueprint = Blueprint("intake", __name__)

LONGER_PATIENCE = 3.5
"""A store that never sends again gets this much more time for a database that is away, and one try of two
seconds more."""

PATIENT_SHARE = 4
"""So many times as many threads as may spend it: else its hooks keep all others from being answered."""

_LOOK_AGAIN_SECONDS = 0.2


@blueprint.post("/webhooks/<store>", strict_slashes=False)
@blueprint.post("/webhooks/<store>/<shop>", strict_slashes=False)
def receive(store: str, shop: str | None = None) -> Response:
    """One hook. Answers: 200 kept, 401 not signed, 404 unknown, 413 too large, 503 not now."""
    relay: Relay = current_app.extensions["relay"]
    try:
        adapter, candidates = _find(relay, store, shop)
        body = _read(relay.settings.max_body_bytes)
        hook = Hook({name.lower(): value for name, value in request.headers}, body, int(time.time()))
        if adapter.is_ping(hook):
            return _answer(200, "pong")
        found = _verified(adapter, hook, candidates)
        recorded = _record(relay, adapter, found, hook)
    except Refusal as refusal:
        return _answer(refusal.status, refusal.sentence)
    if recorded.is_new or recorded.new_refunds or recorded.is_released:
        relay.wake()
    return _answer(200, "ok")


def _find(relay: Relay, store: str, slug: str | None) -> tuple[Store, list[Shop]]:
    """The shop of the address; all of the store's if it names none."""
    adapter = discovery.stores().get(store)
    if adapter is None:
        raise Refusal(404, "there is no such store")
    of_store = [shop for shop in relay.settings.shops if shop.store == store]
    found = [shop for shop in of_store if slug in {None, shop.slug}]
    if found:
        return adapter, found
    if of_store:
        raise Refusal(404, "there is no such shop")
    reporting.alert("secret_missing", "Hooks arrive for a store without a webhook secret", store=store)
    raise Refusal(503, "this store has no webhook secret yet")


def _read(limit: int) -> bytes:
    try:
        return bodies.read(limit)
    except TooLarge as error:
        what = "A hook is larger than RELAY_MAX_BODY_BYTES allows"
        reporting.alert("hook_too_large", what, error=None, size=error.size)
        raise


def _verified(adapter: Store, hook: Hook, shops: list[Shop]) -> Shop:
    """The shop whose secret signed it. Where several share an address the store must say which one."""
    signed = [shop for shop in shops if _has_signed(adapter, hook, shop)]
    if not signed:
        slug = shops[0].slug if len(shops) == 1 else ""
        log.warning("a hook was not signed with any configured secret", store=adapter.slug, shop=slug)
        raise Refusal(401, "the signature does not match")
    found = signed[0] if len(shops) == 1 else adapter.meant(hook, signed)
    if found is None:
        raise Refusal(404, "there is no such shop")
    return found


def _has_signed(adapter: Store, hook: Hook, shop: Shop) -> bool:
    try:
        index = adapter.verify(hook, shop.secrets)
    except Unverified:
        return False
    if index > 0:
        log.debug("an older secret signed", shop=shop.slug, secret_index=index)
    return True


def _record(relay: Relay, adapter: Store, shop: Shop, hook: Hook) -> Recorded:
    judged = recording.judge(relay, shop, hook, now_ms())
    try:
        return recording.record(relay, shop, judged)
    except Unavailable as error:
        recorded = None if adapter.resends else _insist(relay, shop, judged)
        if recorded is None:
            reporting.alert("database_away", "The database takes no hooks", error=error, shop=shop.slug)
            raise Refusal(503, "not now, please send again") from error
        return recorded


def _insist(relay: Relay, shop: Shop, judged: recording.Judged) -> Recorded | None:
    """Tries again for a while, if a thread can be spared for that; None if it was in vain."""
    patient: threading.BoundedSemaphore = current_app.extensions["patient"]
    if not patient.acquire(blocking=False):
        return None
    try:
        deadline = time.monotonic() + LONGER_PATIENCE
        while time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_SECONDS)
            with suppress(*Unavailable):
                return recording.record(relay, shop, judged)
        return None
    finally:
        patient.release()


def _answer(status: int, sentence: str) -> Response:
    response = Response(f"{sentence}\n", status, mimetype="text/plain")
    if status == 503:
        response.headers["Retry-After"] = "30"
    return response
