"""The promise of a shop's own API, asked of every store that has one, over real HTTP. There is no list here.

Each store's shop stands in the sandbox as ``<slug>_shop``. It keeps a list of its orders, so that what is
pulled can be held against what was sold.
"""

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from integrations.access import Access, Away, NoAccess, Subscription
from integrations.event import DEFAULT_EVENT_ID, event_id
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Store
from tests.contract.samples import NOW
from tests.contract.shops import STORES, Bench, bench_of, failure, without
from tests.waiting import until as wait_until
from webhooks.sandbox.standin import Step

HOUR = 3_600
ELSEWHERE = "https://elsewhere.example.com/hooks"
HERE = "https://relay.example.com/webhooks/main"

every_store = pytest.mark.parametrize("store", STORES, ids=lambda store: store.slug)


@pytest.fixture(params=STORES, ids=lambda store: store.slug)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench_of(request.param) as made:
        yield made


def test_the_stores_have_an_api() -> None:
    """Otherwise nothing is asked below."""
    assert STORES


# --- credentials -----------------------------------------------------------------------------------------


def test_the_shop_says_its_name(bench: Bench) -> None:
    access = bench.open()
    assert access.probe()
    assert access.hints == ()
    access.close()


def test_wrong_credentials_are_told_with_a_remedy(bench: Bench) -> None:
    for name, written in credentials(bench).items():
        wrong = written[:-1] + ("0" if written[-1] != "0" else "1")
        error = failure(partial(probe, bench, name, wrong))
        assert isinstance(error, NoAccess), name
        assert f"{bench.store.slug.upper()}_" in error.remedy
        tells_nothing(bench, error)


def test_settings_that_lack_something_name_the_variable(bench: Bench) -> None:
    for name in credentials(bench):
        error = failure(partial(probe, bench, name, ""))
        assert isinstance(error, NoAccess), name
        assert f"{bench.store.slug}_{name}".upper() in error.remedy


def credentials(bench: Bench) -> dict[str, str]:
    """The secret settings that open the shop's API."""
    secret = {setting.name for setting in bench.store.settings if setting.secret}
    return {name: value for name, value in bench.settings.items() if name in secret and value}


def probe(bench: Bench, name: str, value: str) -> str:
    """Opens the shop with one setting changed."""
    options: dict[str, Any] = {name: value}
    return bench.open(**options).probe()


def test_credentials_that_were_taken_back(bench: Bench) -> None:
    bench.shop.refuses = "credentials"
    error = failure(lambda: bench.open().probe())
    assert isinstance(error, NoAccess)
    assert f"{bench.store.slug.upper()}_" in error.remedy


def test_a_missing_right_is_told_with_a_remedy(bench: Bench) -> None:
    bench.shop.refuses = "rights"
    error = failure(lambda: bench.open().probe())
    assert isinstance(error, NoAccess)
    assert len(error.remedy) > 20


def test_a_right_that_is_taken_back_later(bench: Bench) -> None:
    access = bench.open()
    access.probe()
    bench.shop.refuses = "rights"
    assert isinstance(failure(lambda: access.pull(NOW - HOUR, NOW)), NoAccess)


# --- subscriptions ---------------------------------------------------------------------------------------


def test_subscribing_twice_leaves_one(bench: Bench) -> None:
    access = bench.open()
    assert access.subscriptions() == []
    for topic in bench.store.topics_of(bench.account()):
        made = access.subscribe(topic, HERE)
        assert (made.topic, made.url, made.active) == (topic, HERE, True)
        again = access.subscribe(topic, HERE)
        assert (again.topic, again.url, again.active) == (topic, HERE, True)
        there = [one for one in access.subscriptions() if one.topic == topic]
        assert [(one.url, one.active) for one in there] == [(HERE, True)]


def test_another_address_is_another_subscription(bench: Bench) -> None:
    access = bench.open()
    access.subscribe(bench.topic, ELSEWHERE)
    access.subscribe(bench.topic, HERE)
    assert {one.url for one in access.subscriptions()} == {ELSEWHERE, HERE}
    mine = next(one for one in access.subscriptions() if one.url == HERE)
    access.unsubscribe(mine)
    assert {one.url for one in access.subscriptions()} == {ELSEWHERE}


def test_more_subscriptions_than_a_page(bench: Bench) -> None:
    access = bench.open()
    urls = {f"{ELSEWHERE}/{number}" for number in range(12)}
    for url in sorted(urls):
        access.subscribe(bench.topic, url)
    assert {one.url for one in access.subscriptions()} == urls


def test_a_subscription_that_was_disabled_is_repaired(bench: Bench) -> None:
    access = bench.open()
    access.subscribe(bench.topic, HERE)
    bench.shop.disable(bench.registered(HERE)[0])
    assert not any(one.active for one in bench.registered(HERE))
    assert not any(one.active for one in access.subscriptions())
    assert access.subscribe(bench.topic, HERE).active
    assert [one.active for one in bench.registered(HERE)] == [True]


def test_a_subscription_that_is_gone_is_gone(bench: Bench) -> None:
    access = bench.open()
    made = access.subscribe(bench.topic, HERE)
    access.unsubscribe(made)
    access.unsubscribe(made)
    assert access.subscriptions() == []
    assert bench.shop.subscriptions == []


def test_what_was_subscribed_to_arrives_and_is_believed(bench: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hooks").respond_with_data("")
    hook = heard(bench, httpserver)
    assert bench.store.topic(hook) == bench.topic
    assert bench.store.read(hook, bench.account()).key


def told(bench: Bench, httpserver: HTTPServer) -> list[Hook]:
    """The hooks that came, without greetings."""
    came = [
        Hook({name.lower(): value for name, value in request.headers.items()}, request.get_data(), NOW)
        for request, _ in httpserver.log
    ]
    return [hook for hook in came if not bench.store.is_ping(hook)]


def heard(bench: Bench, httpserver: HTTPServer) -> Hook:
    """The hook about a new order, verified with what the shop or its subscription says it signs with."""
    made = bench.open().subscribe(bench.topic, httpserver.url_for("/hooks"))
    bench.shop.place(bench.shop.order(1, NOW))
    wait_until(lambda: told(bench, httpserver))
    hook = told(bench, httpserver)[0]
    bench.store.verify(hook, [Secret("another-secret"), *bench.account().secrets, made.secret])
    return hook


# --- orders ----------------------------------------------------------------------------------------------


def test_the_edges_of_the_window_belong_to_it(bench: Bench) -> None:
    since, until = NOW - HOUR, NOW - 60
    outside = bench.place(since - 1, until + 1, first=1)
    inside = bench.place(since, since + 1, until - 1, until, first=3)
    orders = bench.pull(since, until)
    assert sorted(order.order_id for order in orders) == sorted(inside)
    assert {since, until} <= {order.changed_at for order in orders}
    assert not {order.order_id for order in orders} & set(outside)
    assert bench.pull(until + 2, NOW) == []


def test_a_window_of_one_second(bench: Bench) -> None:
    bench.place(NOW - 1, NOW, NOW, NOW + 1)
    assert len(bench.pull(NOW, NOW)) == 2


def test_many_orders_of_the_same_second(bench: Bench) -> None:
    ids = bench.place(*[NOW - 5] * 63)
    assert sorted(order.order_id for order in bench.pull(NOW - 5, NOW - 5)) == sorted(ids)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"])
def test_the_shops_time_zone_shifts_nothing(bench: Bench, zone: str) -> None:
    """Also at the hour that a clock shows twice: 2026-10-25T01:00Z and 2026-11-01T04:30Z."""
    bench.shop.zone = ZoneInfo(zone)
    for turn in (1_792_890_000, 1_793_507_400):
        times = [turn - HOUR, turn - 1, turn, turn + HOUR]
        bench.shop.orders.clear()
        bench.place(*times)
        assert [order.changed_at for order in bench.pull(turn - 1, turn + 1)] == [turn - 1, turn]
        assert sorted(order.changed_at for order in bench.pull(turn - HOUR, turn + HOUR)) == times


def test_what_changes_while_it_is_read_hides_nothing(bench: Bench) -> None:
    ids = bench.place(*(NOW - 1_000 + number for number in range(63)))
    touched = [ids[0], ids[30], ids[62]]

    def change() -> None:
        bench.shop.freeze(bench.shop.now() + 1)
        if touched:
            with bench.untold():
                bench.shop.touch(touched.pop(0))

    bench.shop.freeze(NOW + 1)
    found = {order.order_id for order in bench.pull(NOW - HOUR, NOW, between=change)}
    assert set(ids) - {ids[0], ids[30], ids[62]} <= found <= set(ids)
    later = {order.order_id for order in bench.pull(NOW - HOUR, NOW + HOUR)}
    assert later == set(ids)


def test_an_order_that_came_long_ago_and_changed_now_is_there(bench: Bench) -> None:
    (order_id,) = bench.place(NOW - 20 * 86_400)
    with bench.untold():
        bench.shop.touch(order_id)
    changed = bench.pull(NOW - 21 * 86_400, NOW)
    assert {order.order_id for order in changed} == {order_id}


def test_throttled_midway_it_goes_on_where_it_was(bench: Bench) -> None:
    ids = bench.place(*(NOW - 1_000 + number for number in range(63)))
    access = bench.open()
    page = access.pull(NOW - HOUR, NOW)
    assert page.next
    bench.shop.script([Step(scene="throttled", times=None)])
    error = failure(lambda: access.pull(NOW - HOUR, NOW, page.next))
    assert isinstance(error, Away)
    assert error.retry_after is None or error.retry_after > 0
    bench.shop.script([])
    rest = bench.pull(NOW - HOUR, NOW, after=page.next)
    assert sorted(order.order_id for order in (*page.orders, *rest)) == sorted(ids)


def test_busy_says_when_to_come_again(bench: Bench) -> None:
    access = bench.open()
    bench.shop.script([Step(scene="busy", times=None)])
    error = failure(lambda: access.pull(NOW - HOUR, NOW))
    assert isinstance(error, Away)
    assert error.retry_after == 7


def test_a_token_that_ends_midway_is_no_end(bench: Bench) -> None:
    if bench.store.exchange(bench.account(), NOW) is None:
        pytest.skip(f"{bench.store.label} gives out no tokens")
    ids = bench.place(*(NOW - 1_000 + number for number in range(63)))
    access = bench.open()
    page = access.pull(NOW - HOUR, NOW)
    bench.shop.end_tokens()
    assert isinstance(failure(lambda: access.pull(NOW - HOUR, NOW, page.next)), NoAccess)
    rest = bench.pull(NOW - HOUR, NOW, after=page.next)
    assert sorted(order.order_id for order in (*page.orders, *rest)) == sorted(ids)


def test_where_to_go_on_is_no_secret(bench: Bench) -> None:
    bench.place(*(NOW - 1_000 + number for number in range(63)))
    following = bench.open().pull(NOW - HOUR, NOW).next
    assert 0 < len(following) < 500
    assert not any(secret in following for secret in bench.secrets())
    assert "@" not in following


def test_a_pulled_order_is_the_order_of_its_hook(bench: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hooks").respond_with_data("")
    told = bench.store.read(heard(bench, httpserver), bench.account())
    (order,) = bench.pull(NOW - 60, NOW + 60)
    pulled = bench.event(order)
    for template in (DEFAULT_EVENT_ID, *bench.store.event_ids.values()):
        assert event_id(pulled, template) == event_id(told, template)
    lacks = bench.open().lacks
    assert pulled == (without(told, pulled) if lacks else told)
    assert "authorization" not in order.hook.headers


# --- what goes wrong -------------------------------------------------------------------------------------

FAULTS = {
    "down": Step(scene="down"),
    "html": Step(scene="html"),
    "reset_during": Step(scene="reset_during"),
    "truncated": Step(scene="truncated"),
    "500": Step(status=500, times=None),
    "503": Step(status=503, body={"errors": "busy"}, times=None),
    "html_with_200": Step(status=200, body="<html>maintenance</html>", times=None),
    "nothing": Step(status=200, body="", times=None),
    "null": Step(status=200, body="null", times=None),
    "text": Step(status=200, body='"soon"', times=None),
    "deep": Step(status=200, body="[" * 100_000, times=None),
    "nan": Step(status=200, body='{"data": NaN}', times=None),
    "surrogate": Step(status=200, body='"\\ud800"', times=None),
}
CALLS: dict[str, Callable[[Access, str], object]] = {
    "probe": lambda access, _: access.probe(),
    "subscriptions": lambda access, _: access.subscriptions(),
    "subscribe": lambda access, topic: access.subscribe(topic, HERE),
    "pull": lambda access, _: access.pull(NOW - HOUR, NOW),
}


def tells_nothing(bench: Bench, error: BaseException) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert not any(secret in told for secret in bench.secrets())


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_none_is_away(
    bench: Bench, fault: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """And a well one afterwards is taken as if nothing had been."""
    caplog.set_level("DEBUG")
    bench.place(NOW - 1)
    access = bench.open()
    for name, call in CALLS.items():
        bench.shop.script([FAULTS[fault]])
        error = failure(partial(call, access, bench.topic))
        assert isinstance(error, Away), name
        tells_nothing(bench, error)
    bench.shop.script([])
    assert len(access.pull(NOW - HOUR, NOW).orders) == 1
    said = "".join((caplog.text, *capfd.readouterr()))
    assert not any(secret in said for secret in bench.secrets())


def test_an_end_that_fails_is_told(bench: Bench) -> None:
    access = bench.open()
    made = access.subscribe(bench.topic, HERE)
    bench.shop.script([Step(status=503, times=None)])
    assert isinstance(failure(lambda: access.unsubscribe(made)), Away)
    assert isinstance(made, Subscription)


def test_a_slow_answer_is_not_waited_for(bench: Bench) -> None:
    access = bench.open(seconds=0.3)
    bench.shop.script([Step(delay=1.0, times=None)])
    assert isinstance(failure(lambda: access.pull(NOW - HOUR, NOW)), Away)


def test_a_redirect_is_not_followed(bench: Bench, httpserver: HTTPServer) -> None:
    """It would carry the token to another machine."""
    access = bench.open()
    headers = {"Location": httpserver.url_for("/elsewhere")}
    for status in (301, 302, 307, 308):
        bench.shop.script([Step(status=status, headers=headers)])
        assert failure(lambda: access.pull(NOW - HOUR, NOW)) is not None
    assert httpserver.log == []


def test_a_shop_that_is_down_comes_back(bench: Bench) -> None:
    access = bench.open()
    bench.shop.down_until = NOW + 60
    assert isinstance(failure(lambda: access.pull(NOW - HOUR, NOW)), Away)
    bench.shop.freeze(NOW + 60)
    assert access.pull(NOW - HOUR, NOW).orders == ()


# --- histories -------------------------------------------------------------------------------------------

# A history: what happens before a window is read, and between its pages. Numbers choose an order to change;
# None is a new one. `pause` are the seconds that pass first.
steps = st.lists(st.tuples(st.sampled_from([0, 0, 1, 7, 600]), st.none() | st.integers(0, 200)), max_size=30)
histories = st.lists(st.tuples(steps, steps, st.sampled_from([0, 1, 30, 900])), min_size=1, max_size=4)


class Reference:
    """The plain list of what was sold: every time at which an order was placed or changed."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.times, self.count = bench, dict[str, list[int]](), 0

    def happen(self, pause: int, chosen: int | None) -> None:
        shop = self.bench.shop
        shop.freeze(shop.now() + pause)
        if chosen is None or not self.times:
            self.count += 1
            (order_id,) = self.bench.place(shop.now(), first=self.count)
            self.times[order_id] = [int(shop.now())]
        else:
            order_id = sorted(self.times)[chosen % len(self.times)]
            with self.bench.untold():
                shop.touch(order_id)
            self.times[order_id].append(int(shop.now()))

    def read(self, since: int, until: int, meanwhile: list[tuple[int, int | None]]) -> set[str]:
        """Reads a window while more happens, and judges it."""
        before = {order_id: times[-1] for order_id, times in self.times.items()}
        self.bench.shop.freeze(max(self.bench.shop.now(), until + 1))

        def between() -> None:
            if meanwhile:
                self.happen(*meanwhile.pop(0))

        orders = self.bench.pull(since, until, between=between)
        found = [order.order_id for order in orders]
        still = {
            key for key, last in before.items() if since <= last <= until and self.times[key][-1] == last
        }
        assert still <= set(found), "one that stayed as it was is missing"
        assert all(found.count(order_id) == 1 for order_id in still), "one that stayed came twice"
        assert all(any(since <= at <= until for at in self.times[key]) for key in set(found))
        return {self.bench.event(order).key for order in orders}


@every_store
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories, busy=st.integers(0, 70))
def test_none_is_missed_and_none_doubled(
    store: Store,
    history: list[tuple[list[tuple[int, int | None]], list[tuple[int, int | None]], int]],
    busy: int,
) -> None:
    """Windows that overlap, read one after the other while the shop goes on selling: in the end every order
    is known, under one key each."""
    with bench_of(store) as bench:
        reference, known = Reference(bench), set[str]()
        since = NOW
        for _ in range(busy):
            reference.happen(0, None)
        for before, meanwhile, overlap in history:
            for step in before:
                reference.happen(*step)
            until = int(bench.shop.now())
            known |= reference.read(since - overlap, until, list(meanwhile))
            since = until
        known |= reference.read(since - HOUR, int(bench.shop.now()), [])
        assert len(known) == len(reference.times)
