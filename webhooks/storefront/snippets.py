"""What a shop pastes into its pages, and what to know before. The texts stand beside the store's adapter.

``%%name%%`` in a text is filled in: ``shop``, the addresses ``capture`` and ``pixel``, and for texts in PHP
the lists ``names`` (of all that may be handed on), ``ids`` (attributes of which event ids are made) and
``statuses`` (of orders that count, where the store has such an option).
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from integrations import beside, discovery
from integrations.destination import Account
from integrations.event import DEFAULT_EVENT_ID, template_names
from integrations.store import Shop, Store
from webhooks.settings import Settings
from webhooks.storefront import scripts
from webhooks.storefront.serving import CURRENT

OURS = ("_consent_state", "event_source_url")
"""Names that the capture script hands on for all destinations."""


def texts(settings: Settings, shop: Shop, *, pinned: bool = False) -> dict[str, str]:
    """The shop's snippets by name. Pinned ones name the scripts by version, to be pasted anew after every
    change of the settings."""
    known = _known(settings, shop, pinned=pinned)
    found = beside.folder(_store(shop), "snippets")
    return {name: re.sub(r"%%(\w+)%%", lambda hole: known[hole[1]], text) for name, text in found.items()}


def _known(settings: Settings, shop: Shop, *, pinned: bool) -> Mapping[str, str]:
    made = scripts.of_shop(settings, shop)
    addresses = {
        name.removesuffix(".js"): f"{settings.public_url}/storefront/{shop.slug}/"
        f"{script.version if pinned else CURRENT}/{name}"
        for name, script in made.items()
    }
    statuses = shop.options.get("statuses")
    return {
        "shop": shop.slug,
        "names": _php(_handed_on(settings, shop)),
        "ids": _php(_attributes(shop)),
        "statuses": _php(statuses if isinstance(statuses, tuple) else ()),
        **addresses,
    }


def _handed_on(settings: Settings, shop: Shop) -> Iterator[str]:
    yield from OURS
    for name in scripts.captured(settings, shop):
        yield from (f"_{name}", name)


def _attributes(shop: Shop) -> list[str]:
    """The keys of all that the shop's templates take from the order's attributes."""
    named = [name for template in _templates(shop).values() for name in template_names(template)]
    return [name.removeprefix("meta:") for name in dict.fromkeys(named) if name.startswith("meta:")]


def _php(words: Iterable[str]) -> str:
    """The words of a PHP array. One with a quote or a backslash would end the text, so it is left out."""
    return ", ".join(f"'{word}'" for word in words if not {"'", "\\"} & set(word))


# --- what to know before -----------------------------------------------------------------------------------


def warnings(settings: Settings, shop: Shop) -> list[str]:
    """One sentence for each thing that the snippets of this shop cannot do as it is set up."""
    found = []
    templates = _templates(shop)
    for account in scripts.accounts(settings, shop):
        unknown = _unknown(_store(shop), templates[account.slug])
        if not beside.text(scripts.destination(account), "pixel.js"):
            found.append(f"{account.slug}: no pixel is fired, the relay has none for this destination")
        elif missing := _missing(account):
            found.append(f"{account.slug}: no pixel is fired until {missing} is set")
        elif unknown:
            found.append(
                f"{account.slug}: no pixel is fired, since the page of an order does not know its "
                f"{', '.join(unknown)}; the event_id {templates[account.slug]} is made of it"
            )
    if not shop.origins:
        found.append("the beacon is off: set the shop's ORIGINS to learn which pixels were fired")
    return found


def _unknown(store: Store, template: str) -> list[str]:
    names = (name.partition(":")[0] for name in template_names(template))
    return [name for name in dict.fromkeys(names) if name not in store.page_names]


def _missing(account: Account) -> str:
    """The variable of a setting that the pixel needs and that is not required otherwise."""
    declared = {setting.name: setting for setting in scripts.destination(account).settings}
    for name in scripts.destination(account).public:
        if not account.text(name) and not declared[name].default:
            return f"{account.destination}_{name}".upper()
    return ""


def _templates(shop: Shop) -> dict[str, str]:
    return {slug: shop.event_ids.get(slug, DEFAULT_EVENT_ID) for slug in shop.accounts}


def _store(shop: Shop) -> Store:
    return discovery.stores()[shop.store]
