"""What `up` says before it starts: where stores send their hooks, what is on, and what is still missing."""

from collections.abc import Iterable, Iterator
from importlib import metadata

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from integrations import discovery
from integrations.destination import Destination
from integrations.setting import Setting
from integrations.store import Store
from webhooks import settings_accounts as accounts
from webhooks.settings import Settings
from webhooks.settings_values import without_credentials
from webhooks.vault import KEY_FILE

Row = tuple[str, Text]


def page(settings: Settings) -> Group:
    """The page, as wide as the terminal."""
    title = Text.assemble(
        ("purchase-relay ", "bold"), metadata.version("purchase-relay"), (f"  {settings.env}", "dim")
    )
    parts = [
        _part("Webhooks", [*_shops(settings), *_stores_off(settings)]),
        _part("Destinations", [*_accounts(settings), *_destinations_off(settings)]),
        _part("Kept in", list(_places(settings))),
    ]
    if settings.warnings:
        parts.append(_part("Look at", [("", Text(warning, "yellow")) for warning in settings.warnings]))
    return Group("", title, *parts, "")


def address(settings: Settings, store: str, shop: str) -> str:
    """Where that shop sends its hooks."""
    base = settings.public_url or f"http://localhost:{settings.port}"
    return f"{base}/webhooks/{store}/{shop}"


def _part(heading: str, rows: Iterable[Row]) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan", min_width=12)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return Group("", Text(heading, "bold"), Padding(table, (0, 0, 0, 2)))


def _shops(settings: Settings) -> Iterator[Row]:
    for shop in settings.shops:
        receivers = ", ".join(shop.accounts)
        yield (
            shop.slug,
            Text.assemble(
                address(settings, shop.store, shop.slug),
                (f"  → {receivers}" if receivers else "  → nobody yet", "dim"),
            ),
        )


def _stores_off(settings: Settings) -> Iterator[Row]:
    on = {shop.store for shop in settings.shops}
    for store in discovery.stores().values():
        if store.slug not in on:
            yield store.slug, _off(store, accounts.shop_settings(store))


def _accounts(settings: Settings) -> Iterator[Row]:
    for account in settings.accounts:
        adapter = discovery.destinations()[account.destination]
        yield account.slug, Text.assemble(("on", "green"), f"  {adapter.label} at {account.api_base}")


def _destinations_off(settings: Settings) -> Iterator[Row]:
    on = {account.destination for account in settings.accounts}
    for destination in discovery.destinations().values():
        if destination.slug not in on:
            yield destination.slug, _off(destination, destination.settings)


def _off(adapter: Store | Destination, settings: Iterable[Setting]) -> Text:
    names = [
        accounts.variable(adapter.slug, setting.name)
        for setting in settings
        if setting.required and not setting.default
    ]
    return Text.assemble(("off", "yellow"), (f"  set {' and '.join(names)}", "dim"))


def _places(settings: Settings) -> Iterator[Row]:
    database = without_credentials(str(settings.database_url))
    yield "ledger", Text(database.removeprefix("sqlite:///"))
    own = f"{settings.data_dir}  (a Valkey of its own)"
    yield "queue", Text(without_credentials(str(settings.redis_url)) if settings.redis_url else own)
    if not settings.secret_keys:
        path = str(settings.data_dir / KEY_FILE)
        yield "keys", Text.assemble(path, ("  keep a copy: without it stored orders cannot be read", "dim"))
