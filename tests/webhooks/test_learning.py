"""A buyer answers after their order came: what may go out now goes out, what must not any more does not."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from integrations.destination import Outcome
from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel, rows
from webhooks import app, learning
from webhooks.clock import HOUR, SECOND, now_ms
from webhooks.delivery import Drain
from webhooks.jobs import Wake
from webhooks.leases import Settled
from webhooks.relay import Relay
from webhooks.schema import consents, deliveries, events

Body = dict[str, Any]
Post = Callable[..., TestResponse]

ORIGIN = "https://shop.example.com"

sqlite_alone = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def order(order: Body) -> Body:
    """Of a buyer in Berlin whom nobody has asked."""
    address = order["billing_address"] | {"country_code": "DE", "province_code": None, "province": None}
    customer = order["customer"] | {"default_address": address}
    places = {"billing_address": address, "shipping_address": address, "customer": customer}
    return order | places | {"note_attributes": []}


def answered(order: Body, answer: str, name: str = "marketing_consent", **changes: Any) -> Body:
    """The same order as a later hook tells it."""
    return order | {"note_attributes": [{"name": name, "value": answer}]} | changes


def state(answer: str, at: int, source: str = "tcf") -> str:
    """What our own script writes."""
    purposes = ("ad_storage", "ad_user_data", "ad_personalization")
    return ";".join([*(f"{one}={answer}" for one in purposes), f"source={source}", f"at={at}"])


def fate(relay: Relay) -> tuple[str, str]:
    [row] = rows(relay).values()
    return row["state"], row["reason"]


# --- a later yes -----------------------------------------------------------------------------------------


def test_a_later_yes_releases_what_was_suppressed(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body
) -> None:
    post(order)
    drain.run(5)
    assert fate(relay) == ("suppressed", "no_consent")
    [before] = rows(relay).values()
    post(answered(order, "granted"), "orders/updated")
    drain.run(5)
    [after] = rows(relay).values()
    assert (after["state"], after["basis"], after["id"]) == ("delivered", "granted", before["id"])
    assert pixel.ids == [str(order["id"])] == [before["event_id"]]


@sqlite_alone
def test_whoever_sleeps_is_woken(
    relay: Relay, drain: Drain, post: Post, order: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(order)
    drain.run(5)
    rung: list[bool] = []
    monkeypatch.setattr(Wake, "__call__", lambda _: rung.append(True))
    post(answered(order, "granted"), "orders/updated")
    post(answered(order, "granted"), "orders/edited")
    assert rung == [True]


def test_too_late_is_too_late(relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body) -> None:
    post(order)
    drain.run(5)
    with relay.database.write() as db:
        db.execute(update(deliveries).values(expires_at=now_ms() - 1))
    post(answered(order, "granted"), "orders/updated")
    drain.run(5)
    assert fate(relay) == ("suppressed", "no_consent")


def test_what_comes_with_the_yes_comes_along(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body
) -> None:
    """Before it the storefront keeps click ids to itself."""
    post(order)
    drain.run(5)
    fbp = {"name": "_fbp", "value": "fb.1.1763800000000.1098765432"}
    later = answered(order, "granted")
    post(later | {"note_attributes": [*later["note_attributes"], fbp]}, "orders/updated")
    drain.run(5)
    [[event]] = pixel.calls
    assert event["user_data"]["fbp"] == fbp["value"]


@sqlite_alone
def test_what_the_settings_suppress_stays_suppressed(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body
) -> None:
    post(answered(order, "granted"))
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state="suppressed", reason="only_countries"))
    [number] = _numbers(relay)
    with relay.database.write() as db:
        known = learning._opened(relay, learning._locked(db, number))
        assert known is not None
        assert not learning.write(relay, db, number, known, "beacon", now_ms())
    assert fate(relay) == ("suppressed", "only_countries")


def _numbers(relay: Relay) -> list[int]:
    with relay.database.read() as db:
        return list(db.execute(select(events.c.id).order_by(events.c.id)).scalars())


# --- a later no ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", ["due", "held"])
def test_a_later_no_suppresses_what_waits(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body, waits: str
) -> None:
    post(answered(order, "granted"))
    with relay.database.write() as db:
        db.execute(update(deliveries).values(state=waits, due_at=now_ms() + HOUR))
    post(answered(order, "denied"), "orders/updated")
    assert fate(relay) == ("suppressed", "consent_denied")
    drain.run(5)
    assert pixel.calls == []


def test_a_later_no_changes_nothing_that_has_arrived(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body
) -> None:
    post(answered(order, "granted"))
    drain.run(5)
    post(answered(order, "denied"), "orders/updated")
    drain.run(5)
    assert fate(relay)[0] == "delivered"
    assert len(pixel.calls) == 1
    [row] = rows(relay).values()
    assert row["basis"] == "granted", "the proof of what was known when it was sent"


def test_the_answers_are_kept_one_after_the_other(relay: Relay, post: Post, order: Body) -> None:
    post(order)
    post(answered(order, "granted"), "orders/updated")
    post(answered(order, "denied"), "orders/updated")
    post(answered(order, "denied"), "orders/paid")
    with relay.database.read() as db:
        kept = db.execute(select(consents).order_by(consents.c.id)).mappings().all()
        [event] = db.execute(select(events)).mappings()
    assert [(row["ad_user_data"], row["via"]) for row in kept] == [
        ("", "webhook"),
        ("granted", "webhook"),
        ("denied", "webhook"),
    ]
    assert (event["ad_user_data"], event["consent_source"]) == ("denied", "order attribute marketing_consent")


# --- which answer is the later one -----------------------------------------------------------------------


def test_a_hook_that_comes_again_is_as_old_as_it_was(relay: Relay, post: Post, order: Body) -> None:
    first = answered(order, "denied")
    post(first)
    post(answered(order, "granted"), "orders/updated")
    post(first)  # the store had not heard our answer
    assert fate(relay)[0] == "due"


@sqlite_alone
@pytest.mark.parametrize(("first", "second"), [(1_000, 2_000), (2_000, 1_000)], ids=["in order", "overtaken"])
def test_hooks_may_overtake_each_other(
    relay: Relay, post: Post, order: Body, first: int, second: int
) -> None:
    base = now_ms() - HOUR
    words = {1_000: "denied", 2_000: "granted"}
    for topic, moment in (("orders/paid", first), ("orders/updated", second)):
        post(answered(order, state(words[moment], base + moment), "_consent_state"), topic)
    with relay.database.read() as db:
        assert db.execute(select(events.c.ad_user_data)).scalar_one() == "granted"


@sqlite_alone
@pytest.mark.parametrize("via", ["order", "beacon"])
def test_no_answer_is_from_the_future(
    relay: Relay, post: Post, order: Body, desk: FlaskClient, via: str
) -> None:
    """A browser whose clock is ahead would have the last word for ever."""
    ahead = state("granted", now_ms() + 24 * HOUR)
    if via == "order":
        post(answered(order, ahead, "_consent_state"))
    else:
        post(order)
        assert beacon(desk, order, ahead) == 204
    with relay.database.read() as db:
        at, answer = db.execute(select(events.c.consent_at, events.c.ad_user_data)).one()
    assert (answer, at <= now_ms() + SECOND) == ("granted", True)


@sqlite_alone
def test_silence_takes_nothing_back(relay: Relay, post: Post, order: Body) -> None:
    post(answered(order, "granted"))
    post(order, "orders/updated")
    with relay.database.read() as db:
        assert db.execute(select(events.c.ad_user_data)).scalar_one() == "granted"
        assert db.execute(select(consents.c.id)).all() == []


# --- while a worker has it -------------------------------------------------------------------------------


def test_a_worker_that_read_it_before_does_not_have_the_last_word(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body
) -> None:
    """It has the order under its lease without the yes, and closes it as suppressed after the yes came."""
    post(order)
    now = now_ms()
    [held] = relay.leases.claim("meta", 10, "slow", now, now + HOUR)
    post(answered(order, "granted"), "orders/updated")
    outcome = Outcome("suppressed", "no_consent", spent=False)
    relay.leases.close("slow", [Settled(held.id, outcome, "suppressed", now, "no_consent")], now)
    drain.run(5)
    assert fate(relay)[0] == "delivered"


def test_a_no_stops_a_worker_before_the_wire(relay: Relay, post: Post, order: Body) -> None:
    post(answered(order, "granted"))
    now = now_ms()
    claimed = relay.leases.claim("meta", 10, "slow", now, now + HOUR)
    post(answered(order, "denied"), "orders/updated")
    assert relay.leases.open_attempts("slow", claimed, now, now + HOUR) == set()
    assert fate(relay) == ("suppressed", "consent_denied")


def test_what_is_on_the_wire_has_gone_out(relay: Relay, post: Post, order: Body) -> None:
    post(answered(order, "granted"))
    now = now_ms()
    claimed = relay.leases.claim("meta", 10, "ours", now, now + HOUR)
    relay.leases.open_attempts("ours", claimed, now, now + HOUR)
    post(answered(order, "denied"), "orders/updated")
    assert fate(relay)[0] == "due"
    done = Settled(claimed[0].id, Outcome("delivered"), "delivered", now)
    relay.leases.close("ours", [done], now)
    assert fate(relay)[0] == "delivered"


# --- what else -------------------------------------------------------------------------------------------


@pytest.fixture
def desk(relay: Relay) -> Iterator[FlaskClient]:
    made = app.create_app(relay.settings)
    yield made.test_client()
    made.extensions["relay"].close()


def beacon(desk: FlaskClient, order: Body, answer: str) -> int:
    body = {
        "v": 1,
        "event_name": "Purchase",
        "order": {"order_id": str(order["id"]), "checkout_token": order["checkout_token"]},
        "attributes": {"_consent_state": answer},
        "page_url": f"{ORIGIN}/thank-you",
        "at": now_ms(),
    }
    headers = {"Origin": ORIGIN}
    return desk.post("/collect/shopify", data=json.dumps(body), headers=headers).status_code


@pytest.fixture
def environment(environment: Environment) -> Environment:
    return environment | {
        "SHOPIFY_ORIGINS": ORIGIN,
        "SHOPIFY_BEACON_WAIT": "0",
        "SHOPIFY_REFUNDS": "send",
    }


def test_a_browser_may_say_yes_after_the_order(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Body, desk: FlaskClient
) -> None:
    post(order)
    drain.run(5)
    assert fate(relay) == ("suppressed", "no_consent")
    assert beacon(desk, order, state("granted", now_ms())) == 204
    drain.run(5)
    assert fate(relay)[0] == "delivered"
    with relay.database.read() as db:
        assert db.execute(select(consents.c.via).order_by(consents.c.id)).scalars().all() == [
            "webhook",
            "beacon",
        ]


@sqlite_alone
def test_a_browser_cannot_overrule_a_no(relay: Relay, post: Post, order: Body, desk: FlaskClient) -> None:
    post(answered(order, "denied"))
    assert beacon(desk, order, state("granted", now_ms())) == 204
    with relay.database.read() as db:
        assert db.execute(select(events.c.ad_user_data)).scalar_one() == "denied"


def test_a_refund_follows_its_purchase(relay: Relay, post: Post, order: Body) -> None:
    given_back = {
        "id": 929361462001,
        "order_id": order["id"],
        "processed_at": order["processed_at"],
        "refund_line_items": [],
        "transactions": [
            {"kind": "refund", "status": "success", "amount": "5.00", "currency": order["currency"]}
        ],
    }
    post(order)
    post(given_back, "refunds/create")
    post(answered(order, "granted"), "orders/updated")
    with relay.database.read() as db:
        told = db.execute(select(events.c.event_name, events.c.ad_user_data)).all()
    assert sorted(map(tuple, told)) == [("Purchase", "granted"), ("Refund", "granted")]


@sqlite_alone
def test_without_a_database_a_hook_is_not_acknowledged(
    relay: Relay, post: Post, order: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(order)

    def away(*_: object) -> bool:
        raise OperationalError("", None, Exception("the database is away"))

    monkeypatch.setattr(learning, "hear", away)
    assert post(answered(order, "granted"), "orders/updated").status_code == 503


@sqlite_alone
def test_a_mistake_of_ours_costs_no_acknowledgement(
    relay: Relay, post: Post, order: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(order)

    def broken(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(learning, "hear", broken)
    assert post(answered(order, "granted"), "orders/updated").status_code == 200
