"""A store's shop in the sandbox, and the way to its API: what the contract of `Access` is asked with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from integrations.access import Access, Away, NoAccess, Pulled
from integrations.destination import Request
from integrations.discovery import stores
from integrations.event import Event
from integrations.setting import Secret
from integrations.store import Shop as Account
from integrations.store import Store
from tests.contract import samples
from tests.contract.samples import NOW
from webhooks.sandbox.shop import Registered, Shop
from webhooks.sandbox.wire import serving, stand_in
from webhooks.transport import Transport

SECONDS = 3.0
"""The deadline of a call. A machine under load takes its time over an answer, too."""

STORES = [store for store in stores().values() if type(store).access is not Store.access]


class Bench:
    """One shop on a real socket, its clock standing at `NOW`, and its account as the relay has it."""

    def __init__(self, store: Store, shop: Shop, address: str, transport: Transport) -> None:
        self.store, self.shop, self.address, self.transport = store, shop, address, transport
        self.settings = shop.settings(address)
        self.tokens: list[str] = []

    def account(self, **options: Any) -> Account:
        """The shop's settings, every option at its default save those of its API and those given."""
        secret = {setting.name for setting in self.store.settings if setting.secret}
        given = {**self.settings, **options}
        hidden = {name: Secret(value) if name in secret else value for name, value in given.items()}
        return samples.shop(self.store, **hidden)

    def secrets(self) -> list[str]:
        """Everything that must not be shown."""
        named = [self.settings.get(setting.name, "") for setting in self.store.settings if setting.secret]
        return [secret for secret in (*named, *self.tokens) if secret]

    def open(self, seconds: float = SECONDS, **options: Any) -> Access:
        """The shop's API, with a new token where there is such a thing."""
        account = self.account(**options)
        request = self.store.exchange(account, NOW)
        token = Secret("")
        if isinstance(request, Request):
            token = self.store.read_exchange(self.transport.send(request)).value
            self.tokens.append(token)
        return self.store.access(account, token, seconds)

    def place(self, *times: float, first: int = 1) -> list[str]:
        """Orders placed at these times, numbered from the first; nobody is told. Returns their ids."""
        before = set(self.shop.orders)
        with self.untold():
            for number, at in enumerate(times, first):
                self.shop.place(self.shop.order(number, at))
        return [order_id for order_id in self.shop.orders if order_id not in before]

    @contextmanager
    def untold(self) -> Iterator[None]:
        """Meanwhile no hook is sent."""
        self.shop.lose_hooks, before = 10**9, self.shop.lose_hooks
        try:
            yield
        finally:
            self.shop.lose_hooks = before

    def pull(
        self, since: int, until: int, *, after: str = "", between: Callable[[], object] = lambda: None
    ) -> list[Pulled]:
        """All pages of a window; ``between`` is called after each but the last."""
        access = self.open()
        orders: list[Pulled] = []
        while True:
            page = access.pull(since, until, after)
            orders += page.orders
            if not page.next:
                access.close()
                return orders
            after = page.next
            between()

    def keys(self, orders: list[Pulled]) -> list[str]:
        """The keys of the purchases among them, each as often as it came."""
        return [self.event(order).key for order in orders]

    def event(self, order: Pulled) -> Event:
        """The order as the relay reads it."""
        return self.store.read(order.hook, self.account())

    @property
    def topic(self) -> str:
        """A topic that the shop needs."""
        return self.store.topics_of(self.account())[0]

    def registered(self, url: str) -> list[Registered]:
        """What the shop itself has for this topic and address."""
        return [one for one in self.shop.subscriptions if (one.topic, one.url) == (self.topic, url)]


@contextmanager
def bench_of(store: Store) -> Iterator[Bench]:
    """The store's shop in the sandbox, which is its module ``<slug>_shop``."""
    shop = stand_in(f"{store.slug}_shop")(clock=lambda: NOW)
    assert isinstance(shop, Shop)
    shop.freeze(NOW)
    shop.throttles = False
    transport = Transport(total_seconds=5)
    try:
        with serving(shop) as address:
            yield Bench(store, shop, address, transport)
    finally:
        transport.close()
        shop.close()


def failure(call: Callable[[], object]) -> NoAccess | Away | None:
    """What the call raised of what it may raise; None if it did not fail."""
    try:
        call()
    except (NoAccess, Away) as error:
        return error
    return None


def without(event: Event, pulled: Event) -> Event:
    """The event of the hook without what the pulled order lacks."""
    buyer = {
        name: getattr(event.buyer, name) if getattr(pulled.buyer, name) else getattr(pulled.buyer, name)
        for name in event.buyer.__struct_fields__
    }
    return msgspec.structs.replace(event, buyer=msgspec.structs.replace(event.buyer, **buyer))
