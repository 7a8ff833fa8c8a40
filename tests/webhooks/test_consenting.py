"""Region by answer by policy by destination: a table of data, each cell asked, a part of it really sent."""

import csv
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from integrations import places
from integrations.consent import PURPOSES
from integrations.destination import Destination, Restriction
from integrations.event import Buyer, Consent, Event
from integrations.store import ConsentPolicy, Shop
from tests.contract.deliveries import DESTINATIONS, EVENTS, account, delivery, folder, standing_in
from tests.environments import SHOPIFY
from webhooks import consenting, migrations, recording, settings
from webhooks.clock import now_ms
from webhooks.consenting import DENIALS, US_STATES, decide, place, zone_of
from webhooks.database import Database
from webhooks.delivery import open_drain
from webhooks.entries import Arrival
from webhooks.relay import Relay
from webhooks.sandbox.standin import StandIn
from webhooks.schema import deliveries, events

DATA = Path(__file__).parents[1] / "data" / "consent"

Row = dict[str, str]

with (DATA / "truth_table.csv").open(newline="") as table:
    TABLE: list[Row] = list(csv.DictReader(table))

_OTHERS = {
    "anywhere": "any that marks anybody",
    "us_states": "any that marks people of US states",
    "": "any that marks nobody",
}


def expected(row: Row, destination: Destination) -> str:
    """The cell of this destination, or of those like it."""
    return row.get(destination.slug) or row[_OTHERS[destination.restricts]]


def event(row: Row) -> Event:
    consent = msgspec.convert({name: row[name] for name in PURPOSES}, Consent)
    buyer = msgspec.structs.replace(
        EVENTS["web_full"].buyer, country=row["country"], region=row["state"], countries=()
    )
    return msgspec.structs.replace(EVENTS["web_full"], consent=consent, buyer=buyer)


def policy(row: Row) -> ConsentPolicy:
    """As `settings.py` reads it."""
    environ = {f"SHOPIFY_{name}".upper(): row[name] for name in _POLICY if row[name]}
    return settings.load({**SHOPIFY, **environ}).shops[0].consent


_POLICY = ("consent_policy", "consent_limited_use", "consent_opt_in_countries")
_WRITTEN = {tuple(row[name] for name in _POLICY): row for row in TABLE}
POLICIES = {key: policy(row) for key, row in _WRITTEN.items()}


def policy_of(row: Row) -> ConsentPolicy:
    return POLICIES[tuple(row[name] for name in _POLICY)]


# --- each cell -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.slug)
@pytest.mark.parametrize("mode", sorted(POLICIES), ids=lambda key: "-".join(filter(None, key)))
def test_every_cell_of_the_table(destination: Destination, mode: tuple[str, ...]) -> None:
    of_mode = [row for row in TABLE if policy_of(row) is POLICIES[mode]]
    wrong = []
    for row in of_mode:
        decision = decide(event(row), destination.restricts, policy_of(row))
        said = f"{decision.basis} {decision.restricted}".strip()
        if said != expected(row, destination):
            wrong.append(f"{row['region']}, {row['answer']}: {said} instead of {expected(row, destination)}")
    assert of_mode
    assert wrong == []


def test_the_table_is_whole() -> None:
    """No combination is missing or there twice, and every destination of ours has its own column."""
    names = ("region", "answer", "consent_policy", "consent_limited_use")
    found = [tuple(row[name] for name in names) for row in TABLE]
    regions, answers = {row["region"] for row in TABLE}, {row["answer"] for row in TABLE}
    modes = {(row["consent_policy"], row["consent_limited_use"]) for row in TABLE}
    assert len(found) == len(set(found)) == len(regions) * len(answers) * len(modes) == 450
    assert {destination.slug for destination in DESTINATIONS} <= TABLE[0].keys()
    verdicts = {cell.split(" ")[0] for row in TABLE for cell in [row["meta"], row["tiktok"]]}
    assert verdicts == {"granted", "not_asked", *DENIALS}


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.slug)
def test_nothing_is_ever_sent_against_a_no(destination: Destination) -> None:
    for row in TABLE:
        if "denied" in (row["ad_storage"], row["ad_user_data"]):
            assert expected(row, destination) == "consent_denied"
        if row["ad_personalization"] == "denied":
            assert expected(row, destination).endswith((" measurement", *DENIALS))


# --- where somebody lives --------------------------------------------------------------------------------

REGION = ConsentPolicy()


@pytest.mark.parametrize(
    ("buyer", "code", "zone"),
    [
        pytest.param(Buyer(country="DE"), "DE", "EEA", id="a country"),
        pytest.param(Buyer(country="UK"), "GB", "UK", id="as the British write it"),
        pytest.param(Buyer(country="JE"), "JE", "UK", id="under the same law"),
        pytest.param(Buyer(country="RE"), "RE", "EEA", id="a part of France overseas"),
        pytest.param(Buyer(country="US", region="CA"), "US-CA", "US law", id="a state"),
        pytest.param(Buyer(country="US", region="US-CA"), "US-CA", "US law", id="as ISO 3166-2 has it"),
        pytest.param(Buyer(country="US", region="Texas"), "US-TX", "US law", id="by its name"),
        pytest.param(Buyer(country="US", region="AL"), "US-AL", "US", id="a state without a law"),
        pytest.param(Buyer(country="US", region="Narnia"), "US", "US law", id="a state that is none"),
        pytest.param(Buyer(country="US"), "US", "US law", id="no state"),
        pytest.param(Buyer(), "", "unknown", id="nothing"),
        pytest.param(Buyer(country="ZZ"), "", "unknown", id="no country of ours"),
        pytest.param(Buyer(countries=("FR",)), "FR", "EEA", id="the card alone"),
        pytest.param(
            Buyer(country="US", region="AL", countries=("US", "AT")), "AT", "EEA", id="a parcel to Vienna"
        ),
        pytest.param(Buyer(country="CA", countries=("CA", "US")), "US", "US law", id="a parcel to the US"),
        pytest.param(Buyer(country="CA", countries=("CA", "JP")), "CA", "elsewhere", id="two of no matter"),
    ],
)
def test_the_strictest_place_counts(buyer: Buyer, code: str, zone: str) -> None:
    found = place(buyer, REGION)
    assert (found.code, found.zone, zone_of(found.code)) == (code, zone, zone)


def test_a_shop_may_say_where_buyers_without_a_country_live() -> None:
    assert place(Buyer(), ConsentPolicy(country="US")).code == "US"
    assert place(Buyer(), ConsentPolicy(country="UK")).code == "GB"
    assert place(Buyer(), ConsentPolicy(country="ZZ")).zone == "unknown"
    assert place(Buyer(country="DE"), ConsentPolicy(country="US")).code == "DE"


def test_a_country_that_the_shop_adds_is_stricter_than_another() -> None:
    buyer = Buyer(country="CA", countries=("BR",))
    assert place(buyer, ConsentPolicy(opt_in_countries=("BR",))).code == "BR"
    assert place(buyer, REGION).code == "CA"


def test_the_codes_are_codes() -> None:
    assert {places.us_state(code) for code in US_STATES} == US_STATES
    listed = {code for code in consenting._ZONES if code}
    assert {places.country(code) for code in listed} == listed
    assert len(consenting._EEA) == 30 + 7


odd = st.text(max_size=9)


@given(st.builds(Buyer, country=odd, region=odd, countries=st.lists(odd, max_size=3).map(tuple)))
def test_no_place_raises(buyer: Buyer) -> None:
    found = place(buyer, REGION)
    assert zone_of(found.code) == found.zone


# --- really sent -----------------------------------------------------------------------------------------

SENT_REGIONS = ("Germany", "California", "Alabama", "no country")
SENT_ANSWERS = ("all granted", "nobody asked", "all denied", "not personalised", "personalisation open")
SENT = [
    row
    for row in TABLE
    if row["region"] in SENT_REGIONS
    and row["answer"] in SENT_ANSWERS
    and (row["consent_policy"], row["consent_limited_use"]) == ("region", "states")
]


class Stage:
    """A relay with an account of every destination, each with its stand-in."""

    def __init__(self, relay: Relay, kinds: dict[str, StandIn]) -> None:
        self.relay, self.kinds = relay, kinds

    @property
    def shop(self) -> Shop:
        return self.relay.settings.shops[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    ready = settings.load({**SHOPIFY, "RELAY_DATA_DIR": str(tmp_path)})
    with ExitStack() as stack:
        kinds, accounts = {}, []
        for destination in DESTINATIONS:
            kind, known = stack.enter_context(standing_in(destination))
            kind.freeze(now_ms() / 1_000)
            kinds[destination.slug] = kind
            accounts.append(msgspec.structs.replace(known, slug=destination.slug))
        shop = msgspec.structs.replace(ready.shops[0], accounts=tuple(one.slug for one in accounts))
        database = Database(ready.database_url)
        migrations.upgrade(database)
        database.close()
        relay = Relay(msgspec.structs.replace(ready, shops=(shop,), accounts=tuple(accounts)))
        stack.callback(relay.close)
        yield Stage(relay, kinds)


def take_in(stage: Stage, number: int, told: Event) -> Event:
    """Records the order as if its hook had just come."""
    now, name = now_ms(), f"40{number}"
    told = msgspec.structs.replace(
        told, shop=stage.shop.slug, store="shopify", key=name, order_id=name, event_time=now // 1_000
    )
    arrival = Arrival(
        store="shopify",
        shop=stage.shop.slug,
        digest=name.encode(),
        topic="orders/paid",
        received_at=now,
        sealed=b"",
        verdict="event",
        order_id=name,
    )
    recording.record(stage.relay, stage.shop, recording.Judged(arrival, told))
    return told


def test_what_the_table_says_is_what_destinations_get(stage: Stage) -> None:
    told = [take_in(stage, number, event(row)) for number, row in enumerate(SENT)]
    orders = {one.order_id: row for one, row in zip(told, SENT, strict=True)}
    drain = open_drain(stage.relay, threading.Event())
    drain.run(20)
    drain.close()
    ledger = ledger_of(stage.relay)
    for destination in DESTINATIONS:
        record = {one.event_id: one for one in stage.kinds[destination.slug].record}
        for one in told:
            basis, _, restricted = expected(orders[one.order_id], destination).partition(" ")
            row, is_sent = ledger[one.order_id, destination.slug], one.order_id in record
            known = (row["basis"], row["restricted"], row["state"])
            what = (destination.slug, orders[one.order_id])
            assert known == (basis, restricted, "suppressed" if basis in DENIALS else "delivered"), what
            assert is_sent is (basis not in DENIALS), what
            if is_sent:
                seen = record[one.order_id]
                assert marks(destination, {**seen.event, **seen.note}) == asked_for(
                    destination, one, msgspec.convert(restricted, Restriction)
                ), what


def ledger_of(relay: Relay) -> dict[tuple[str, str], Any]:
    """Every delivery by order and account."""
    asked = select(deliveries, events.c.order_id).join_from(deliveries, events)
    with relay.database.read() as db:
        return {(row["order_id"], row["account"]): row for row in db.execute(asked).mappings()}


def asked_for(destination: Destination, told: Event, restricted: Restriction) -> dict[str, Any]:
    """The marks in the request that our adapter makes of the restriction: what they look like is told in
    restrictions.json, and asked by tests/contract."""
    request = destination.build([delivery(told, restricted)], account(destination), told.event_time)
    found: Any = json.loads(request.body)
    for step in marked_at(destination):
        found = found[step]
    return marks(destination, found)


def _restrictions(destination: Destination) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder(destination) / "restrictions.json").read_bytes())
    return rows


def marked_at(destination: Destination) -> list[str | int]:
    at: list[str | int] = _restrictions(destination)[0]["at"]
    return at


def marks(destination: Destination, found: dict[str, Any]) -> dict[str, Any]:
    """All fields that may hold a mark, with what stands in them."""
    names = {name: value for row in _restrictions(destination) for name, value in row["told"].items()}
    return {
        name: {inner: (found.get(name) or {}).get(inner) for inner in value}
        if isinstance(value, dict)
        else found.get(name)
        for name, value in names.items()
    }
