"""Everything is killed at random while orders come, and no order that was acknowledged is lost."""

import sys

import pytest

from tests.faults.installation import Kind
from tests.faults.mixed import mixed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SEED = 20_261_122


def test_no_acknowledged_order_is_lost(database: Kind) -> None:
    verdict = mixed(database, SEED, rate=100, seconds=6, kills=8)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert verdict.kills >= 6, "a run without faults proves nothing"
    assert verdict.acknowledged > verdict.orders / 2, "neither does one that takes no orders"
