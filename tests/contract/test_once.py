"""A sale counts once, at every destination: sent again, told by the shopper's browser too, or given back.

There is no list here. The stand-ins deduplicate as their vendors say, on a real wire; what is asked is
whether all that we send of one sale is recognised as one, and that of two as two.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from integrations.destination import Delivery, Destination
from integrations.event import Event, event_id
from tests.contract.bench import Bench, bench_of
from tests.contract.deliveries import DATA, DESTINATIONS, EVENTS, NOW, delivery, fit, taken
from tests.environments import SHOPIFY
from webhooks import filters, recording, settings
from webhooks.relay import Relay
from webhooks.sandbox.standin import Received, Step

FULL = EVENTS["web_full"]
REFUND = EVENTS["web_refund"]
PURCHASES = [name for name, event in EVENTS.items() if event.event_name == "Purchase"]

every_destination = pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.slug)
every_purchase = pytest.mark.parametrize(
    ("destination", "name"),
    [
        pytest.param(destination, name, id=f"{destination.slug}-{name}")
        for destination in DESTINATIONS
        for name in PURCHASES
        if fit(destination, name)
    ],
)


@pytest.fixture
def bench(destination: Destination) -> Iterator[Bench]:
    with bench_of(destination) as ready:
        yield ready


def kept(bench: Bench) -> list[Received]:
    """What the destination counts."""
    return [one for one in bench.kind.record if one.kept]


def is_taken(bench: Bench, *told: Delivery) -> bool:
    return {outcome.state for outcome in bench.send(bench.tell(*told), len(told))} == {"delivered"}


# --- sent again ------------------------------------------------------------------------------------------


@every_purchase
def test_a_replay_is_the_same_sale(bench: Bench, destination: Destination, name: str) -> None:
    """As late as the destination promises to remember, or takes the event at all."""
    later = min(destination.dedup_seconds, destination.window(EVENTS[name]) - (NOW - EVENTS[name].event_time))
    for seconds in (0, 1, 600, later - 1):
        bench.kind.freeze(NOW + seconds)
        bench.sign_in()
        assert is_taken(bench, delivery(EVENTS[name]))
    assert len(bench.kind.record) == 4
    assert [one.number for one in kept(bench)] == [1]


@every_purchase
@pytest.mark.parametrize("reset", ["after", "during"])
def test_an_answer_that_was_lost_does_not_double_the_sale(
    bench: Bench, destination: Destination, name: str, reset: str
) -> None:
    bench.kind.script([Step(scene=f"reset_{reset}")])
    [lost] = bench.send(bench.tell(delivery(EVENTS[name])))
    assert len(bench.kind.record) == 1, "it was counted before the connection broke"
    if lost.state != "delivered":  # of an answer without content nothing can get lost
        assert (lost.state, lost.ambiguous) == ("retry", True)
        assert is_taken(bench, delivery(EVENTS[name]))
    assert len(kept(bench)) == 1


@every_destination
def test_a_batch_that_is_asked_again_in_parts_counts_once(bench: Bench, destination: Destination) -> None:
    names = [name for name in PURCHASES if fit(destination, name)][: destination.batch_limit]
    told = [delivery(EVENTS[name]) for name in names]
    assert is_taken(bench, *told)
    for one in told:
        assert is_taken(bench, one)
    assert [one.event_id for one in kept(bench)] == [one.event_id for one in told]


@every_destination
def test_an_order_that_changed_since_is_the_same_sale(bench: Bench, destination: Destination) -> None:
    """A later hook of the order: another price after an edit, a corrected buyer, a paid date."""
    buyer = msgspec.structs.replace(FULL.buyer, email="mary@example.com", city="Oakland")
    edited = msgspec.structs.replace(
        FULL, value=FULL.value + 1, buyer=buyer, event_time=FULL.event_time + 60, lines=FULL.lines[:1]
    )
    assert is_taken(bench, delivery(FULL))
    assert is_taken(bench, delivery(edited))
    assert [one.number for one in kept(bench)] == [1]


# --- told twice ------------------------------------------------------------------------------------------


@every_purchase
@pytest.mark.parametrize("first", ["browser", "server"])
def test_the_browsers_twin_is_the_same_sale(
    bench: Bench, destination: Destination, name: str, first: str
) -> None:
    """Under the id that the storefront's snippet makes by the same template."""
    [seen] = told_alone(destination, name)
    assert seen.event_id == event_id(EVENTS[name])
    then: list[Callable[[], object]] = [
        lambda: bench.kind.browser(seen.account, seen.event_name, seen.event_id),
        lambda: bench.send(bench.tell(delivery(EVENTS[name]))),
    ]
    for tell in then if first == "browser" else reversed(then):
        tell()
    assert {one.source for one in bench.kind.record} == {"browser", "server"}
    assert [one.source for one in kept(bench)] == [first]


def told_alone(destination: Destination, name: str) -> list[Received]:
    """The event as the destination records it, to learn the names that it goes by there."""
    with bench_of(destination) as bench:
        assert is_taken(bench, delivery(EVENTS[name]))
        return bench.kind.record


# --- and no two are one ----------------------------------------------------------------------------------


@every_destination
def test_two_orders_of_one_buyer_are_two_sales(bench: Bench, destination: Destination) -> None:
    again = msgspec.structs.replace(FULL, key="1002", order_id="1002", order_name="#1002")
    assert is_taken(bench, delivery(FULL))
    assert is_taken(bench, delivery(again))
    assert len(kept(bench)) == 2


@pytest.mark.parametrize(
    "destination", [one for one in DESTINATIONS if fit(one, "renewal")], ids=lambda one: one.slug
)
def test_a_renewal_is_no_repetition_of_the_first_order(bench: Bench, destination: Destination) -> None:
    assert is_taken(bench, delivery(FULL))
    assert is_taken(bench, delivery(EVENTS["renewal"]))
    assert len(kept(bench)) == 2


# --- given back ------------------------------------------------------------------------------------------


@pytest.fixture
def relay(destination: Destination, tmp_path: Path) -> Iterator[Relay]:
    """A relay with one shop and one account of this destination."""
    account = msgspec.json.decode((DATA / "destinations" / destination.slug / "account.json").read_bytes())
    environ = {f"{destination.slug}_{name}".upper(): str(value) for name, value in account["options"].items()}
    configured = settings.load({**SHOPIFY, **environ, "RELAY_DATA_DIR": str(tmp_path)})
    ready = Relay(configured)
    yield ready
    ready.close()


def asked(relay: Relay, event: Event) -> list[str]:
    """The accounts that get a delivery of this event."""
    [shop] = relay.settings.shops
    return [share.destination for share in recording.shares_of(relay, shop, event)]


@every_destination
def test_only_who_takes_refunds_is_asked(relay: Relay, destination: Destination) -> None:
    takes = "Refund" in destination.event_names
    assert asked(relay, FULL) == [destination.slug]
    assert asked(relay, REFUND) == ([destination.slug] if takes else [])

    account = relay.settings.account(destination.slug)
    assert account is not None
    stray = filters.withheld(REFUND, account)  # should a delivery come into being all the same
    assert (stray.reason if stray else "") == ("" if takes else "event_not_taken")


@every_destination
def test_a_refund_is_never_counted_as_a_purchase(bench: Bench, destination: Destination) -> None:
    """Neither beside its purchase, whose id it shares, nor before it."""
    if "Refund" not in destination.event_names:
        assert "web_refund" not in taken(destination)
        return
    for told in (REFUND, FULL, REFUND):
        assert is_taken(bench, Delivery(told, event_id(FULL)))
    names = [one.event_name for one in kept(bench)]
    [purchase] = {one.event_name for one in kept(bench) if one.event == bench.kind.record[1].event}
    assert names.count(purchase) == 1
    assert names[0] != purchase
