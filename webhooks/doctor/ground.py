"""What all links stand on: the settings, the stations bound from them, and what earlier links have found."""

from collections.abc import Iterator
from contextlib import contextmanager

from integrations.destination import Account, Response
from integrations.store import Shop
from webhooks.relay import Relay
from webhooks.settings import Settings
from webhooks.shops import Shops
from webhooks.tokens import Tokens
from webhooks.transport import Transport

CALL_SECONDS = 10.0
"""For a single call of the doctor's: somebody waits for it."""

PATIENCE = 2.0
"""Seconds that a lock in the database is waited for."""


class Ground:
    """One walk. ``troubled`` are the links that something is wrong with, as far as it has come; ``broken``
    those that nothing can stand on. ``answer`` is what the public URL said.
    ``is_quick``: neither shops nor destinations are to be asked."""

    def __init__(self, relay: Relay, transport: Transport, shop: str, *, is_quick: bool) -> None:
        self.relay, self.transport = relay, transport
        self.is_quick = is_quick
        self.tokens = Tokens(transport)
        self.apis = Shops(transport, seconds=CALL_SECONDS)
        self.shops: tuple[Shop, ...] = tuple(one for one in relay.settings.shops if shop in {"", one.slug})
        wanted = {slug for one in self.shops for slug in one.accounts}
        self.accounts: tuple[Account, ...] = tuple(
            one for one in relay.settings.accounts if not shop or one.slug in wanted
        )
        self.troubled: set[str] = set()
        self.broken: set[str] = set()
        self.answer: Response | None = None

    @property
    def settings(self) -> Settings:
        """Those of this deployment."""
        return self.relay.settings


@contextmanager
def opened(settings: Settings, shop: str, *, is_quick: bool) -> Iterator[Ground]:
    """The ground, and everything that it holds given back. Raises `OSError` without a folder for the keys."""
    relay = Relay(settings, patience=PATIENCE)
    transport = Transport(connections=2, total_seconds=CALL_SECONDS)
    try:
        yield Ground(relay, transport, shop, is_quick=is_quick)
    finally:
        transport.close()
        relay.close()
