"""What a beacon is, which order it is about and what it may add: asked of data that nobody thinks of."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.destination import Delivery
from integrations.discovery import destinations
from integrations.event import Event, decode, event_id
from tests.contract import deliveries
from webhooks import beacon as beacons
from webhooks.beacon import Beacon, NotABeacon
from webhooks.enriching import bridges, enriched, fits, names_of

KEPT = ("value", "currency", "lines", "key", "order_id", "order_name", "names", "event_time", "event_name")
SEEN_BY_THE_BROWSER = {"ip": "", "user_agent": ""}
SITE = "https://shop.example.com/"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)
FIELDS = st.sampled_from([*beacons._Message.__struct_fields__, "value", "__proto__"])


@given(
    document=JSON | st.dictionaries(FIELDS, JSON | st.just(1) | st.just({"order_id": "1"})),
    cut=st.integers(0, 3),
)
def test_bytes_are_a_beacon_or_none(document: Any, cut: int) -> None:
    raw = json.dumps(document).encode("utf-8", "surrogatepass")
    try:
        read = beacons.read(raw[: len(raw) - cut])
    except NotABeacon:
        return
    assert beacons.decode(beacons.encode(read)) == read
    assert read.digest("shop")


EVENTS = {name: event for name, event in deliveries.EVENTS.items() if event.event_name == "Purchase"}
CAPTURES = sorted({name for one in destinations().values() for name in one.captures(deliveries.account(one))})
SPELLINGS = st.sampled_from([spelling for name in CAPTURES for spelling in (name, f"_{name}")])


@given(
    name=st.sampled_from(sorted(EVENTS)),
    attributes=st.dictionaries(SPELLINGS | st.text(max_size=10), st.text(max_size=60), max_size=12),
    agent=st.text(max_size=40),
    consent=st.sampled_from(["granted", "denied", "maybe", ""]),
)
def test_what_is_added_can_be_sent_everywhere(
    name: str, attributes: dict[str, str], agent: str, consent: str
) -> None:
    event = EVENTS[name]
    said = Beacon(
        names={"order_id": event.order_id},
        attributes=attributes | {"marketing_consent": consent},
        site=SITE,
        ip="81.2.69.142",
        user_agent=agent,
    )
    more = enriched(event, said, CAPTURES)
    assert {one: getattr(more, one) for one in KEPT} == {one: getattr(event, one) for one in KEPT}
    assert msgspec.structs.replace(more.buyer, **SEEN_BY_THE_BROWSER) == msgspec.structs.replace(
        event.buyer, **SEEN_BY_THE_BROWSER
    )
    assert all(more.captured(one) == event.captured(one) for one in CAPTURES if event.captured(one))
    assert enriched(more, said, CAPTURES) == more, "and the same again adds nothing"
    _build(more)


def _build(event: Event) -> None:
    stored = decode(msgspec.json.encode(event))
    for destination in destinations().values():
        account = deliveries.account(destination)
        if destination.unfit(stored, account, deliveries.NOW) is None:
            destination.build([Delivery(stored, event_id(stored))], account, deliveries.NOW)


# --- which order -----------------------------------------------------------------------------------------

FULL = msgspec.structs.replace(
    EVENTS["web_full"], order_id="1042", order_name="#7", names={"order_number": "7", "checkout_token": "t"}
)


@pytest.mark.parametrize(
    ("told", "fit"),
    [
        ({"order_id": "1042", "checkout_token": "t"}, "proved"),
        ({"checkout_token": "t"}, "proved"),
        ({"order_id": "gid://shopify/Order/1042", "checkout_token": "t"}, "proved"),
        ({"order_id": "1042"}, "named"),
        ({"order_name": "7"}, "named"),
        ({"order_id": "1042", "session_id": "cs_1"}, "named"),
        ({"order_id": "1042", "checkout_token": "T"}, ""),
        ({"order_id": "1043", "order_name": "7"}, ""),
        ({"session_id": "cs_1"}, ""),
        ({"order_id": "7"}, ""),
    ],
)
def test_how_a_beacon_belongs_to_an_order(told: dict[str, str], fit: str) -> None:
    assert fits(FULL, told) == fit
    if fit:
        assert set(bridges("shop", told)) & set(bridges("shop", names_of(FULL)))


def test_numbers_do_where_there_is_nothing_else() -> None:
    plain = msgspec.structs.replace(FULL, names={"order_number": "7"})
    assert fits(plain, {"order_id": "1042"}) == "proved"
