"""One kind of trouble at a time, long enough to be felt, while orders come; and what is promised then."""

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tests.faults.injector import Injector
from tests.faults.installation import AS_ON_A_HOST, OURS, Changes, Installation, Kind, installed
from tests.faults.judge import LATEST_SECONDS, Verdict, judge
from tests.faults.load import MANNERS, Answer, Load

HEALTHY_SECONDS = 5.0
"""So long after the trouble every hook is taken again, without anybody's help."""

LONGEST_SECONDS, LONGEST_OF_THE_LAST = 3.0, 8.0
"""How long a store waits for its answer; one that never sends again is given more time."""

BOTH: tuple[Kind, ...] = ("sqlite", "postgresql")


class Promise(NamedTuple):
    """What holds in a scene besides what always does. ``statuses`` may be answered; ``p99`` in seconds.
    ``unhurt``: each order is sent once, with one attempt, beyond doubt."""

    statuses: frozenset[int] = frozenset({200, 503})
    p99: float | None = None
    unhurt: bool = False


class Stage:
    """Where a scene plays. ``scale`` shortens everything that takes time; ``calm_at``: when trouble ended;
    ``excused``: orders of which the scene can say why they are sent twice."""

    def __init__(self, relay: Installation, load: Load, seed: int, scale: float) -> None:
        self.relay, self.load, self.scale = relay, load, scale
        self.chance = random.Random(seed)
        self.injector = Injector(relay, self.chance)
        self.failed: list[str] = []
        self.noted: list[str] = []
        self.excused: set[str] = set()
        self.calm_at: list[float] = []
        self.trouble_at: list[float] = []

    def last(self, seconds: float) -> None:
        """Lets time go by."""
        time.sleep(seconds * self.scale)

    def trouble(self) -> None:
        """From here on nothing has to be well."""
        self.trouble_at.append(time.monotonic())

    def calm(self) -> None:
        """From here on everything has to become well by itself."""
        self.calm_at.append(time.monotonic())

    def times(self, number: int) -> range:
        """How often to repeat something."""
        return range(max(1, round(number * self.scale)))

    def expect(self, condition: object, sentence: str) -> None:
        """Notes a promise that was not kept."""
        if not condition:
            self.failed.append(sentence)

    def note(self, sentence: str) -> None:
        """What was measured, for the verdict."""
        self.noted.append(sentence)


class Scene(NamedTuple):
    """``act`` makes the trouble and ends it."""

    act: Callable[[Stage], None]
    promise: Promise = Promise()
    databases: tuple[Kind, ...] = BOTH
    changes: Changes = AS_ON_A_HOST
    settings: Mapping[str, str] = {}


def play(
    name: str,
    scene: Scene,
    database: Kind,
    *,
    seed: int = 1,
    rate: float = 50.0,
    scale: float = 1.0,
    timed: bool = True,
) -> Verdict:
    """The scene at full length, or shortened; then what is left is delivered, and the count is made.

    Not ``timed``: how long anything took is not judged, as another's work on the machine would be, too.
    """
    with installed(database, seed=seed, changes=scene.changes, **scene.settings) as relay:
        load = Load(relay.web_url, relay.home / "acknowledged.jsonl", rate=rate, seconds=3_600)
        stage = Stage(relay, load, seed, scale)
        load.start()
        try:
            time.sleep(1.0)
            scene.act(stage)
            time.sleep(1.0 + HEALTHY_SECONDS * scale)
        finally:
            load.stop()
            load.join()
        settled = relay.settle(LATEST_SECONDS)
        relay.fleet.stop(OURS)
        stage.failed += _broken(scene.promise, stage)
        if timed:
            stage.failed += _late(scene.promise, stage)
        return judge(
            relay,
            load,
            name=name,
            seed=seed,
            settled=settled,
            faults=stage.injector.done,
            kills=stage.injector.kills,
            failed=stage.failed,
            noted=stage.noted,
            excused=stage.excused,
        )


def _broken(promise: Promise, stage: Stage) -> Iterator[str]:
    answers = stage.load.answers
    others = Counter(str(one.status or "no answer") for one in answers if one.status not in promise.statuses)
    if others:
        yield f"answered otherwise than {sorted(promise.statuses)}: {dict(others)}"
    if promise.unhurt:
        yield from _hurt(stage.relay)
    if stage.relay.database_kind == "sqlite":
        yield from _corrupt(stage.relay)


def _late(promise: Promise, stage: Stage) -> Iterator[str]:
    answers = stage.load.answers
    if late := [one for one in answers if one.seconds > _allowed(one)]:
        worst = max(late, key=lambda one: one.seconds)
        yield f"{len(late)} answers came too late, {worst.store} waited for {worst.seconds:.1f} s"
    if promise.p99 is not None and (p99 := stage.load.slowest(0.99)) > promise.p99:
        yield f"one acknowledgement in a hundred takes {p99 * 1_000:.0f} ms"
    for calm_at in stage.calm_at:
        until = min((moment for moment in stage.trouble_at if moment > calm_at), default=float("inf"))
        ill = [one for one in answers if calm_at + HEALTHY_SECONDS <= one.at < until and one.status != 200]
        if ill:
            yield f"{len(ill)} hooks were refused {HEALTHY_SECONDS:.0f} s after the trouble and later"


def _allowed(answer: Answer) -> float:
    return LONGEST_SECONDS if MANNERS[answer.store].pauses else LONGEST_OF_THE_LAST


def _hurt(relay: Installation) -> Iterator[str]:
    marks = Counter((row["attempts"], row["crashes"], row["ambiguous"]) for row in relay.ledger())
    if marks.keys() - {(1, 0, False)}:
        yield f"attempts, crashes and doubts were not (1, 0, False) for all: {dict(marks)}"


def _corrupt(relay: Installation) -> Iterator[str]:
    with sqlite3.connect(relay.ledger_file) as file:
        [told] = file.execute("PRAGMA integrity_check").fetchone()
    if told != "ok":
        yield f"the ledger's file is not whole: {told}"
