"""The shop's own list of orders against the ledger: what no hook told enters once, and nothing else does."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from sqlalchemy import select, update

from integrations.access import Away, NoAccess
from integrations.event import decode
from integrations.privacy import Wish
from tests.webhooks.corner import BUYER, SECRET, Corner, corner
from webhooks import app, privacy, reconciling, recording
from webhooks.clock import DAY, HOUR, MINUTE, now_ms
from webhooks.cursors import Cursors
from webhooks.reconciling import Reconciling
from webhooks.relay import Relay
from webhooks.schema import deliveries, events, hooks
from webhooks.schema import shops as table
from webhooks.shops import Shops
from webhooks.sweep import Sweep
from webhooks.transport import Transport

__all__ = ["corner"]

Send = Callable[[int], int]


@pytest.fixture
def environment(
    corner: Corner, sqlite_url: str, redis_url: str, tmp_path: Path, httpserver: HTTPServer
) -> dict[str, str]:
    return {
        "DATABASE_URL": sqlite_url,
        "REDIS_URL": redis_url,
        "RELAY_DATA_DIR": str(tmp_path),
        "CORNER_WEBHOOK_SECRETS": SECRET,
        "CORNER_API_KEY": "key-for-tests",
        "META_PIXEL_ID": "1234567890",
        "META_ACCESS_TOKEN": "token-for-tests",
        "META_API_BASE": httpserver.url_for("/").rstrip("/"),
        "RELAY_RECONCILE_DELAY": "60",
    }


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "PAUSE_SECONDS", 0)


@pytest.fixture
def shops() -> Iterator[Shops]:
    transport = Transport(total_seconds=5)
    yield Shops(transport)
    transport.close()


@pytest.fixture
def work(relay: Relay, shops: Shops) -> Reconciling:
    return reconciliation(relay, shops)


@pytest.fixture
def hook(relay: Relay, corner: Corner) -> Send:
    """Sends the hook about an order of the corner shop; returns the answer's status."""
    client = app.create_app(relay.settings).test_client()

    def send(number: int) -> int:
        body, headers = corner.hook(number)
        return client.post("/webhooks/corner", data=body, headers=headers).status_code

    return send


def reconciliation(relay: Relay, shops: Shops, **more: Any) -> Reconciling:
    shop = relay.settings.shop("corner", "corner")
    assert shop is not None
    return Reconciling(relay, shops, shop, **more)


def rows(relay: Relay) -> dict[str, str]:
    """Every event's order and source."""
    with relay.database.read() as db:
        return {row.order_id: row.source for row in db.execute(select(events))}


def hooks_of(relay: Relay) -> list[tuple[str, str]]:
    with relay.database.read() as db:
        return [(row.order_id, row.verdict) for row in db.execute(select(hooks).order_by(hooks.c.id))]


def ago(milliseconds: int) -> float:
    """Unix seconds."""
    return time.time() - milliseconds / 1_000


# --- what enters -----------------------------------------------------------------------------------------


def test_what_no_hook_told_enters_once_and_is_delivered(
    relay: Relay, corner: Corner, work: Reconciling, hook: Send
) -> None:
    for number in (1, 2, 3):
        corner.sell(number, ago(2 * HOUR))
    assert hook(2) == 200
    found = work.window(now_ms() - 3 * HOUR)
    assert (found.tally.orders, found.tally.sold, found.tally.missing) == (3, 3, 2)
    assert found.is_done
    assert rows(relay) == {"1": "pulled", "2": "webhook", "3": "pulled"}
    with relay.database.read() as db:
        states = db.execute(select(deliveries.c.state)).scalars().all()
    assert states == ["due"] * 3
    assert relay.wake.now(unless_flagged=False)


def test_a_late_hook_adds_nothing(relay: Relay, corner: Corner, work: Reconciling, hook: Send) -> None:
    corner.sell(1, ago(2 * HOUR))
    work.window(now_ms() - 3 * HOUR)
    assert hook(1) == 200
    assert rows(relay) == {"1": "pulled"}
    assert hooks_of(relay) == [("1", "event"), ("1", "duplicate")]


def test_a_second_look_adds_nothing(relay: Relay, corner: Corner, work: Reconciling, hook: Send) -> None:
    """Not even a hook: the list is looked at every quarter of an hour."""
    corner.sell(1, ago(2 * HOUR))
    corner.sell(2, ago(2 * HOUR))
    hook(1)
    for _ in range(3):
        found = work.window(now_ms() - 3 * HOUR)
    assert (found.tally.sold, found.tally.missing) == (2, 0)
    assert hooks_of(relay) == [("1", "event"), ("2", "event")]


def test_what_is_no_sale_is_looked_at_and_left(relay: Relay, corner: Corner, work: Reconciling) -> None:
    corner.sell(1, ago(2 * HOUR), state="open")
    found = work.window(now_ms() - 3 * HOUR)
    assert (found.tally.orders, found.tally.sold) == (1, 0)
    assert hooks_of(relay) == []


def test_what_cannot_be_read_is_put_aside_once(
    relay: Relay, corner: Corner, work: Reconciling, hook: Send
) -> None:
    corner.sell(1, ago(2 * HOUR), state="odd")
    corner.sell(2, ago(2 * HOUR), state="odd")
    hook(2)
    assert work.window(now_ms() - 3 * HOUR).tally.aside == 1
    assert work.window(now_ms() - 3 * HOUR).tally.aside == 0
    assert hooks_of(relay) == [("2", "quarantined"), ("1", "quarantined")]


def test_what_is_too_old_for_its_destination_ends_visibly(
    relay: Relay, corner: Corner, work: Reconciling
) -> None:
    corner.sell(1, ago(9 * DAY))
    work.window(now_ms() - 10 * DAY)
    sweep = Sweep(relay)
    sweep.once()
    sweep.transport.close()
    with relay.database.read() as db:
        ended = db.execute(select(deliveries.c.state, deliveries.c.reason)).all()
    assert ended == [("expired", "too_old")]


def test_a_dry_run_counts_and_writes_nothing(relay: Relay, corner: Corner, work: Reconciling) -> None:
    corner.sell(1, ago(2 * HOUR))
    found = work.window(now_ms() - 3 * HOUR, dry_run=True)
    assert (found.tally.sold, found.tally.missing) == (1, 1)
    assert rows(relay) == {}
    assert Cursors(relay.database).read("corner", now_ms()) is None


def test_days_are_those_of_the_sales(corner: Corner, work: Reconciling) -> None:
    with time_machine.travel("2026-11-22T12:00:00Z", tick=False):
        for number, hours in enumerate((1, 2, 13, 37)):
            corner.sell(number, ago(hours * HOUR))
        found = work.window(now_ms() - 3 * DAY)
    assert {day: one.sold for day, one in found.tally.days.items()} == {
        "2026-11-20": 1,
        "2026-11-21": 1,
        "2026-11-22": 2,
    }


def test_what_the_list_lacks_is_told(work: Reconciling) -> None:
    assert work.window(now_ms() - HOUR).lacks == ("the buyer's browser",)


def test_details_that_cost_a_call_are_fetched_for_what_is_missing_alone(
    relay: Relay, corner: Corner, work: Reconciling, hook: Send
) -> None:
    for number in (1, 2, 3):
        corner.sell(number, ago(2 * HOUR))
        corner.details[number] = f"buyer{number}@example.com"
    hook(1)
    corner.faults.extend([None, None, Away("down")])  # the page, the details of 2, those of 3
    work.window(now_ms() - 3 * HOUR)
    assert corner.calls == ["pull", "complete 2", "complete 3"]
    with relay.database.read() as db:
        kept = {row.order_id: row.sealed for row in db.execute(select(events.c.order_id, events.c.sealed))}
    mails = {number: decode(relay.vault.open(sealed)).buyer.email for number, sealed in kept.items()}
    assert mails == {"1": BUYER, "2": "buyer2@example.com", "3": BUYER}


def test_what_was_erased_is_pulled_for_nothing(
    relay: Relay, corner: Corner, work: Reconciling, hook: Send
) -> None:
    """Whether it was known before or not: the shop's list has it still."""
    for number in (1, 2):
        corner.sell(number, ago(2 * HOUR))
    hook(1)
    privacy.work(relay, privacy.take(relay, "corner", "corner", Wish(action="erase", email=BUYER)))
    for _ in range(2):
        found = work.window(now_ms() - 3 * HOUR)
    assert found.tally.missing == 0
    with relay.database.read() as db:
        assert [(row.order_id, row.sealed) for row in db.execute(select(events))] == [("1", None)]
        assert {row.state for row in db.execute(select(deliveries))} == {"suppressed"}
        assert db.execute(select(hooks).where(hooks.c.sealed.is_not(None))).all() == []


# --- from when on ----------------------------------------------------------------------------------------


def test_the_first_comparison_begins_now(relay: Relay, corner: Corner, work: Reconciling) -> None:
    """A relay that is new must not tell of what was sold before it came, not even if it changes later."""
    with time_machine.travel(time.time() - 86_400, tick=False) as clock:
        corner.sell(1, ago(HOUR))
        assert work.go_on() is None
        assert corner.calls == []
        clock.shift(3_600)
        corner.orders[1]["changed"] = int(ago(30 * MINUTE))
        corner.sell(2, ago(30 * MINUTE))
        found = work.go_on()
    assert found is not None
    assert (found.tally.sold, found.tally.missing, found.tally.earlier) == (1, 1, 1)
    assert rows(relay) == {"2": "pulled"}


def test_it_begins_earlier_if_told(relay: Relay, corner: Corner, work: Reconciling) -> None:
    corner.sell(1, ago(2 * DAY))
    work.go_on()
    work.window(now_ms() - 3 * DAY)
    assert rows(relay) == {"1": "pulled"}
    cursor = Cursors(relay.database).read("corner", now_ms())
    assert cursor is not None
    assert cursor.compared_from < now_ms() - 2 * DAY
    assert cursor.compared_until > now_ms() - 2 * MINUTE


def test_a_window_with_an_end_moves_no_cursor_that_it_does_not_join(
    relay: Relay, corner: Corner, work: Reconciling
) -> None:
    work.go_on()
    before = Cursors(relay.database).read("corner", now_ms())
    work.window(now_ms() - 3 * DAY, now_ms() - 2 * DAY)
    after = Cursors(relay.database).read("corner", now_ms())
    assert before is not None
    assert after is not None
    assert (after.compared_from, after.compared_until) == (before.compared_from, before.compared_until)


def test_a_hook_that_may_be_on_its_way_is_waited_for(relay: Relay, corner: Corner, work: Reconciling) -> None:
    corner.sell(1, ago(30_000))
    work.window(now_ms() - HOUR)
    assert rows(relay) == {}


def test_a_shop_whose_clock_is_behind_loses_nothing(relay: Relay, corner: Corner, work: Reconciling) -> None:
    with time_machine.travel(time.time(), tick=False) as clock:
        work.go_on()
        clock.shift(4 * 3_600)
        work.go_on()
        corner.sell(1, ago(HOUR - MINUTE))
        clock.shift(300)
        work.go_on()
    assert rows(relay) == {"1": "pulled"}


# --- cut off, and away -----------------------------------------------------------------------------------


def test_it_goes_on_at_the_page_where_it_was_cut_off(
    relay: Relay, corner: Corner, shops: Shops, work: Reconciling
) -> None:
    corner.page = 2
    for number in range(1, 8):
        corner.sell(number, ago(2 * HOUR) + number)
    work.cursors.begin("corner", now_ms() - 3 * HOUR)
    stopping = threading.Event()
    corner.between_pages = lambda: stopping.set() if len(corner.calls) == 2 else None
    cut = reconciliation(relay, shops, stopping=stopping).go_on()
    assert cut is not None
    assert not cut.is_done
    assert len(rows(relay)) == 4
    done, corner.calls = work.go_on(), corner.calls[2:]
    assert done is not None
    assert done.is_done
    assert len(rows(relay)) == 7
    assert [call.partition(" ")[2] != "" for call in corner.calls[:2]] == [True, True]


def test_a_page_that_the_store_has_forgotten_by_now_is_not_asked_for(
    relay: Relay, corner: Corner, work: Reconciling
) -> None:
    corner.sell(1, ago(2 * HOUR))
    work.cursors.begin("corner", now_ms() - 3 * HOUR)
    with relay.database.write() as db:
        stale = {"slice_since": 0, "slice_until": 1, "slice_page": "0:0", "slice_at": now_ms() - 2 * HOUR}
        db.execute(update(table).values(**stale))
    work.go_on()
    assert corner.calls == ["pull"]
    assert rows(relay) == {"1": "pulled"}


def test_long_times_are_read_in_slices_and_none_is_left_out(
    relay: Relay, corner: Corner, work: Reconciling
) -> None:
    for number in range(60):
        corner.sell(number, ago(number * HOUR + 2 * HOUR))
    shares: list[float] = []
    work.tell = lambda share, _: shares.append(share)
    found = work.window(now_ms() - 3 * DAY)
    assert found.tally.sold == len(rows(relay)) == 60
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(corner.calls) == 12


def test_a_shop_that_is_away_for_a_moment_is_asked_again(
    relay: Relay, corner: Corner, work: Reconciling
) -> None:
    corner.sell(1, ago(2 * HOUR))
    corner.faults.extend([Away("throttled", retry_after=0.01), Away("throttled", retry_after=0.01)])
    work.window(now_ms() - 3 * HOUR)
    assert rows(relay) == {"1": "pulled"}


def test_a_shop_that_stays_away_is_left_and_gone_on_with_later(
    relay: Relay, corner: Corner, work: Reconciling
) -> None:
    corner.sell(1, ago(2 * HOUR))
    work.cursors.begin("corner", now_ms() - 3 * HOUR)
    corner.faults.extend([Away("down", retry_after=0.0)] * reconciling.TRIES)
    with pytest.raises(Away):
        work.go_on()
    assert work.go_on() is not None
    assert rows(relay) == {"1": "pulled"}


def test_credentials_that_are_refused_are_told(corner: Corner, work: Reconciling) -> None:
    corner.faults.append(NoAccess("credentials", "Set CORNER_API_KEY anew."))
    with pytest.raises(NoAccess, match="CORNER_API_KEY"):
        work.window(now_ms() - HOUR)


def test_one_compares_at_a_time(relay: Relay, corner: Corner, shops: Shops, work: Reconciling) -> None:
    work.cursors.begin("corner", now_ms() - 3 * HOUR)
    others: list[Any] = []
    corner.between_pages = lambda: others.append(reconciliation(relay, shops).go_on())
    assert work.go_on() is not None
    assert others == [None]


def test_a_lease_of_a_dead_one_ends(work: Reconciling, corner: Corner) -> None:
    work.cursors.begin("corner", now_ms() - 3 * HOUR)
    assert work.cursors.lease("corner", now_ms(), now_ms() + reconciling.LEASE)
    assert work.go_on() is None
    with time_machine.travel(time.time() + reconciling.LEASE / 1_000 + 1):
        assert work.go_on() is not None


def test_a_hook_that_comes_between_looking_and_writing_is_counted_once(
    relay: Relay, corner: Corner, work: Reconciling, hook: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner.sell(1, ago(2 * HOUR))
    record = recording.record

    def late(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(recording, "record", record)
        assert hook(1) == 200
        return record(*arguments, **more)

    monkeypatch.setattr(recording, "record", late)
    found = work.window(now_ms() - 3 * HOUR)
    assert (found.tally.sold, found.tally.missing) == (1, 0)
    assert rows(relay) == {"1": "webhook"}


# --- histories that nobody thought of --------------------------------------------------------------------

_STEP = st.one_of(
    st.tuples(st.just("sell"), st.integers(0, 40), st.booleans()),
    st.tuples(st.just("change"), st.integers(0, 40), st.integers(1, 12)),
    st.tuples(st.just("pass"), st.integers(0, 5_400), st.just(0)),
    st.tuples(st.just("compare"), st.integers(1, 5), st.booleans()),
)


@tried(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(_STEP, max_size=25), page=st.integers(1, 4))
def test_whatever_happens_each_sale_is_in_the_ledger_once(
    relay: Relay, shops: Shops, corner: Corner, hook: Send, steps: list[tuple[str, int, Any]], page: int
) -> None:
    """Against a plain reference: the set of what was sold. Hooks that are lost, orders that change while the
    pages are read, comparisons that are cut off, any span of time between them."""
    _forget_all(relay)
    corner.orders.clear()
    corner.page, numbers = page, iter(range(1, 1_000))
    with time_machine.travel(1_795_000_000, tick=False) as clock:
        work = reconciliation(relay, shops)
        work.go_on()
        clock.shift(1)
        for what, one, other in steps:
            if what == "sell":
                number = next(numbers)
                corner.sell(number, time.time() - one % 2)
                if other:
                    hook(number)
            elif what == "change":
                _change_during(corner, one, other)
            elif what == "pass":
                clock.shift(one)
            else:
                _compare(relay, shops, corner, one if other else 0)
        corner.between_pages = lambda: None
        for _ in range(2):
            clock.shift(120)
            work.go_on()
    assert rows(relay).keys() == {str(number) for number in corner.orders}


def _change_during(corner: Corner, which: int, pages: int) -> None:
    """That order changes, and once more after that many pages of whatever is read next."""
    there = [*corner.orders.values()]
    if not there:
        return
    order, left = there[which % len(there)], iter(range(pages, -1, -1))
    order["changed"] = int(time.time())

    def touch() -> None:
        if next(left, 0) == 1:
            order["changed"] = int(time.time())

    corner.between_pages = touch


def _compare(relay: Relay, shops: Shops, corner: Corner, pages: int) -> None:
    """A comparison, cut off after that many pages if it is any number."""
    stopping, touch, left = threading.Event(), corner.between_pages, iter(range(pages, -1, -1))

    def count() -> None:
        touch()
        if next(left, 0) == 1:
            stopping.set()

    corner.between_pages = count
    reconciliation(relay, shops, stopping=stopping).go_on()
    corner.between_pages = touch


def _forget_all(relay: Relay) -> None:
    with relay.database.write() as db:
        for one in (deliveries, hooks, events, table):
            db.execute(one.delete())
