"""RQ and nothing but RQ: the queue, the wake-up call, the worker.

There is one queue and one job: "look into the ledger and deliver what is due". It carries no data, so
that a queue which loses, repeats, delays or reorders it does no harm. There is never an RQ scheduler
(an orphaned one swallows jobs) and never a second queue per worker (an interrupted pop from two loses one).
"""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any
from uuid import uuid4

import rq
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer
from rq.timeouts import UnixSignalDeathPenalty
from rq.worker import SimpleWorker

from webhooks import reporting

QUEUE = "purchase-relay"
DELIVER = "webhooks.delivery.deliver"
"""The one function that a job may name: whoever can write to Redis must not choose what we run."""

DRAIN_SECONDS = 20
"""How long one job keeps claiming."""

STUCK_SECONDS = 120
"""A job takes a minute longer than it claims, at most: what is out lands within. One that takes longer still
hangs."""

_SWEPT = f"{QUEUE}:swept"
_FLAG = f"{QUEUE}:awake"
_FLAG_SECONDS = 30  # a wake-up call that was lost silences nobody for longer
_PATIENCE = 10.0  # after Redis failed, how long to leave it alone

PAUSE = 0.02
"""Seconds between two calls. A worker that is awake looks into the ledger as often by itself."""

log = reporting.logger(__name__)


class Refused(Exception):
    """A job in the queue names something other than our function."""


class OurJob(rq.job.Job):
    """A job that runs our function and nothing else, whatever stands in Redis."""

    def restore(self, raw_data: Any) -> Any:
        """Reads the job and drops every way of making a worker run or call something else."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.repeats_left = self.retries_left = None

    def _execute(self) -> Any:
        if self.func_name != DELIVER or self.args or self.kwargs:
            raise Refused("a job in the queue is not ours")
        return super()._execute()


def connect(url: str, *, seconds: float = 0.25) -> Redis:
    """A client that gives up quickly and never tries again by itself: the ledger's sweep does that."""
    return Redis.from_url(
        url,
        socket_connect_timeout=seconds,
        socket_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


def queue(redis: Redis) -> rq.Queue:
    """The one queue."""
    return rq.Queue(QUEUE, connection=redis, serializer=JSONSerializer, job_class=OurJob)


def enqueue(redis: Redis) -> None:
    """Puts one wake-up call into the queue. Raises `RedisError`."""
    queue(redis).enqueue(
        DELIVER,
        job_id=uuid4().hex,
        description="deliver what is due",
        result_ttl=0,
        failure_ttl=3_600,
        ttl=600,
        job_timeout=STUCK_SECONDS,
    )


class Wake:
    """The wake-up call. Calling it costs nothing: a thread of its own talks to Redis, so that a slow, full or
    dead one never delays an acknowledgement. The first call rings at once; those that follow within `PAUSE`
    share the next ring."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._times: set[float] = set()  # when to ring besides, in monotonic seconds
        self.rests_until = 0.0

    def __call__(self) -> None:
        """Asks for a wake-up call, soon."""
        if not self._wanted.is_set():  # it is cleared before it is rung for: nothing is missed
            self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def later(self, seconds: float) -> None:
        """Asks for a wake-up call then, for what is due then. If this process ends first, the sweep calls."""
        moment = math.ceil((time.monotonic() + seconds) * 4) / 4  # orders of a quarter second share one
        with self._lock:
            self._times.add(moment)
        self()

    def now(self, *, unless_flagged: bool = True) -> bool:
        """Rings now; False if a call is already on its way, or Redis did not take it."""
        try:
            if unless_flagged and not self._redis.set(_FLAG, "1", nx=True, ex=_FLAG_SECONDS):
                return False
            enqueue(self._redis)
        except RedisError as error:
            self.rests_until = time.monotonic() + _PATIENCE
            log.warning("Redis did not take the wake-up call; the sweep will", error=error)
            return False
        return True

    def waiting(self) -> int | None:
        """How many calls wait in the queue; None if Redis does not say."""
        try:
            return queue(self._redis).count
        except RedisError:
            return None

    def note_sweep(self, now: int) -> None:
        """Lets everybody know that a sweep has run (milliseconds). Nothing but the doctor asks."""
        try:
            self._redis.set(_SWEPT, now)
        except RedisError:
            log.debug("Redis did not take the note of a sweep")

    def last_sweep(self) -> int | None:
        """When a sweep has run last (milliseconds); None if Redis does not know."""
        try:
            noted = self._redis.get(_SWEPT)
        except RedisError:
            return None
        return int(noted) if isinstance(noted, bytes) and noted.isdigit() else None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # also after a fork
                self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wanted.wait(self._pause())
            self._wanted.clear()
            if time.monotonic() >= self.rests_until:
                self.now()
            time.sleep(PAUSE)

    def _pause(self) -> float | None:
        """Seconds until the next time that was asked for, which is then done with; None if there is none."""
        now = time.monotonic()
        with self._lock:
            self._times = {moment for moment in self._times if moment > now}
            return min(self._times) - now if self._times else None


def answered(redis_url: str) -> None:
    """Says that the call was heard, before looking into the ledger: an order that comes now rings again."""
    try:
        connect(redis_url).delete(_FLAG)
    except RedisError as error:
        log.warning("Redis did not answer; the flag will run out", error=error)


def workers(redis_url: str, *, seconds: float) -> int:
    """How many workers look at the queue: those that RQ has heard of lately. Raises `RedisError`."""
    redis = connect(redis_url, seconds=seconds)
    try:
        found: list[Any] = Worker.all(queue=queue(redis), job_class=OurJob, serializer=JSONSerializer)
        return len(found)
    finally:
        redis.close()


class Stuck(BaseException):
    """A job hangs. No `Exception`: whoever catches those takes it for the fault of what is at hand, and
    that is found by the lease which runs out."""


class _Patience(UnixSignalDeathPenalty):
    def handle_death_penalty(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        raise Stuck(f"a job did not end within {self._timeout} seconds")


class Worker(SimpleWorker):
    """A worker without a fork: a SIGTERM to every process of a dyno would kill a forked one while it sends.

    ``on_stop`` is told of the signal, so that a running job claims nothing more.
    """

    on_stop: Callable[[], None] | None = None
    max_connection_wait_time = 5.0
    death_penalty_class = _Patience

    def handle_warm_shutdown_request(self) -> None:
        """RQ's own place for what is to happen at SIGTERM."""
        if self.on_stop is not None:
            self.on_stop()

    def set_shutdown_requested_date(self) -> None:
        """RQ would write to Redis here, which is in the middle of whatever the signal interrupted: a Redis
        that is away would raise there, one that hangs would keep it waiting."""

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """A second signal changes nothing: the running job ends by itself within its deadline."""


def work(redis_url: str, on_stop: Callable[[], None]) -> None:
    """Works until SIGTERM or SIGINT. A worker that Redis threw out starts again."""
    _quiet()
    stopping = threading.Event()

    def stop() -> None:
        stopping.set()
        on_stop()

    while not stopping.is_set():
        # RQ sets its own socket timeouts on a blocking pop; ours would end it after a quarter second.
        redis = Redis.from_url(redis_url, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0))
        try:
            worker = Worker(
                [queue(redis)],
                connection=redis,
                job_class=OurJob,
                serializer=JSONSerializer,
                worker_ttl=30,
                maintenance_interval=15,
                log_job_description=False,
            )
            worker.on_stop = stop
            worker.work(logging_level="WARNING")
            if worker._stop_requested or worker._shutdown_requested_date:  # noqa: SLF001 - RQ tells it nowhere else
                return
        except (RedisError, OSError, NoSuchJobError) as error:
            log.warning("Redis is away; trying again", error=error)
        finally:
            redis.close()
        _wait_for_signal(stopping, stop, 1.0)


def _wait_for_signal(stopping: threading.Event, stop: Callable[[], None], seconds: float) -> None:
    """Sleeps, but not through a SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    stopping.wait(seconds)


def _quiet() -> None:
    for name in ("rq.worker", "rq.job", "rq.queue"):
        logging.getLogger(name).setLevel(logging.WARNING)
