"""A short run of what `beacons` does at length."""

import sys

import pytest

from tests.faults import beacons


@pytest.mark.faults
def test_a_flood_of_hostile_beacons_harms_no_order() -> None:
    verdict = beacons.run("sqlite", seconds=4, rate=1_000, orders=30)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert verdict.answers.keys() >= {"204", "400", "403", "413"}
