"""Rounds, ratios, spread. Machines are noisy: only what ran next to each other is compared."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

console = Console(width=110)


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long it takes once, by that clock: the wall's, or `time.process_time` for this process's own."""
    began = clock()
    work()
    return clock() - began


def rounds(
    contestants: Mapping[str, Callable[[], object]],
    count: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Each contestant once per round, in turn, so that noise meets all of them alike."""
    for work in contestants.values():
        work()  # warm
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(count):
        for name, work in contestants.items():
            times[name].append(seconds(work, clock))
    return times


def ratios(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, in rising order."""
    return sorted(one / other for one, other in zip(mine, theirs, strict=True))


def p99(of: Sequence[float]) -> float:
    """What all but one in a hundred are below."""
    return sorted(of)[int(0.99 * (len(of) - 1))]


def spread(of: Sequence[float]) -> tuple[str, str]:
    """The median, and the lowest and the highest, as a table shows them."""
    return f"{statistics.median(of):.3g}", f"{min(of):.3g} to {max(of):.3g}"


def table(title: str, *heads: str) -> Table:
    """An empty table; everything but its first column stands to the right."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(heads):
        made.add_column(head, justify="right" if number else "left")
    return made


def show(title: str, times: Mapping[str, list[float]], floor: str, each: int, unit: str) -> None:
    """Prints every contestant's median per ``unit`` and its ratio to the floor, taken round by round."""
    made = table(title, "", f"µs per {unit}", "× floor", "spread")
    for name, taken in times.items():
        own = f"{statistics.median(taken) / each * 1e6:.1f}"
        made.add_row(name, own, *spread(ratios(taken, times[floor])))
    console.print(made)
