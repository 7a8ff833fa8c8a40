"""Tells people what the ledger answers: words, tables, colours. One order: `storytelling.py`."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from webhooks.clock import DAY, HOUR, MINUTE, SECOND, rfc3339
from webhooks.figures import AccountFigures, Figures, ShopFigures
from webhooks.questions import STATES, HookTold

_COLOURS = {
    "green": ("delivered", "event", "open"),
    "cyan": ("due", "incomplete"),
    "yellow": ("held", "resting", "quarantined"),
    "red": ("refused", "broken", "expired"),
    "dim": ("duplicate",),
}
COLOUR = {word: colour for colour, words in _COLOURS.items() for word in words}
"""Of a state or a verdict."""

Line = tuple[str, str]
"""A sentence, and the state or verdict that gives it its colour."""

# --- words -----------------------------------------------------------------------------------------------


def plain(value: object) -> str:
    """Text from outside as a terminal may show it: on one line, without control characters."""
    return "".join(char if char.isprintable() else "?" for char in str(value))


def moment(when: int | None) -> str:
    """``2026-11-22 09:30:12 UTC``; empty for None."""
    written = rfc3339(when)
    return f"{written[:10]} {written[11:19]} UTC" if written else ""


def span(duration: int) -> str:
    """Milliseconds in the unit that a person would choose: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if abs(duration) >= 2 * unit:
            return f"{duration // unit} {name}"
    return f"{max(duration, 0) / SECOND:.3g} s" if duration < 10 * SECOND else f"{duration // SECOND} s"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 hook``, ``2 hooks``."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def because(reason: str, detail: str) -> str:
    """``: 100/2804050, the order tells too little``; empty without either."""
    told = ", ".join(plain(word) for word in (reason, detail) if word)
    return f": {told}" if told else ""


def _state(word: str) -> Text:
    return Text(plain(word), style=COLOUR.get(word, ""))


# --- tables ----------------------------------------------------------------------------------------------


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A table of plain texts; `Text` keeps its colour, numbers stand below each other and never wrap."""
    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    cells = [list(row) for row in rows]
    for number, head in enumerate(heads):
        counts = bool(cells) and all(isinstance(row[number], int) or row[number] == "" for row in cells)
        made.add_column(head, overflow="fold", no_wrap=counts, justify="right" if counts else "left")
    for row in cells:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return made


def chapter(head: str, lines: Iterable[Line]) -> Text:
    """A heading, and what belongs to it indented below."""
    made = Text(f"{plain(head)}\n", style="bold")
    for line, word in lines:
        made.append(f"  {plain(line)}\n", style=f"not bold {COLOUR.get(word, '')}")
    return made


def deliveries(rows: Iterable[dict[str, Any]]) -> Table:
    """A page of `Questions.deliveries`."""
    return table(
        ["Id", "Shop", "Order", "Account", "State", "Tries", "Why", "Value", "Received", "Next try"],
        (
            (
                row["delivery"],
                row["shop"],
                row["order_name"] or row["order_id"],
                row["account"],
                _state(row["state"]),
                row["attempts"],
                because(row["reason"], row["detail"]).removeprefix(": "),
                f"{row['value']} {row['currency']}",
                row["received_at"][:19].replace("T", " "),
                (row["next_attempt_at"] or "")[:19].replace("T", " "),
            )
            for row in rows
        ),
    )


def quarantine(hooks: Iterable[HookTold]) -> Table:
    """A page of `Questions.quarantine`."""
    return table(
        ["Id", "Shop", "Topic", "Order", "Why", "Received", "Repeats", "Kept"],
        (
            (
                hook.id,
                hook.shop,
                hook.topic,
                hook.order_id,
                hook.reason,
                moment(hook.received_at),
                hook.repeats,
                "yes" if hook.kept else "forgotten",
            )
            for hook in hooks
        ),
    )


def counts(of: dict[str, int]) -> str:
    """``2 due, 1 refused``."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in of.items()) or "none"


# --- figures ---------------------------------------------------------------------------------------------


def figures(told: Figures) -> Group:
    """Accounts, shops, queue. Only states and verdicts that occur have a column."""
    states = [one for one in STATES if any(one in account.deliveries for account in told.accounts)]
    heads = ["Account", "Destination", "State", *states, "ambiguous", "tries/h", "Waits longest"]
    accounts = table(
        heads, (_account(one, states, told.at) for one in told.accounts), "Deliveries by account"
    )
    verdicts = sorted({verdict for shop in told.shops for verdict in shop.hooks})
    heads = ["Shop", "Store", "events", "sent to nobody", *(f"hooks: {_spaced(one)}" for one in verdicts)]
    shops = table(heads, (_shop(one, verdicts) for one in told.shops), "Events and hooks by shop")
    notes = [Text(note, style="yellow") for one in told.accounts for note in _notes(one)]
    notes += [Text(f"{one.shop}: {one.browser}", style="yellow") for one in told.shops if one.browser]
    calls = "Redis does not answer" if told.calls_waiting is None else f"{told.calls_waiting} waiting"
    return Group(accounts, shops, *notes, f"Wake-up calls: {calls}")


def _spaced(word: str) -> str:
    return word.replace("_", " ")


def _account(one: AccountFigures, states: Sequence[str], now: int) -> list[object]:
    waits = one.longest_waiting
    oldest = f"{span(now - waits.created_at)}, {span(waits.expires_at - now)} left" if waits else ""
    counted = [one.deliveries.get(state, 0) for state in states]
    known = [one.account, one.destination, _state(one.state if one.is_set_up else "not set up")]
    return [*known, *counted, one.ambiguous, one.attempts_last_hour, oldest]


def _shop(one: ShopFigures, verdicts: Sequence[str]) -> list[object]:
    store = one.store if one.is_set_up else "not set up"
    return [one.shop, store, one.events, one.without_delivery, *(one.hooks.get(v, 0) for v in verdicts)]


def _notes(one: AccountFigures) -> Iterable[str]:
    if one.state != "open":
        yield (
            f"{one.account} is {one.state} since {moment(one.since)}{because(one.reason, one.detail)}; "
            f"one delivery tries again at {moment(one.probe_at)}"
        )
    if not one.is_set_up and (one.deliveries.keys() & {"due", "held"}):
        yield f"{one.account} is not in the settings: nobody sends what waits for it"
