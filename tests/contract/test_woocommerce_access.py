"""A WooCommerce shop asked through its own API, over real HTTP: time zones, pages that shift, failures."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.access import Access, NoAccess, Pulled
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.stores.woocommerce import WooCommerce, access
from tests.contract.samples import NOW, shop
from webhooks.sandbox.standin import Hit, Reply, Step
from webhooks.sandbox.wire import serving
from webhooks.sandbox.woocommerce_shop import WooCommerceShop

STORE = WooCommerce()
NOWHERE = "http://127.0.0.1:9/webhooks/woocommerce"  # the discard port: nobody listens


class Busy(WooCommerceShop):
    """A shop in which something happens before each request is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: Callable[[Hit], None] = lambda _hit: None

    def receive(self, hit: Hit) -> Reply:
        self.happens(hit)
        return super().receive(hit)

    def clear(self, zone: str, now: float) -> None:
        self.orders.clear()
        self._nonces.clear()  # Hypothesis begins every example with the same random numbers
        self.zone = ZoneInfo(zone)
        self.happens = lambda _hit: None
        self.freeze(now)

    def kept(self, number: int, at: float) -> None:
        self.keep(str(number), self.order(number, at))


class Play(NamedTuple):
    kind: Busy
    api: Access


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Busy, str]]:
    kind = Busy()
    with serving(kind) as address:
        yield kind, address
    kind.close()


@pytest.fixture
def play(served: tuple[Busy, str]) -> Play:
    kind, address = served
    kind.clear("Europe/Berlin", NOW)
    kind.subscriptions.clear()
    kind.requests.clear()
    kind.script([])
    kind.refuses, kind.may_write, kind.down_until = "", True, 0.0
    return Play(kind, opened(kind, address))


def opened(kind: WooCommerceShop, address: str, seconds: float = 5.0) -> Access:
    return STORE.access(shop(STORE, **kind.settings(address)), Secret(""), seconds)


def pulled(api: Access, since: int, until: int) -> list[Pulled]:
    found: list[Pulled] = []
    after = ""
    while True:
        page = api.pull(since, until, after)
        found += page.orders
        if not page.next:
            return found
        after = page.next


def ids(found: list[Pulled]) -> list[int]:
    return [int(one.order_id) for one in found]


# --- the time-zone trap ----------------------------------------------------------------------------------

CHANGES = {  # when the clocks change, and the zone of the shop
    "Berlin, an hour is left out": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Berlin, an hour comes twice": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "St. John's, an hour is left out": ("America/St_Johns", datetime(2026, 3, 8, 5, 30, tzinfo=UTC)),
    "St. John's, an hour comes twice": ("America/St_Johns", datetime(2026, 11, 1, 4, 30, tzinfo=UTC)),
    "Berlin, a day in winter": ("Europe/Berlin", datetime(2026, 12, 1, 12, tzinfo=UTC)),
    "St. John's, a day in summer": ("America/St_Johns", datetime(2026, 7, 1, 12, tzinfo=UTC)),
}
zones = pytest.mark.parametrize(("zone", "moment"), CHANGES.values(), ids=CHANGES)


@zones
def test_a_window_holds_what_changed_within_it(play: Play, zone: str, moment: datetime) -> None:
    """Both edges belong to it, whatever the shop's clocks say and do meanwhile."""
    middle = int(moment.timestamp())
    play.kind.clear(zone, middle + 86_400)
    times = {number: middle + (number - 60) * 300 for number in range(1, 120)}
    for number, at in times.items():
        play.kind.kept(number, at)
    for since, until in ((middle - 3_600, middle + 3_600), (middle, middle), (middle - 299, middle + 299)):
        within = [number for number, at in times.items() if since <= at <= until]
        found = pulled(play.api, since, until)
        assert ids(found) == within
        assert [one.changed_at for one in found] == [times[number] for number in within]


@zones
@pytest.mark.parametrize("shape", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00"], ids=["Z", "offset"])
def test_the_sandbox_shop_has_the_trap(play: Play, zone: str, moment: datetime, shape: str) -> None:
    """Otherwise the test above proves nothing: UTC that says so is shifted, without an error."""
    middle = int(moment.timestamp())
    play.kind.clear(zone, middle + 86_400)
    for number in range(1, 40):
        play.kind.kept(number, middle + (number - 20) * 900)
    since = moment - timedelta(hours=1)
    query = {"modified_after": since.strftime(shape), "dates_are_gmt": "true", "per_page": "100"}
    right = {**query, "modified_after": since.strftime("%Y-%m-%dT%H:%M:%S")}
    client = play.api._client  # type: ignore[attr-defined]
    assert client.ask("get", "orders", query).body != client.ask("get", "orders", right).body


def test_what_the_clock_shows_twice_is_in_one_window_only(play: Play) -> None:
    """Two orders an hour apart with the same local time, each in its own hour."""
    moment = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())
    play.kind.clear("Europe/Berlin", moment + 86_400)
    play.kind.kept(1, moment - 1_800)
    play.kind.kept(2, moment + 1_800)
    assert play.kind.orders["1"]["date_modified"] == play.kind.orders["2"]["date_modified"]
    assert ids(pulled(play.api, moment - 3_600, moment - 1)) == [1]
    assert ids(pulled(play.api, moment, moment + 3_599)) == [2]


# --- pages -----------------------------------------------------------------------------------------------


def test_an_order_reads_as_its_hook_does(play: Play) -> None:
    order = play.kind.order(7, NOW - 100)
    play.kind.keep("7", order)
    (found,) = pulled(play.api, NOW - 3_600, NOW)
    mine = shop(STORE)
    told = Hook({"x-wc-webhook-topic": "order.created"}, play.kind._body(order), found.hook.received_at)
    assert found.hook.body == told.body
    assert STORE.read(found.hook, mine) == STORE.read(told, mine)
    assert STORE.topic(found.hook) == "order.updated"


def test_pages_that_shift_lose_nothing(play: Play) -> None:
    """Every order that was listed is edited as soon as it was, and so leaves the window."""
    for number in range(1, 221):
        play.kind.kept(number, NOW - 1_000)
    seen: list[int] = []

    def edit(_hit: Hit) -> None:
        for number in seen:
            play.kind.kept(number, NOW)
        seen.clear()

    play.kind.happens = edit
    found: list[int] = []
    after = ""
    while True:
        page = play.api.pull(NOW - 1_000, NOW - 1, after)
        seen[:] = ids(list(page.orders))
        found += seen
        after = page.next
        if not after:
            break
    assert found == list(range(1, 221))


def test_the_same_second_may_hold_more_than_a_page(play: Play) -> None:
    for number in range(1, 3 * access.PAGE):
        play.kind.kept(number, NOW - 5)
    assert ids(pulled(play.api, NOW - 5, NOW - 5)) == list(range(1, 3 * access.PAGE))


@pytest.mark.parametrize("after", ["", "x", "-1:5", "5", ":", "1:2:3"], ids=lambda after: after or "nothing")
def test_what_is_no_place_begins_anew(play: Play, after: str) -> None:
    play.kind.kept(3, NOW - 5)
    assert [one.order_id for one in play.api.pull(NOW - 10, NOW, after).orders] == ["3"]


def test_a_shop_that_takes_no_heed_of_the_filter_is_not_believed(play: Play) -> None:
    """An old WooCommerce ignores `modified_after`; a plugin may order by something else."""
    raw = play.kind._body(play.kind.order(3, NOW - 5_000))
    play.kind.script(
        [Step(status=200, body=f"[{raw.decode()}]", headers={"Content-Type": "application/json"})]
    )
    with pytest.raises(NoAccess) as refused:
        play.api.pull(NOW - 100, NOW)
    assert refused.value.reason == "list_changed"


class Edit(NamedTuple):
    """What happens before a request of the pull: this order is changed, or placed if it is not there."""

    request: int
    order: int


ZONES = st.sampled_from(["Europe/Berlin", "America/St_Johns", "UTC", "Asia/Kathmandu"])
AROUND = (-3_601, -3_600, -1_801, -1_800, -1, 0, 1, 1_799, 1_800, 3_599, 3_600)
OFFSETS = st.lists(st.sampled_from(AROUND), max_size=24)
EDITS = st.lists(st.builds(Edit, st.integers(2, 6), st.integers(1, 24)), max_size=12)


@given(zone=ZONES, change=st.sampled_from(list(CHANGES.values())), offsets=OFFSETS, edits=EDITS)
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_history_loses_or_doubles_an_order(
    monkeypatch: pytest.MonkeyPatch,
    served: tuple[Busy, str],
    zone: str,
    change: tuple[str, datetime],
    offsets: list[int],
    edits: list[Edit],
) -> None:
    """Against a plain reference: the states that every order was ever in. Pages of three, two windows that
    overlap by a minute; what was untouched comes once per window, and the last state of all comes."""
    monkeypatch.setattr(access, "PAGE", 3)
    monkeypatch.setattr(access, "_STEP", 2)
    kind, address = served
    middle = int(change[1].timestamp())
    first, second = middle + 3_600, middle + 7_200
    kind.clear(zone, first)
    last = {number: middle + offset for number, offset in enumerate(offsets, 1)}
    states = set(last.items())
    for number, at in last.items():
        kind.kept(number, at)
    asked = [0]

    def happen(_hit: Hit) -> None:
        asked[0] += 1
        for edit in edits:
            if edit.request == asked[0]:
                kind.freeze(kind.now() + 1)
                kind.kept(edit.order, kind.now())
                last[edit.order] = int(kind.now())
                states.add((edit.order, last[edit.order]))

    kind.happens = happen
    api = opened(kind, address)
    early = seen(pulled(api, middle - 3_600, first))
    kind.happens = lambda _hit: None
    kind.freeze(second)
    late = seen(pulled(api, first - 60, second))
    changed = {edit.order for edit in edits}
    assert len(early) == len(set(early))
    assert set(early) | set(late) <= states
    untouched = {state for state in states if state[0] not in changed}
    assert {state for state in early if state[0] not in changed} == {
        state for state in untouched if middle - 3_600 <= state[1] <= first
    }
    assert {state for state in last.items() if state[1] >= middle - 3_600} <= {*early, *late}
    assert sorted(late) == sorted(state for state in last.items() if first - 60 <= state[1] <= second)


def seen(found: list[Pulled]) -> list[tuple[int, int]]:
    return [(int(one.order_id), one.changed_at) for one in found]
