"""The commands about shops: connect one, disconnect it, list them."""

import sys
from typing import Any, TypedDict

import click
import msgspec
from rich.text import Text

from integrations import discovery
from integrations.access import Away, NoAccess
from integrations.setting import Setting, Value
from integrations.store import Shop
from webhooks import connecting, settings_accounts, settings_values, telling
from webhooks.clock import now_ms, rfc3339
from webhooks.commands.frame import SETTINGS, Failure, as_json, console, opened, print_json, print_lines, say
from webhooks.connecting import Connected
from webhooks.cursors import Cursors
from webhooks.relay import Relay
from webhooks.settings_values import BadValue
from webhooks.shops import NotSetUp, Shops
from webhooks.transport import Transport


@click.group()
def shops() -> None:
    """Shops, and whether they send their hooks here."""


# --- connect ---------------------------------------------------------------------------------------------


@shops.command()
@click.argument("shop")
@click.option("--renew", is_flag=True, help="End what is subscribed here, and subscribe it anew.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@as_json
def connect(shop: str, renew: bool, dry_run: bool, json: bool) -> None:
    """Have a shop send its hooks here.

    Proves the credentials, subscribes exactly what is needed to RELAY_PUBLIC_URL, and reads it back. May be
    run again: it repairs, and leaves the subscriptions of others alone. From then on the sweep looks after
    them.
    """
    with opened() as relay:
        found = _find(relay, shop)
        if not relay.settings.public_url:
            raise Failure(
                "set RELAY_PUBLIC_URL: the store must know where the relay can be reached", SETTINGS
            )
        how = _How(dry_run=dry_run, renew=renew)
        done, answers = _connect(relay, found, how, ask=not json and sys.stdin.isatty())
    if json:
        print_json({"shop": shop, "applied": not dry_run, **_plain(done)})
    else:
        _tell(found, done, dry_run=dry_run)
    _tell_settings(answers)
    if done.unknown_secret:
        _tell_secret(found, done, answers)
    silent = [need.topic for need in done.needs if need.state != "active"]
    if silent and not dry_run:
        raise Failure(f"not sent yet: {', '.join(silent)}; run it again, and look at the store's own page")


_Answers = dict[str, tuple[Setting, str]]
"""What somebody typed, by the variable that it belongs into."""


class _How(TypedDict):
    dry_run: bool
    renew: bool


def _connect(relay: Relay, shop: Shop, how: _How, *, ask: bool) -> tuple[Connected, _Answers]:
    transport = Transport(connections=1)
    try:
        try:
            return connecting.connect(relay, Shops(transport), shop, **how), {}
        except NotSetUp as no:
            if not ask:
                raise Failure(f"{shop.slug}: {no.remedy}", SETTINGS) from no
            answers = _ask(shop, no.remedy)
            given = {setting.name: _value(name, setting, text) for name, (setting, text) in answers.items()}
            whole = msgspec.structs.replace(shop, options={**shop.options, **given})
            return connecting.connect(relay, Shops(transport), whole, **how), answers
    except NoAccess as no:
        raise Failure(f"{shop.slug}: {no.remedy} ({no.reason})") from no
    except Away as away:
        raise Failure(f"{shop.slug} does not answer as it should: {away}; try again later") from away
    finally:
        transport.close()


def _ask(shop: Shop, remedy: str) -> _Answers:
    """Asks for what the remedy names."""
    say(remedy)
    store = discovery.stores()[shop.store]
    found: _Answers = {}
    for setting in store.settings:
        name = settings_accounts.variable(store.slug, setting.name)
        if name not in remedy:
            continue
        text = click.prompt(name, default="", show_default=False, hide_input=setting.secret, err=True)
        if text.strip():
            found[name] = setting, text.strip()
    if not found:
        raise Failure(f"{shop.slug}: {remedy}", SETTINGS)
    return found


def _value(name: str, setting: Setting, text: str) -> Value:
    try:
        return settings_values.of_setting(setting, text)
    except BadValue as error:
        raise Failure(f"{name} {error}") from error


def _tell(shop: Shop, done: Connected, *, dry_run: bool) -> None:
    page = console()
    page.print(Text(f"{shop.slug} is {telling.plain(done.name)}."))
    for need in done.needs:
        page.print(_of_topic(need.topic, done, dry_run=dry_run), soft_wrap=True)
    for topic in done.ended:
        page.print(Text(f"- {topic}: {'would be ended' if dry_run else 'ended'}, not needed", "dim"))
    for hint in done.hints:
        page.print(Text(f"! {telling.plain(hint)}", "yellow"), soft_wrap=True)
    if not dry_run:
        page.print(Text(f"The first order will arrive here: {done.address}", "bold"), soft_wrap=True)


def _of_topic(topic: str, done: Connected, *, dry_run: bool) -> Text:
    need = next(one for one in done.needs if one.topic == topic)
    why = telling.because("", need.detail)
    if dry_run:
        word = "would be subscribed" if topic in done.subscribed else "is subscribed"
        return Text(f"{'+' if topic in done.subscribed else '✓'} {topic}: {word}{why}")
    if need.state != "active":
        return Text(f"✗ {topic}: {need.state}{why}", "red")
    return Text(f"✓ {topic}: {'subscribed' if topic in done.subscribed else 'was subscribed'}{why}", "green")


def _tell_settings(answers: _Answers) -> None:
    if answers:
        say("Add to the relay's settings (RELAY_CONFIG has keys of the same names), and restart it:")
    for name, (setting, text) in answers.items():
        say(f"  {name}={'<what you typed>' if setting.secret else text}")


def _tell_secret(shop: Shop, done: Connected, answers: _Answers) -> None:
    """Once, on the terminal of whoever asked: it cannot be had again, and stands nowhere else."""
    name = settings_accounts.variable(shop.store, settings_accounts.WEBHOOK_SECRETS.name)
    same = [
        settings_accounts.variable(shop.store, setting)
        for setting, value in shop.options.items()
        if value == done.unknown_secret
    ] + [name for name, (_, text) in answers.items() if text == done.unknown_secret]
    if same:
        say(f"The store signs with {same[0]}. Add that value to {name} too, and restart the relay.")
    else:
        say(f"The store signs with a secret that is shown only now. Add it to {name}, and restart the relay:")
        say(f"  {done.unknown_secret}")
    say("Until then its hooks are refused.")


def _plain(done: Connected) -> dict[str, Any]:
    """Without the secret: a program's output is kept."""
    plain = {name: getattr(done, name) for name in ("name", "address", "subscribed", "ended", "hints")}
    return plain | {
        "needs": msgspec.to_builtins(done.needs),
        "secret_unknown": bool(done.unknown_secret),
    }


# --- disconnect ------------------------------------------------------------------------------------------


@shops.command()
@click.argument("shop")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@as_json
def disconnect(shop: str, dry_run: bool, json: bool) -> None:
    """Have a shop send no more hooks here.

    Ends what points to this relay's address of the shop; the subscriptions of others stay. Hooks that
    come all the same are taken.
    """
    with opened() as relay:
        found = _find(relay, shop)
        transport = Transport(connections=1)
        try:
            ended = connecting.disconnect(relay, Shops(transport), found, dry_run=dry_run)
        except NoAccess as no:
            raise Failure(f"{shop}: {no.remedy} ({no.reason})") from no
        except Away as away:
            raise Failure(f"{shop} does not answer as it should: {away}; try again later") from away
        finally:
            transport.close()
    if json:
        print_json({"shop": shop, "applied": not dry_run, "ended": ended})
        return
    for topic in ended:
        click.echo(f"- {topic}: {'would be ended' if dry_run else 'ended'}")
    click.echo(
        f"{shop} sends nothing here." if not dry_run else f"{len(ended)} subscriptions would be ended."
    )


# --- list ------------------------------------------------------------------------------------------------


@shops.command("list")
@click.option("--check", is_flag=True, help="Ask each shop for its subscriptions, too.")
@as_json
def list_shops(check: bool, json: bool) -> None:
    """List shops, and what is wrong with them.

    Where their hooks arrive, since when they are connected, and up to when they were compared.
    """
    with opened() as relay:
        lines = [_line(relay, shop, check=check) for shop in relay.settings.shops]
    if json:
        print_lines(lines)
        return
    if not lines:
        raise Failure("no shop is set up")
    heads = ["Shop", "Store", "Hooks arrive at", "Connected", "Compared until", "Trouble"]
    rows = [
        [
            *(line[name] for name in ("shop", "store", "address")),
            (line["connected_at"] or "no")[:10],
            (line["compared_until"] or "never")[:16],
            ", ".join(line["alerts"]) or "none",
        ]
        for line in lines
    ]
    console().print(telling.table(heads, rows))
    for line in lines if check else ():
        for topic, state in line["subscriptions"].items():
            click.echo(f"{line['shop']}: {topic}: {state}")


def _line(relay: Relay, shop: Shop, *, check: bool) -> dict[str, Any]:
    cursor = Cursors(relay.database).read(shop.slug, now_ms())
    line: dict[str, Any] = {
        "shop": shop.slug,
        "store": shop.store,
        "address": relay.settings.hook_address(shop),
        "connected_at": rfc3339(connecting.connected_at(relay.database, shop.slug)),
        "compared_until": rfc3339(cursor.compared_until if cursor else None),
        "alerts": [one.cause for one in relay.alerts.open() if one.subject == shop.slug],
    }
    return line | {"subscriptions": _subscriptions(relay, shop)} if check else line


def _subscriptions(relay: Relay, shop: Shop) -> dict[str, str]:
    transport = Transport(connections=1)
    try:
        with Shops(transport).open(shop) as api:
            seen = connecting.view(relay.settings, shop, api.subscriptions())
    except NoAccess as no:
        return {"": f"{no.remedy} ({no.reason})"}
    except Away as away:
        return {"": f"does not answer as it should: {away}"}
    finally:
        transport.close()
    return {need.topic: f"{need.state}{telling.because('', need.detail)}" for need in seen.needs}


def _find(relay: Relay, slug: str) -> Shop:
    found = next((one for one in relay.settings.shops if one.slug == slug), None)
    if found is None:
        known = ", ".join(one.slug for one in relay.settings.shops) or "none"
        raise Failure(f"there is no shop {slug}; the settings have {known}")
    return found
