"""Real hooks, changed at random and rightly signed: ``python -m tests.faults.fuzz --count 200000 --seed 1``.

Each is a sample of a store in which values were replaced, moved, doubled or taken away, and whose bytes may
have suffered besides. Prints its verdict; ends with 1 if a promise was broken, and keeps the shortest body
that breaks it. The same seed makes the same inputs.
"""

import argparse
import copy
import hashlib
import json
import logging
import resource
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from integrations.money import NotMoney
from integrations.store import Incomplete, Malformed, NotAnEvent
from tests import hostile
from tests.contract.samples import Case, cases
from tests.documents import Place, filled_in, mark, name, places
from tests.intake import Intake, broken_promises, intake, signed, topic_of

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build" / "fuzz"

BATCH = 1_000
"""Inputs before a ledger is begun anew: what they are told of is not to fill a disk."""

ROOM = 2_000_000
"""Bytes. What is longer is refused unread, which is not the question here."""

CASES = [case for case in cases() if case.expected.verdict != "ping"]
FORMS = sorted({form for forms in (*hostile.VALUES_OF, hostile.ROOTS) for form in forms.values()})
PIECES = [
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b'"',
    b"{",
    b"]",
    b",",
    b"e9999",
    b"NaN",
    b"-",
]


class Mutant(NamedTuple):
    """A body, and the sample that it was made of."""

    case: Case
    body: bytes


class Verdict(msgspec.Struct):
    """What a run showed."""

    seed: int
    inputs: Counter[str] = msgspec.field(default_factory=Counter)
    verdicts: Counter[str] = msgspec.field(default_factory=Counter)
    broken: list[str] = msgspec.field(default_factory=list)
    slowest: float = 0.0
    megabytes: int = 0

    def __str__(self) -> str:
        lines = [
            ("inputs", f"{self.inputs.total()} ({_counts(self.inputs)})"),
            ("kept as", _counts(self.verdicts)),
            ("slowest", f"{self.slowest * 1_000:.0f} ms of the processor"),
            ("memory", f"{self.megabytes} MB more than after the first {BATCH}"),
            ("verdict", "kept" if not self.broken else "BROKEN"),
        ]
        body = [f"  {label:<13}{text}" for label, text in lines]
        return "\n".join([f"fuzz: seed {self.seed}", *body, *(f"  - {one}" for one in self.broken)]) + "\n"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


# --- where a store looks ------------------------------------------------------------------------------------


def _asked(case: Case) -> frozenset[str]:
    """The names of everything that the store asks this sample for."""
    names = set[str]()

    class Spied(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            names.add(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> Any:
            names.add(key)
            return super().__getitem__(key)

        def __contains__(self, key: object) -> bool:
            names.add(str(key))
            return super().__contains__(key)

    body = json.loads(case.hook.body, object_pairs_hook=Spied)
    for read in (case.store.map, case.store.refunds):
        with suppress(AttributeError, Incomplete, Malformed, NotAnEvent, NotMoney):
            read(case.hook, body, case.refunding_shop)
    return frozenset(names)


ASKED = {case.id: _asked(case) for case in CASES}
NAMES = sorted(frozenset[str]().union(*ASKED.values()))

# --- how an input is made ----------------------------------------------------------------------------------

Change = Callable[[st.DrawFn, Any, Place, list[bytes]], None]


def _holder(document: Any, place: Place) -> Any:
    for step in place[:-1]:
        document = document[step]
    return document


def _put_form(draw: st.DrawFn, document: Any, place: Place, forms: list[bytes]) -> None:
    _holder(document, place)[place[-1]] = mark(len(forms))
    forms.append(draw(st.sampled_from(FORMS)))


def _put_json(draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    _holder(document, place)[place[-1]] = draw(_JSON)


def _add(draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    holder = _holder(document, place)
    if isinstance(holder, dict):
        holder[draw(st.sampled_from(NAMES))] = draw(_JSON)


def _take_away(_draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    del _holder(document, place)[place[-1]]


def _copy_here(draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    _, value = draw(st.sampled_from(list(places(document))))
    _holder(document, place)[place[-1]] = copy.deepcopy(value)


def _wrap(draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    holder = _holder(document, place)
    value = holder[place[-1]]
    holder[place[-1]] = draw(st.sampled_from([[value], {"id": value}, [[value, value]], {"": value}]))


def _repeat(draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    holder = _holder(document, place)
    times, value = draw(st.sampled_from([2, 10, 300])), holder[place[-1]]
    holder[place[-1]] = value * times if isinstance(value, str | list) else [value] * times


def _rename(draw: st.DrawFn, document: Any, place: Place, _forms: list[bytes]) -> None:
    holder = _holder(document, place)
    names = [str(step) for step, *_ in (reversed(other) for other, _ in places(document))]
    if isinstance(holder, dict):
        holder[draw(st.sampled_from(names) | st.text(max_size=3))] = holder.pop(place[-1])


_CHANGES: Sequence[Change] = (
    _put_form,
    _put_form,
    _put_json,
    _take_away,
    _copy_here,
    _wrap,
    _repeat,
    _rename,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def mutants(draw: st.DrawFn) -> Mutant:
    """A sample with a few changes, and one time in four bytes that may no longer be JSON."""
    case = draw(st.sampled_from(CASES))
    document, forms = json.loads(case.hook.body), list[bytes]()
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 2, 3, 4, 8]))):
        if document:
            change, place = draw(st.sampled_from(_CHANGES)), draw(_somewhere(case, document))
            change(draw, document, place, forms)
    body = filled_in(document, forms)
    spoiled = draw(_spoiled(body)) if draw(st.integers(0, 3)) == 3 else body
    return Mutant(case, spoiled[:ROOM])


def _somewhere(case: Case, document: Any) -> st.SearchStrategy[Place]:
    """Three times in four where the store looks, if there is such a place."""
    found = [place for place, _ in places(document)]
    read = [place for place in found if name(place) in ASKED[case.id]] or found
    return st.integers(0, 3).flatmap(lambda turn: st.sampled_from(read if turn else found))


@st.composite
def _spoiled(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(st.integers(0, len(body)))
    piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
    until = draw(st.sampled_from([at, at + 1, at + 100, len(body)]))
    return body[:at] + piece + body[until:]


# --- how it is run -----------------------------------------------------------------------------------------


def run(count: int, seed: int) -> Verdict:
    """So many inputs, in batches with seeds of their own."""
    verdict, first = Verdict(seed), 0
    for number in range(-(-count // BATCH)):
        with intake() as desk:
            _batch(desk, verdict, min(BATCH, count - number * BATCH), f"{seed}/{number}")
        first = first or _megabytes()
    verdict.megabytes = _megabytes() - first
    return verdict


def _batch(desk: Intake, verdict: Verdict, count: int, seed: str) -> None:
    @hypothesis.seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
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
        assert (broken := _sent(desk, mutant, verdict)) == [], _kept(mutant, broken)

    try:
        check()
    except Exception as error:  # noqa: BLE001 - what fails in some tries only, hypothesis raises otherwise
        verdict.broken.append(f"{error}, seed {seed}")


def _sent(desk: Intake, mutant: Mutant, verdict: Verdict) -> list[str]:
    """One input; returns the promises that it breaks."""
    case = mutant.case
    headers = signed(case.store, mutant.body, topic=topic_of(case))
    heard = desk.send(case.store, mutant.body, headers)
    verdict.inputs[case.store.slug] += 1
    verdict.verdicts[heard.verdict or "nothing"] += 1
    verdict.slowest = max(verdict.slowest, heard.seconds)
    return broken_promises(heard, is_signed=True)


def _kept(mutant: Mutant, broken: list[str]) -> str:
    """Writes the body to a file that the shortest one overwrites; returns what to say of it."""
    FOUND.mkdir(parents=True, exist_ok=True)
    mark_of = hashlib.sha256("\n".join(broken).encode()).hexdigest()[:8]
    file = FOUND / f"{mutant.case.store.slug}-{mark_of}.json"
    file.write_bytes(mutant.body)
    return f"{mutant.case.id}: {'; '.join(broken)} ({file.relative_to(ROOT)})"


def _megabytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the whole run (1)")
    options = parser.parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # what the relay says of each is not for here
    verdict = run(options.count, options.seed)
    sys.stdout.write(str(verdict))
    return int(bool(verdict.broken))


if __name__ == "__main__":
    sys.exit(main())
