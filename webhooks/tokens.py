"""Access tokens that live for an hour: got with an account's lasting credentials, kept, added to requests.

Which destinations have such a step, and how it is made, is theirs (`Destination.exchange`). Tokens are in
memory alone, one set per process; nothing is lost with them.
"""

import threading
import time

import msgspec

from integrations.destination import Account, Destination, Outcome, Request, Response
from integrations.setting import Secret
from webhooks import reporting
from webhooks.relay import fingerprint
from webhooks.transport import Transport

EARLY_SECONDS = 60
"""A token is renewed this long before it ends: it must not end on the wire."""

EXCHANGE_SECONDS = 5.0
"""For an exchange at most. With the request that waits for it, it must end before a host kills us."""

FRESH_SECONDS = 60
"""A refusal of a token younger than this is not the token's fault."""


class Kept(msgspec.Struct, frozen=True):
    """A token, and when it was got and must be renewed (monotonic seconds)."""

    value: Secret
    since: float
    until: float


class Answer(msgspec.Struct, frozen=True):
    """What came of a request. With ``outcome`` there was no token for it, and it was not sent.

    ``aged``: it went out with this token, which may have ended since it was got.
    """

    response: Response
    outcome: Outcome | None = None
    aged: Kept | None = None


class _Failure(msgspec.Struct, frozen=True):
    at: float
    outcome: Outcome


class Tokens:
    """The tokens of one process, for all its threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._kept: dict[tuple[str, str], Kept] = {}
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def send(self, adapter: Destination, account: Account, request: Request) -> Answer:
        """Sends the request, with a token if the destination wants one. Never raises."""
        found = self._token(adapter, account)
        if isinstance(found, Outcome):
            return Answer(Response(0, fault="not_sent"), outcome=found)
        if found is None:
            return Answer(self._transport.send(request))
        headers = {**request.headers, "Authorization": f"Bearer {found.value}"}
        is_aged = time.monotonic() - found.since > FRESH_SECONDS
        response = self._transport.send(msgspec.structs.replace(request, headers=headers))
        return Answer(response, aged=found if is_aged else None)

    def forget(self, account: Account, token: Kept) -> None:
        """Drops a token that was refused, unless another has taken its place already."""
        key = _key(account)
        with self._lock(key):
            if self._kept.get(key) is token:
                del self._kept[key]

    def _lock(self, key: tuple[str, str]) -> threading.Lock:
        return self._locks.setdefault(key, threading.Lock())

    def _token(self, adapter: Destination, account: Account) -> Kept | Outcome | None:
        """One exchange at a time; who waited for it shares what came of it."""
        key, asked = _key(account), time.monotonic()
        with self._lock(key):
            kept, failure = self._kept.get(key), self._failures.get(key)
            if kept is not None and kept.until > time.monotonic():
                return kept
            if failure is not None and failure.at >= asked:
                return failure.outcome
            got = self._exchange(adapter, account)
            if isinstance(got, Kept):
                self._kept[key] = got
            elif got is not None:
                self._failures[key] = _Failure(time.monotonic(), got)
            return got

    def _exchange(self, adapter: Destination, account: Account) -> Kept | Outcome | None:
        """Our own mistakes hold the account too: what waits for a token has not been sent."""
        try:
            request = adapter.exchange(account, int(time.time()))
            if not isinstance(request, Request):
                return request
            since = time.monotonic()
            got = adapter.read_exchange(self._transport.send(request, seconds=EXCHANGE_SECONDS))
        except Exception as error:  # noqa: BLE001 - must not stop the other accounts
            what = "getting an access token failed"
            reporting.alert("broken", what, error=error, account=account.slug)
            return Outcome("held", type(error).__name__, what, spent=False)
        if isinstance(got, Outcome):
            return got
        return Kept(got.value, since, since + max(got.seconds - EARLY_SECONDS, 0))


def _key(account: Account) -> tuple[str, str]:
    return account.slug, fingerprint(account)
