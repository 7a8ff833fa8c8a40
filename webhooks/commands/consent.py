"""The command that proves what was decided on consent."""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from webhooks import proof, telling
from webhooks.commands.frame import MOMENT, Failure, as_json, console, opened, print_lines
from webhooks.proof import Wanted


@click.group("consent")
def consent_group() -> None:
    """What buyers allowed, and what was made of it."""


@consent_group.command()
@click.option("--shop", default="", help="Slug of a shop.")
@click.option("--destination", default="", help="Slug of a destination: all its accounts.")
@click.option("--since", type=MOMENT, help="Events received since: 3d, 12h, 2026-11-20 (UTC).")
@click.option("--rows", is_flag=True, help="Every delivery with its proof, instead of counts.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead, for a table.")
@as_json
def report(rows: bool, as_csv: bool, json: bool, **wanted: Any) -> None:
    """Count what was allowed and what was not, and why.

    By shop, destination, region, and what the buyer answered for each purpose. With --rows every delivery:
    the answer, who said so and when, and the rule that was applied. Holds nothing personal but orders' ids.
    With --json one object per line.
    """
    asked = Wanted(**wanted)
    with opened() as relay:
        chunks = proof.rows(relay.database, asked) if rows else [proof.counts(relay.database, asked)]
        names = proof.ROW if rows else proof.COUNTED
        found = _print(chunks, names, as_csv=as_csv, as_json=json)
    if not found:
        raise Failure("no delivery is like that")


def _print(
    chunks: Iterable[Sequence[Mapping[str, Any]]], names: Sequence[str], *, as_csv: bool, as_json: bool
) -> int:
    """Prints chunk by chunk; returns how many rows there were."""
    found = 0
    for number, chunk in enumerate(chunks):
        found += len(chunk)
        if as_json:
            print_lines(chunk)
        elif as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerows([names] if number == 0 else [])
            writer.writerows([_inert(row[name]) for name in names] for row in chunk)
        else:
            heads = [name.replace("_", " ") for name in names]
            console().print(telling.table(heads, ([_shown(row[name]) for name in names] for row in chunk)))
    return found


def _shown(value: object) -> object:
    return "" if value is None else value


def _inert(value: object) -> object:
    """No formula for a table's program: an event_id may be made of what a browser wrote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
