"""Puts together the scripts of a shop: what all share, what its store and its destinations add, its settings.

A script is called by what it is for: ``capture.js`` runs on every page, ``pixel.js`` where an order is
confirmed. Its version is a hash of all that it is made of.
"""

import hashlib
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

import msgspec

from integrations import beside, discovery
from integrations.destination import Account, Destination
from integrations.event import DEFAULT_EVENT_ID
from integrations.store import Shop, Store
from webhooks.settings import Settings

PARTS = {
    "capture.js": ("consent.js", "visit.js", "capture.js"),
    "pixel.js": ("event_id.js", "consent.js", "visit.js", "pixel.js"),
}
"""The files that all shops share, by the script that they are in."""

_BEGINNINGS = {"capture.js": "startCapture", "pixel.js": "startPixel"}

_ASK = {"opt_in": "always", "region": "europe", "opt_out": "never"}
"""Where a visit is remembered only with the shopper's yes, by the shop's regime."""


class Script(msgspec.Struct, frozen=True):
    """A script as it is served. ``version`` is the beginning of its SHA-256, in hexadecimal."""

    body: bytes
    version: str


def of_shop(settings: Settings, shop: Shop) -> dict[str, Script]:
    """The shop's scripts by name. A store that has nothing for the browser has none."""
    return {name: _script(name, settings, shop) for name in PARTS if beside.text(_store(shop), name)}


def common(name: str) -> str:
    """A file that the scripts of all shops share."""
    return (resources.files("webhooks.storefront") / name).read_text("utf-8")


def _script(name: str, settings: Settings, shop: Shop) -> Script:
    configured = json.dumps(_configured(name, settings, shop), ensure_ascii=True, sort_keys=True)
    parts = [common(part) for part in PARTS[name]]
    # Each destination's names are its own business.
    parts += [f"{{\n{text}}}\n" for text in _of_destinations(accounts(settings, shop), name)]
    parts += [beside.text(_store(shop), name), f"{_BEGINNINGS[name]}({configured});\n"]
    body = f'(function () {{\n"use strict";\n{_lean("".join(parts))}}})();\n'.encode()
    return Script(body, hashlib.sha256(body).hexdigest()[:16])


def _of_destinations(receivers: Iterable[Account], name: str) -> list[str]:
    adapters = {account.destination: destination(account) for account in receivers}.values()
    return [text for adapter in adapters if (text := beside.text(adapter, name))]


def _lean(text: str) -> str:
    """Without comments and indentation. Both stand on lines of their own, and no text spans lines."""
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


# --- what a script is told -------------------------------------------------------------------------------


def _configured(name: str, settings: Settings, shop: Shop) -> dict[str, Any]:
    """Everything in it can be read by whoever visits the shop."""
    receivers = accounts(settings, shop)
    told = {
        "shop": shop.slug,
        "ask": _ASK[shop.consent.regime],
        "names": captured(settings, shop),
        "clicks": _distinct(destination(account).clicks for account in receivers),
    }
    if name == "capture.js":
        return told
    return told | {
        "collect": f"{settings.public_url}/collect/{shop.slug}" if _takes_beacons(settings, shop) else "",
        "accounts": [_account(shop, account) for account in receivers],
    }


def captured(settings: Settings, shop: Shop) -> list[str]:
    """The names of all that the shop's destinations look up among what the storefront hands on."""
    return _distinct(destination(account).captures(account) for account in accounts(settings, shop))


def _account(shop: Shop, account: Account) -> dict[str, Any]:
    public = {name: account.text(name) for name in destination(account).public}
    return {
        "slug": account.slug,
        "destination": account.destination,
        "event_id": shop.event_ids.get(account.slug, DEFAULT_EVENT_ID),
        "tag": {name: value for name, value in public.items() if value},
    }


def _distinct(several: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in several for name in names))


def accounts(settings: Settings, shop: Shop) -> list[Account]:
    """Those to which the shop sends."""
    return [account for account in settings.accounts if account.slug in shop.accounts]


def _takes_beacons(settings: Settings, shop: Shop) -> bool:
    return bool(settings.public_url and shop.origins)


def _store(shop: Shop) -> Store:
    return discovery.stores()[shop.store]


def destination(account: Account) -> Destination:
    """The account's adapter."""
    return discovery.destinations()[account.destination]
