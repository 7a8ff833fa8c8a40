"""Short runs of some of the scenes that `./dev faults --scene` plays at full length."""

import os
import sys

import pytest

from tests.faults.long import SCENES
from tests.faults.scenes import play

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MAY_MOUNT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a small disk")
SHOWN = ("database frozen", pytest.param("disk full", marks=MAY_MOUNT))


@pytest.mark.parametrize("name", SHOWN)
def test_a_scene_ends_well(name: str) -> None:
    scene = SCENES[name]
    verdict = play(name, scene, scene.databases[0], rate=30, scale=0.25, timed=False)
    sys.stdout.write(str(verdict))
    assert not verdict.broken, str(verdict)
    assert verdict.acknowledged > 20
