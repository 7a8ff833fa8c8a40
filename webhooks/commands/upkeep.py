"""The commands that keep a deployment in order: its database, settings, keys and memory."""

from collections.abc import Iterator
from typing import Any

import click
from rich.text import Text

from integrations import discovery
from integrations.store import Shop
from webhooks import migrations, rotation, settings, telling
from webhooks.commands.frame import (
    SETTINGS,
    Failure,
    as_json,
    console,
    opened,
    print_json,
    progress,
    say,
)
from webhooks.database import Database
from webhooks.settings import BadSettings, Settings
from webhooks.sweep import Sweep

# --- database --------------------------------------------------------------------------------------------


@click.group()
def db() -> None:
    """The ledger's tables."""


@db.command()
def upgrade() -> None:
    """Make the tables, or bring them up to date. Harmless when they are."""
    database = Database(settings.load().database_url)
    try:
        if migrations.is_current(database):
            click.echo("The database is up to date.")
            return
        migrations.upgrade(database)
        click.echo("The database is up to date now.")
    finally:
        database.close()


# --- settings --------------------------------------------------------------------------------------------


@click.group("settings")
def settings_group() -> None:
    """What is configured, and what is wrong with it."""


@settings_group.command()
@as_json
def check(json: bool) -> None:
    """Read the settings and tell every problem at once.

    Of secrets only whether they are set.
    """
    try:
        configured = settings.load()
    except BadSettings as error:
        if not json:
            raise
        print_json({"ok": False, "problems": error.problems, "warnings": [], "settings": {}, "shops": []})
        raise SystemExit(SETTINGS) from error
    shops = [_shop(configured, shop) for shop in configured.shops]
    if json:
        described = dict(settings.describe(configured))
        answer = {"ok": True, "problems": [], "warnings": configured.warnings}
        print_json(answer | {"settings": described, "shops": shops})
        return
    page = console()
    page.print(telling.table(["Setting", "Value"], settings.describe(configured)))
    for shop in shops:
        page.print(telling.chapter(f"Shop {shop['shop']} ({shop['label']})", _advice(shop)), soft_wrap=True)
    for warning in configured.warnings:
        page.print(Text(f"Warning: {warning}", style="yellow"))
    page.print("The settings are in order.")


@settings_group.command()
def example() -> None:
    """Print `.env.example`: every setting with what it means."""
    click.echo(settings.env_example(), nl=False)


def _shop(configured: Settings, shop: Shop) -> dict[str, Any]:
    """Where a shop's hooks go, and what is still missing before its orders arrive anywhere."""
    missing = []
    if not configured.public_url:
        missing.append("RELAY_PUBLIC_URL, to know the address outside")
    if not shop.secrets:
        missing.append("a webhook secret")
    if not shop.accounts:
        missing.append("an account of a destination that receives its orders")
    store = discovery.stores()[shop.store]
    return {
        "shop": shop.slug,
        "store": shop.store,
        "label": store.label,
        "webhook_url": configured.hook_address(shop),
        "register": store.guide,
        "accounts": shop.accounts,
        "missing": missing,
    }


def _advice(shop: dict[str, Any]) -> Iterator[telling.Line]:
    yield f"webhook address: {shop['webhook_url']}", ""
    for line in shop["register"].splitlines():
        yield line, "duplicate"
    yield f"sends to: {', '.join(shop['accounts']) or 'nobody'}", ""
    for one in shop["missing"]:
        yield f"missing: {one}", "held"


# --- keys and memory -------------------------------------------------------------------------------------


@click.group()
def vault() -> None:
    """The keys that encrypt what is personal."""


@vault.command()
@as_json
def rotate(json: bool) -> None:
    """Encrypt everything anew under the newest key.

    That is the first of RELAY_SECRET_KEYS. Add the new key as the last one and restart all processes; put
    it first and restart them again; run this; then remove the old key. It may run while everything works,
    and be cut off and begun again.
    """
    so_far = rotation.Rotated()
    with opened() as relay, progress("Encrypting anew", rotation.total(relay)) as bar:
        for so_far in rotation.rotate(relay):
            bar.update(bar.task_ids[0], completed=so_far.seen)
    if json:
        print_json(so_far)
    else:
        click.echo(f"{so_far.renewed} of {so_far.seen} records were encrypted anew.")
    if so_far.unreadable:
        raise Failure(
            f"{so_far.unreadable} records open with none of the configured keys: put the key that sealed "
            "them back into RELAY_SECRET_KEYS"
        )
    say("The newest key opens everything.")


@click.group()
def retention() -> None:
    """How long personal data is kept."""


@retention.command()
@as_json
def run(json: bool) -> None:
    """Forget what is personal and old, now.

    Older than RELAY_RETENTION_DAYS. The sweep does it by itself, too.
    """
    with opened() as relay:
        count, days = Sweep(relay).tidy(), relay.settings.retention_days
    if json:
        print_json({"forgotten": count, "retention_days": days})
    else:
        click.echo(f"{count} records older than {days} days hold nothing personal any more.")
