"""What a destination looks up among what the storefront handed on, it also says that it looks up."""

from collections.abc import Iterator

import pytest

from integrations.destination import Destination
from integrations.event import Event
from tests.contract import deliveries

every_destination = pytest.mark.parametrize("destination", deliveries.DESTINATIONS, ids=lambda one: one.slug)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names under which any event was asked for what its storefront handed on."""
    names: set[str] = set()
    noted = Event.noted

    def listen(self: Event, *wanted: str) -> Iterator[str]:
        names.update(wanted)
        return noted(self, *wanted)

    monkeypatch.setattr(Event, "noted", listen)
    return names


@every_destination
def test_every_name_that_is_looked_up_is_declared(destination: Destination, asked: set[str]) -> None:
    account = deliveries.account(destination)
    for name in deliveries.taken(destination):
        event = deliveries.EVENTS[name]
        destination.match_keys(event, account)
        if deliveries.fit(destination, name):
            destination.build([deliveries.delivery(event)], account, deliveries.NOW)
    assert asked
    assert asked == set(destination.captures(account))


@every_destination
def test_a_pixel_has_a_word_for_a_purchase(destination: Destination) -> None:
    assert destination.browser_event(deliveries.account(destination)).strip()
