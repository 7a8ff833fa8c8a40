"""Questions and figures: what the ledger answers, on both databases, through indexes and without secrets."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ColumnElement, insert, select, text, update

from integrations.destination import Outcome
from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel
from webhooks import questions as asked
from webhooks.clock import DAY, HOUR, MINUTE, now_ms, rfc3339
from webhooks.delivery import Drain
from webhooks.figures import AccountFigures, figures
from webhooks.questions import Questions, Wanted, as_plain
from webhooks.relay import Relay
from webhooks.schema import attempts, deliveries, events

Orders = Callable[[int], list[str]]
Post = Callable[..., Any]


@pytest.fixture
def questions(relay: Relay) -> Questions:
    return Questions(relay.database)


def change(relay: Relay, table: Any, *where: ColumnElement[bool], **values: object) -> None:
    with relay.database.write() as db:
        assert db.execute(update(table).where(*where).values(**values)).rowcount > 0


# --- one order -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["7000001", "#7000001", " 7000001 ", "#1042", "1042"])
def test_an_order_is_found_by_id_and_by_name(
    questions: Questions, post: Post, order: Any, spelled: str
) -> None:
    post(order | {"id": 7_000_001, "name": "#1042"})
    post(order | {"id": 7_000_002, "name": "#1043"})
    story = questions.story("shopify", spelled)
    assert [event.order_id for event in story.events] == ["7000001"]
    assert [hook.order_id for hook in story.hooks] == ["7000001"]


def test_two_orders_that_share_a_number_are_both_told(questions: Questions, post: Post, order: Any) -> None:
    post(order | {"id": 1042, "name": "#1"})
    post(order | {"id": 7_000_001, "name": "#1042"})
    assert [one.order_id for one in questions.story("shopify", "1042").events] == ["1042", "7000001"]


@pytest.mark.parametrize(
    ("shop", "spelled"), [("shopify", "7000002"), ("nobody", "7000001"), ("shopify", ""), ("shopify", "#")]
)
def test_nothing_is_known_of_others(
    relay: Relay, questions: Questions, orders: Orders, shop: str, spelled: str
) -> None:
    orders(1)
    change(relay, events, order_name="")
    assert not questions.story(shop, spelled)


def test_a_story_holds_every_hook_and_attempt(
    relay: Relay, questions: Questions, drain: Drain, pixel: Pixel, post: Post, order: Any
) -> None:
    body = order | {"id": 7_000_001, "name": "#1042"}
    for topic in ("orders/paid", "orders/paid", "orders/create"):
        post(body, topic)
    pixel.answer = lambda _: pixel.error(500, message="try later", code=2)
    drain.run(0.05)
    pixel.answer = pixel.accept
    change(relay, deliveries, due_at=now_ms())
    drain.run(5)
    story = questions.story("shopify", "1042")
    assert [(one.topic, one.verdict, one.repeats) for one in story.hooks] == [
        ("orders/paid", "event", 1),
        ("orders/create", "duplicate", 0),
    ]
    [delivery] = story.events[0].deliveries
    outcomes = [(one.outcome, one.http_status) for one in delivery.tries]
    assert len(outcomes) >= 2
    assert (set(outcomes[:-1]), outcomes[-1]) == ({("retry", 500)}, ("delivered", 200))
    assert (delivery.state, delivery.event_id, delivery.trace) == ("delivered", "7000001", "trace-1")
    assert delivery.delivered_at is not None


def test_a_hook_that_was_no_event_is_a_story(questions: Questions, post: Post, order: Any) -> None:
    post(order | {"id": 7_000_001, "financial_status": "pending"})
    story = questions.story("shopify", "7000001")
    assert story.events == ()
    assert [(one.verdict, one.reason) for one in story.hooks] == [("not_an_event", "not_paid")]


def test_no_answer_holds_anything_personal(
    relay: Relay, questions: Questions, drain: Drain, pixel: Pixel, post: Post, order: Any
) -> None:
    post(order)
    post(b'{"email": "quarantined@example.com"}')
    drain.run(5)
    answers = [
        as_plain(questions.story("shopify", str(order["id"]))),
        questions.deliveries(Wanted()),
        *questions.export(),
        *questions.export_hooks(),
        as_plain(questions.quarantine()),
        as_plain(figures(relay)),
    ]
    written = json.dumps(answers).lower()
    assert str(order["id"]) in written
    person = order["billing_address"]
    for secret in (order["email"], person["last_name"], person["address1"], "quarantined@", "token-for"):
        assert secret.lower() not in written


# --- many deliveries -------------------------------------------------------------------------------------


def test_deliveries_are_listed_by_what_is_asked(relay: Relay, questions: Questions, orders: Orders) -> None:
    first, second, third = orders(3)
    of = {row["order_id"]: row["delivery"] for row in questions.deliveries(Wanted())}
    change(relay, deliveries, deliveries.c.id == of[first], state="refused", reason="value")
    change(relay, deliveries, deliveries.c.id == of[second], state="delivered")
    change(relay, events, events.c.order_id == third, received_at=now_ms() - 2 * DAY)

    def listed(**wanted: Any) -> list[str]:
        return [row["order_id"] for row in questions.deliveries(Wanted(**wanted))]

    assert listed() == [third, second, first]
    assert listed(states=("refused",)) == [first]
    assert listed(states=("refused", "delivered")) == [second, first]
    assert listed(since=now_ms() - DAY) == [second, first]
    assert listed(since=now_ms() - DAY, states=("due", "refused")) == [first]
    assert listed(shop="shopify", account="meta", destination="meta") == [third, second, first]
    assert listed(shop="nobody") == listed(account="nobody") == listed(destination="nobody") == []
    assert listed(limit=2) == [third, second]
    assert listed(limit=2, before=of[second]) == [first]


def test_a_page_is_bounded(questions: Questions, monkeypatch: pytest.MonkeyPatch, orders: Orders) -> None:
    orders(3)
    monkeypatch.setattr(asked, "PAGE", 2)
    assert len(questions.deliveries(Wanted(limit=10**9))) == 2
    assert len(questions.quarantine(limit=10**9)) <= 2


def test_an_export_tells_each_delivery_once(
    relay: Relay, questions: Questions, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = orders(5)
    monkeypatch.setattr(asked, "CHUNK", 2)
    chunks = list(questions.export())
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    rows = [row for chunk in chunks for row in chunk]
    assert [row["order_id"] for row in rows] == placed
    with relay.database.read() as db:
        event = db.execute(select(events).order_by(events.c.id)).mappings().first()
        delivery = db.execute(select(deliveries).order_by(deliveries.c.id)).mappings().first()
    assert event is not None
    assert delivery is not None
    assert rows[0] == {
        "delivery": delivery["id"],
        **{name: event[name] for name in ("store", "shop", "order_id", "order_name", "event_name")},
        **{name: event[name] for name in ("value", "currency", "origin", "source")},
        **{name: rfc3339(event[name]) for name in ("event_time", "received_at")},
        **dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "granted"),
        **{name: event[name] for name in ("consent_source", "consent_at", "region")},
        **dict.fromkeys(("reason", "detail", "trace", "confirmed", "basis", "restricted"), ""),
        **dict.fromkeys(("attempts", "crashes"), 0),
        **dict.fromkeys(("ambiguous", "in_flight"), False),
        **dict.fromkeys(("destination", "account"), "meta"),
        "event_id": placed[0],
        "state": "due",
        "expires_at": rfc3339(delivery["expires_at"]),
        "next_attempt_at": rfc3339(delivery["due_at"]),
        "delivered_at": None,
    }


def test_an_export_goes_on_while_orders_come_in(
    questions: Questions, orders: Orders, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk is a transaction of its own: nobody waits for the reader, nor the reader for them."""
    orders(2)
    monkeypatch.setattr(asked, "CHUNK", 1)
    export = questions.export()
    next(export)
    assert post(order | {"id": 7_000_099}).status_code == 200
    assert [row["order_id"] for chunk in export for row in chunk] == ["7000002", "7000099"]


def test_what_is_finished_has_no_next_attempt(relay: Relay, questions: Questions, orders: Orders) -> None:
    orders(1)
    change(relay, deliveries, state="refused")
    [[row]] = questions.export()
    assert row["next_attempt_at"] is None


def test_hooks_are_exported_with_their_verdict(questions: Questions, post: Post, order: Any) -> None:
    for _ in range(3):
        post(order)
    post(b"[]")
    [[told, broken]] = questions.export_hooks()
    assert (told["verdict"], told["order_id"], told["repeats"]) == ("event", str(order["id"]), 2)
    assert (told["topic"], told["store"], told["shop"]) == ("orders/paid", "shopify", "shopify")
    assert (broken["verdict"], broken["order_id"], broken["kept"]) == ("quarantined", "", True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["received_at"])


def test_the_quarantine_is_paged(questions: Questions, post: Post) -> None:
    for body in (b"[]", b"{", b"1"):
        post(body)
    page = questions.quarantine(limit=2)
    rest = questions.quarantine(limit=2, before=page[-1].id)
    assert [len(page), len(rest)] == [2, 1]
    assert page[0].id > page[1].id > rest[0].id
    assert questions.quarantine(shop="nobody") == []
    assert questions.hook(page[0].id) == page[0]
    assert questions.hook(10**9) is None


# --- figures ---------------------------------------------------------------------------------------------


def test_figures_agree_with_the_ledger(
    relay: Relay, questions: Questions, drain: Drain, pixel: Pixel, orders: Orders, post: Post, order: Any
) -> None:
    orders(4)
    drain.run(5)
    post(order | {"id": 1, "name": "#1"})
    post(order | {"id": 2, "name": "#2"})
    post(order | {"id": 3, "financial_status": "pending"})
    post(b"[]")
    newest = questions.deliveries(Wanted(states=("due",)))[0]
    change(relay, deliveries, deliveries.c.id == newest["delivery"], state="refused", ambiguous=True)
    [account] = figures(relay).accounts
    assert account.deliveries == {"delivered": 4, "due": 1, "refused": 1}
    assert (account.ambiguous, account.attempts_last_hour) == (1, 4)
    waiting = questions.deliveries(Wanted(states=("due",)))[0]
    assert account.longest_waiting is not None
    assert account.longest_waiting.delivery == waiting["delivery"]
    [shop] = figures(relay).shops
    assert (shop.events, shop.without_delivery) == (6, 0)
    assert shop.hooks == {"event": 6, "not_an_event": 1, "quarantined": 1}


def test_figures_name_what_nobody_sends(relay: Relay, orders: Orders) -> None:
    orders(2)
    change(relay, deliveries, account="gone")
    change(relay, events, shop="closed")
    told = figures(relay)
    assert [(one.account, one.is_set_up, one.deliveries) for one in told.accounts] == [
        ("gone", False, {"due": 2}),
        ("meta", True, {}),
    ]
    assert [(one.shop, one.is_set_up, one.events) for one in told.shops] == [
        ("closed", False, 2),
        ("shopify", True, 0),
    ]


def test_an_event_that_went_to_nobody_is_counted_and_told(
    environment: Environment, order: Any, request: pytest.FixtureRequest
) -> None:
    """Before any destination is set up, orders are kept all the same."""
    for name in ("META_PIXEL_ID", "META_ACCESS_TOKEN", "META_API_BASE"):
        del environment[name]
    assert request.getfixturevalue("post")(order).status_code == 200
    relay: Relay = request.getfixturevalue("relay")
    [shop] = figures(relay).shops
    assert (shop.events, shop.without_delivery) == (1, 1)
    [event] = Questions(relay.database).story("shopify", str(order["id"])).events
    assert event.deliveries == ()


def test_a_held_account_says_why_and_since_when(relay: Relay, orders: Orders) -> None:
    orders(1)
    outcome, now = Outcome("held", "190", "the token was revoked"), now_ms()
    relay.holds.stop("meta", "meta", "held", outcome, "mark", now, MINUTE)
    [account] = figures(relay).accounts
    assert (account.state, account.reason, account.detail) == ("held", "190", "the token was revoked")
    assert (account.since, account.probe_at) == (now, now + MINUTE)


def test_attempts_of_the_last_hour_are_counted_from_the_newest_back(relay: Relay, orders: Orders) -> None:
    orders(1)
    now = now_ms()
    with relay.database.write() as db:
        delivery = db.execute(select(deliveries.c.id)).scalar_one()
        old, new = now - 2 * HOUR, now - MINUTE
        rows = [{"delivery": delivery, "batch": "b", "size": 1, "opened_at": at} for at in (old, old, new)]
        db.execute(insert(attempts), rows)
    assert figures(relay).accounts[0].attempts_last_hour == 1


def test_figures_of_an_empty_ledger(relay: Relay) -> None:
    told = figures(relay)
    assert told.accounts == [AccountFigures(account="meta", destination="meta", is_set_up=True)]
    assert told.calls_waiting == 0


# --- indexes ---------------------------------------------------------------------------------------------


MANY = 2_000


@pytest.fixture
def plan_of(relay: Relay) -> Callable[[Any], str]:
    """How the database answers, once the tables are so long that a scan hurts."""
    with relay.database.write() as db:
        told = {"store": "s", "event_name": "Purchase", "value": "1", "currency": "EUR", "origin": "web"}
        db.execute(
            insert(events),
            [
                told
                | {"shop": f"acme{n % 500}", "key": str(n), "order_id": str(n), "order_name": f"#{n}"}
                | {"event_time": n, "received_at": n}
                for n in range(MANY)
            ],
        )
        ids = db.execute(select(events.c.id)).scalars().all()
        sent = {"destination": "d", "event_id": "1", "due_at": 1, "created_at": 1, "expires_at": 1}
        states = ["refused", "due", "held", *["delivered"] * 197]
        rows = [
            sent | {"event": one, "account": "meta", "state": states[n % 200]} for n, one in enumerate(ids)
        ]
        db.execute(insert(deliveries), rows)
        db.execute(text("ANALYZE"))
    explain = "EXPLAIN QUERY PLAN" if relay.database.is_sqlite else "EXPLAIN"

    def plan(statement: Any) -> str:
        written = statement.compile(relay.database.engine, compile_kwargs={"literal_binds": True})
        with relay.database.read() as db:
            return "\n".join(str(row[-1]) for row in db.execute(text(f"{explain} {written}")))

    return plan


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        pytest.param(Wanted(states=("refused",)), "ix_deliveries_undone", id="state"),
        pytest.param(Wanted(states=("due", "held")), "ix_deliveries_undone", id="states"),
        pytest.param(Wanted(states=("due",), account="meta"), "ix_deliveries_undone", id="account"),
        pytest.param(Wanted(since=MANY - 5), "ix_events_received_at", id="since"),
        pytest.param(Wanted(shop="acme1"), "ix_events_shop_order_", id="shop"),
    ],
)
def test_a_list_does_not_scan(plan_of: Callable[[Any], str], wanted: Wanted, index: str) -> None:
    plan = plan_of(asked.listing(wanted))
    assert index in plan
    assert not re.search(r"SCAN deliveries$|SCAN events$|Seq Scan", plan, re.MULTILINE)


def test_an_order_is_found_through_indexes(plan_of: Callable[[Any], str]) -> None:
    plan = plan_of(asked.of_order([events.c.id], "acme42", "1042"))
    assert "ix_events_shop_order_id" in plan
    assert "ix_events_shop_order_name" in plan
