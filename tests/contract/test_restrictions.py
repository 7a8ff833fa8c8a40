"""How each destination marks what may be used in a restricted way alone: rows of data, over the real wire."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from integrations.destination import Destination, Restriction
from integrations.event import Consent
from tests.contract.bench import bench_of
from tests.contract.deliveries import DESTINATIONS, EVENTS, NOW, account, delivery, folder

FULL = msgspec.structs.replace(EVENTS["web_full"], consent=Consent())


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the request says ``at`` the event's place in it; null: nothing."""

    name: str
    restricted: Restriction
    country: str
    region: str
    at: list[str | int]
    told: dict[str, Any]


def _rows(destination: Destination) -> list[Row]:
    path = folder(destination) / "restrictions.json"
    return msgspec.json.decode(path.read_bytes(), type=list[Row]) if path.exists() else []


ROWS = [
    pytest.param(destination, row, id=f"{destination.slug}-{row.name}".replace(" ", "_"))
    for destination in DESTINATIONS
    for row in _rows(destination)
]


@pytest.mark.parametrize(("destination", "row"), ROWS)
def test_a_restriction_is_told_in_the_destinations_own_way(destination: Destination, row: Row) -> None:
    buyer = msgspec.structs.replace(FULL.buyer, country=row.country, region=row.region)
    told = delivery(msgspec.structs.replace(FULL, buyer=buyer), row.restricted)
    with bench_of(destination) as bench:
        request = bench.tell(told)
        [outcome] = bench.send(request)
    assert outcome.state == "delivered", outcome
    found: Any = json.loads(request.body)
    for step in row.at:
        found = found[step]
    assert _part(found, row.told) == row.told


def _part(found: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is there under the wanted names."""
    kept = {}
    for name, value in wanted.items():
        there = found.get(name)
        is_part = isinstance(there, dict) and isinstance(value, dict)
        kept[name] = _part(there, value) if is_part else there
    return kept


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.slug)
def test_every_claim_has_its_rows(destination: Destination) -> None:
    """Whoever claims a mark shows it for each restriction, and without one; within their reach alone."""
    restrictions = {row.restricted for row in _rows(destination)}
    assert restrictions == ({"", "limited_use", "measurement"} if destination.restricts else set())
    if destination.restricts == "us_states":
        assert {row.country for row in _rows(destination)} == {"US"}


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.slug)
def test_an_unrestricted_request_is_another_one(destination: Destination) -> None:
    """Otherwise the mark would do nothing."""
    american = msgspec.structs.replace(FULL.buyer, country="US", region="CA")
    event = msgspec.structs.replace(FULL, buyer=american)
    bodies = {
        destination.build([delivery(event, one)], account(destination), NOW).body
        for one in ("", "limited_use", "measurement")
    }
    assert len(bodies) > 1 or not destination.restricts
