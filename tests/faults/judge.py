"""Compares what was acknowledged with what arrived, and the ledger with both."""

from collections import Counter
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import func, select

from tests.faults.installation import Installation
from tests.faults.load import CUT_OFF, Load
from tests.faults.processes import Exit
from webhooks.sandbox.standin import Received
from webhooks.schema import attempts

LATEST_SECONDS = 60.0
"""Everything acknowledged is delivered so long after the last fault."""

_SHOWN = 5


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. The first lists are what must not happen; each names orders or processes.

    ``duplicates`` counts all orders that were sent more than once; ``unexplained`` are those of them that the
    ledger does not flag as ambiguous. ``p50``, ``p90``, ``p99`` and ``slowest``: milliseconds until an
    acknowledgement; ``longest``: until any answer or none. ``noted``: what a scene has measured.
    """

    name: str
    database: str
    seed: int

    lost: list[str]
    unrecorded: list[str]
    unexplained: list[str]
    misstated: list[str]
    strangers: list[str]
    disagreements: list[str]
    crashed: list[str]
    wrong_answers: list[str]
    failed: list[str]
    late: bool
    noted: list[str]

    orders: int
    acknowledged: int
    received: int
    duplicates: int
    ambiguous: int
    in_flight: float
    interrupted: list[int]
    travel_p50: float
    travel_slowest: float
    answers: dict[str, int]
    faults: dict[str, int]
    kills: int
    settled_seconds: float
    p50: float
    p90: float
    p99: float
    slowest: float
    longest: float

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, as sentences; none is what is hoped for."""
        found: list[tuple[list[str], str]] = [
            (self.lost, "acknowledged and never received"),
            (self.unrecorded, "acknowledged and not in the ledger"),
            (self.unexplained, "received more than once, not flagged ambiguous"),
            (self.misstated, "received with another value"),
            (self.strangers, "received, but never placed"),
            (self.disagreements, "of which the ledger says otherwise than the destination"),
            (self.crashed, "ended although nobody killed it"),
            (self.wrong_answers, "answered neither 200 nor 503"),
        ]
        sentences = [f"{len(items)} {what}: {_some(items)}" for items, what in found if items]
        sentences += self.failed
        if self.late:
            sentences.append(f"not everything was delivered {LATEST_SECONDS:.0f} s after the last fault")
        return sentences

    def _interrupted(self) -> str:
        return ", ".join(map(str, self.interrupted)) or "none"

    def _times(self) -> str:
        named = {"p50": self.p50, "p90": self.p90, "p99": self.p99, "slowest": self.slowest}
        shown = ", ".join(f"{name} {value:.0f}" for name, value in named.items())
        return f"{shown}; longest wait for any answer {self.longest:.0f}"

    def __str__(self) -> str:
        lines = [
            ("kills", f"{self.kills} ({_counts(self.faults)})"),
            ("orders", f"{self.orders} placed, {self.acknowledged} acknowledged"),
            ("answers", _counts(self.answers)),
            ("milliseconds", self._times()),
            ("received", f"{self.received} orders, {self.duplicates} of them twice"),
            ("ambiguous", f"{self.ambiguous} in the ledger"),
            ("in flight", f"{self.in_flight:.1f} orders on average; at the kills {self._interrupted()}"),
            ("travelled", f"{self.travel_p50:.0f} ms at the median, {self.travel_slowest:.0f} at most"),
            ("settled", f"{self.settled_seconds:.1f} s after load and faults"),
            ("lost", str(len(self.lost))),
            *(("noted", sentence) for sentence in self.noted),
            ("verdict", "kept" if not self.broken else "BROKEN"),
        ]
        body = [f"  {label:<13}{text}" for label, text in lines]
        head = f"faults: {self.name} on {self.database}, seed {self.seed}"
        return "\n".join([head, *body, *(f"  - {sentence}" for sentence in self.broken)]) + "\n"


def judge(
    relay: Installation,
    load: Load,
    *,
    name: str,
    seed: int,
    settled: float,
    faults: Counter[str],
    kills: int,
    failed: Sequence[str] = (),
    noted: Sequence[str] = (),
    excused: Collection[str] = (),
) -> Verdict:
    """Reads both sides. Ask when nothing runs any more that could send. ``failed``: what else was promised
    and not kept. ``excused``: orders that may be sent twice although the ledger cannot know."""
    received, ledger = relay.received(), {row["event_id"]: row for row in relay.ledger()}
    times = Counter(one.event_id for one in received)
    twice = {order for order, count in times.items() if count > 1}
    flagged = {order for order, row in ledger.items() if row["ambiguous"]}
    answers, travels = load.statuses, _travels(received, load)
    return Verdict(
        name=name,
        database=relay.database_kind,
        seed=seed,
        lost=sorted(load.acknowledged.keys() - times.keys()),
        unrecorded=sorted(load.acknowledged.keys() - ledger.keys()),
        unexplained=sorted(twice - flagged - set(excused)),
        misstated=_misstated(received, load),
        strangers=sorted(times.keys() - load.placed.keys()),
        disagreements=_disagreements(ledger, times),
        crashed=[f"{one.name} with {one.code}" for one in relay.fleet.exits if not _is_explained(one)],
        wrong_answers=[f"{status}" for status in sorted(answers) if status not in {200, 503, CUT_OFF}],
        failed=list(failed),
        noted=list(noted),
        late=settled >= LATEST_SECONDS,
        orders=len(load.placed),
        acknowledged=len(load.acknowledged),
        received=len(times),
        duplicates=len(twice),
        ambiguous=len(flagged),
        in_flight=round(_in_flight(relay), 2),
        interrupted=_interrupted(relay),
        travel_p50=round(travels[len(travels) // 2] * 1_000, 1) if travels else 0.0,
        travel_slowest=round(travels[-1] * 1_000, 1) if travels else 0.0,
        answers={str(status or "no answer"): count for status, count in sorted(answers.items())},
        faults=dict(faults),
        kills=kills,
        settled_seconds=round(settled, 2),
        p50=round(load.slowest(0.5) * 1_000, 1),
        p90=round(load.slowest(0.9) * 1_000, 1),
        p99=round(load.slowest(0.99) * 1_000, 1),
        slowest=round(load.slowest(1.0) * 1_000, 1),
        longest=round(max((answer.seconds for answer in load.answers), default=0.0) * 1_000, 1),
    )


def _travels(received: list[Received], load: Load) -> list[float]:
    """Seconds from acknowledgement to destination, of each order, sorted; what arrives before its store has
    read the answer took none."""
    first: dict[str, float] = {}
    for one in received:
        first.setdefault(one.event_id, one.at)
    known = load.acknowledged
    return sorted(max(0.0, at - known[order]) for order, at in first.items() if order in known)


def _in_flight(relay: Installation) -> float:
    """How many orders were between sending and closing, on average: what a death leaves in doubt."""
    spent = select(
        func.min(attempts.c.opened_at),
        func.max(attempts.c.closed_at),
        func.sum(attempts.c.closed_at - attempts.c.opened_at),
    ).where(attempts.c.outcome != "interrupted", attempts.c.closed_at.is_not(None))
    with relay.database.read() as db:
        first, last, total = db.execute(spent).one()
    return float(total) / (last - first) if first and last > first else 0.0


def _interrupted(relay: Installation) -> list[int]:
    """How many orders each worker had sent when it died, request by request."""
    left = select(func.count()).where(attempts.c.outcome == "interrupted").group_by(attempts.c.batch)
    with relay.database.read() as db:
        return sorted(db.execute(left).scalars(), reverse=True)


def _misstated(received: list[Received], load: Load) -> list[str]:
    """Orders that arrived with another total than they were placed with."""
    found = set()
    for one in received:
        told = load.placed.get(one.event_id)
        said = one.event.get("custom_data", {}).get("value")
        if told is not None and told.value is not None and Decimal(str(said)) != told.value:
            found.add(one.event_id)
    return sorted(found)


def _disagreements(ledger: dict[str, dict[str, Any]], times: Counter[str]) -> list[str]:
    """Deliveries that only one side knows to be done."""
    delivered = {order for order, row in ledger.items() if row["state"] == "delivered"}
    return sorted(f"{order} ({ledger.get(order, {}).get('state')})" for order in delivered ^ times.keys())


def _is_explained(one: Exit) -> bool:
    # After a SIGKILL PostgreSQL may find its predecessor's last children, and tries again.
    return one.by_us or one.name == "postgresql"


def _some(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (" ..." if len(items) > _SHOWN else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
