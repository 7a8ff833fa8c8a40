"""Scenes of a Redis in trouble: no store hears of it."""

import signal
from collections.abc import Mapping

from redis import Redis

from tests.faults.installation import WORKERS
from tests.faults.scenes import Promise, Scene, Stage
from webhooks import jobs

UNNOTICED = Promise(statuses=frozenset({200}), p99=0.5, unhurt=True)

_OURS = f"rq:queue:{jobs.QUEUE}"


def _stopped(stage: Stage) -> None:
    stage.relay.fleet.stop(["valkey"])
    stage.last(40)
    stage.relay.fleet.start_again(["valkey"])
    stage.calm()


def _frozen(stage: Stage) -> None:
    stage.expect(stage.relay.fleet.signal("valkey", signal.SIGSTOP), "nothing was frozen")
    stage.last(40)
    stage.relay.fleet.signal("valkey", signal.SIGCONT)
    stage.calm()


def _flushed(stage: Stage) -> None:
    """With much in the ledger that nobody delivers."""
    stage.relay.fleet.stop(WORKERS)
    stage.last(20)
    stage.expect(stage.injector.inflict("flush"), "nothing was flushed")
    stage.relay.fleet.start_again(WORKERS)
    for _ in stage.times(10):
        stage.last(1)
        stage.injector.inflict("flush")
    stage.calm()


def _full(stage: Stage) -> None:
    with _client(stage) as redis:
        redis.config_set("maxmemory-policy", "noeviction")
        redis.config_set("maxmemory", 1)
        stage.last(20)
        redis.config_set("maxmemory", 0)
    stage.calm()


def _evicting(stage: Stage) -> None:
    """Whatever is put in takes the place of something else."""
    with _client(stage) as redis:
        used = int(redis.info("memory")["used_memory"])
        redis.config_set("maxmemory-policy", "allkeys-random")
        redis.config_set("maxmemory", used + 200_000)
        for number in range(round(20 * stage.scale) * 200):
            redis.set(f"ballast:{number}", b"\0" * 4_096)
            if number % 20 == 0:
                stage.last(0.1 / max(stage.scale, 0.1))
        stage.expect(int(redis.info("stats")["evicted_keys"]) > 100, "nothing was evicted")
        redis.config_set("maxmemory", 0)
        redis.config_set("maxmemory-policy", "noeviction")
    stage.calm()


def _restarted(stage: Stage) -> None:
    for _ in stage.times(20):
        stage.injector.inflict("valkey")
        stage.last(2)
    stage.calm()


def _garbage(stage: Stage) -> None:
    """What another program, or a version of long ago, may have left in RQ's keys."""
    with _client(stage) as redis:
        for round_ in stage.times(10):
            redis.hset("rq:job:half", mapping={"status": "queued", "origin": jobs.QUEUE})
            redis.hset("rq:job:torn", mapping={"data": b"\xff\x00", "created_at": "yesterday"})
            redis.rpush(_OURS, "half", "torn", "unknown", b"\xff\xfe", "")
            for key in ("rq:wip:", "rq:failed:", "rq:finished:", "rq:scheduled:", "rq:deferred:"):
                redis.delete(f"{key}{jobs.QUEUE}")
                redis.set(f"{key}{jobs.QUEUE}", "not a set")
            if round_ % 3 == 2:
                redis.delete(_OURS, f"{_OURS}:intermediate")
                redis.set(_OURS, "not a list")
                redis.set("rq:workers", "not a set")
                stage.last(3)
                redis.flushall()  # only a person can mend that
            stage.last(1)
    stage.calm()


def _stale(stage: Stage) -> None:
    """A thousand calls for what was delivered long ago, and for what this version does not know."""
    with _client(stage) as redis:
        for _ in range(1_000):
            jobs.enqueue(redis)
        for number in range(1_000):
            job = {"data": '["webhooks.old.send", null, ["5000000000001"], {}]', "status": "queued"}
            redis.hset(f"rq:job:old-{number}", mapping={**job, "origin": jobs.QUEUE})
            redis.rpush(_OURS, f"old-{number}")
    stage.last(15)
    stage.calm()


def _client(stage: Stage) -> Redis:
    return Redis.from_url(stage.relay.redis_url, socket_timeout=5)


_SETTINGS = {"RELAY_LEASE_SECONDS": "30"}
"""Nobody dies here: no lease has to run out, even on a busy machine."""

SCENES: Mapping[str, Scene] = {
    f"redis {name}": Scene(act, UNNOTICED, databases=("postgresql",), settings=_SETTINGS)
    for name, act in {
        "stopped": _stopped,
        "frozen": _frozen,
        "flushed": _flushed,
        "full": _full,
        "evicting": _evicting,
        "restarted": _restarted,
        "garbage": _garbage,
        "stale": _stale,
    }.items()
}
