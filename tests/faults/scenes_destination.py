"""Scenes of a destination that refuses us, or is away: it is left in peace, and nobody's order is lost."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from functools import partial
from itertools import accumulate, chain
from typing import Any

from sqlalchemy import func, select

from tests.environments import META
from tests.faults import orders
from tests.faults.installation import ROOT, WORKERS, Changes, Installation
from tests.faults.load import CUT_OFF
from tests.faults.scenes import Promise, Scene, Stage
from tests.waiting import until
from webhooks import gate
from webhooks.clock import SECOND, now_ms
from webhooks.delivery import BATCH, IN_FLIGHT
from webhooks.schema import accounts, attempts

# --- a dead token ----------------------------------------------------------------------------------------

RENEWED = "EAABrenewedTOKENnotreal"

_SCARED_OFF = 400
"""What Meta answers to a dead token."""


def _token_dead(stage: Stage) -> None:
    """The owner notices after a while, and starts everything anew with another token."""
    relay, dead = stage.relay, META["META_ACCESS_TOKEN"]
    stage.last(2)
    known = {"pixel_id": META["META_PIXEL_ID"], "access_token": RENEWED, "expired_token": dead}
    relay.control("accounts", {"accounts": [known]})
    until(lambda: _account(relay).get("state") == "held", 20)
    since = _account(relay)["since"]
    stage.last(90)
    held = now_ms() - since
    relay.restart(META_ACCESS_TOKEN=RENEWED)
    until(lambda: _account(relay)["state"] == "open", 30)
    stage.calm()
    _judge_refused(stage, since, held)


def _judge_refused(stage: Stage, since: int, held: int) -> None:
    refused = [one["at"] * 1_000 for one in _requests(stage.relay) if one["status"] == _SCARED_OFF]
    late = sum(at > since for at in refused)
    probes = tries(held, gate.HELD_FIRST, gate.HELD_LONGEST)
    most = len(WORKERS) + 1 + probes
    stage.note(
        f"token dead for {held / SECOND:.0f} s: {len(refused)} calls were refused, {late} of them after the "
        f"account was held; {most} are allowed, {probes} of them to try it again"
    )
    stage.expect(refused, "nothing was refused")
    stage.expect(late <= most, f"{late} calls to a destination that refuses us, {most} are allowed")
    on_the_way = len(WORKERS) * IN_FLIGHT
    stage.expect(len(refused) - late <= on_the_way, f"more than {on_the_way} calls were on their way")
    told = _alerts_in_logs(stage.relay, "account_held")
    stage.expect(told == 1, f"{told} alerts of one dead token")


# --- a destination that asks for time ---------------------------------------------------------------------

ASKED_SECONDS = 8
HEARD_SECONDS = 1.0
"""So long after the answer every worker knows of it."""


def _throttled(stage: Stage) -> None:
    """One call after the other is answered with 429, and says in seconds or as a date when to come back."""
    relay = stage.relay
    for number in stage.times(6):
        asked = str(ASKED_SECONDS) if number % 2 else formatdate(time.time() + ASKED_SECONDS, usegmt=True)
        step = {"status": 429, "headers": {"Retry-After": asked}, "body": {}}
        relay.control("script", {"steps": [step]})
        until(partial(_were_throttled, relay, number + 1), 20)
        time.sleep(ASKED_SECONDS + 3)
    relay.delay_answers(stage.chance)
    stage.calm()
    calls = [one["at"] for one in _requests(relay)]
    early = [
        round(call - at, 1)
        for at in _throttlings(relay)
        for call in calls
        if at + HEARD_SECONDS < call < at + ASKED_SECONDS - 1  # a date has no fractions of a second
    ]
    stage.note(f"{number + 1} times asked for {ASKED_SECONDS} s, {len(early)} calls came earlier")
    stage.expect(not early, f"called again after {early} s, asked for {ASKED_SECONDS}")


def _were_throttled(relay: Installation, times: int) -> bool:
    return len(_throttlings(relay)) >= times


def _throttlings(relay: Installation) -> list[float]:
    return [one["at"] for one in _requests(relay) if one["status"] == 429]


# --- a destination that is away --------------------------------------------------------------------------

BACKLOG = 10_000
FIRST_FILLED = 1_000_000
"""The number of the first order of the backlog; those of the load are below."""

DRAINED_SECONDS = 300.0
ANSWER_SECONDS = 0.1
_USUAL = 50
"""Fewer deliveries than this are on their way at any time."""

RESTS = (0.5, 1.0, 2.0, 4.0)
"""Rests between two tries double from the first to the last of these."""

CAP = len(WORKERS) * IN_FLIGHT
"""So many requests may be out at the same time, of at most `BATCH` events each; there is no other cap."""


def _away(stage: Stage) -> None:
    """It answers 500, and a backlog grows beyond what comes in by itself."""
    relay = stage.relay
    stage.last(2)
    began = time.time()
    relay.control("script", {"steps": [{"scene": "unknown_error", "times": None}]})
    until(lambda: _account(relay).get("state") == "resting", 30)
    since = _account(relay)["since"]
    filled = _filled(stage, round(BACKLOG * stage.scale))
    stage.last(60)
    relay.delay_answers(stage.chance)
    back = time.time()
    until(lambda: relay.open_deliveries() < filled / 50, DRAINED_SECONDS)
    stage.note(
        f"a backlog of {filled} orders was drained {time.time() - back:.1f} s after {back - began:.0f} s"
    )
    stage.calm()
    _judge_probes(stage, since, back)
    _judge_recovery(stage, back)


def _filled(stage: Stage, count: int) -> int:
    """That many orders more, committed as intake does it; returns how many."""
    command = [sys.executable, "-m", "tests.faults.filling", str(FIRST_FILLED), str(count)]
    subprocess.run(command, cwd=ROOT, env=dict(stage.relay.environ), check=True)
    for number in range(FIRST_FILLED, FIRST_FILLED + count):
        told = orders.place(number)[0]
        stage.load.placed[told.order_id] = told
        stage.load.acknowledged[told.order_id] = time.time()
    return count


def _judge_probes(stage: Stage, since: int, back: float) -> None:
    """As many tries as one worker alone would have made, and what the others had on their way."""
    failed = [one["at"] * 1_000 for one in _requests(stage.relay) if one["status"] == 500]
    rested = [at for at in failed if at > since]
    first, *_, longest = (round(rest * SECOND) for rest in RESTS)
    allowed = tries(back * 1_000 - since, first, longest) + len(WORKERS)
    stage.note(f"{len(failed)} calls failed, {len(rested)} of them tried a resting account; {allowed} may")
    stage.expect(len(rested) <= allowed, f"{len(rested)} tries of a resting account, {allowed} are allowed")
    before = len(WORKERS) * (gate.FAILURES + IN_FLIGHT)
    stage.expect(len(failed) - len(rested) <= before, f"more than {before} calls failed before it rested")


def _judge_recovery(stage: Stage, back: float) -> None:
    requests = [one for one in _requests(stage.relay) if one["at"] >= back]
    sizes = [len(json.loads(one["body"])["data"]) for one in requests]
    per_second = Counter(int(one["at"] - back) for one in requests)
    events = Counter[int]()
    for one, size in zip(requests, sizes, strict=True):
        events[int(one["at"] - back)] += size
    cap, at_once = CAP / ANSWER_SECONDS, _most_at_once(stage.relay, back)
    stage.note(
        f"the cap is {CAP} requests at once, {cap:.0f} per second as it answers; there were {at_once} at "
        f"once, at most {max(per_second.values())} in a second and {max(events.values())} events, "
        f"the first of {sizes[:6]} events"
    )
    stage.expect(at_once <= CAP, f"{at_once} requests were out at the same time")
    stage.expect(max(per_second.values()) <= 2 * cap, f"{max(per_second.values())} calls in one second")
    stage.expect(max(sizes) <= BATCH, f"{max(sizes)} events in one request")
    stage.expect(sizes[0] == 1, f"the first request after the trouble held {sizes[0]} events")
    alone = requests[1]["at"] - requests[0]["at"] >= ANSWER_SECONDS * 0.9
    stage.expect(alone, "a second request went out before the first was answered")


def _most_at_once(relay: Installation, back: float) -> int:
    """How many requests were out at the same time since then, as the ledger has them."""
    spans = (
        select(func.min(attempts.c.opened_at), func.max(attempts.c.closed_at))
        .where(attempts.c.opened_at >= round(back * 1_000), attempts.c.closed_at.is_not(None))
        .group_by(attempts.c.batch)
    )
    with relay.database.read() as db:
        found = db.execute(spans).all()
    # What ends in the same millisecond in which another begins made room for it.
    steps = sorted(chain.from_iterable(((opened, 1), (closed, -1)) for opened, closed in found))
    return max(accumulate(step for _, step in steps), default=0)


# --- what is known ---------------------------------------------------------------------------------------


def tries(milliseconds: float, first: int, longest: int) -> int:
    """How often one worker alone tries an account that is stopped for so long."""
    return sum(1 for _ in _tries(milliseconds, first, longest))


def _tries(milliseconds: float, first: int, longest: int) -> Iterator[int]:
    at = pause = first
    while at <= milliseconds:
        yield at
        pause = min(2 * pause, longest)
        at += pause


def _account(relay: Installation) -> Mapping[str, Any]:
    """How the only account stands; nothing if nothing was ever the matter."""
    with relay.database.read() as db:
        row = db.execute(select(accounts)).mappings().one_or_none()
    return dict(row) if row is not None else {}


def _requests(relay: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = relay.control("record")["requests"]
    return found


def _alerts_in_logs(relay: Installation, kind: str) -> int:
    """How often it was raised. That it was cleared is told under the same name."""
    lines = chain.from_iterable(log.read_bytes().splitlines() for log in relay.home.glob("*.log"))
    told = (json.loads(line) for line in lines if line.startswith(b"{"))
    return sum(one.get("kind") == kind and one["level"] == "error" for one in told)


_UNHURRIED = {"RELAY_LEASE_SECONDS": "30"}
_RESTS = {"RELAY_RETRY_SCHEDULE": ",".join(map(str, RESTS))}

SCENES: Mapping[str, Scene] = {
    "token dead": Scene(
        _token_dead,
        # While nothing listens, there is no answer.
        Promise(statuses=frozenset({200, 503, CUT_OFF}), unhurt=True),
        settings=_UNHURRIED,
    ),
    "destination throttles": Scene(
        _throttled, Promise(statuses=frozenset({200})), databases=("postgresql",), settings=_UNHURRIED
    ),
    "destination away": Scene(
        _away,
        Promise(statuses=frozenset({200})),
        changes=Changes(delays=(ANSWER_SECONDS, ANSWER_SECONDS)),
        settings={**_UNHURRIED, **_RESTS},
    ),
}
