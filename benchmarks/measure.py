"""Rounds, ratios, spread. Machines are noisy: only what ran next to each other is compared."""

import statistics
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

console = Console()


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rounds(contestants: Mapping[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Each contestant once per round, in turn, so that noise meets all of them alike."""
    for work in contestants.values():
        work()  # warm
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(count):
        for name, work in contestants.items():
            times[name].append(seconds(work))
    return times


def show(title: str, times: Mapping[str, list[float]], floor: str, each: int, unit: str) -> None:
    """Prints every contestant's median per ``unit`` and its ratio to the floor, taken round by round."""
    table = Table(title=title, title_justify="left")
    for head in ("", f"µs per {unit}", f"× {floor}", "spread"):
        table.add_column(head, justify="left" if not head else "right")
    for name, taken in times.items():
        ratios = sorted(mine / theirs for mine, theirs in zip(taken, times[floor], strict=True))
        table.add_row(
            name,
            f"{statistics.median(taken) / each * 1e6:.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        )
    console.print(table)
    console.print()
