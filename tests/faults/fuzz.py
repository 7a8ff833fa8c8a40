"""Real hooks, changed at random and rightly signed: ``python -m tests.faults.fuzz --count 50000 --seed 1``.

Tells on stderr how far it is, and appends a JSON line to a file for each thousand; after SIGINT or SIGTERM
its verdict is of what was sent until then. A second verdict is of all that the file has of this revision, by
whatever runs. Ends with 1 if a promise was broken, and keeps the shortest body that breaks it; with 130 if it
was stopped before. The same seed makes the same inputs.
"""

import argparse
import gc
import hashlib
import logging
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import msgspec
from hypothesis import HealthCheck, Phase, given, settings

from tests import memory
from tests.faults import results
from tests.faults.mutants import Mutant, mutants
from tests.intake import Intake, broken_promises, intake, signed, topic_of

ROOT = results.ROOT
FOUND = ROOT / "build" / "fuzz"
RESULTS = ROOT / "build" / "fuzz.jsonl"

BATCH = 1_000
"""Inputs before a ledger is begun anew: what they are told of is not to fill a disk."""

STOPPED = 130
"""Exit code, as a shell has it after Ctrl-C."""


class Part(msgspec.Struct):
    """What one batch showed."""

    seed: int
    number: int
    inputs: Counter[str] = msgspec.field(default_factory=Counter)
    verdicts: Counter[str] = msgspec.field(default_factory=Counter)
    broken: list[str] = msgspec.field(default_factory=list)
    slowest: float = 0.0
    most_megabytes: float = 0.0
    """What the relay needed at most while it answered one request."""
    held_megabytes: float = 0.0
    """What relay and generator, which share a process, have when the batch is done."""


class Verdict(msgspec.Struct):
    """What a run showed, or several. ``asked``: inputs that there were to be, 0 if nobody said."""

    parts: list[Part]
    asked: int = 0

    @property
    def inputs(self) -> Counter[str]:
        return sum((part.inputs for part in self.parts), Counter[str]())

    @property
    def verdicts(self) -> Counter[str]:
        return sum((part.verdicts for part in self.parts), Counter[str]())

    @property
    def broken(self) -> list[str]:
        return [sentence for part in self.parts for sentence in part.broken]

    @property
    def slowest(self) -> float:
        return max((part.slowest for part in self.parts), default=0.0)

    def __str__(self) -> str:
        inputs, lacking = self.inputs, self.asked - self.inputs.total()
        lines = [
            ("inputs", f"{inputs.total()} ({_counts(inputs)})"),
            *([("not tried", f"{lacking} of {self.asked}")] if lacking > 0 else []),
            ("kept as", _counts(self.verdicts)),
            ("slowest", f"{self.slowest * 1_000:.0f} ms of the processor"),
            ("memory", self._memory()),
            ("verdict", "BROKEN" if self.broken else "kept" if self.parts else "nothing was tried"),
        ]
        body = [f"  {label:<13}{text}" for label, text in lines]
        return "\n".join([f"fuzz: {self._seeds()}", *body, *(f"  - {one}" for one in self.broken)]) + "\n"

    def _seeds(self) -> str:
        seeds = sorted({part.seed for part in self.parts})
        return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"

    def _memory(self) -> str:
        held = [part.held_megabytes for part in self.parts]
        if not any(held):
            return "not known on this machine"
        most = max(part.most_megabytes for part in self.parts)
        return (
            f"{most:.0f} MB at most for one answer; between batches the process, generator and all,"
            f" had {min(held):.0f} to {max(held):.0f} MB"
        )


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


# --- how it is run -----------------------------------------------------------------------------------------


def run(count: int, seed: int) -> Verdict:
    """So many inputs, in batches with seeds of their own."""
    return Verdict([*parts(count, seed, threading.Event())], count)


def parts(count: int, seed: int, stop: threading.Event) -> Iterator[Part]:
    """The same, one batch after the other, until ``stop`` is set: the last one is as long as it became."""
    for number in range(-(-count // BATCH)):
        part = Part(seed, number)
        with intake() as desk:
            _batch(desk, part, min(BATCH, count - number * BATCH), stop)
        gc.collect()
        part.held_megabytes = memory.resident()
        yield part
        if stop.is_set():
            return


class _Stopped(BaseException):
    """Somebody wants an end: nothing that was tried has failed."""


def _batch(desk: Intake, part: Part, count: int, stop: threading.Event) -> None:
    @hypothesis.seed(_number(f"{part.seed}/{part.number}"))
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(mutants())
    def check(mutant: Mutant) -> None:
        if stop.is_set():
            raise _Stopped
        assert (broken := _sent(desk, mutant, part)) == [], _kept(mutant, broken)

    try:
        check()
    except _Stopped:
        return
    except Exception as error:  # noqa: BLE001 - what fails in some tries only, hypothesis raises otherwise
        part.broken.append(f"{error}, seed {part.seed}/{part.number}")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _sent(desk: Intake, mutant: Mutant, part: Part) -> list[str]:
    """One input; returns the promises that it breaks."""
    case = mutant.case
    headers = signed(case.store, mutant.body, topic=topic_of(case))
    heard = desk.send(case.store, mutant.body, headers)
    part.inputs[case.store.slug] += 1
    part.verdicts[heard.verdict or "nothing"] += 1
    part.slowest = max(part.slowest, heard.seconds)
    part.most_megabytes = max(part.most_megabytes, heard.megabytes)
    return broken_promises(heard, is_signed=True)


def _kept(mutant: Mutant, broken: list[str]) -> str:
    """Writes the body to a file that the shortest one overwrites; returns what to say of it."""
    FOUND.mkdir(parents=True, exist_ok=True)
    mark_of = hashlib.sha256("\n".join(broken).encode()).hexdigest()[:8]
    file = FOUND / f"{mutant.case.store.slug}-{mark_of}.json"
    file.write_bytes(mutant.body)
    return f"{mutant.case.id}: {'; '.join(broken)} ({file.relative_to(ROOT)})"


# --- what is said of it ------------------------------------------------------------------------------------


def recorded(file: Path, revision: str) -> Verdict:
    """All that a file has of a revision; of what was tried twice, the last time."""
    found = dict[tuple[int, int], Part]()
    for line in file.read_bytes().splitlines():
        if msgspec.json.decode(line)["revision"] == revision:
            part = msgspec.json.decode(line, type=Part, dec_hook=lambda kind, value: kind(value))
            found[part.seed, part.number] = part
    return Verdict([*found.values()])


def _progress(part: Part, done: int, began: float) -> str:
    """One line. The rate is by the clock, so it tells of what else the machine does."""
    return (
        f"{done} inputs, {done / (time.monotonic() - began):.0f}/s; of the last {part.inputs.total()}:"
        f" {_counts(part.verdicts)}; slowest {part.slowest * 1_000:.0f} ms, {part.most_megabytes:.0f} MB at"
        f" most, {len(part.broken)} broken; the process has {part.held_megabytes:.0f} MB\n"
    )


def _stop_on_signals() -> threading.Event:
    """Set by SIGINT and SIGTERM; the second one ends the process as ever."""
    stop = threading.Event()

    def ask(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return stop


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every promise was kept, and all was tried."""
    options = _options().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # what the relay says of each is not for here
    stop, began = _stop_on_signals(), time.monotonic()
    verdict = Verdict([], options.count)
    for part in parts(options.count, options.seed, stop):
        verdict.parts.append(part)
        results.keep(options.results, msgspec.to_builtins(part))
        sys.stderr.write(_progress(part, verdict.inputs.total(), began))
    sys.stdout.write(str(verdict))
    revision = results.revision()
    sys.stdout.write(f"of {revision}, all runs: {recorded(options.results, revision)}")
    return 1 if verdict.broken else STOPPED if stop.is_set() else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the whole run (1)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="a file that grows by one line per batch"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
