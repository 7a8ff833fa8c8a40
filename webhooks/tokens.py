"""Access tokens that live for an hour: got with an account's lasting credentials, kept, added to requests.

Which destinations have such a step, and how it is made, is theirs (`Destination.exchange`).
"""

import time

import msgspec

from integrations.destination import Account, Destination, Outcome, Request, Response
from webhooks import keeping, reporting
from webhooks.keeping import Keep, Kept
from webhooks.relay import fingerprint
from webhooks.transport import Transport

__all__ = ["Answer", "Kept", "Tokens"]

EXCHANGE_SECONDS = 5.0
"""For an exchange at most. With the request that waits for it, it must end before a host kills us."""

FRESH_SECONDS = 60
"""A refusal of a token younger than this is not the token's fault."""


class Answer(msgspec.Struct, frozen=True):
    """What came of a request. With ``outcome`` there was no token for it, and it was not sent.

    ``aged``: it went out with this token, which may have ended since it was got.
    """

    response: Response
    outcome: Outcome | None = None
    aged: Kept | None = None


class Tokens:
    """The tokens of one process, for all its threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._keep: Keep[Outcome] = Keep()

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
        self._keep.drop(_key(account), token)

    def _token(self, adapter: Destination, account: Account) -> Kept | Outcome | None:
        return self._keep.get(_key(account), lambda: self._exchange(adapter, account))

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
        return got if isinstance(got, Outcome) else keeping.kept(got, since)


def _key(account: Account) -> tuple[str, str]:
    return account.slug, fingerprint(account)
