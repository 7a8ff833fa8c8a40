"""A destination, its stand-in, and the wire between them."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from integrations.destination import Account, Delivery, Destination, Outcome, Request, Token
from tests.contract.deliveries import EVENTS, NOW, delivery, standing_in
from webhooks.sandbox.standin import StandIn
from webhooks.transport import Transport


class Bench:
    """One destination, its stand-in, and the way between them."""

    def __init__(self, destination: Destination, kind: StandIn, known: Account, transport: Transport) -> None:
        self.destination, self.kind, self.account, self.transport = destination, kind, known, transport
        self.sign_in()

    def sign_in(self) -> None:
        """Gets an access token, where there is such a thing: one that was got before may have ended."""
        token = self._exchange(self.account)
        assert isinstance(token, str), token
        self._token = token

    def request(self, *names: str) -> Request:
        """The request with these events."""
        return self.tell(*(delivery(EVENTS[name]) for name in names))

    def tell(self, *deliveries: Delivery) -> Request:
        """The request with these deliveries."""
        return _authorized(self.destination.build(deliveries, self.account, NOW), self._token)

    def check(self, known: Account) -> Outcome:
        """What the destination makes of the answer to its own check."""
        token, request = self._exchange(known), self.destination.check(known, NOW)
        assert request is not None
        if isinstance(token, Outcome):
            return token
        return self.destination.read_check(self.transport.send(_authorized(request, token)))

    def rehearse(self, told: Delivery) -> Outcome:
        """What the destination makes of the answer of its own test mode."""
        request = self.destination.rehearse(told, self.account, NOW)
        assert request is not None
        return self.destination.read_check(self.transport.send(_authorized(request, self._token)))

    def _exchange(self, known: Account) -> str | Outcome:
        """The access token, ``""`` where there is no such thing."""
        asked = self.destination.exchange(known, NOW)
        if not isinstance(asked, Request):
            return asked or ""
        got = self.destination.read_exchange(self.transport.send(asked))
        return got.value if isinstance(got, Token) else got

    def send(self, request: Request, count: int = 1) -> list[Outcome]:
        """What the destination makes of the answer."""
        return self.destination.read(count, self.transport.send(request))


def _authorized(request: Request, token: str) -> Request:
    more = {"Authorization": f"Bearer {token}"} if token else {}
    return msgspec.structs.replace(request, headers={**request.headers, **more})


@contextmanager
def bench_of(destination: Destination) -> Iterator[Bench]:
    """A bench with a stand-in of its own on a real socket."""
    transport = Transport(total_seconds=5)
    try:
        with standing_in(destination) as (kind, known):
            yield Bench(destination, kind, known, transport)
    finally:
        transport.close()
