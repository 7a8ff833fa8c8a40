"""The promise of a shop's own API: which hooks its store is told to send, and what it sold.

    Exception
    ├── NoAccess      the shop's owner must act: credentials are missing, refused or lack a right
    └── Away          no answer, throttled, or the store's own fault: worth another try later

`webhooks/shops.py` is the one station that opens it. Everything here talks to the shop over the network,
blocks while it does, and keeps a deadline; nothing here writes to the ledger.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import msgspec

from integrations.hook import Hook
from integrations.setting import Secret


class NoAccess(Exception):
    """``reason`` is a fixed word, ``remedy`` a sentence that says where to click or what to set. Neither
    holds a secret."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}: {remedy}")
        self.reason, self.remedy = reason, remedy


class Away(Exception):
    """The shop did not answer as it should. ``retry_after`` is in seconds, None if it did not say."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A hook that the store was told to send. ``url`` is where to, as the store has it.

    ``active``: the store will really send it; if not, ``detail`` says why (paused, disabled after
    failures). ``api_version`` is the store's, where hooks have one. ``secret`` is what the store signs
    with, where it says so: the one that it makes up and shows only in the answer that creates the
    subscription, or that of the app which registers it. The shop must know it as a webhook secret.
    """

    id: str
    topic: str
    url: str
    active: bool = True
    detail: str = ""
    api_version: str = ""
    secret: Secret = Secret("")


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the store's own list has it, in the shape of the hook that would have told of it, so that
    `Store.read` maps both alike. ``hook`` carries no signature: whoever pulled it asked the store itself.
    ``changed_at`` is Unix seconds of the order's last change, by the store's clock.
    """

    hook: Hook
    order_id: str
    changed_at: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the orders asked for. ``next`` is what `Access.pull` wants for the following page, ``""`` after
    the last; it holds no secret and no personal data, so that it may be kept and resumed from."""

    orders: tuple[Pulled, ...]
    next: str = ""


class Access(ABC):
    """A shop's own API, opened with its credentials. For one thread and one piece of work; close it after.

    Every method raises `NoAccess` or `Away` and nothing else for whatever a network or a store can do.
    """

    lacks: ClassVar[tuple[str, ...]] = ()
    """What a pulled order lacks that a hook has, in words for people (``the buyer's user agent``)."""

    hints: tuple[str, ...] = ()
    """After `probe`: what works without, but worse, a sentence each (``the app may not see names``)."""

    reaches_back: ClassVar[int] = 0
    """How many seconds back the store remembers what `pull` lists; 0: as far as anybody asks."""

    @abstractmethod
    def probe(self) -> str:
        """Proves the credentials and every right that the other methods need; the shop's own name."""

    @abstractmethod
    def subscriptions(self) -> list[Subscription]:
        """Every hook about orders that the store was told to send, wherever to, whoever told it, as far as
        the credentials may see."""

    @abstractmethod
    def subscribe(self, topic: str, url: str) -> Subscription:
        """Makes the store send this topic to ``url``: creates the subscription, or repairs the one that is
        there (same topic and address, but paused or disabled). Doing it twice leaves one. Returned as the
        store reads it back."""

    @abstractmethod
    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends it; one that is gone already is fine."""

    @abstractmethod
    def pull(self, since: int, until: int, after: str = "") -> Page:
        """A page of all orders created or changed from ``since`` up to and including ``until`` (Unix
        seconds), whatever their state: `Store.read` says which are sales. ``after`` is the ``next`` of the
        page before.

        An order that changes while the pages are read may come twice or, having moved behind ``until``,
        not at all: the next window overlaps with this one. None that stayed as it was may be missed.
        """

    def complete(self, pulled: Pulled) -> Pulled:
        """The order with what the store's list leaves out and costs a call of its own. For orders that the
        ledger does not have: most of a window's it has."""
        return pulled

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Gives connections back."""
