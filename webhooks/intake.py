"""POST /webhooks/<store>[/<shop>]: read raw, verify, record, wake, answer.

Acknowledged means committed: 200 is answered after the ledger's commit and never before. What is signed
but unusable is acknowledged too (a store that is refused often enough deletes its webhook) and kept in
quarantine. The answers hold no data.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.wrappers import Request

from integrations import discovery
from integrations.hook import Hook
from integrations.store import Shop, Store, Unverified
from webhooks import bodies, recording, reporting
from webhooks.answers import Answer
from webhooks.bodies import Refusal, TooLarge
from webhooks.clock import now_ms
from webhooks.database import Unavailable
from webhooks.grouping import TOGETHER
from webhooks.ledger import Recorded
from webhooks.relay import Relay

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = reporting.logger(__name__)

LONGER_PATIENCE = 3.5
"""A store that never sends again gets this much more time for a database that is away, and one try of two
seconds more."""

PATIENT_SHARE = 4
"""So many times as many threads as may spend it: else its hooks keep all others from being answered."""

_LOOK_AGAIN_SECONDS = 0.2
PREFIX = "/webhooks/"
_ADDRESS = re.compile(f"{PREFIX}([^/]+)(?:/([^/]+))?/?")


_KEPT = Answer(200, "ok")


class _Verified(NamedTuple):
    """A hook that is rightly signed. ``entered``: into the next commit, if nothing was to be asked before."""

    adapter: Store
    shop: Shop
    judged: recording.Judged
    entered: recording.Entered | None


class Intake:
    """The hooks' own door, in front of Flask, which takes longer for a request than mapping an order. Every
    other address is left to ``others``."""

    def __init__(self, relay: Relay, others: "WSGIApplication") -> None:
        self._relay, self._others = relay, others
        self.patient = threading.BoundedSemaphore(max(1, relay.settings.web_threads // PATIENT_SHARE))

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One hook. Answers: 200 kept, 401 not signed, 404 unknown, 413 too large, 503 not now."""
        address = _ADDRESS.fullmatch(environ.get("PATH_INFO", ""))
        if address is None:
            return self._others(environ, start_response)
        try:
            found = self._receive(Request(environ), *address.groups())
        except Exception as error:  # noqa: BLE001 - whatever it is, the store hears that it has to come again
            found = _answer_to(error)
        if isinstance(found, Answer):
            return found(environ, start_response)
        return self._answered(found, environ, start_response)

    def _receive(self, request: Request, store: str, shop: str | None) -> _Verified | Answer:
        """Everything up to the commit. Raises `Refusal`."""
        if request.method != "POST":
            return Answer(405, "method not allowed", Allow="POST")
        adapter, candidates = _find(self._relay, store, shop)
        body = _read(request, self._relay.settings.max_body_bytes)
        hook = Hook(_headers(request.environ), body, int(time.time()))
        if adapter.is_ping(hook):
            return Answer(200, "pong")
        found = _verified(adapter, hook, candidates)
        judged = recording.judge(self._relay, found, hook, now_ms())
        return _Verified(adapter, found, judged, self._entered(found, judged))

    def _entered(self, shop: Shop, judged: recording.Judged) -> recording.Entered | None:
        if judged.refunds:
            return None
        with suppress(*Unavailable):
            return recording.enter(self._relay, shop, judged)
        return None

    def _answered(
        self, found: _Verified, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterator[bytes]:
        """Answers once it is kept. Where requests are answered together, an empty piece comes before anything
        that the others need not wait for."""
        answer = _KEPT
        try:
            for piece in self._kept(found):
                if TOGETHER in environ:
                    yield piece
        except Exception as error:  # noqa: BLE001 - see above
            answer = _answer_to(error)
        yield from answer(environ, start_response)

    def _kept(self, found: _Verified) -> Iterator[bytes]:
        """Waits until it is committed, and does what it brings about. Raises `Refusal`."""
        try:
            entered = found.entered
            if entered is None:
                yield b""
                entered = recording.enter(self._relay, found.shop, found.judged)
            recorded = entered.committed()
            if entered.is_followed(recorded):
                yield b""
                recorded = entered.follow(recorded)
        except Unavailable as error:
            yield b""
            recorded = self._in_vain(found, error)
        if recorded.is_new or recorded.new_refunds or recorded.is_released:
            self._relay.wake()

    def _in_vain(self, found: _Verified, error: Exception) -> Recorded:
        recorded = None if found.adapter.resends else self._insist(found.shop, found.judged)
        if recorded is None:
            reporting.alert("database_away", "The database takes no hooks", error=error, shop=found.shop.slug)
            raise Refusal(503, "not now, please send again") from error
        return recorded

    def _insist(self, shop: Shop, judged: recording.Judged) -> Recorded | None:
        """Tries again for a while, if a thread can be spared for that; None if it was in vain."""
        if not self.patient.acquire(blocking=False):
            return None
        try:
            deadline = time.monotonic() + LONGER_PATIENCE
            while time.monotonic() < deadline:
                time.sleep(_LOOK_AGAIN_SECONDS)
                with suppress(*Unavailable):
                    return recording.record(self._relay, shop, judged)
            return None
        finally:
            self.patient.release()


def _answer_to(error: Exception) -> Answer:
    if isinstance(error, Refusal):
        return Answer(error.status, error.sentence)
    reporting.alert("broken", "A request failed by our own mistake", error=error)
    return Answer(500, "internal server error")


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


def _headers(environ: "WSGIEnvironment") -> dict[str, str]:
    """By their names, in small letters."""
    told = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    told |= {f"HTTP_{name}": environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in environ}
    return {name[5:].replace("_", "-").lower(): value for name, value in told.items()}


def _read(request: Request, limit: int) -> bytes:
    try:
        return bodies.read(request, limit)
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
