"""Short runs of what `fuzz` and `forgeries` do at length."""

import sys
import threading
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis.strategies import DrawFn

from tests import hostile, memory
from tests.documents import filled_in, mark
from tests.faults import forgeries, fuzz, mutants, results

SEED = 20_261_122


def test_changed_hooks_are_kept() -> None:
    verdict = fuzz.run(600, SEED)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert verdict.verdicts["event"] + verdict.verdicts["duplicate"] > 10, (
        "else all that was tried is refusing"
    )


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second, other = (fuzz.run(50, seed) for seed in (SEED, SEED, SEED + 1))
    assert first.inputs.total() == 50
    assert (first.inputs, first.verdicts) == (second.inputs, second.verdicts)
    assert (first.inputs, first.verdicts) != (other.inputs, other.verdicts)


class _Soon(threading.Event):
    """Set when it is looked at for the tenth time."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks >= 10


def test_what_was_tried_before_a_stop_is_told() -> None:
    verdict = fuzz.Verdict([*fuzz.parts(5_000, SEED, _Soon())], 5_000)
    assert verdict.inputs.total() == 9
    assert not verdict.broken, "to be stopped is no failure"
    assert "4991 of 5000" in str(verdict)


def test_runs_are_added_up_and_what_was_tried_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "there is none yet" / "fuzz.jsonl"
    parts = [fuzz.Part(seed, number) for seed, number in ((1, 0), (1, 1), (2, 0), (1, 1))]
    for part in parts:
        part.inputs["shopify"] += 100
        results.keep(file, msgspec.to_builtins(part))
    verdict = fuzz.recorded(file, results.revision())
    assert verdict.inputs.total() == 300
    assert "seeds 1, 2" in str(verdict)
    assert "nothing was tried" in str(fuzz.recorded(file, "another revision"))


@pytest.mark.parametrize("name", ["longest", "empty"])
def test_repetitions_of_repetitions_end_where_there_is_no_room(name: str) -> None:
    form = {"longest": max(hostile.LONG_TEXTS.values(), key=len), "empty": hostile.ROOTS["empty"]}[name]
    draft = mutants.Draft(mutants.CASES[0])
    place = draft.places[0]
    draft.holder(place)[place[-1]] = mark(0)
    draft.forms.append(form)

    def most(strategy: Any) -> int:
        return 300 if strategy is mutants.TIMES else 0

    mutants.repeat(cast("DrawFn", most), draft, place)
    draft.holder(place)[place[-1]] = [mark(0)]
    for _ in range(3):
        mutants.repeat(cast("DrawFn", most), draft, place)
    assert mutants.ROOM < len(filled_in(draft.document, draft.forms)) < 3 * mutants.ROOM


def test_the_memory_that_was_needed_meanwhile_is_known() -> None:
    if not (held := memory.forget_peak()):
        pytest.skip("only Linux keeps account of it")
    assert len(b"x" * 50_000_000) == 50_000_000
    assert memory.peak() - held > 40
    assert memory.forget_peak() - held < 10, "it was given back"


def test_forged_hooks_are_refused() -> None:
    verdict = forgeries.run(3_000, SEED)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert len(verdict.sent) == len(forgeries.WAYS)
