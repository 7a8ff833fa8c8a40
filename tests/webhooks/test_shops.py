"""A shop's own API, opened: its token is got once, kept, and renewed when it has ended."""

import json
from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Hit
from werkzeug import Response as Reply

from integrations.access import Away, NoAccess
from integrations.setting import Secret
from integrations.store import Shop
from tests.webhooks.corner import Corner, corner
from webhooks.shops import NotSetUp, Shops
from webhooks.transport import Transport

__all__ = ["corner"]

SHOP = Shop("corner", "corner", (Secret("s"),), {"api_key": Secret("k")})


@pytest.fixture
def shops(corner: Corner) -> Iterator[Shops]:
    transport = Transport(total_seconds=5)
    yield Shops(transport)
    transport.close()


@pytest.fixture
def office(corner: Corner, httpserver: HTTPServer) -> Corner:
    """The shop with an office that gives out tokens; only the last one is good."""

    def give(_: Hit) -> Reply:
        corner.tokens.append(f"token-{len(corner.tokens) + 1}")
        return Reply(json.dumps({"token": corner.tokens[-1]}))

    httpserver.expect_request("/token").respond_with_handler(give)
    corner.office = httpserver.url_for("/").rstrip("/")
    return corner


def test_a_shop_without_tokens_is_opened_as_it_is(shops: Shops, corner: Corner) -> None:
    with shops.open(SHOP) as api:
        assert api.probe() == "The corner shop"
        assert api.lacks == ("the buyer's browser",)
    assert corner.calls == ["probe"]


def test_a_token_is_got_once_and_kept(shops: Shops, office: Corner) -> None:
    for _ in range(3):
        with shops.open(SHOP) as api:
            api.probe()
            api.subscriptions()
    assert office.tokens == ["token-1"]


def test_a_token_that_ended_midway_is_renewed_and_nobody_sees_it(shops: Shops, office: Corner) -> None:
    with shops.open(SHOP) as api:
        api.probe()
        office.tokens.append("only this one from now on")
        assert api.subscriptions() == []
        assert api.subscriptions() == []
    assert office.tokens[-1] == "token-3"
    assert office.calls == ["probe", *["subscriptions"] * 3]


def test_a_kept_token_that_ended_is_renewed(shops: Shops, office: Corner) -> None:
    with shops.open(SHOP) as api:
        api.probe()
    office.tokens.append("only this one from now on")
    with shops.open(SHOP) as api:
        api.probe()
    assert office.tokens[-1] == "token-3"


def test_a_refusal_of_a_new_token_is_not_the_tokens_fault(shops: Shops, office: Corner) -> None:
    office.faults.append(NoAccess("rights", "Allow it to read orders."))
    with shops.open(SHOP) as api, pytest.raises(NoAccess, match="rights"):
        api.probe()
    assert office.tokens == ["token-1"]


def test_a_right_that_is_missing_costs_one_renewal(shops: Shops, office: Corner) -> None:
    with shops.open(SHOP) as api:
        api.probe()
        no = NoAccess("rights", "Allow it to read orders.")
        office.faults.extend([no, no])
        with pytest.raises(NoAccess, match="rights"):
            api.subscriptions()
    assert office.calls == ["probe", "subscriptions", "subscriptions"]


def test_settings_that_lack_something_are_told_from_a_refusal(shops: Shops) -> None:
    without = Shop("corner", "corner", (), {"api_key": Secret("")})
    with pytest.raises(NotSetUp, match="CORNER_API_KEY"), shops.open(without):
        pass


def test_an_office_that_refuses_is_no_missing_setting(
    shops: Shops, corner: Corner, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/token").respond_with_data("no", status=401)
    corner.office = httpserver.url_for("/").rstrip("/")
    with pytest.raises(NoAccess) as caught, shops.open(SHOP):
        pass
    assert not isinstance(caught.value, NotSetUp)
    assert caught.value.remedy == "Set CORNER_API_KEY anew."


def test_a_shop_that_is_away_stays_away_and_is_not_asked_twice(shops: Shops, office: Corner) -> None:
    office.faults.append(Away("throttled", retry_after=7.0))
    with shops.open(SHOP) as api, pytest.raises(Away) as caught:
        api.probe()
    assert caught.value.retry_after == 7.0
    assert office.calls == ["probe"]
