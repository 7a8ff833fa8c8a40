"""What a destination has for the shopper's browser, seen from the server."""

import pytest

from integrations import beside
from integrations.destination import Destination
from integrations.discovery import destinations, stores
from tests.contract import deliveries

every_destination = pytest.mark.parametrize("destination", deliveries.DESTINATIONS, ids=lambda one: one.slug)


@every_destination
def test_no_secret_goes_into_a_page(destination: Destination) -> None:
    secret = {setting.name: setting.secret for setting in destination.settings}
    assert [name for name in destination.public if secret.get(name, True)] == []


@every_destination
def test_a_click_is_looked_up_in_the_order(destination: Destination) -> None:
    assert set(destination.clicks) <= set(destination.captures(deliveries.account(destination)))


def test_what_stands_beside_an_adapter() -> None:
    assert "fbq(" in beside.text(destinations()["meta"], "pixel.js")
    assert beside.text(destinations()["meta"], "nothing.js") == ""
    assert set(beside.folder(stores()["shopify"], "snippets")) == {"pixel.js", "theme.liquid"}
    assert beside.folder(destinations()["meta"], "snippets") == {}


@every_destination
def test_a_file_for_the_browser_registers_under_the_slug(destination: Destination) -> None:
    for name, table in (("pixel.js", "pixels"), ("capture.js", "cookieMakers")):
        if script := beside.text(destination, name):
            assert f"{table}.{destination.slug} = function" in script
