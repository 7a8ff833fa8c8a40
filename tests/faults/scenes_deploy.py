"""Scenes in which nothing goes wrong: deploys, and clocks that nobody has to believe."""

from collections.abc import Mapping

from tests.faults.installation import OURS, Changes
from tests.faults.load import CUT_OFF
from tests.faults.processes import STOP_SECONDS
from tests.faults.scenes import Promise, Scene, Stage


def _deployed(stage: Stage) -> None:
    """Every process is told to stop at once, and started anew when it is gone."""
    for number in stage.times(20):
        took = stage.relay.fleet.stop(OURS)
        late = [name for name, seconds in took.items() if seconds > STOP_SECONDS]
        stage.expect(not late, f"deploy {number + 1}: {late} had to be killed")
        stage.expect(took.keys() == set(OURS), f"deploy {number + 1}: not everybody was there to be told")
        stage.relay.fleet.start_again(OURS)
        stage.relay.wait_until_ready()
        stage.last(1)


def _misled(stage: Stage) -> None:
    stage.last(20)


# While nothing listens, there is no answer.
_QUIET = Promise(statuses=frozenset({200, 503, CUT_OFF}), unhurt=True)
_UNHURRIED = {"RELAY_LEASE_SECONDS": "30"}
_SLOW = Changes(delays=(0.05, 1.0))
_CLOCKS = Changes(
    worker=("-m", "tests.faults.misled", "worker"), sweeper=("-m", "tests.faults.misled", "sweep")
)

SCENES: Mapping[str, Scene] = {
    "deployed": Scene(_deployed, _QUIET, settings=_UNHURRIED),
    "deployed while slow": Scene(_deployed, _QUIET, ("postgresql",), _SLOW, _UNHURRIED),
    "clocks wrong": Scene(_misled, Promise(statuses=frozenset({200}), unhurt=True), ("postgresql",), _CLOCKS),
}
