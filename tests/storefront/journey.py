"""What the tests of whole purchases have in common: the relay with a worker, Meta, and what they saw."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import Page
from sqlalchemy import select
from werkzeug.test import Client

from integrations import event as events
from integrations.event import Event
from tests.environments import META
from tests.storefront import shops
from tests.storefront.town import Town
from webhooks import schema
from webhooks.delivery import Drain, open_drain
from webhooks.relay import Relay
from webhooks.sandbox.meta import Meta
from webhooks.sandbox.standin import Received
from webhooks.sandbox.wire import serving
from webhooks.storefront import snippets

CLICK = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"


class Sale(msgspec.Struct, frozen=True):
    """What the ledger has of an order that was told by a hook."""

    event: Event
    event_id: str
    state: str
    reason: str


class Trade:
    """A relay, its worker and Meta."""

    def __init__(self, relay: Relay, client: Client, meta: Meta, drain: Drain) -> None:
        self.relay, self.client, self.meta = relay, client, meta
        self._drain = drain

    def snippets(self, shop: str) -> dict[str, str]:
        """What the shop pastes."""
        settings = self.relay.settings
        return snippets.texts(settings, next(one for one in settings.shops if one.slug == shop))

    def deliver(self) -> None:
        """Sends what is due."""
        assert self._drain.run(10) is False

    def sale(self) -> Sale:
        """The one that there is."""
        told, sent = schema.events, schema.deliveries
        with self.relay.database.read() as db:
            row = db.execute(
                select(told.c.sealed, sent.c.event_id, sent.c.state, sent.c.reason).join(
                    sent, sent.c.event == told.c.id
                )
            ).one()
        event = events.decode(self.relay.vault.open(row.sealed))
        return Sale(event, row.event_id, row.state, row.reason)

    def received(self, source: str) -> list[Received]:
        """What Meta had from there."""
        return [one for one in self.meta.record if one.source == source]

    def counted(self) -> int:
        """How many purchases Meta has counted."""
        return sum(one.kept for one in self.meta.record)


@contextmanager
def trade(town: Town, home: Path, **more: str) -> Iterator[Trade]:
    """All of it, with one shop of each store."""
    meta = Meta([{"pixel_id": META["META_PIXEL_ID"], "access_token": META["META_ACCESS_TOKEN"]}])
    with serving(meta) as address:
        relay = shops.settle(town, shops.environment(town, home, META_API_BASE=address, **more))
        drain = open_drain(relay, threading.Event())
        try:
            yield Trade(relay, Client(town.sites["localhost"]), meta, drain)
        finally:
            drain.close()
            relay.close()


class Browser(msgspec.Struct, frozen=True):
    """What the browser itself has of the visit."""

    fbc: str
    fbp: str
    consent: str


def seen(page: Page) -> Browser:
    """As its own storage has it, on a page of the shop."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    consent = page.evaluate("() => JSON.parse(localStorage.getItem('purchase_relay_visit')).consent")
    return Browser(cookies.get("_fbc", ""), cookies.get("_fbp", ""), consent)


def assert_same(trade: Trade, browser: Browser) -> None:
    """What the snippet wrote into the order is the browser's to the byte, and so is what was made of it."""
    attributes = trade.sale().event.attributes
    assert attributes["_fbc"] == browser.fbc
    assert attributes["_fbp"] == browser.fbp
    assert attributes["_consent_state"] == browser.consent
    assert_told(trade, browser)


def assert_told(trade: Trade, browser: Browser, by: str = "") -> None:
    """The event, and what Meta got of it, are the browser's to the byte, save that it says ``by`` whom it was
    told of the consent."""
    assert _text(trade.sale().event) == browser.consent.replace("source=", f"source={by}")
    [received] = trade.received("server")
    person: dict[str, Any] = received.event["user_data"]
    assert (person["fbc"], person["fbp"]) == (browser.fbc, browser.fbp)
    assert browser.fbc.endswith(f".{CLICK}")


def _text(event: Event) -> str:
    """The event's consent, written as the browser writes it."""
    told = event.consent
    words = [f"{name}={getattr(told, name)}" for name in ("ad_storage", "ad_user_data", "ad_personalization")]
    return ";".join([*words, f"source={told.source}", f"at={told.at}"])
