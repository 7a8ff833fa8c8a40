"""Alerts in the ledger: one per cause and subject for as long as it lasts."""

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, update

from webhooks import alerts
from webhooks.alerts import Alerts
from webhooks.clock import now_ms
from webhooks.database import Database
from webhooks.schema import alerts as table

CAUSE, SHOP, SENTENCE, REMEDY = (
    "subscription_missing",
    "acme",
    "The webhook is gone",
    "Connect the shop again",
)


@pytest.fixture
def book(database_url: str) -> Iterator[Alerts]:
    database = Database(database_url)
    yield Alerts(database)
    database.close()


def rows(book: Alerts) -> int:
    with book.database.read() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()


def calm_down(book: Alerts) -> None:
    """What was cleared was so some time ago."""
    with book.database.write() as db:
        db.execute(update(table).values(cleared_at=now_ms() - alerts.CALM - 1))


def test_it_is_raised_once_per_cause_and_subject(book: Alerts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    news = [book.raise_(CAUSE, subject, SENTENCE, REMEDY) for subject in (SHOP, SHOP, "other", SHOP)]
    assert news == [True, False, True, False]
    assert [(one.subject, one.count) for one in book.open()] == [(SHOP, 3), ("other", 1)]
    assert len(caplog.records) == 2


def test_a_count_replaces_the_one_before(book: Alerts) -> None:
    for count in (7, 9):
        book.raise_(CAUSE, SHOP, SENTENCE, REMEDY, count=count)
    assert [one.count for one in book.open(CAUSE)] == [9]


def test_it_is_cleared_and_raised_anew(book: Alerts) -> None:
    assert not book.clear(CAUSE, SHOP)
    book.raise_(CAUSE, SHOP, SENTENCE, REMEDY)
    assert not book.clear(CAUSE, "other")
    assert book.clear(CAUSE, SHOP)
    assert book.open() == []
    calm_down(book)
    assert book.raise_(CAUSE, SHOP, SENTENCE, REMEDY)
    assert rows(book) == 2


def test_what_comes_back_at_once_is_the_same_alert(book: Alerts) -> None:
    """Otherwise whatever swings to and fro tells of itself at every round."""
    for _ in range(5):
        book.raise_(CAUSE, SHOP, SENTENCE, REMEDY)
        book.clear(CAUSE, SHOP)
    assert rows(book) == 1
    assert not book.raise_(CAUSE, SHOP, SENTENCE, REMEDY)
    assert [one.count for one in book.open()] == [6]
