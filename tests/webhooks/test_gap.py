"""Six hours of which no hook told: afterwards each sale is in the ledger, and at its destination, once."""

from pathlib import Path

import pytest

from integrations.discovery import stores
from tests.faults.gap import Fault, run

ORDERS = 12

CASES: list[tuple[str, Fault, str]] = [
    ("shopify", "down", "subscription"),  # gives up after four hours, and deletes it
    ("woocommerce", "down", "subscription"),  # never tries again, and disables it at the seventh failure
    ("stripe", "down", "hooks_lost"),  # tries for three days: they come late
    ("stripe", "deleted", "subscription"),  # only its owner can put the new secret into the settings
    ("woocommerce", "lost", "hooks_lost"),  # nobody visited the shop, so nothing was sent
]


@pytest.mark.faults
@pytest.mark.parametrize(
    ("store", "fault", "cause"), [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in CASES]
)
def test_a_gap_is_healed_and_told_once(store: str, fault: Fault, cause: str, tmp_path: Path) -> None:
    verdict = run(store, fault, ORDERS, tmp_path)
    assert verdict.broken == []
    assert verdict.pulled == ORDERS
    assert verdict.causes == (cause,)


def test_no_store_is_left_out() -> None:
    assert {case[0] for case in CASES} == stores().keys()
