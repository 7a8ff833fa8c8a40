"""The command that prints what a shop pastes into its pages."""

import click

from webhooks import settings
from webhooks.commands.frame import Failure, as_json, print_json, say
from webhooks.settings import Settings
from webhooks.storefront import snippets


@click.command()
@click.argument("shop")
@click.option("--place", metavar="NAME", help="Print only this one, as a file, such as theme.liquid.")
@click.option("--pinned", is_flag=True, help="Name scripts by version: paste anew after every change.")
@as_json
def snippet(shop: str, place: str | None, pinned: bool, json: bool) -> None:
    """Print what a shop pastes into its pages.

    Each text says where it belongs. SHOP is the slug of the settings.
    """
    loaded = settings.load()
    found = next((one for one in loaded.shops if one.slug == shop), None)
    if found is None:
        raise Failure(f"there is no shop {shop}; the settings have {_known(loaded)}")
    if not loaded.public_url:
        raise Failure("set RELAY_PUBLIC_URL: the shop's pages load their scripts from there")
    texts = snippets.texts(loaded, found, pinned=pinned)
    if place and place not in texts:
        raise Failure(f"there is no {place}; the shop has {', '.join(texts)}")
    for sentence in snippets.warnings(loaded, found):
        say(sentence)
    if json:
        print_json(texts)
    elif place:
        click.echo(texts[place], nl=False)
    else:
        click.echo("\n".join(f"=== {name} ===\n{text}" for name, text in texts.items()), nl=False)


def _known(loaded: Settings) -> str:
    return ", ".join(one.slug for one in loaded.shops) or "none"
