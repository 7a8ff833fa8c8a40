"""The commands about destinations: which there are, whether they take our credentials, what they are told."""

import json as plain_json
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from integrations import discovery
from integrations.destination import Account, Outcome
from webhooks import previewing
from webhooks.checking import check as check_account
from webhooks.commands.frame import Failure, as_json, console, opened, print_json, print_lines
from webhooks.previewing import Forgotten, Preview
from webhooks.relay import Relay
from webhooks.tokens import Tokens
from webhooks.transport import Transport


@click.group()
def destinations() -> None:
    """Where purchases go."""


@destinations.command("list")
@as_json
def list_destinations(json: bool) -> None:
    """List what there is, and what each can do."""
    found = discovery.destinations()
    if json:
        print_lines(
            [{"destination": slug, **msgspec.to_builtins(one.summary)} for slug, one in found.items()]
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("Destination", "Dedup key", "Oldest order", "Batch", "Refunds", "Consent"):
        table.add_column(head)
    for slug, one in found.items():
        told = one.summary
        table.add_row(slug, told.dedup_key, told.window, str(one.batch_limit), told.refunds, told.consent)
    console().print(table)


@destinations.command()
@click.option("--account", default="", help="Slug of one account; without it, all of them.")
@as_json
def check(account: str, json: bool) -> None:
    """Prove that the destinations take our credentials.

    With the destination's own dry run, where it has one: nothing is recorded there. Exit code 1 if one
    refuses.
    """
    with opened() as relay:
        transport = Transport(connections=1)
        tokens = Tokens(transport)
        results = [(one, check_account(relay, one, tokens)) for one in _accounts(relay, account)]
        transport.close()
    if json:
        print_lines([_as_line(one, outcome) for one, outcome in results])
    else:
        for one, outcome in results:
            console().print(_in_words(one, outcome), soft_wrap=True)
    if any(outcome is not None and outcome.state != "delivered" for _, outcome in results):
        raise click.exceptions.Exit(1)


@click.group()
def events() -> None:
    """What is known of an order."""


@events.command()
@click.argument("shop")
@click.argument("order")
@click.option("--destination", default="", help="Slug of a destination, if only one account has it.")
@click.option("--account", default="", help="Slug of an account.")
@as_json
def preview(shop: str, order: str, destination: str, account: str, json: bool) -> None:
    """Show exactly what a destination would be told of an order.

    The request, with secrets hidden, and each match key: sent, missing in the order, or withheld and why.
    Nothing is sent.
    """
    with opened() as relay:
        chosen = _one_account(relay, destination, account)
        try:
            found = previewing.preview(relay, shop, order, chosen)
        except Forgotten as error:
            raise Failure(str(error)) from error
    if found is None:
        raise Failure(f"shop {shop} has no purchase of order {order} (see `orders show {shop} {order}`)")
    if json:
        print_json(_plain(found))
        return
    _show(found, chosen)


def _accounts(relay: Relay, slug: str) -> list[Account]:
    found = [one for one in relay.settings.accounts if not slug or one.slug == slug]
    if not found:
        raise Failure(f"there is no account {slug}" if slug else "no destination is set up")
    return found


def _one_account(relay: Relay, destination: str, slug: str) -> Account:
    found = [
        one
        for one in relay.settings.accounts
        if (not slug or one.slug == slug) and (not destination or one.destination == destination)
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(one.slug for one in relay.settings.accounts) or "none"
    raise Failure(f"name one account with --account or --destination; there are: {known}")


def _as_line(account: Account, outcome: Outcome | None) -> dict[str, Any]:
    line: dict[str, Any] = {"account": account.slug, "destination": account.destination}
    if outcome is None:
        return line | {"checked": False, "ok": None}
    return line | {
        "checked": True,
        "ok": outcome.state == "delivered",
        "reason": outcome.reason,
        "detail": outcome.detail,
    }


def _in_words(account: Account, outcome: Outcome | None) -> Text:
    if outcome is None:
        guide = discovery.destinations()[account.destination].guide
        return Text.assemble((f"? {account.slug}", "yellow"), f"  has no dry run. {guide}")
    if outcome.state == "delivered":
        return Text.assemble((f"✓ {account.slug}", "green"), f"  {outcome.detail or 'takes our credentials'}")
    return Text.assemble((f"✗ {account.slug}", "red"), f"  {outcome.detail} ({outcome.reason})")


def _plain(found: Preview) -> dict[str, Any]:
    request = found.request
    return {
        "event_id": found.event_id,
        "stops": msgspec.to_builtins(found.stops) if found.stops else None,
        "request": {
            "method": request.method,
            "url": request.url,
            "headers": dict(request.headers),
            "body": plain_json.loads(request.body) if request.body else None,
        }
        if request
        else None,
        "match_keys": msgspec.to_builtins(found.match_keys),
    }


def _show(found: Preview, account: Account) -> None:
    page = console()
    if found.stops is not None:
        page.print(
            Text(f"Not for {account.slug}: {found.stops.state}, {found.stops.detail or found.stops.reason}")
        )
    if found.request is not None:
        page.print(Text(f"{found.request.method} {found.request.url}", "bold"))
        for name, value in found.request.headers.items():
            page.print(Text(f"{name}: {value}"), soft_wrap=True)
        body = plain_json.dumps(plain_json.loads(found.request.body), indent=2, ensure_ascii=False)
        page.print(Text(body), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("Match key", "", "Why"):
        table.add_column(head)
    colours = {"sent": "green", "missing": "yellow", "withheld": "red"}
    for key in found.match_keys:
        table.add_row(key.name, Text(key.state, colours[key.state]), key.why)
    page.print(table)
