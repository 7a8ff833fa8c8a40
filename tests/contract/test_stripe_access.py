"""Stripe asked through its own package, over real HTTP: endpoints, events that no hook told of, connected
accounts."""

import builtins
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from integrations.access import Access, NoAccess, Pulled
from integrations.setting import Secret
from integrations.stores.stripe import Stripe
from integrations.stores.stripe.access import API_VERSION, PAGE
from tests.contract.samples import NOW, shop
from webhooks.sandbox.standin import Step
from webhooks.sandbox.stripe_shop import StripeShop
from webhooks.sandbox.wire import serving

STORE = Stripe()
NOWHERE = "http://127.0.0.1:9/webhooks/stripe"  # the discard port: nobody listens
DAY = 86_400


class Play(NamedTuple):
    kind: StripeShop
    address: str

    def open(self, **options: Any) -> Access:
        return STORE.access(shop(STORE, **{**self.kind.settings(self.address), **options}), Secret(""), 5)


@pytest.fixture
def play() -> Iterator[Play]:
    kind = StripeShop()
    kind.freeze(NOW)
    with serving(kind) as address:
        yield Play(kind, address)
    kind.close()


def pulled(api: Access, since: int, until: int) -> list[Pulled]:
    found: list[Pulled] = []
    after = ""
    while True:
        page = api.pull(since, until, after)
        found += page.orders
        if not page.next:
            return found
        after = page.next


def refused(call: Callable[[], object]) -> NoAccess:
    with pytest.raises(NoAccess) as found:
        call()
    assert StripeShop.demo["api_key"][-8:] not in "".join(traceback.format_exception(found.value))
    return found.value


# --- topics and endpoints --------------------------------------------------------------------------------

_PAID, _LATER = "checkout.session.completed", "checkout.session.async_payment_succeeded"
TOPICS: dict[str, tuple[dict[str, str], set[str]]] = {
    "checkout": ({}, {_PAID, _LATER}),
    "checkout with renewals": ({"renewals": "send"}, {_PAID, _LATER, "invoice.paid"}),
    "checkout with refunds": ({"refunds": "send"}, {_PAID, _LATER, "charge.refunded"}),
    "own payment form": ({"flow": "payment_intent", "renewals": "send"}, {"payment_intent.succeeded"}),
    "invoices": ({"flow": "invoice"}, {"invoice.paid"}),
}


@pytest.mark.parametrize(("options", "topics"), TOPICS.values(), ids=TOPICS)
def test_the_topics_are_those_of_the_flow(options: dict[str, str], topics: set[str]) -> None:
    assert set(STORE.topics_of(shop(STORE, **options))) == topics


def test_one_endpoint_hears_all_topics_and_shows_its_secret_once(play: Play) -> None:
    api = play.open()
    made = [api.subscribe(topic, NOWHERE) for topic in (_PAID, _LATER)]
    assert [bool(one.secret) for one in made] == [True, False]
    (endpoint,) = play.kind.subscriptions
    assert endpoint.more["api_version"] == API_VERSION
    api.unsubscribe(made[0])
    assert [one.topic for one in api.subscriptions()] == [_LATER]
    api.unsubscribe(made[1])
    assert play.kind.subscriptions == []


def test_an_endpoint_that_hears_everything_hears_our_topics(play: Play) -> None:
    api = play.open()
    api.subscribe(_PAID, NOWHERE)
    play.kind.subscriptions[0].more["enabled_events"] = ["*"]
    assert {one.topic for one in api.subscriptions()} == {_PAID, _LATER}
    assert api.subscribe(_LATER, NOWHERE).active
    assert play.kind.subscriptions[0].more["enabled_events"] == ["*"]


# --- events ----------------------------------------------------------------------------------------------


def test_what_no_hook_told_of_is_listed(play: Play) -> None:
    """For three days Stripe tries; the list holds events for thirty, told or not."""
    play.open().subscribe(_PAID, NOWHERE)
    play.kind.place(play.kind.order(1, NOW))
    play.kind.move(4 * DAY)
    tries = [one.at - NOW for one in play.kind.delivered]
    assert len(tries) > 5
    assert 2 * DAY < tries[-1] <= 3.1 * DAY
    assert [one.order_id for one in pulled(play.open(), NOW - 60, NOW + 4 * DAY)] == ["ORD-1"]


def test_the_list_reaches_back_thirty_days(play: Play) -> None:
    play.kind.keep("ORD-1", play.kind.order(1, NOW - 31 * DAY))
    play.kind.keep("ORD-2", play.kind.order(2, NOW - 29 * DAY))
    api = play.open()
    assert [one.order_id for one in pulled(api, NOW - 60 * DAY, NOW)] == ["ORD-2"]
    assert api.reaches_back == 30 * DAY


def test_other_events_are_not_asked_for(play: Play) -> None:
    event = play.kind.order(1, NOW)
    play.kind.keep("ORD-1", event | {"type": "payment_intent.succeeded"})
    assert pulled(play.open(), NOW - 60, NOW) == []


def test_new_events_shift_no_page(play: Play) -> None:
    for number in range(1, 2 * PAGE):
        play.kind.keep(f"ORD-{number}", play.kind.order(number, NOW - 60))
    api = play.open()
    first = api.pull(NOW - 60, NOW)
    for number in range(1_000, 1_010):
        play.kind.keep(f"ORD-{number}", play.kind.order(number, NOW))
    rest = api.pull(NOW - 60, NOW, first.next)
    found = [one.order_id for one in (*first.orders, *rest.orders)]
    assert sorted(found) == sorted(f"ORD-{number}" for number in range(1, 2 * PAGE))


def test_the_lines_of_a_session_are_fetched_on_demand(play: Play) -> None:
    """An event has none; for an order that only the list told of they are worth a call."""
    play.kind.keep("ORD-1", play.kind.order(1, NOW))
    api, mine = play.open(), shop(STORE)
    (found,) = pulled(api, NOW, NOW)
    whole = api.complete(found)
    without, full = STORE.read(found.hook, mine), STORE.read(whole.hook, mine)
    assert without.lines == ()
    assert [line.variant_id for line in full.lines] == ["price_1Sandbox"]
    assert (full.key, full.value, full.event_time) == (without.key, without.value, without.event_time)
    assert api.complete(whole) == whole


def test_connected_accounts_are_asked_one_by_one(play: Play) -> None:
    """And what they sold is theirs, as in a hook; else their sales would have other keys."""
    play.kind.keep("ORD-1", play.kind.order(1, NOW))
    connected = ["acct_1Anna", "acct_2Berta"]
    api, mine = play.open(connect_accounts=connected), shop(STORE, connect_accounts=connected)
    found = pulled(api, NOW, NOW)
    assert [STORE.read(one.hook, mine).key.partition(":")[0] for one in found] == connected
    asked = [one["headers"].get("stripe-account") for one in play.kind.requests]
    assert asked == connected


# --- the package and the key -----------------------------------------------------------------------------


def test_without_the_package_its_extra_is_named(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "stripe":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    error = refused(play.open)
    assert error.reason == "extra_missing"
    assert "purchase-relay[stripe]" in error.remedy


def test_a_key_of_the_other_mode_is_told_apart(play: Play) -> None:
    """It would open an account without a single sale, and all would look well."""
    other = "rk_test_another"
    assert refused(lambda: play.open(api_key=other)).reason == "other_mode"
    play.kind.accounts = [{"api_key": other}]
    assert play.open(livemode="any", api_key=other).probe()


def test_the_version_is_ours_and_nothing_is_told_of_this_machine(play: Play) -> None:
    api = play.open()
    api.probe()
    api.pull(NOW, NOW)
    for request in play.kind.requests:
        assert request["headers"]["stripe-version"] == API_VERSION
        assert "x-stripe-client-telemetry" not in request["headers"]
        assert "platform" not in request["headers"]["x-stripe-client-user-agent"]


def test_the_proof_of_rights_makes_no_endpoint(play: Play) -> None:
    play.open().probe()
    assert play.kind.subscriptions == []


REFUSALS = {
    "revoked key": (401, "credentials_refused", "STRIPE_API_KEY"),
    "missing right": (403, "rights", "Webhook Endpoints"),
    "unknown parameter": (400, "not_understood", ""),
}


@pytest.mark.parametrize(("status", "reason", "named"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_to_do(play: Play, status: int, reason: str, named: str) -> None:
    key = StripeShop.demo["api_key"]
    play.kind.script([Step(status=status, body={"error": {"message": f"no: {key}", "code": "nope"}})])
    error = refused(lambda: play.open().pull(NOW, NOW))
    assert error.reason == reason
    assert named in error.remedy
