"""The gate before each destination account: whether to send now, and what an answer means for the others.

Refused credentials close it until the owner renews them (`held`). A destination that fails again and
again, or asks for time, closes it for a while (`resting`): a circuit breaker, shared by all workers.
"""

from collections.abc import Sequence

from integrations.destination import Account, Outcome
from webhooks import reporting
from webhooks.clock import MINUTE, SECOND, milliseconds, now_ms
from webhooks.holds import CHUNK, Waiting
from webhooks.relay import Relay, fingerprint
from webhooks.retries import LONGEST_RETRY_AFTER

log = reporting.logger(__name__)

FAILURES = 5
"""So many calls in a row must fail in one worker before an account rests."""

HELD_FIRST, HELD_LONGEST = MINUTE, 15 * MINUTE
RESTING_FIRST, RESTING_LONGEST = MINUTE // 2, 10 * MINUTE
"""How long a stopped account is left alone, at first and at most: each failed try doubles it."""


class Gate:
    """One worker's view of all accounts. `look` renews it."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._waiting: dict[str, Waiting] = {}
        self._failures: dict[str, int] = {}
        self._proven: set[str] = set()
        self._park_at: dict[str, int] = {}
        self._releasing: set[str] = set()
        schedule = [milliseconds(seconds) for seconds in relay.settings.retry_schedule]
        self._first = min(RESTING_FIRST, next(filter(None, schedule), 1))  # a rest without a pause is none
        self._longest = max(self._first, min(RESTING_LONGEST, max(schedule)))

    def look(self) -> None:
        """Reads how the accounts stand now; of those that we opened releases some more."""
        self._waiting = self.relay.holds.waiting()
        for slug in list(self._releasing):
            if slug in self._waiting or not self.relay.holds.release(slug, now_ms()):
                self._releasing.discard(slug)

    def is_open(self, account: Account) -> bool:
        """Whether nothing stops the account, as far as we have seen."""
        return account.slug not in self._waiting

    def is_proven(self, account: Account) -> bool:
        """Whether the destination's last answer was neither a failure nor a refusal of our credentials: else
        one call at a time is enough to find out."""
        return account.slug in self._proven

    def allows(self, account: Account, *, has_due: bool, limit: int, now: int) -> int:
        """How many deliveries may be claimed now: ``limit``, 1 to try a stopped account, or 0."""
        seen = self._waiting.get(account.slug)
        if seen is None:
            return limit if has_due else 0
        if seen.state == "held":
            if seen.fingerprint != fingerprint(account):
                self._open(account, "account released: its settings have changed")
                return limit
            if has_due and seen.probe_at > now:
                self._park(account.slug, now)
        elif not has_due:
            return 0
        tried = seen.probe_at <= now and self.relay.holds.probe(account.slug, seen, now, self._next(seen))
        return 1 if tried else 0

    def _park(self, slug: str, now: int) -> None:
        """Every second, or at once while there is much of it."""
        if self._park_at.get(slug, 0) <= now:
            is_much = self.relay.holds.park(slug, now) == CHUNK
            self._park_at[slug] = now if is_much else now + SECOND

    def landed(self, account: Account, outcomes: Sequence[Outcome], sent_at: int) -> None:
        """Learns from an answer to what was sent then. Only what was sent since an account was stopped can
        open it: the rest says how things were before."""
        held = next((outcome for outcome in outcomes if outcome.state == "held"), None)
        self._proven.discard(account.slug)
        if held is not None:
            self._hold(account, held)
        elif all(outcome.state == "retry" and not outcome.whole for outcome in outcomes):
            self._failed(account, outcomes[0])
        else:
            self._failures[account.slug] = 0
            self._proven.add(account.slug)
            seen = self._waiting.get(account.slug)
            if seen is not None and seen.since < sent_at:
                self._open(account, "account released: the destination answers again")

    def _open(self, account: Account, why: str) -> None:
        now = now_ms()
        self.relay.holds.open(account.slug, now)
        if self.relay.holds.release(account.slug, now) == CHUNK:
            self._releasing.add(account.slug)  # the rest bit by bit, so that nobody waits for it
        self._waiting.pop(account.slug, None)
        log.info(why, account=account.slug)

    def _next(self, seen: Waiting) -> int:
        first, longest = (HELD_FIRST, HELD_LONGEST) if seen.state == "held" else (self._first, self._longest)
        return min(first << min(seen.pauses + 1, 20), longest)

    def _hold(self, account: Account, why: Outcome) -> None:
        mark = fingerprint(account)
        slug, kind = account.slug, account.destination
        if self.relay.holds.stop(slug, kind, "held", why, mark, now_ms(), HELD_FIRST):
            reporting.alert(
                "account_held",
                "A destination refuses our credentials; its deliveries wait, none is lost",
                account=account.slug,
                destination=account.destination,
                reason=why.reason,
            )

    def _failed(self, account: Account, why: Outcome) -> None:
        count = self._failures[account.slug] = self._failures.get(account.slug, 0) + 1
        slug, kind, now = account.slug, account.destination, now_ms()
        asked = milliseconds(min(why.retry_after or 0, LONGEST_RETRY_AFTER))
        if not self.is_open(account):
            if asked:
                self.relay.holds.postpone(slug, now + asked)
            return
        if count < FAILURES and not asked:
            return
        pause = max(self._first, asked)
        if self.relay.holds.stop(slug, kind, "resting", why, fingerprint(account), now, pause):
            log.warning(
                "a destination fails again and again; its account rests",
                account=account.slug,
                destination=account.destination,
                reason=why.reason,
                seconds=pause / 1_000,
            )
