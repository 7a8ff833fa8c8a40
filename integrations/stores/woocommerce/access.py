"""A WooCommerce shop's own API: its webhooks, and the orders that changed within a window.

Sources: the wc/v3 webhooks and orders controllers, and what running shops (10.5.2 and 9.9.5) answered. Two
traps shape `WooCommerceAccess.pull`:

- Dates. ``modified_after`` and ``modified_before`` leave out the second that they name. With
  ``dates_are_gmt`` they must be UTC *without* a zone: a Z shifts the window by the shop's offset, silently;
  and without the flag they are the shop's wall clock, which shows some hours twice and others never.
  `_window` is the only place that writes such a date, and never without the flag.
- Paging. An order that is edited leaves the window, the ones behind it move up, and the next page begins too
  late. So the order is that of ids, which never change, and every page repeats the last order of the page
  before: if it does not begin with that one or an earlier one, something moved, and we step back.
"""

import re
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from integrations.access import Access, Away, NoAccess, Page, Pulled, Subscription
from integrations.destination import Response
from integrations.hook import Hook
from integrations.store import Shop
from integrations.stores.woocommerce.client import Client, code, refusal
from integrations.untrusted import NotJson, integer, load_json, moment, records, text

PAGE = 50  # of at most 100: a small host needs half a second for ten orders
_STEP = PAGE - 1
TOPIC = "order.updated"

_LIST_CHANGED = (
    "the shop listed orders from before the time asked for, or not by their ids, and so may leave some out: "
    "update WooCommerce to 5.8 or newer, and look for a plugin that changes lists of orders"
)
_DETAILS = {
    "paused": "paused: WooCommerce sends nothing, and what happens meanwhile is lost",
    "disabled": "disabled: by hand, or by WooCommerce after more than five failures in a row",
}


class _Row(msgspec.Struct, frozen=True):
    """An order as it stands in the list, byte for byte, with what paging needs of it."""

    id: int
    changed_at: int
    raw: bytes


class _Rows(msgspec.Struct, frozen=True):
    """A part of the list, by id. ``more``: there is something behind it."""

    rows: list[_Row]
    more: bool

    def joins(self, last: int) -> bool:
        """Whether nothing can lie between the order ``last`` and these."""
        return bool(self.rows) and self.rows[0].id <= last

    def behind(self, last: int) -> list[_Row]:
        return [row for row in self.rows if row.id > last]


class WooCommerceAccess(Access):
    """See `Access`. Orders come as the webhooks send them, so that nothing lacks."""

    def __init__(self, shop: Shop, seconds: float) -> None:
        self._client = Client(shop, seconds)
        self._secret = shop.secrets[0] if shop.secrets else ""

    def probe(self) -> str:
        """See `Access`. The shop's name is its address: the API tells no other. An empty batch of webhooks
        is allowed to those alone who may make one, and changes nothing."""
        for path in ("orders", "webhooks"):
            _many(self._client.ask("get", path, {"per_page": "1", "_fields": "id"}))
        _document(self._client.ask("post", "webhooks/batch", data={}))
        return self._client.address

    # --- webhooks -------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[Subscription]:
        found: list[Subscription] = []
        page = pages = 1
        while page <= pages:
            params = {"per_page": "100", "page": str(page), "orderby": "id", "order": "asc"}
            answer = self._client.ask("get", "webhooks", params)
            pages = integer(answer.headers.get("x-wp-totalpages"), 1)
            found += [_subscription(item) for item in _many(answer)]
            page += 1
        return [one for one in found if one.topic.startswith("order.")]

    def subscribe(self, topic: str, url: str) -> Subscription:
        """See `Access`. The secret is written each time: no answer ever shows which one the shop has.

        A disabled webhook is made anew: switched on again it would keep its count of failures, and the next
        one would disable it. A dead one whose user was deleted cannot be told from a good one here; end it
        with `unsubscribe` first.
        """
        if not self._secret:
            raise NoAccess(
                "secret_missing", "set WOOCOMMERCE_WEBHOOK_SECRETS to letters and digits of your own"
            )
        there = [one for one in self.subscriptions() if (one.topic, one.url) == (topic, url)]
        kept = next((one for one in there if one.detail != _DETAILS["disabled"]), None)
        data = {"status": "active", "secret": str(self._secret)}
        if kept:
            answer = self._client.ask("put", f"webhooks/{kept.id}", data=data)
        else:
            named = {"name": f"purchase-relay {topic}", "topic": topic, "delivery_url": url}
            answer = self._client.ask("post", "webhooks", data={**data, **named})
        for one in there:
            if one is not kept:
                self.unsubscribe(one)
        return _subscription(_one(answer))

    def unsubscribe(self, subscription: Subscription) -> None:
        answer = self._client.call("delete", f"webhooks/{integer(subscription.id)}", {"force": "true"})
        if not 200 <= answer.status < 300 and not code(answer).endswith("_invalid_id"):
            raise refusal(answer, is_write=True)

    # --- orders ---------------------------------------------------------------------------------------------

    def pull(self, since: int, until: int, after: str = "") -> Page:
        """See `Access`. Orders in the trash are none. ``next`` is ``<rows before it>:<last order's id>``."""
        offset, last = _place(after)
        found = self._list(since, until, offset)
        while offset and not found.joins(last):
            offset = max(0, offset - _STEP)
            found = self._list(since, until, offset)
        while found.more and not found.behind(last):
            offset += _STEP
            found = self._list(since, until, offset)
        fresh = found.behind(last)
        following = f"{offset + _STEP}:{max(row.id for row in found.rows)}" if found.more else ""
        return Page(orders=tuple(map(_pulled, fresh)), next=following)

    def _list(self, since: int, until: int, offset: int) -> _Rows:
        params = {**_window(since, until), "offset": str(offset), "per_page": str(PAGE)}
        answer = self._client.ask("get", "orders", {**params, "orderby": "id", "order": "asc"})
        rows = _rows(answer, since)
        if any(row.changed_at < since for row in rows) or rows != sorted(rows, key=lambda row: row.id):
            raise NoAccess("list_changed", _LIST_CHANGED)
        total = integer(answer.headers.get("x-wp-total"), -1)
        return _Rows(rows, offset + PAGE < total if total >= 0 else len(rows) == PAGE)


def _window(since: int, until: int) -> dict[str, str]:
    """The filter for what changed from ``since`` up to and including ``until``, both Unix seconds."""
    return {
        "modified_after": _utc(since - 1),
        "modified_before": _utc(until + 1),
        "dates_are_gmt": "true",
    }


def _utc(seconds: int) -> str:
    """UTC without saying so, as ``dates_are_gmt`` wants it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _place(after: str) -> tuple[int, int]:
    """Where to go on; from the beginning if that is no place."""
    if not re.fullmatch(r"[0-9]{1,12}:[0-9]{1,20}", after):
        return 0, 0
    offset, _, last = after.partition(":")
    return int(offset), int(last)


def _rows(answer: Response, since: int) -> list[_Row]:
    try:
        return [_row(raw, since) for raw in _items.decode(answer.body)]
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        raise Away("the shop's list of orders cannot be read") from None


def _row(item: msgspec.Raw, since: int) -> _Row:
    raw = bytes(item)
    head = _heads.decode(raw)
    # A time that cannot be read must not let a run that goes on after the last one skip anything.
    changed_at = moment(head.date_modified_gmt, assume_utc=True)
    return _Row(head.id, since if changed_at is None else changed_at, raw)


class _Head(msgspec.Struct, frozen=True):
    id: int
    date_modified_gmt: str | None = None


_items = msgspec.json.Decoder(list[msgspec.Raw])
_heads = msgspec.json.Decoder(_Head)


def _pulled(row: _Row) -> Pulled:
    hook = Hook({"x-wc-webhook-topic": TOPIC}, row.raw, int(time.time()))
    return Pulled(hook=hook, order_id=str(row.id), changed_at=row.changed_at)


def _subscription(item: dict[str, Any]) -> Subscription:
    status = text(item.get("status"), 100)
    return Subscription(
        id=text(item.get("id"), 20),
        topic=text(item.get("topic"), 200),
        url=text(item.get("delivery_url")),
        active=status == "active",
        detail=_DETAILS.get(status, "" if status == "active" else "not active"),
    )


def _many(answer: Response) -> list[dict[str, Any]]:
    found = _document(answer)
    if not isinstance(found, list):
        raise Away("the shop answered with something else than a list")
    return records(found)


def _one(answer: Response) -> dict[str, Any]:
    found = _document(answer)
    if not isinstance(found, dict) or "id" not in found:
        raise Away("the shop answered with something else than a webhook")
    return found


def _document(answer: Response) -> Any:
    try:
        return load_json(answer.body)
    except NotJson:
        raise Away("the shop's answer cannot be read") from None
