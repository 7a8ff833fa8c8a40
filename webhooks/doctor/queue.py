"""Redis, and the processes that live by it: somebody works, somebody sweeps, nothing is left lying."""

from collections.abc import Iterator, Mapping
from typing import Any

from redis.exceptions import RedisError, ResponseError
from sqlalchemy import func, select

from webhooks import discretion, jobs
from webhooks.clock import MINUTE, milliseconds, now_ms
from webhooks.doctor.findings import Finding, fault, note, warning
from webhooks.doctor.ground import Ground
from webhooks.schema import DUE, deliveries
from webhooks.telling import counted, span

LINK, PROCESSES = "redis", "processes"

NEARLY_FULL = 0.8
SECONDS = 2.0

LATE = 5 * MINUTE
"""So long after its time a delivery has been forgotten, and not only waited for its turn."""

MISSED_ROUNDS = 6
SHORTEST_SILENCE = MINUTE
"""The sweep is gone when it has missed so many rounds, and not before."""


def examine(ground: Ground) -> Iterator[Finding]:
    """Whether Redis answers, and keeps what it is given."""
    redis = jobs.connect(ground.relay.redis_url, seconds=SECONDS)
    try:
        redis.ping()
        told: Mapping[str, Any] = redis.info()
    except RedisError as error:
        yield _silence(error)
        return
    finally:
        redis.close()
    yield from _of_memory(told)
    if not told.get("aof_enabled"):
        yield note(LINK, "is not append-only: a crash may cost wake-up calls, but no order")


def _silence(error: RedisError) -> Finding:
    """Our client greets a server with HELLO, which it has known since Redis 6 (and Valkey always)."""
    if isinstance(error, ResponseError) and "HELLO" in str(error):
        return fault(
            LINK, "its version is too old for the queue", "upgrade it to Redis 6 or Valkey", ends=True
        )
    return fault(
        LINK,
        f"does not answer ({discretion.describe(error)})",
        "start it, or correct REDIS_URL; until then only the sweep delivers, and slower",
        ends=True,
    )


def _of_memory(told: Mapping[str, Any]) -> Iterator[Finding]:
    policy, most = str(told.get("maxmemory_policy", "noeviction")), int(told.get("maxmemory", 0))
    if policy != "noeviction":
        make = fault if most else warning  # without a limit nothing is ever evicted, yet
        yield make(
            LINK,
            f"maxmemory-policy is {discretion.plain(policy)}: when memory is full, wake-up calls vanish",
            "set maxmemory-policy noeviction (hosts have it among the settings of the instance)",
        )
    used = int(told.get("used_memory", 0))
    if most and used > NEARLY_FULL * most:
        yield warning(
            LINK,
            f"{100 * used // most} % of its memory are used; when it is full, it takes no wake-up calls",
            "give it more memory, or an instance of its own",
        )


# --- processes -------------------------------------------------------------------------------------------


def examine_processes(ground: Ground) -> Iterator[Finding]:
    """Whether somebody works and somebody sweeps; if they do, whether deliveries are overdue all the same."""
    found = list(_absent(ground))
    yield from found or _late(ground)


def _absent(ground: Ground) -> Iterator[Finding]:
    if jobs.workers(ground.relay.redis_url, seconds=SECONDS) == 0:
        yield fault(
            PROCESSES, "no worker looks at the queue, so nothing is delivered", "run `purchase-relay worker`"
        )
    swept = ground.relay.wake.last_sweep()
    allowed = max(MISSED_ROUNDS * milliseconds(ground.settings.sweep_seconds), SHORTEST_SILENCE)
    if swept is None or now_ms() - swept > allowed:
        since = f" for {span(now_ms() - swept)}" if swept else ""
        yield fault(
            PROCESSES,
            f"no sweep has run{since}: nothing is tried again, looked after or forgotten",
            "run `purchase-relay sweep`, or the worker with --with-sweeper",
        )


def _late(ground: Ground) -> Iterator[Finding]:
    now = now_ms()
    waiting = ground.relay.holds.waiting()
    open_ones = [one.slug for one in ground.settings.accounts if one.slug not in waiting]
    with ground.relay.database.read() as db:
        late = select(func.count(), func.min(deliveries.c.due_at)).where(
            DUE, deliveries.c.account.in_(open_ones), deliveries.c.due_at < now - LATE
        )
        count, oldest = db.execute(late).one()
    if count:
        yield fault(
            PROCESSES,
            f"{counted(count, 'delivery is', 'deliveries are')} overdue, one for {span(now - oldest)}; "
            "nobody sends them",
            "look into the worker's log and restart it; with a large backlog raise RELAY_WORKERS",
        )
