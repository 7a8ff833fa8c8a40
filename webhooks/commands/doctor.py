"""The command that examines a deployment."""

from collections import Counter

import click
from rich.text import Text

from webhooks.commands.frame import as_json, console, print_json, say
from webhooks.doctor import walking
from webhooks.doctor.findings import Finding
from webhooks.telling import counted

_MARKS = {
    "ok": ("✓", "green"),
    "note": ("·", "dim"),
    "skipped": ("-", "dim"),
    "warning": ("!", "yellow"),
    "fault": ("✗", "red"),
}


@click.command()
@click.option("--shop", default="", help="Slug of one shop; without it, all of them and everything else.")
@click.option("--quick", is_flag=True, help="Ask neither shops nor destinations.")
@click.option("--strict", is_flag=True, help="Warnings count as faults: exit code 1.")
@as_json
def doctor(shop: str, quick: bool, strict: bool, json: bool) -> None:
    """Examine the whole deployment, link by link.

    Settings, database, keys, Redis, processes, the public URL, each shop, each destination, and at last an
    invented order on its way to the destinations' own test modes. Each line that is not a tick says what to
    do. Nothing is changed, and nothing counts. Exit code 1 if something is broken, for CI and monitoring.
    """
    found: list[Finding] = []
    for finding in walking.examine(shop=shop, is_quick=quick):
        found.append(finding)
        if not json:
            console().print(_line(finding), soft_wrap=True)
    counts = Counter(finding.state for finding in found)
    if json:
        figures = {"ok": not counts["fault"], "faults": counts["fault"], "warnings": counts["warning"]}
        print_json(figures | {"findings": [_plain(one) for one in found]})
    if counts["fault"] or (strict and counts["warning"]):
        if not json:
            say(f"{counted(counts['fault'], 'fault')}, {counted(counts['warning'], 'warning')}.")
        raise click.exceptions.Exit(1)


def _plain(finding: Finding) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("link", "state", "sentence", "remedy")}


def _line(finding: Finding) -> Text:
    mark, colour = _MARKS[finding.state]
    line = Text.assemble((f"{mark} {finding.link}", colour), f": {finding.sentence}")
    return line.append(f" → {finding.remedy}", "bold") if finding.remedy else line
