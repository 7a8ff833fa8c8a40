"""A rehearsal: a destination's own test mode judges an order as it would, and counts nothing."""

from collections.abc import Iterator

import pytest

from integrations.destination import Destination
from tests.contract.bench import Bench, bench_of
from tests.contract.deliveries import DESTINATIONS, EVENTS, NOW, account, delivery, fit, taken

REHEARSING = [
    one for one in DESTINATIONS if one.rehearse(delivery(EVENTS["web_full"]), account(one), NOW) is not None
]
every_destination = pytest.mark.parametrize("destination", REHEARSING, ids=lambda one: one.slug)


@pytest.fixture
def bench(destination: Destination) -> Iterator[Bench]:
    with bench_of(destination) as ready:
        yield ready


def test_some_destinations_have_a_test_mode() -> None:
    assert len(REHEARSING) > 2


@every_destination
def test_it_judges_every_order_that_fits_and_counts_none(bench: Bench, destination: Destination) -> None:
    for name in taken(destination):
        if fit(destination, name):
            outcome = bench.rehearse(delivery(EVENTS[name]))
            assert outcome.state == "delivered", (name, outcome)
    assert bench.kind.record == []


@every_destination
def test_the_check_is_a_rehearsal_of_an_invented_order(destination: Destination) -> None:
    """One invented order for all, so that there is one to keep right."""
    check, invented = destination.check(account(destination), NOW), b"purchase-relay-check"
    assert check is not None
    assert invented in check.body
