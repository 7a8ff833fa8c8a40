"""Tells the demo's story in a terminal, or in a file: chapters, a line per happening, a table at the end."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from webhooks.sandbox.cast import LABELS, Order
from webhooks.sandbox.stage import Actor
from webhooks.sandbox.verdict import Claim, Seen

_WIDE = 110
"""Columns where nobody says how many there are."""

_FLEXIBLE = "what happened"
_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("store", "left"),
    ("order", "left"),
    ("value", "right"),
    (_FLEXIBLE, "left"),
    ("hooks", "right"),
    ("calls", "right"),
    ("told", "right"),
    ("at {}", "left"),
)
_WORDS = {
    "delivered": ("once", "green"),
    "refused": ("refused", "yellow"),
    "suppressed": ("not told", "cyan"),
}


class Narrator:
    """Writes to stdout. Times are seconds since it began to speak."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _WIDE
        self.console = Console(file=sys.stdout, highlight=False, width=width)
        self._begun = time.monotonic()
        self._chapters = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    def title(self, name: str, destinations: Sequence[str]) -> None:
        """The first lines."""
        stand_ins = f"{', '.join(destinations[:-1])} and {destinations[-1]}"
        words = (
            "A whole relay on this machine: web server, queue, worker, sweep and ledger are the real ones. "
            f"{stand_ins if len(destinations) > 1 else destinations[0]} are played by strict stand-ins that "
            "count for themselves. Nothing leaves this machine, and nothing stays."
        )
        self.console.print()
        self.console.print(Text.assemble(("purchase-relay ", "bold"), (name, "bold")))
        self.console.print(Text(words, "dim"))

    def chapter(self, words: str) -> None:
        """A new chapter."""
        self._chapters += 1
        self.console.print()
        self.console.print(Text.assemble((f"{self._chapters}  ", "dim"), (words, "bold")))

    def line(self, who: str, words: str, outcome: str = "", style: str = "green") -> None:
        """Something happened: who is at it, what, and what came of it."""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(justify="right", style="dim", width=8, no_wrap=True)
        grid.add_column(style="cyan", width=12, no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(f"{self.seconds:.1f} s", who, words, Text(outcome, style))
        self.console.print(grid)

    def table(
        self,
        orders: Sequence[Order],
        hooks: Mapping[str, int],
        actors: Sequence[Actor],
        found: Mapping[tuple[str, str], Seen],
    ) -> None:
        """Every order and what became of it: in words at the first destination, as a sign at the others."""
        lead, *others = actors
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for heading, justify in _COLUMNS:
            table.add_column(heading.format(lead.label), justify=justify, no_wrap=heading != _FLEXIBLE)
        if others:
            table.add_column("others", no_wrap=True, min_width=max(6, len(others)))
        for order in orders:
            signs = Text.assemble(*(_sign(found.get((order.id, actor.slug))) for actor in others))
            cells: list[Text | str] = [
                Text(LABELS[order.store], "cyan"),
                order.name,
                order.money,
                order.about,
            ]
            cells += [str(hooks[order.id]), *_told(found.get((order.id, lead.slug)))]
            table.add_row(*cells, *([signs] if others else []))
        self.console.print()
        self.console.print(table)
        words = f"told: by the relay and by browsers, as {lead.label}'s own record has it"
        names = ", ".join(actor.label for actor in others)
        words += f"\nothers: {names}; ✓ counted once, – not sent" if others else ""
        self.console.print(Text(words, "dim"))

    def claims(self, claims: Sequence[Claim]) -> None:
        """What was promised, and whether it is so."""
        self.console.print()
        for claim in claims:
            mark = Text("  ✓ ", "green") if claim.holds else Text("  ✗ ", "bold red")
            but = "" if claim.holds else f": but {claim.but or 'it is not so'}"
            self.console.print(Text.assemble(mark, claim.sentence, (but, "red")))

    def stuck(self, what: str, last_words: Iterable[str]) -> None:
        """The play cannot go on: what did not happen, and what the processes said."""
        self.ending(f"It does not go on: {what}", good=False)
        for words in last_words:
            self.console.print(Text(f"  {words}", "dim"))

    def ending(self, words: str, *, good: bool) -> None:
        """The last line."""
        self.console.print()
        self.console.print(Text(words, "bold green" if good else "bold red"))


def _told(one: Seen | None) -> list[Text | str]:
    """Calls, how often the destination was told, and what it counted."""
    if one is None:
        return ["", "", Text("✗ missing", "red")]
    words, style = _WORDS.get(one.fate.state, (one.fate.state, "red"))
    if one.fate.state == "delivered" and one.kept != 1:
        words, style = f"{one.kept} times", "red"
    return [
        str(one.fate.tries),
        str(one.server + one.browser),
        Text.assemble(_sign(one), (f" {words}", style)),
    ]


def _sign(one: Seen | None) -> Text:
    if one is not None and one.fate.state == "delivered" and one.kept == 1:
        return Text("✓", "green")
    if one is not None and one.fate.state in _WORDS and one.kept == 0:
        return Text("–", "dim")
    return Text("✗", "red")
