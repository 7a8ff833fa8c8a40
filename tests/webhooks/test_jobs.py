"""The queue: a real Valkey, a real worker, and an attacker who can write to both."""

import json
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from redis import Redis

from tests.waiting import until
from webhooks import delivery, jobs

JOB = "rq:job:attack"


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the job ran."""
    times: list[float] = []
    monkeypatch.setattr(delivery, "deliver", lambda: times.append(time.monotonic()))
    return times


def work_for(redis_url: str, seconds: float, until: Callable[[], object] = lambda: False) -> None:
    """Runs the worker in this process, as the command does, until a SIGTERM: once the condition holds, at
    the latest after that time."""
    ended = threading.Event()

    def stop() -> None:
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline and not ended.wait(0.02):
            pass
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Thread(target=stop)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    timer.start()
    try:
        jobs.work(redis_url, lambda: None)
    finally:
        ended.set()
        timer.join()
        for number, handle in before.items():
            signal.signal(number, handle)


def _hash(redis: Redis, key: object) -> dict[bytes, bytes]:
    found: Any = redis.hgetall(key)  # type: ignore[arg-type]
    stored: dict[bytes, bytes] = found
    return stored


def test_a_call_wakes_a_worker(redis_url: str, delivered: list[float]) -> None:
    assert jobs.Wake(redis_url).now()
    work_for(redis_url, 1.0)
    assert len(delivered) == 1


def test_many_calls_are_one_job(redis_url: str, delivered: list[float]) -> None:
    wake = jobs.Wake(redis_url)
    for _ in range(50):
        wake()
    until(wake.waiting)
    time.sleep(0.1)
    assert wake.waiting() == 1


def test_calls_in_a_rush_share_their_rings(redis_url: str, redis: Redis) -> None:
    wake, began, before = jobs.Wake(redis_url), time.monotonic(), _rings(redis)
    while time.monotonic() - began < 10 * jobs.PAUSE:
        wake()
        jobs.answered(redis_url)
    until(lambda: _rings(redis) > before)
    assert _rings(redis) - before <= (time.monotonic() - began) / jobs.PAUSE + 2


def test_the_last_call_of_a_rush_rings_too(redis_url: str) -> None:
    wake = jobs.Wake(redis_url)
    for calls in (1, 2, 3):
        wake()
        until(partial(_are_waiting, wake, calls))
        jobs.answered(redis_url)


def _are_waiting(wake: jobs.Wake, calls: int) -> bool:
    return wake.waiting() == calls


def _rings(redis: Redis) -> int:
    told: Any = redis.info("commandstats")
    return int(told.get("cmdstat_set", {"calls": 0})["calls"])


def test_a_call_after_the_answer_rings_again(redis_url: str) -> None:
    wake = jobs.Wake(redis_url)
    assert [wake.now(), wake.now()] == [True, False]
    jobs.answered(redis_url)
    assert wake.now()


def test_a_dead_redis_costs_the_caller_nothing() -> None:
    wake = jobs.Wake("redis://127.0.0.1:9/0")
    began = time.monotonic()
    for _ in range(100):
        wake()
    assert time.monotonic() - began < 2
    assert wake.now() is False
    assert wake.waiting() is None


def test_the_job_holds_no_data(redis_url: str, redis: Redis) -> None:
    jobs.enqueue(redis)
    [key] = list(redis.scan_iter("rq:job:*"))
    stored: dict[str, bytes] = {name.decode(): value for name, value in _hash(redis, key).items()}
    assert json.loads(zlib.decompress(stored["data"])) == [jobs.DELIVER, None, [], {}]
    assert stored["description"] == b"deliver what is due"


@pytest.mark.parametrize(
    "attack",
    [
        {"data": json.dumps(["os.system", None, ["touch {file}"], {}])},
        {"data": json.dumps([jobs.DELIVER, None, ["{file}"], {}])},
        {"data": "cos\nsystem\n(S'touch {file}'\ntR."},
        {"data": "not json"},
        {"data": json.dumps(["os.system", None, [], {}]), "failure_callback_name": "os.getcwd"},
        {
            "data": json.dumps([jobs.DELIVER, None, [], {}]),
            "success_callback_name": "tests.webhooks.test_jobs.leave_a_mark",
        },
    ],
    ids=["other function", "arguments", "pickle", "rubbish", "failure callback", "success callback"],
)
def test_whoever_writes_to_redis_runs_nothing(
    attack: dict[str, str],
    redis_url: str,
    redis: Redis,
    delivered: list[float],
    tmp_path: "os.PathLike[str]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = os.path.join(tmp_path, "mark")  # noqa: PTH118
    monkeypatch.setattr("tests.webhooks.test_jobs.MARK", mark)
    fields = {name: value.replace("{file}", mark) for name, value in attack.items()}
    for name, value in {"status": "queued", "origin": jobs.QUEUE, **fields}.items():
        redis.hset(JOB, name, value)
    redis.rpush(f"rq:queue:{jobs.QUEUE}", "attack")
    redis.rpush(f"rq:queue:{jobs.QUEUE}", "unknown-job")
    jobs.enqueue(redis)
    work_for(redis_url, 20, until=lambda: delivered and not jobs.queue(redis).count)
    assert not os.path.exists(mark)  # noqa: PTH110
    assert delivered, "the worker goes on after what is not ours"


MARK = ""


def leave_a_mark(*_: object) -> None:
    with open(MARK, "w") as file:  # noqa: PTH123
        file.write("executed")


def test_a_worker_survives_a_restart_of_redis(redis_url: str, redis: Redis, delivered: list[float]) -> None:
    def disturb() -> None:
        time.sleep(0.5)
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)
        redis.flushall()
        time.sleep(0.3)
        jobs.enqueue(redis)

    threading.Thread(target=disturb).start()
    work_for(redis_url, 20, until=lambda: delivered)
    assert delivered


def test_a_job_that_hangs_ends_and_the_next_one_runs(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that catches every `Exception`, as the drain does for our own mistakes."""
    runs: list[str] = []

    def hang() -> None:
        runs.append("began")
        try:
            time.sleep(20 if len(runs) == 1 else 0)
        except Exception:  # noqa: BLE001
            runs.append("took it for a mistake")

    monkeypatch.setattr(jobs, "STUCK_SECONDS", 1)
    monkeypatch.setattr(delivery, "deliver", hang)
    jobs.enqueue(redis)
    jobs.enqueue(redis)
    work_for(redis_url, 20, until=lambda: len(runs) == 2)
    assert runs == ["began", "began"]


def test_a_signal_does_not_wait_for_a_redis_that_hangs(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[float] = []

    def interrupted() -> None:
        redis.client_pause(2_000)
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # the signal is heard here at the latest
        took.append(time.monotonic() - began)

    monkeypatch.setattr(delivery, "deliver", interrupted)
    jobs.enqueue(redis)
    work_for(redis_url, 8.0)
    assert took
    assert took[0] < 2
