"""Delivers what is due: claim, build, send, read, close; in batches, all accounts side by side.

One thread speaks to the database and maps; each account has a few threads of its own that wait for its
destination, so that a slow one keeps nobody else waiting. While anything is in flight the ledger is asked
again every few milliseconds: under light load an order leaves at once and alone, a backlog fills batches
up to the destination's limit by itself.
"""

import random
import threading
import time
from collections.abc import Container, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from uuid import uuid4

import msgspec

from integrations import event as events
from integrations.destination import Account, Delivery, Destination, Outcome
from webhooks import confirming, filters, jobs, reporting, retries, settings
from webhooks.clock import milliseconds, now_ms
from webhooks.discretion import Fact
from webhooks.gate import Gate
from webhooks.leases import Claimed, Settled
from webhooks.relay import Relay
from webhooks.tokens import Answer, Kept, Tokens
from webhooks.transport import TOTAL_SECONDS, Transport
from webhooks.vault import Sealed

log = reporting.logger(__name__)

BATCH = 200
"""Events of one request at most, below every large destination's own limit: memory and blast radius."""

IN_FLIGHT = 4
"""Requests of one account at the same time in one worker."""

LOOK_AGAIN_SECONDS = 0.02


class Parcel(msgspec.Struct):
    """What goes out in one request: deliveries under one lease. ``alone``: see `Drain._feed_all`."""

    account: Account
    batch: str
    claimed: list[Claimed]
    deliveries: list[Delivery]
    alone: bool = False


class Drain:
    """One worker's way of emptying what is due. `run` may be called again and again."""

    def __init__(self, relay: Relay, transport: Transport, stopping: threading.Event) -> None:
        self.relay = relay
        self.gate = Gate(relay)
        self.transport = transport
        self.tokens = Tokens(transport)
        self.stopping = stopping
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._flights: dict[Future[Answer], Parcel] = {}
        self._is_turn_of_one = False

    def run(self, seconds: float) -> bool:
        """Delivers until nothing is due, or until the time or the worker ends. True if something is left."""
        until = time.monotonic() + seconds
        while True:
            may_claim = time.monotonic() < until and not self.stopping.is_set()
            taken = self._feed_all() if may_claim else 0
            if self._flights:
                done, _ = wait(self._flights, timeout=LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
                for flight in done:
                    self._land(flight)
            elif not taken:
                break
        return self._left()

    def close(self) -> None:
        """Ends the threads."""
        for pool in self._pools.values():
            pool.shutdown()
        self.transport.close()

    # --- claim -------------------------------------------------------------------------------------------

    def _feed_all(self) -> int:
        """Claims and sends; returns how many deliveries were taken.

        What has seen workers die is out alone: nothing else of any account is on the wire or being built.
        If the worker dies now, only one delivery can be blamed. It takes turns with batches of the others,
        so that neither kind waits for the other's backlog.
        """
        self.gate.look()
        if self._one_is_out():
            return 0
        suspected = self._suspected() if self._is_turn_of_one else []
        if suspected and self._flights:
            return 0
        self._is_turn_of_one = not suspected
        return self._feed(suspected[0], 1, alone=True) if suspected else self._feed_many()

    def _one_is_out(self) -> bool:
        return any(parcel.alone for parcel in self._flights.values())

    def _suspected(self) -> list[Account]:
        """Accounts that may send and have something due that has seen workers die."""
        may = [one for one in self.relay.settings.accounts if self.gate.is_open(one)]
        due = self.relay.leases.due([one.slug for one in may], now_ms(), alone=True)
        return [one for one in may if one.slug in due]

    def _feed_many(self) -> int:
        now = now_ms()
        busy = [parcel.account.slug for parcel in self._flights.values()]
        free = [one for one in self.relay.settings.accounts if busy.count(one.slug) < IN_FLIGHT]
        due = self.relay.leases.due([one.slug for one in free], now)
        taken = 0
        for account in free:
            most = min(self.relay.destination(account).batch_limit, BATCH)
            limit = self.gate.allows(account, has_due=account.slug in due, limit=most, now=now)
            if not limit:
                continue
            taken += self._feed(account, limit, alone=False)
            if not self._flights and not taken:  # there may be nothing else due
                taken += self._feed(account, 1, alone=True)
            if self._one_is_out():
                break
        return taken

    def _feed(self, account: Account, limit: int, *, alone: bool) -> int:
        """Claims a batch and sends it on its way; returns how many deliveries were taken."""
        now, batch = now_ms(), uuid4().hex
        claimed = self.relay.leases.claim(account.slug, limit, batch, now, now + self._lease(), alone=alone)
        if claimed:
            adapter = self.relay.destination(account)
            parcel = self._parcel(account, adapter, batch, claimed)
            self._dispatch(msgspec.structs.replace(parcel, alone=alone))
        return len(claimed)

    def _left(self) -> bool:
        """Whether something is due that nothing stops."""
        self.gate.look()
        wanting = [one.slug for one in self.relay.settings.accounts if self.gate.is_open(one)]
        return bool(self.relay.leases.due(wanting, now_ms()))

    def _lease(self) -> int:
        return milliseconds(self.relay.settings.lease_seconds)

    # --- build -------------------------------------------------------------------------------------------

    def _parcel(
        self, account: Account, adapter: Destination, batch: str, claimed: Sequence[Claimed]
    ) -> Parcel:
        """The deliveries that may be sent; the others are closed with their reason."""
        parcel = Parcel(account, batch, [], [])
        refused: list[tuple[Claimed, Outcome]] = []
        now = now_ms()
        for one in claimed:
            verdict = self._judge(account, adapter, one, now)
            if isinstance(verdict, Delivery):
                parcel.claimed.append(one)
                parcel.deliveries.append(verdict)
            else:
                refused.append((one, verdict))
        self._close(account, batch, refused, None)
        return parcel

    def _judge(self, account: Account, adapter: Destination, one: Claimed, now: int) -> Delivery | Outcome:
        verdict = retries.too_late(one, now, adapter.dedup_seconds * 1_000)
        if verdict is not None or one.sealed is None:
            return verdict or Outcome("refused", "forgotten", "its personal data was erased", spent=False)
        try:
            event = events.decode(self.relay.vault.open(one.sealed))
            shop = self.relay.settings.shop(event.store, event.shop)
            no = filters.withheld(event, account, shop) or adapter.unfit(event, account, now // 1_000)
            return no or Delivery(event, one.event_id)
        except Sealed as error:
            return Outcome("broken", "sealed", str(error), spent=False)
        except Exception as error:  # noqa: BLE001 - our bug must not stop the others in the batch
            return self._broken("judging an event failed", account, one, error)

    def _broken(self, what: str, account: Account, one: Claimed, error: Exception) -> Outcome:
        reporting.alert("broken", what, error=error, account=account.slug, delivery=one.id)
        return Outcome("broken", type(error).__name__, what, spent=False)

    # --- send --------------------------------------------------------------------------------------------

    def _dispatch(self, parcel: Parcel) -> None:
        """Writes the attempt down, then hands the request to the account's threads."""
        if not parcel.claimed:
            return
        adapter, account = self.relay.destination(parcel.account), parcel.account
        now = now_ms()
        try:
            request = adapter.build(parcel.deliveries, account, now // 1_000)
        except Exception as error:  # noqa: BLE001 - our bug: find the event it is about
            self._isolate(parcel, error)
            return
        ids = [one.id for one in parcel.claimed]
        ours = self.relay.leases.open_attempts(parcel.batch, ids, now, now + self._lease())
        if len(ours) < len(ids):  # our lease ran out meanwhile: the others are somebody else's now
            parcel = _only(parcel, ours)
            if not parcel.claimed:
                return
            request = adapter.build(parcel.deliveries, account, now // 1_000)
        pool = self._pools.setdefault(
            account.slug, ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix=account.slug)
        )
        self._flights[pool.submit(self.tokens.send, adapter, account, request)] = parcel

    def _isolate(self, parcel: Parcel, error: Exception) -> None:
        """A batch that cannot be built: halves, until the event that breaks us stands alone."""
        if len(parcel.claimed) == 1:
            one = parcel.claimed[0]
            outcome = self._broken("building a request failed", parcel.account, one, error)
            self._close(parcel.account, parcel.batch, [(one, outcome)], None)
            return
        for half in _halves(parcel):
            self._dispatch(half)

    # --- read and close ----------------------------------------------------------------------------------

    def _land(self, flight: Future[Answer]) -> None:
        """Judges an answer. If the ledger cannot take the verdict now, the flight stays for the next run."""
        parcel, answer = self._flights[flight], flight.result()
        judged, status = self._read(parcel, answer), answer.response.status or None
        if answer.aged and all(outcome.state == "held" for _, outcome in judged):
            self._renew(flight, answer.aged, judged[0][1], status)
            return
        blamed = [pair for pair in judged if not pair[1].whole]
        innocent = [one for one, outcome in judged if outcome.whole] if len(judged) > 1 else []
        self.gate.landed(parcel.account, [outcome for _, outcome in judged])
        self._close(parcel.account, parcel.batch, blamed if innocent else judged, status)
        if innocent:
            note = msgspec.structs.replace(judged[0][1], detail="another event of the batch was refused")
            self.relay.leases.note(parcel.batch, [one.id for one in innocent], note, now_ms(), status)
        del self._flights[flight]
        if innocent:
            rest = _only(parcel, {one.id for one in innocent})
            self._send_again([rest] if blamed else _halves(rest))

    def _renew(self, flight: Future[Answer], token: Kept, why: Outcome, status: int | None) -> None:
        """An access token that ended early, or was taken back, is no reason yet to hold the account: the
        same goes out at once with a new one."""
        parcel, why = self._flights[flight], msgspec.structs.replace(why, detail="the access token had ended")
        self.relay.leases.note(parcel.batch, [one.id for one in parcel.claimed], why, now_ms(), status)
        del self._flights[flight]
        self.tokens.forget(parcel.account, token)
        self._send_again([parcel])

    def _read(self, parcel: Parcel, answer: Answer) -> list[tuple[Claimed, Outcome]]:
        if answer.outcome is not None:
            return [(one, answer.outcome) for one in parcel.claimed]
        try:
            adapter = self.relay.destination(parcel.account)
            outcomes = adapter.read(len(parcel.claimed), answer.response)
            return list(zip(parcel.claimed, outcomes, strict=True))
        except Exception as error:  # noqa: BLE001 - our bug, after the wire: it may have counted
            outcome = self._broken("reading an answer failed", parcel.account, parcel.claimed[0], error)
            outcome = msgspec.structs.replace(outcome, ambiguous=True)
            return [(one, outcome) for one in parcel.claimed]

    def _send_again(self, parcels: Sequence[Parcel]) -> None:
        """What was refused only for another event's sake goes out at once: alone if the culprit was named,
        else in halves until it stands alone."""
        for parcel in parcels:
            if self.stopping.is_set():
                self.relay.leases.let_go(parcel.batch, [one.id for one in parcel.claimed], now_ms())
            else:
                self._dispatch(parcel)

    def _close(
        self,
        account: Account,
        batch: str,
        judged: Sequence[tuple[Claimed, Outcome]],
        status: int | None,
    ) -> None:
        if not judged:
            return
        now, schedule = now_ms(), self.relay.settings.retry_schedule
        settled = [retries.settle(one, outcome, now, schedule, _chance()) for one, outcome in judged]
        confirm_at = confirming.first_look(self.relay.destination(account), account, settled, now)
        self.relay.leases.close(batch, settled, now, status, confirm_at)
        for one, (_, outcome) in zip(settled, judged, strict=True):
            _tell(account, one, outcome)


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries in time


def _only(parcel: Parcel, ids: Container[int]) -> Parcel:
    kept = [pair for pair in zip(parcel.claimed, parcel.deliveries, strict=True) if pair[0].id in ids]
    claimed, deliveries = [one for one, _ in kept], [one for _, one in kept]
    return msgspec.structs.replace(parcel, claimed=claimed, deliveries=deliveries)


def _halves(parcel: Parcel) -> list[Parcel]:
    middle = (len(parcel.claimed) + 1) // 2
    return [
        msgspec.structs.replace(parcel, claimed=parcel.claimed[part], deliveries=parcel.deliveries[part])
        for part in (slice(middle), slice(middle, None))
    ]


def _tell(account: Account, settled: Settled, outcome: Outcome) -> None:
    facts: dict[str, Fact] = {"account": account.slug, "delivery": settled.delivery, "reason": outcome.reason}
    if settled.state in {"refused", "expired"}:
        reporting.alert(settled.state, "A delivery ended for good, undelivered", error=None, **facts)
    else:
        log.info("delivery closed", **facts, state=settled.state, trace=outcome.trace)


def open_drain(relay: Relay, stopping: threading.Event) -> Drain:
    """A drain with a transport whose deadline ends well before the lease does, even if an access token has
    to be got first."""
    seconds = min(TOTAL_SECONDS, 0.4 * relay.settings.lease_seconds)
    return Drain(relay, Transport(connections=IN_FLIGHT, total_seconds=seconds), stopping)


# --- the job -----------------------------------------------------------------------------------------------

_drain: Drain | None = None


def install(drain: Drain | None) -> None:
    """Gives this process the drain that its jobs use; None takes it away."""
    global _drain  # noqa: PLW0603 - RQ calls a function by name, without any object of ours
    _drain = drain


def deliver() -> None:
    """The job: looks into the ledger and delivers what is due."""
    if _drain is None:
        install(open_drain(Relay(settings.load()), threading.Event()))
    assert _drain is not None  # noqa: S101
    jobs.answered(_drain.relay.redis_url)
    if _drain.run(jobs.DRAIN_SECONDS):
        _drain.relay.wake.now(unless_flagged=False)
