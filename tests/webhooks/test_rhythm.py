"""Silence that is unusual for a shop, and silence that is not."""

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import insert

from webhooks.clock import HOUR, MINUTE, now_ms
from webhooks.database import Database
from webhooks.rhythm import LONGEST, WEEK, Silence, silence
from webhooks.schema import events

NOW = now_ms()

Sell = Callable[..., None]


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def sell(database: Database) -> Sell:
    numbers = iter(range(10**6))

    def at(moments: Sequence[int], source: str = "webhook", shop: str = "acme") -> None:
        rows = [
            {
                "store": "corner",
                "shop": shop,
                "event_name": "Purchase",
                "key": str(next(numbers)),
                "order_id": "1",
                "order_name": "",
                "event_time": moment,
                "value": "1",
                "currency": "EUR",
                "origin": "web",
                "source": source,
                "received_at": moment,
            }
            for moment in moments
        ]
        with database.write() as db:
            db.execute(insert(events), rows)

    return at


def weeks_before(count: int, *, but: int = 0, sales: int = 24) -> list[int]:
    """A sale every quarter of an hour, in the hours of the present silence, of each of the weeks before."""
    return [
        NOW - 6 * HOUR - week * WEEK + (number + 1) * 15 * MINUTE
        for week in range(1, count + 1)
        if week != but
        for number in range(sales)
    ]


def test_a_shop_that_sold_at_this_time_in_every_week_and_is_silent_is_noticed(
    database: Database, sell: Sell
) -> None:
    sell([NOW - 6 * HOUR, *weeks_before(4)])
    assert silence(database, "acme", NOW) == Silence(NOW - 6 * HOUR, 24)


def test_a_silence_of_days_goes_on(database: Database, sell: Sell) -> None:
    sell(weeks_before(4))
    assert silence(database, "acme", NOW) == Silence(NOW - LONGEST, 24)


def test_what_was_found_in_its_list_is_no_hook_but_belongs_to_its_rhythm(
    database: Database, sell: Sell
) -> None:
    sell([NOW - 6 * HOUR])
    sell([NOW - MINUTE, *weeks_before(3)], source="pulled")
    assert silence(database, "acme", NOW) == Silence(NOW - 6 * HOUR, 24)


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([], id="it never sold"),
        pytest.param([NOW - 20 * MINUTE, *weeks_before(4)], id="for too short a time"),
        pytest.param([NOW - 6 * HOUR, *weeks_before(1)], id="one week is no rhythm"),
        pytest.param([NOW - 6 * HOUR, *weeks_before(4, but=2)], id="it was so in one of the weeks"),
        pytest.param([NOW - 6 * HOUR, *weeks_before(4, sales=10)], id="ten sales may not happen"),
        pytest.param([NOW - 2 * HOUR, *weeks_before(4)], id="a hook came in between"),
        pytest.param(
            [NOW - 6 * HOUR, *(moment + 12 * HOUR for moment in weeks_before(4))], id="it sleeps at night"
        ),
    ],
)
def test_what_is_usual_for_the_shop_is_not_noticed(
    database: Database, sell: Sell, moments: list[int]
) -> None:
    if moments:
        sell(moments)
    assert silence(database, "acme", NOW) is None


def test_a_young_shop_has_a_rhythm_after_two_weeks(database: Database, sell: Sell) -> None:
    sell([NOW - 6 * HOUR, *weeks_before(2)])
    assert silence(database, "acme", NOW) is not None


def test_another_shops_sales_do_not_count(database: Database, sell: Sell) -> None:
    sell([NOW - 6 * HOUR])
    sell(weeks_before(4), shop="other")
    assert silence(database, "acme", NOW) is None
