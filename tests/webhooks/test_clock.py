"""Time: several machines compare leases, so one of them whose clock is wrong must not matter."""

import time

import pytest
from sqlalchemy import insert

from tests import servers
from webhooks import clock, migrations
from webhooks.clock import MINUTE, now_ms
from webhooks.database import Database
from webhooks.leases import Leases
from webhooks.schema import deliveries, events


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has spoken to no database yet."""
    monkeypatch.setattr(clock, "_told", None)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is ten minutes ahead."""
    right = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + 600 * 10**9)


def truth() -> int:
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1_000_000


def test_without_a_server_it_is_this_machines_time() -> None:
    assert abs(now_ms() - truth()) < 1_000


def test_whoever_speaks_to_a_server_goes_by_its_clock(postgres_url: str, wrong: None) -> None:
    assert now_ms() > truth() + 9 * MINUTE
    database = Database(postgres_url)
    with database.read():
        assert abs(now_ms() - truth()) < 1_000
    database.close()


def test_a_clock_that_jumps_changes_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(postgres_url)
    database.tell_time()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert abs(now_ms() - truth()) < 1_000
    database.close()


def test_a_server_whose_clock_was_set_is_followed(postgres_url: str) -> None:
    clock.follow(truth() - 5 * MINUTE)
    assert now_ms() < truth() - 4 * MINUTE
    database = Database(postgres_url)
    database.tell_time()
    assert abs(now_ms() - truth()) < 1_000
    database.close()


def test_a_worker_whose_clock_is_ahead_takes_nothing_from_another(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.database(postgres_url, "two_clocks") as address:
        ours, theirs = Database(address), Database(address)
        migrations.upgrade(ours)
        with ours.write() as db:
            told = {"store": "s", "shop": "s", "event_name": "Purchase", "key": "1", "order_id": "1"}
            sold = {"order_name": "", "value": "1", "currency": "EUR", "origin": "web"}
            times = {"event_time": 1, "received_at": 1}
            db.execute(insert(events).values(**told, **sold, **times))
            sent = {"event": 1, "account": "meta", "destination": "meta", "event_id": "1", "state": "due"}
            db.execute(insert(deliveries).values(**sent, due_at=1, created_at=1, expires_at=10**15))
        now = now_ms()
        assert len(Leases(ours).claim("meta", 10, "ours", now, now + MINUTE)) == 1

        monkeypatch.setattr(clock, "_told", None)  # another process, on a machine ten minutes ahead
        right = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: right() + 600 * 10**9)
        theirs.tell_time()
        now = now_ms()
        assert Leases(theirs).claim("meta", 10, "theirs", now, now + MINUTE) == []
        ours.close()
        theirs.close()
