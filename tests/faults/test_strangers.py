"""Short runs of what `fuzz` and `forgeries` do at length."""

import sys

from tests.faults import forgeries, fuzz

SEED = 20_261_122


def test_changed_hooks_are_kept() -> None:
    verdict = fuzz.run(600, SEED)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert verdict.verdicts["event"] + verdict.verdicts["duplicate"] > 60, (
        "else all that was tried is refusing"
    )


def test_forged_hooks_are_refused() -> None:
    verdict = forgeries.run(3_000, SEED)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert len(verdict.sent) == len(forgeries.WAYS)
