"""The retry schedule: bounds, the destination's wishes, and the end of the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.destination import Outcome
from webhooks import retries
from webhooks.clock import DAY, HOUR, MINUTE
from webhooks.leases import CRASH_LIMIT, Claimed

SCHEDULE = (30.0, 120.0, 600.0)
NOW = 1_795_000_000_000
AGAIN = Outcome("retry", "http_500")


def claimed(
    *, attempts: int = 0, expires_in: int = 7 * DAY, crashes: int = 0, ambiguous: bool = False
) -> Claimed:
    return Claimed(
        id=1,
        account="meta",
        event_id="1042",
        attempts=attempts,
        crashes=crashes,
        ambiguous=ambiguous,
        first_sent_at=NOW - HOUR,
        expires_at=NOW + expires_in,
        order_id="1042",
        shop="shopify",
        sealed=b"",
    )


@given(st.integers(1, 500), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_between_half_and_all_of_the_step(attempts: int, chance: float) -> None:
    step = SCHEDULE[min(attempts, len(SCHEDULE)) - 1] * 1_000
    assert step / 2 <= retries.delay(attempts, AGAIN, SCHEDULE, chance) <= step


@pytest.mark.parametrize(("asked", "at_least"), [(0, 15), (90, 90), (10**9, retries.LONGEST_RETRY_AFTER)])
def test_the_destination_may_ask_for_more_time(asked: int, at_least: int) -> None:
    outcome = Outcome("retry", "429", retry_after=asked)
    assert retries.delay(1, outcome, SCHEDULE, 0.0) >= at_least * 1_000
    assert retries.delay(1, outcome, SCHEDULE, 0.9) <= (at_least + 30) * 1_000


def test_a_last_try_before_the_window_closes() -> None:
    settled = retries.settle(claimed(attempts=9, expires_in=5 * MINUTE), AGAIN, NOW, SCHEDULE, 0.5)
    assert (settled.state, settled.due_at) == ("due", NOW + 4 * MINUTE)


def test_no_try_after_the_window() -> None:
    assert retries.settle(claimed(expires_in=MINUTE), AGAIN, NOW, (600.0,), 0.5).state == "expired"


@pytest.mark.parametrize("state", ["delivered", "refused", "held", "expired", "suppressed", "broken"])
def test_other_outcomes_are_final(state: str) -> None:
    outcome = Outcome(state, "why")  # type: ignore[arg-type]
    assert retries.settle(claimed(), outcome, NOW, SCHEDULE, 0.5).state == state


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (claimed(), None),
        (claimed(crashes=CRASH_LIMIT), "broken"),
        (claimed(expires_in=0), "expired"),
        (claimed(ambiguous=True), None),
    ],
)
def test_what_must_not_be_sent_any_more(one: Claimed, state: str | None) -> None:
    verdict = retries.too_late(one, NOW, 2 * HOUR)
    assert (verdict.state if verdict else None) == state


def test_an_uncertain_one_is_not_repeated_when_nobody_recognises_it() -> None:
    verdict = retries.too_late(claimed(ambiguous=True), NOW, HOUR - 1)
    assert verdict is not None
    assert (verdict.state, verdict.reason) == ("refused", "uncertain")
