"""Many runs, one after the other: ``python -m tests.faults.long --runs 200 --database sqlite``.

Mixed runs (everything is killed at random), or scenes (one kind of trouble each). Prints each verdict, and
appends it to a file as one JSON line. Ends with 1 if a promise was broken.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.faults import results
from tests.faults.installation import ROOT, Kind
from tests.faults.judge import Verdict
from tests.faults.mixed import mixed
from tests.faults.scenes import BOTH, Scene, play
from tests.faults.scenes_database import SCENES as OF_DATABASES
from tests.faults.scenes_deploy import SCENES as OF_DEPLOYS
from tests.faults.scenes_destination import SCENES as OF_DESTINATIONS
from tests.faults.scenes_redis import SCENES as OF_REDIS
from tests.faults.scenes_strangers import SCENES as OF_STRANGERS
from tests.faults.scenes_upkeep import SCENES as OF_UPKEEP

SCENES: dict[str, Scene] = {
    **OF_DATABASES,
    **OF_REDIS,
    **OF_DEPLOYS,
    **OF_STRANGERS,
    **OF_DESTINATIONS,
    **OF_UPKEEP,
}
RESULTS = ROOT / "build" / "faults.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every promise was kept in every run."""
    options = _options().parse_args(arguments)
    verdicts = []
    for scene, seed, database in _runs(options):
        verdict = _run(scene, database, seed, options)
        verdicts.append(verdict)
        _keep(options.results, verdict, options)
        _say(str(verdict))
    _say(summary(verdicts))
    return int(any(verdict.broken for verdict in verdicts))


def summary(verdicts: Sequence[Verdict]) -> str:
    """One block for all runs; a seed names the run that broke something."""
    acknowledged = sum(verdict.acknowledged for verdict in verdicts)
    duplicates = sum(verdict.duplicates for verdict in verdicts)
    share = duplicates / acknowledged if acknowledged else 0.0
    broken = ", ".join(f"{one.name} {one.database} {one.seed}" for one in verdicts if one.broken)
    slowest = max((verdict.settled_seconds for verdict in verdicts), default=0.0)
    return (
        f"all: {len(verdicts)} runs, {sum(verdict.kills for verdict in verdicts)} kills\n"
        f"  acknowledged {acknowledged}, lost {sum(len(verdict.lost) for verdict in verdicts)}\n"
        f"  sent twice   {duplicates} ({share:.2%}), all flagged but "
        f"{sum(len(verdict.unexplained) for verdict in verdicts)}\n"
        f"  settled      within {slowest:.1f} s\n"
        f"  broken       {broken or 'none'}\n"
    )


def _runs(options: argparse.Namespace) -> Iterator[tuple[str, int, Kind]]:
    scenes = list(SCENES) if options.scene == "all" else [options.scene]
    for seed in range(options.seed, options.seed + options.runs):
        for scene in scenes:
            for kind in SCENES[scene].databases if scene in SCENES else BOTH:
                if options.database in {kind, "both"}:
                    yield scene, seed, kind


def _run(scene: str, database: Kind, seed: int, options: argparse.Namespace) -> Verdict:
    if scene in SCENES:
        return play(scene, SCENES[scene], database, seed=seed, rate=options.rate, scale=options.scale)
    return mixed(database, seed, rate=options.rate, seconds=options.seconds, kills=options.kills)


def _keep(file: Path, verdict: Verdict, options: argparse.Namespace) -> None:
    run = {"rate": options.rate, "seconds": options.seconds}
    results.keep(file, {**run, **msgspec.to_builtins(verdict), "broken": verdict.broken})


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="of each kind (1)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next ones count up (1)")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--scene", choices=("mixed", "all", *SCENES), default="mixed", help="(mixed)")
    parser.add_argument("--scale", type=float, default=1.0, help="shortens a scene's trouble (1.0)")
    parser.add_argument("--rate", type=float, default=100, help="orders per second (100)")
    parser.add_argument("--seconds", type=float, default=12, help="of a mixed run (12)")
    parser.add_argument("--kills", type=int, default=10, help="so many processes per mixed run (10)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="a file that grows by one line per run")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
