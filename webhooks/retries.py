"""When to try again: the schedule, spread at random, within the destination's age window. Pure."""

from collections.abc import Sequence

from integrations.destination import Outcome
from webhooks.clock import MINUTE, milliseconds
from webhooks.leases import CRASH_LIMIT, Claimed, Settled

LONGEST_RETRY_AFTER = 3_600
"""Seconds. A destination that asks for more is asked again after an hour all the same."""

UNCERTAIN = (
    "it may have been counted, and the time in which the destination recognises a repetition is over: "
    "replay it by name if it was not"
)


def too_late(one: Claimed, now: int, dedup: int) -> Outcome | None:
    """Why a delivery must not be sent any more, or None. ``dedup``: for how many milliseconds after the
    first send the destination recognises a repetition."""
    if one.crashes >= CRASH_LIMIT:
        return Outcome("broken", "crashes", f"{one.crashes} workers died with it", spent=False)
    if one.expires_at <= now:
        return Outcome("expired", "too_old", "older than the destination accepts", spent=False)
    if one.ambiguous and now - (one.first_sent_at or now) > dedup:
        return Outcome("refused", "uncertain", UNCERTAIN, spent=False)
    return None


def settle(one: Claimed, outcome: Outcome, now: int, schedule: Sequence[float], chance: float) -> Settled:
    """The delivery's next state after an outcome. ``chance`` is in [0, 1)."""
    if outcome.state != "retry":
        return Settled(one.id, outcome, outcome.state, now, one.basis)
    spent = one.attempts + int(outcome.spent)
    due_at = now + delay(spent, outcome, schedule, chance)
    last_call = one.expires_at - MINUTE
    if due_at <= last_call:
        return Settled(one.id, outcome, "due", due_at, one.basis)
    if now + MINUTE < last_call:  # one more try before the window closes
        return Settled(one.id, outcome, "due", last_call, one.basis)
    return Settled(one.id, outcome, "expired", now, one.basis)


def delay(attempts: int, outcome: Outcome, schedule: Sequence[float], chance: float) -> int:
    """Milliseconds until the next try: between half and all of the schedule's step, and never before the
    time that the destination asked for. The schedule's last step repeats."""
    step = milliseconds(schedule[min(max(attempts, 1), len(schedule)) - 1])
    asked = milliseconds(min(outcome.retry_after or 0, LONGEST_RETRY_AFTER))
    return max(asked + round(chance * min(step, MINUTE) / 2), round(step * (0.5 + chance / 2)))
