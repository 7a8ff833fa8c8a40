"""Building payloads: what several destinations want alike."""

import re
from typing import Any

from integrations import untrusted
from integrations.destination import Account
from integrations.event import Event, Line, item_id
from integrations.setting import Setting

PAGE_URL = Setting(
    "page_url",
    "Your shop's address, for orders that must have a page and name none. Without it: as the store tells it; "
    "orders whose store does not are not sent",
    pattern=r"https://[^\s?#]+",
    example="https://shop.example.com/",
)
"""For destinations that want a page with every website event."""


def page_url(event: Event, account: Account) -> str:
    """The page on which the order was placed, else the owner's `PAGE_URL`, else the shop's site, as far as
    they are known. Never a query."""
    return untrusted.page(event.page_url) or account.text(PAGE_URL.name) or event.site


def captured(event: Event, form: re.Pattern[str], *names: str) -> str:
    """A click id or cookie as the storefront captured it, ``""`` unless all of it has the vendor's form.

    Never truncated, changed in case or made up: a wrong one joins strangers.
    """
    return next(filter(form.fullmatch, event.noted(*names)), "")


def catalogued(event: Event, account: Account) -> list[tuple[str, Line]]:
    """The lines that name an item of the account's catalogue, each with the item's id. Any other could not be
    matched there, and is left out."""
    template, country = account.text("item_id"), event.buyer.country
    return [
        (item, line)
        for line in event.lines
        if (item := item_id(line, template, country=country)) and line.quantity > 0
    ]


def item_count(event: Event) -> int:
    """How many things were bought, whether the catalogue knows them or not; 0 when the order does not say."""
    return sum(line.quantity for line in event.lines if line.quantity > 0)


def filled(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: an empty match key counts as a bad one. Zero and False are not empty."""
    return {name: value for name, value in fields.items() if value or value not in _EMPTY}


_EMPTY: tuple[object, ...] = ("", None, [], {})
