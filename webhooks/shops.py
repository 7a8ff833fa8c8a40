"""The one station that opens a shop's own API.

What can be asked there is promised in `integrations/access.py`; how it is asked is the store's. Here are the
token that some stores give out for a while, and the deadline of a call. A token that has ended since it was
got is renewed once, and the call made again: whoever asks never sees it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from integrations import discovery
from integrations.access import Access, Away, NoAccess, Page, Pulled, Subscription
from integrations.setting import Secret
from integrations.store import Shop
from webhooks import keeping
from webhooks.keeping import Keep, Kept
from webhooks.transport import Transport

CALL_SECONDS = 20.0
"""For a single call at most: a small shop's server takes its time over a page of orders."""

EXCHANGE_SECONDS = 10.0

T = TypeVar("T")


class NotSetUp(NoAccess):
    """The shop's settings lack what its API takes. Its hooks arrive all the same."""


class Shops:
    """The shops of one process, for all its threads."""

    def __init__(self, transport: Transport, *, seconds: float = CALL_SECONDS) -> None:
        self.seconds = seconds
        self._transport = transport
        self._keep: Keep[NoAccess | Away] = Keep()

    @contextmanager
    def open(self, shop: Shop) -> Iterator["Opened"]:
        """The shop's API, for one thread and one piece of work. Raises `NotSetUp`, `NoAccess` or `Away`."""
        opened = Opened(self, shop)
        try:
            yield opened
        finally:
            opened.close()

    def token(self, shop: Shop) -> Kept | None:
        """A token that is good; None where the store gives none out. Raises as `open` does."""
        got = self._keep.get(shop.slug, lambda: self._exchange(shop))
        if isinstance(got, Exception):
            raise got
        return got

    def drop(self, shop: Shop, token: Kept) -> None:
        """Forgets a token that the shop refused."""
        self._keep.drop(shop.slug, token)

    def _exchange(self, shop: Shop) -> Kept | NoAccess | Away | None:
        store = discovery.stores()[shop.store]
        try:
            request = store.exchange(shop, int(time.time()))
        except NoAccess as no:
            return NotSetUp(no.reason, no.remedy)
        if request is None:
            return None
        since = time.monotonic()
        try:
            return keeping.kept(
                store.read_exchange(self._transport.send(request, seconds=EXCHANGE_SECONDS)), since
            )
        except (NoAccess, Away) as error:
            return error


class Opened:
    """A shop's API, as `Access` promises it."""

    def __init__(self, shops: Shops, shop: Shop) -> None:
        self._shops, self._shop = shops, shop
        self._open()

    @property
    def lacks(self) -> tuple[str, ...]:
        """See `Access`."""
        return self._access.lacks

    @property
    def reaches_back(self) -> int:
        """See `Access`."""
        return self._access.reaches_back

    @property
    def hints(self) -> tuple[str, ...]:
        """See `Access`."""
        return self._access.hints

    def probe(self) -> str:
        """See `Access`."""
        return self._ask(lambda access: access.probe())

    def subscriptions(self) -> list[Subscription]:
        """See `Access`."""
        return self._ask(lambda access: access.subscriptions())

    def subscribe(self, topic: str, url: str) -> Subscription:
        """See `Access`."""
        return self._ask(lambda access: access.subscribe(topic, url))

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `Access`."""
        self._ask(lambda access: access.unsubscribe(subscription))

    def pull(self, since: int, until: int, after: str = "") -> Page:
        """See `Access`."""
        return self._ask(lambda access: access.pull(since, until, after))

    def complete(self, pulled: Pulled) -> Pulled:
        """See `Access`."""
        return self._ask(lambda access: access.complete(pulled))

    def close(self) -> None:
        """See `Access`."""
        self._access.close()

    def _open(self) -> None:
        asked = time.monotonic()
        self._token = self._shops.token(self._shop)
        # A refusal of a token that was got for this very call is not the token's fault.
        self._may_have_ended = self._token is not None and self._token.since < asked
        value = self._token.value if self._token else Secret("")
        self._access = _access(self._shop, value, self._shops.seconds)

    def _ask(self, call: Callable[[Access], T]) -> T:
        try:
            answer = call(self._access)
        except NoAccess:
            if self._token is None or not self._may_have_ended:
                raise
            self._shops.drop(self._shop, self._token)
            self._access.close()
            self._open()
            answer = call(self._access)
        self._may_have_ended = self._token is not None
        return answer


def _access(shop: Shop, token: Secret, seconds: float) -> Access:
    try:
        return discovery.stores()[shop.store].access(shop, token, seconds)
    except NoAccess as no:
        raise NotSetUp(no.reason, no.remedy) from no
