"""Delivers what is due: claim, build, send, read, close; in batches, all accounts side by side.

One thread speaks to the database and maps; each account has a few threads of its own that wait for its
destination, so that a slow one keeps nobody else waiting. While anything is in flight the ledger is asked
again every few milliseconds: under light load an order leaves at once and alone, a backlog fills batches
up to the destination's limit by itself.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from uuid import uuid4

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from integrations.destination import Account, Delivery, Outcome
from webhooks import confirming, jobs, judging, reporting, retries, settings
from webhooks.clock import milliseconds, now_ms
from webhooks.discretion import Fact
from webhooks.gate import Gate
from webhooks.leases import Claimed, Look, Settled
from webhooks.pace import Pace
from webhooks.parcels import Parcel, halves, only
from webhooks.relay import Relay
from webhooks.tokens import Answer, Kept, Tokens
from webhooks.transport import TOTAL_SECONDS, Transport

log = reporting.logger(__name__)

BATCH = 200
"""Events of one request at most, below every large destination's own limit: memory and blast radius."""

IN_FLIGHT = 4
"""Requests of one account at the same time in one worker."""

LOOK_AGAIN_SECONDS = 0.02

LINGER_SECONDS = 40.0
"""How much longer than it was asked for a run may take, for what is still out."""

ONE_BY_ONE = 10
"""So many deliveries of a batch are told of one by one in the log; a backlog would drown everything else."""

AWAY_SECONDS = 0.5
"""How long to leave a database alone that did not answer while something is out."""


class Drain:
    """One worker's way of emptying what is due. `run` may be called again and again, also after it raised:
    what the ledger did not take is kept for the next time."""

    def __init__(self, relay: Relay, transport: Transport, stopping: threading.Event) -> None:
        self.relay = relay
        self.gate = Gate(relay)
        self._slugs = [one.slug for one in relay.settings.accounts]
        self.pace = Pace()
        self.transport = transport
        self.tokens = Tokens(transport)
        self.stopping = stopping
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._flights: dict[Future[Answer], Parcel] = {}
        self._ready: list[Parcel] = []  # under our lease, waiting for a free thread of their account
        self._alone_at: dict[str, float] = {}  # when an account had its last turn of one
        self._batch_next: set[str] = set()  # the accounts that had one and no batch since

    def run(self, seconds: float) -> bool:
        """Delivers until nothing is due, or until the time or the worker ends. True if something is left.

        What is out when the time is over is waited for. Meanwhile the other accounts go on, so that a slow
        destination takes nobody else's time.
        """
        until = time.monotonic() + seconds
        late: set[str] | None = None
        while True:
            over = time.monotonic() - until
            if over >= 0:
                late = set(self._out()) if late is None else late & self._out().keys()
            try:
                is_busy = self._turn(late, is_end=self.stopping.is_set() or over >= LINGER_SECONDS)
            except SQLAlchemyError as error:
                if not self._out() or over >= LINGER_SECONDS:
                    raise
                log.warning("the database did not answer; what is out waits for it", error=error)
                time.sleep(AWAY_SECONDS)
                continue
            if not is_busy:
                return self._left()

    def _turn(self, late: Collection[str] | None, *, is_end: bool) -> bool:
        """Claims, sends, lands. ``late``: the accounts that are waited for, and get nothing more; None before
        the time is over. False if there was nothing to do."""
        taken = 0
        if not is_end and late != set():
            taken = self._feed_all(late or set())
        if is_end:
            self._let_go()
        else:
            self._send_ready()
        is_busy = bool(taken or self._flights or self._ready)
        if self._flights:
            wait(self._flights, timeout=LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
            self._land_all()
        return is_busy

    def close(self) -> None:
        """Ends the threads; what a run left out lands, if the ledger takes it now."""
        for pool in self._pools.values():
            pool.shutdown()
        try:
            for flight in list(self._flights):
                self._land(flight)
            self._let_go()
        except SQLAlchemyError as error:
            log.warning("the database did not take what was still out", error=error)
        self.transport.close()

    def _out(self) -> Counter[str]:
        """How many parcels of each account are in our hands."""
        return Counter(parcel.account.slug for parcel in (*self._flights.values(), *self._ready))

    # --- claim -------------------------------------------------------------------------------------------

    def _feed_all(self, but: Collection[str]) -> int:
        """Claims and sends, of all accounts ``but`` those; returns how many deliveries were taken.

        What has seen workers die travels alone: one such delivery at a time in this worker, and nothing else
        of its account. It takes turns with batches, so that neither kind waits for the other's backlog. Other
        accounts go on meanwhile. If the worker dies now, theirs are blamed too, but only twice: from then on
        they travel alone as well, and never together with this one.
        """
        self.gate.look()
        look = self.relay.leases.look(self._slugs, now_ms())
        account = self._alone(but, look)
        if account is None:
            return self._feed_many(but, look)
        taken = 0 if self._out()[account.slug] else self._feed_one(account)
        return taken + self._feed_many({*but, account.slug}, look)

    def _alone(self, but: Collection[str], look: Look) -> Account | None:
        """The account of which one delivery travels alone: now, or as soon as the rest of it has landed."""
        if (one := self._one_that_is_out()) is not None:
            return one.account
        suspected = (
            one
            for one in self.relay.settings.accounts
            if one.slug in look.suspected
            and one.slug not in but
            and one.slug not in self._batch_next
            and self.gate.is_open(one)
        )
        return min(suspected, key=lambda one: self._alone_at.get(one.slug, 0.0), default=None)

    def _one_that_is_out(self) -> Parcel | None:
        return next((one for one in (*self._flights.values(), *self._ready) if one.alone), None)

    def _feed_many(self, but: Collection[str], look: Look) -> int:
        now, out = now_ms(), self._out()
        waiting = {parcel.account.slug for parcel in self._ready}
        free = [
            one
            for one in self.relay.settings.accounts
            if one.slug not in {*but, *waiting}
            and out[one.slug] < (IN_FLIGHT if self.gate.is_proven(one) else 1)
        ]
        taken = 0
        for account in free:
            self._batch_next.discard(account.slug)
            most = min(self.relay.destination(account).batch_limit, BATCH, self.pace.most(account.slug))
            limit = self.gate.allows(account, has_due=account.slug in look.due, limit=most, now=now)
            took = self._feed(account, limit, alone=False) if limit else 0
            if limit and not took and not out[account.slug] and self._one_that_is_out() is None:
                took = self._feed_one(account)  # there may be nothing else due
            taken += took
        return taken

    def _feed_one(self, account: Account) -> int:
        self._alone_at[account.slug] = time.monotonic()
        self._batch_next.add(account.slug)
        return self._feed(account, 1, alone=True)

    def _feed(self, account: Account, limit: int, *, alone: bool) -> int:
        """Claims a batch and sends it on its way; returns how many deliveries were taken."""
        self._land_all()
        now, batch = now_ms(), uuid4().hex
        until = now + self._lease()
        claimed = self.relay.leases.claim(account.slug, limit, batch, now, until, alone=alone)
        if claimed:
            self._send(self._judged(Parcel(account, batch, claimed, [], until, alone)))
        return len(claimed)

    def _left(self) -> bool:
        """Whether something is due that nothing stops."""
        self.gate.look()
        wanting = [one.slug for one in self.relay.settings.accounts if self.gate.is_open(one)]
        return bool(self.relay.leases.look(wanting, now_ms()).due)

    def _lease(self) -> int:
        return milliseconds(self.relay.settings.lease_seconds)

    # --- build -------------------------------------------------------------------------------------------

    def _judged(self, parcel: Parcel) -> Parcel:
        """The deliveries that may be sent; the others are closed with their reason."""
        fit: list[tuple[Claimed, Delivery]] = []
        refused: list[tuple[Claimed, Outcome]] = []
        now = now_ms()
        for one in parcel.claimed:
            judged, verdict = judging.before(self.relay, parcel.account, one, now)
            if isinstance(verdict, Delivery):
                fit.append((judged, verdict))
            else:
                refused.append((judged, verdict))
        self._close(parcel.account, parcel.batch, refused, None)
        parcel.claimed, parcel.deliveries = [one for one, _ in fit], [one for _, one in fit]
        return parcel

    # --- send --------------------------------------------------------------------------------------------

    def _send(self, parcel: Parcel) -> None:
        """On its way. If the ledger is away now, it stays ready; whatever else goes wrong looks like a crash
        and counts as one."""
        try:
            self._land_all()
            self._dispatch(parcel)
        except SQLAlchemyError:
            self._ready.append(parcel)
            raise

    def _send_ready(self) -> None:
        """Sends what waited for a thread of its account; what must wait on keeps its lease."""
        for parcel in list(self._ready):
            slug = parcel.account.slug
            if sum(flying.account.slug == slug for flying in self._flights.values()) < IN_FLIGHT:
                self._ready.remove(parcel)
                self._send(parcel)
            elif parcel.until - now_ms() < self._lease() / 2:
                until = now_ms() + self._lease()
                parcel.keep(self.relay.leases.renew(parcel.batch, parcel.ids, until))
                parcel.until = until

    def _let_go(self) -> None:
        """Gives back what is ready and will not be sent by us: due again at once, nothing consumed."""
        while self._ready:
            parcel = self._ready[0]
            self.relay.leases.let_go(parcel.batch, parcel.ids, now_ms())
            self._ready.remove(parcel)

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
        count, until = len(parcel.claimed), now + self._lease()
        parcel.keep(self.relay.leases.open_attempts(parcel.batch, parcel.claimed, now, until))
        if not parcel.claimed:
            return
        if len(parcel.claimed) < count:  # our lease ran out meanwhile: the others are somebody else's now
            request = adapter.build(parcel.deliveries, account, now // 1_000)
        parcel.until, parcel.sent_at = until, now
        if account.slug not in self._pools:
            self._pools[account.slug] = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix=account.slug)
        flight = self._pools[account.slug].submit(self.tokens.send, adapter, account, request)
        self._flights[flight] = parcel

    def _isolate(self, parcel: Parcel, error: Exception) -> None:
        """A batch that cannot be built: halves, until the event that breaks us stands alone."""
        if len(parcel.claimed) == 1:
            one = parcel.claimed[0]
            outcome = judging.broken("building a request failed", parcel.account, one, error)
            self._close(parcel.account, parcel.batch, [(one, outcome)], None)
            return
        self._ready[:0] = halves(parcel)

    # --- read and close ----------------------------------------------------------------------------------

    def _land_all(self) -> None:
        """Writes down at once what has come back. Done before anything else that takes time: until it is
        written, a worker that dies leaves in doubt whether it was sent."""
        for flight in [one for one in self._flights if one.done()]:
            self._land(flight)

    def _land(self, flight: Future[Answer]) -> None:
        """Judges an answer. If the ledger cannot take the verdict now, the flight lands once more."""
        parcel = self._flights.pop(flight)
        try:
            self._settle(parcel, flight.result())
        except SQLAlchemyError:
            self._flights[flight] = parcel
            raise

    def _settle(self, parcel: Parcel, answer: Answer) -> None:
        self.pace.landed(parcel.account.slug, len(parcel.claimed))
        judged, status = judging.after(self.relay, parcel, answer), answer.response.status or None
        if answer.aged and all(outcome.state == "held" for _, outcome in judged):
            self._renew(parcel, answer.aged, judged[0][1], status)
            return
        blamed = [pair for pair in judged if not pair[1].whole]
        innocent = [one for one, outcome in judged if outcome.whole] if len(judged) > 1 else []
        self.gate.landed(parcel.account, [outcome for _, outcome in judged], parcel.sent_at)
        self._close(parcel.account, parcel.batch, blamed if innocent else judged, status)
        if innocent:
            ids = [one.id for one in innocent]
            note = msgspec.structs.replace(judged[0][1], detail="another event of the batch was refused")
            self.relay.leases.note(parcel.batch, ids, note, now_ms(), status)
            # Alone if the culprit was named, else in halves until it stands alone.
            rest = only(parcel, ids)
            self._ready[:0] = [rest] if blamed else halves(rest)

    def _renew(self, parcel: Parcel, token: Kept, why: Outcome, status: int | None) -> None:
        """An access token that ended early, or was taken back, is no reason yet to hold the account: the
        same goes out at once with a new one."""
        why = msgspec.structs.replace(why, detail="the access token had ended")
        self.relay.leases.note(parcel.batch, parcel.ids, why, now_ms(), status)
        self.tokens.forget(parcel.account, token)
        self._ready.insert(0, parcel)

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
        _tell(account, batch, settled)


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries in time


def _tell(account: Account, batch: str, settled: Sequence[Settled]) -> None:
    """A line for each; many that did not end undelivered share one: which they are is in the ledger."""
    for one in settled:
        if one.state in _UNDELIVERED:
            facts = _facts(account, one.outcome.reason)
            what = "A delivery ended for good, undelivered"
            reporting.alert(one.state, what, error=None, **facts, delivery=one.delivery)
    closed = [one for one in settled if one.state not in _UNDELIVERED]
    alike = Counter((one.state, one.outcome.reason, one.outcome.trace) for one in closed)
    if len(closed) > ONE_BY_ONE:
        for (state, reason, trace), count in alike.items():
            facts = _facts(account, reason) | {"state": state, "trace": trace}
            log.info("deliveries closed", **facts, batch=batch, count=count)
        return
    for one in closed:
        facts = _facts(account, one.outcome.reason) | {"state": one.state, "trace": one.outcome.trace}
        log.info("delivery closed", **facts, delivery=one.delivery)


_UNDELIVERED = frozenset({"refused", "expired", "broken"})


def _facts(account: Account, reason: str) -> dict[str, Fact]:
    return {"account": account.slug, "reason": reason}


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
    _drain.relay.database.tell_time()
    if _drain.run(jobs.DRAIN_SECONDS):
        _drain.relay.wake.now(unless_flagged=False)
