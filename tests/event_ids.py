"""`tests/data/event_ids.json`: the ids that browser and server must make alike."""

import json
from pathlib import Path
from typing import Any

import msgspec

from integrations.discovery import stores
from integrations.event import Event
from integrations.hook import Hook
from integrations.store import Store
from tests.contract import samples
from tests.contract.deliveries import EVENTS


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the template makes of an order: the file's own one with these changes."""

    id: str
    template: str
    event_id: str
    order: dict[str, Any] = {}

    @property
    def told(self) -> dict[str, Any]:
        """The order's names, as the rule of the browser takes them: each of them known."""
        order = {**_FILE.order, **self.order}
        unnamed = dict.fromkeys(("order_number", "checkout_token", "session_id", "payment_intent"), "")
        return {**unnamed, **order.pop("names"), **order}

    @property
    def event(self) -> Event:
        """The order as an event."""
        return msgspec.structs.replace(EVENTS["web_full"], **{**_FILE.order, **self.order})


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``browser`` is what the page makes of it, where that is not the server's id."""

    template: str
    event_id: str
    browser: str | None = None


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sale, as its hook and as its confirmation page tell of it."""

    id: str
    sample: str
    page: dict[str, Any]
    templates: list[Template]
    changes: dict[str, Any]
    options: dict[str, Any] = {}

    @property
    def store(self) -> Store:
        """Whose hook and page it is."""
        return stores()[self.sample.partition("/")[0]]

    def event(self) -> Event:
        """What the store's own mapping reads from the hook."""
        body = json.loads((samples.FOLDER / f"{self.sample}.json").read_bytes())
        told = body["data"]["object"] if "data" in body else body
        told.update(self.changes)
        headers = {"x-wc-webhook-topic": "order.created"}
        return self.store.read(
            Hook(headers, json.dumps(body).encode(), samples.NOW), samples.shop(self.store, **self.options)
        )


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    order: dict[str, Any]
    rule: list[Row]
    pages: list[Page]


_FILE = msgspec.json.decode((Path(__file__).parent / "data" / "event_ids.json").read_bytes(), type=_File)
RULE, PAGES = _FILE.rule, _FILE.pages
