"""Adding a destination takes its file, its stand-in and its samples, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEWCOMER = ROOT / "tests" / "newcomer"
SKIPPED = shutil.ignore_patterns("newcomer", "faults")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the newcomer's files put where such files belong."""
    copy = tmp_path_factory.mktemp("newcomer")
    for folder in ("integrations", "webhooks", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=SKIPPED)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    shutil.copy(NEWCOMER / "adapter.py", copy / "integrations/destinations/acme.py")
    shutil.copy(NEWCOMER / "stand_in.py", copy / "webhooks/sandbox/acme.py")
    shutil.copytree(NEWCOMER / "data", copy / "tests/data/destinations/acme")
    return copy


def run(checkout: Path, *command: str, **variables: str) -> str:
    done = started(checkout, *command, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def started(checkout: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env={"PYTHONPATH": str(checkout), **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_it_passes_what_is_asked_of_every_destination(checkout: Path) -> None:
    contract = ("pytest", "tests/contract/test_destinations.py", "-k", "acme", "-q", "-p", "no:cacheprovider")
    started(checkout, *contract, "--update-golden")  # writes the golden requests
    told = run(checkout, *contract)
    passed = int(told.rpartition(" passed")[0].split()[-1].strip("="))
    assert passed > 30


def test_settings_and_guides_know_it(checkout: Path) -> None:
    told = run(checkout, "webhooks", "settings", "check", ACME_ADVERTISER="a-1", ACME_KEY="k" * 20)
    assert "account acme" in told
    assert "k" * 20 not in told
    assert "ACME_ONLY_COUNTRIES" in run(checkout, "webhooks", "settings", "example")
    assert "Acme Ads" in run(checkout, "integrations.tables")
