"""Privacy duties: what customers ask for is done, everywhere, and nothing brings back what was erased."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from integrations.destination import Outcome
from integrations.privacy import Wish
from tests.webhooks.conftest import SAMPLES, SECRET, Environment
from tests.webhooks.pixel import Pixel, due_now
from webhooks import (
    app,
    backfill,
    copying,
    erasure,
    privacy,
    replay,
    rereading,
    retention,
    rotation,
)
from webhooks import settings as settings_of
from webhooks.backfill import Missing
from webhooks.clock import DAY, now_ms
from webhooks.delivery import Drain
from webhooks.leases import Settled
from webhooks.privacy import WishTold
from webhooks.relay import Relay
from webhooks.replay import Question
from webhooks.sandbox import shopify_sender
from webhooks.schema import attempts, deliveries, events, hooks, sealed_tables, tombstones, twins, wishes
from webhooks.sweep import Sweep

Post = Callable[..., TestResponse]
EMAIL, PHONE = "maria.alvarez@example.com", "+16135550123"
CUSTOMER = {"id": 6001000000035, "email": EMAIL, "phone": PHONE}


def asked(topic: str, **changes: Any) -> dict[str, Any]:
    """Shopify's sample of a topic, about the customer of the sample order."""
    body: dict[str, Any] = json.loads((SAMPLES / f"shopify/{topic.replace('/', '_')}.json").read_text())
    if "customer" in body:
        body["customer"] = CUSTOMER
    for listed in body.keys() & {"orders_to_redact", "orders_requested"}:
        body[listed] = []
    return body | changes


def somebody_else(order: dict[str, Any]) -> dict[str, Any]:
    """The same order of another customer."""
    other = json.dumps(order | {"id": 2, "name": "#2"})
    for mine, theirs in zip(
        (str(CUSTOMER["id"]), PHONE, EMAIL), ("7", "+4930123456", "ole@example.com"), strict=True
    ):
        other = other.replace(mine, theirs)
    body: dict[str, Any] = json.loads(other)
    return body


def rows(relay: Relay, table: Any) -> list[dict[str, Any]]:
    with relay.database.read() as db:
        return [dict(row) for row in db.execute(select(table).order_by(table.c.id)).mappings()]


def work(relay: Relay) -> WishTold:
    """The sweep's looks, as many as it takes; time is moved on in between."""
    for _ in range(5):
        with relay.database.write() as db:
            db.execute(update(wishes).where(wishes.c.due_at.is_not(None)).values(due_at=0))
        privacy.work_due(relay, threading.Event())
        newest = privacy.listed(relay)[0]
        if newest.state != "open":
            break
    return newest


def command(relay: Relay, **named: Any) -> WishTold:
    """What the command does, and the sweep after it."""
    privacy.take(relay, "shopify", "shopify", Wish(action="erase", **named))
    return work(relay)


# --- acted upon ------------------------------------------------------------------------------------------


def test_a_redacted_customer_is_nowhere_any_more(
    relay: Relay, drain: Drain, post: Post, pixel: Pixel, order: Any
) -> None:
    post(order)
    post(somebody_else(order))
    drain.run(1)
    assert post(asked("customers/redact"), "customers/redact").status_code == 200
    told = work(relay)
    assert (told.state, told.orders, told.passes) == ("done", 1, 2)
    assert [row["sealed"] is None for row in rows(relay, events)] == [True, False]
    assert [(row["topic"], row["sealed"] is None) for row in rows(relay, hooks)] == [
        ("orders/paid", True),
        ("orders/paid", False),
        ("customers/redact", True),
    ]
    assert [row["marks"] is None for row in rows(relay, hooks)] == [True, False, True]
    assert rows(relay, wishes)[0]["sealed"] is None
    assert [row["state"] for row in rows(relay, deliveries)] == ["delivered", "delivered"]


@pytest.mark.parametrize(
    "named",
    [
        {"email": " Maria.Alvarez@EXAMPLE.com "},
        {"phone": "613 555-0123"},
        {"customer_id": "6001000000035"},
        {"orders": ("$id",)},
        {"everything": True},
    ],
    ids=lambda named: next(iter(named)),
)
def test_a_customer_is_found_by_any_name(relay: Relay, post: Post, order: Any, named: dict[str, Any]) -> None:
    post(order)
    if named.get("orders"):
        named = {"orders": (str(order["id"]),)}
    told = command(relay, **named)
    assert (told.state, told.suppressed) == ("done", 1)
    (delivery,) = rows(relay, deliveries)
    assert (delivery["state"], delivery["reason"], delivery["batch"]) == ("suppressed", "erased", None)
    assert rows(relay, events)[0]["erased_at"] is not None


def test_who_is_somebody_else_stays(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    told = command(relay, email="else@example.com", phone="0000000", customer_id="0", orders=("1",))
    assert (told.state, told.records) == ("done", 0)
    assert rows(relay, events)[0]["sealed"] is not None
    assert rows(relay, deliveries)[0]["state"] == "due"


def test_what_was_put_aside_is_erased_as_well(relay: Relay, post: Post, order: Any) -> None:
    post(order | {"total_price": "a lot", "current_total_price": "a lot", "total_price_set": None})
    post(order | {"financial_status": "pending"}, "orders/create")
    post(b'{"id": 1, "email": "maria.alvarez@example.com"')
    assert [row["verdict"] for row in rows(relay, hooks)] == ["quarantined", "not_an_event", "quarantined"]
    command(relay, email=EMAIL)
    assert {row["sealed"] for row in rows(relay, hooks)} == {None}
    assert {row["verdict"] for row in rows(relay, hooks)} == {"not_an_event"}
    assert list(rereading.quarantined(relay)) == []


def test_a_whole_shop_goes(
    relay: Relay, drain: Drain, post: Post, pixel: Pixel, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "CHUNK", 2)
    orders(5)
    with relay.database.write() as db:
        db.execute(update(hooks).where(hooks.c.id == 1).values(shop="another"))
        db.execute(update(events).where(events.c.id == 1).values(shop="another"))
    assert post(asked("shop/redact"), "shop/redact").status_code == 200
    assert work(relay).state == "done"
    assert [row["sealed"] is None for row in rows(relay, events)] == [False, True, True, True, True]
    drain.run(1)
    assert pixel.ids == ["7000001"]


def test_an_unsigned_request_is_refused(relay: Relay, environment: Environment) -> None:
    client = app.create_app(relay.settings).test_client()
    headers = {"X-Shopify-Topic": "customers/redact", "X-Shopify-Hmac-Sha256": "bm9wZQ=="}
    for sent in (headers, {"X-Shopify-Topic": "customers/redact"}):
        assert (
            client.post("/webhooks/shopify", json=asked("customers/redact"), headers=sent).status_code == 401
        )
    assert rows(relay, wishes) == []


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("customers/redact", asked("customers/data_request")),
        ("shop/redact", asked("customers/data_request")),
        ("customers/data_request", asked("customers/redact")),
        ("customers/redact", asked("customers/redact", customer={})),
        ("shop/redact", {"id": 5, "email": "owner@example.com"}),
    ],
    ids=["copy as erasure", "copy as whole shop", "erasure as copy", "nobody", "another body"],
)
def test_a_request_under_another_topic_erases_nothing(
    relay: Relay, post: Post, order: Any, topic: str, body: dict[str, Any]
) -> None:
    """The topic's header is not signed."""
    post(order)
    assert post(body, topic).status_code == 200
    assert rows(relay, wishes) == []
    assert rows(relay, hooks)[-1]["verdict"] == "quarantined"


SHARED = """
[[shops]]
slug = "de"
store = "shopify"
webhook_secrets_env = "SECRET_OF_THE_APP"
domain = "acme-de.myshopify.com"
destinations = ["meta"]
[[shops]]
slug = "fr"
store = "shopify"
webhook_secrets_env = "SECRET_OF_THE_APP"
domain = "example-store.myshopify.com"
destinations = ["meta"]
[[shops]]
slug = "stranger"
store = "shopify"
webhook_secrets_env = "ANOTHER_SECRET"
domain = "stranger.myshopify.com"
destinations = ["meta"]
"""


@pytest.mark.parametrize(
    ("path", "domain", "status", "wished"),
    [
        ("/webhooks/shopify", "example-store.myshopify.com", 200, ["fr"]),
        ("/webhooks/shopify/de", "example-store.myshopify.com", 200, ["fr"]),
        ("/webhooks/shopify/de", "acme-de.myshopify.com", 200, ["de"]),
        ("/webhooks/shopify/de", "stranger.myshopify.com", 200, []),
        ("/webhooks/shopify/de", "unknown.myshopify.com", 200, []),
        ("/webhooks/shopify", "stranger.myshopify.com", 404, []),
        ("/webhooks/shopify", "unknown.myshopify.com", 404, []),
    ],
)
def test_all_shops_of_an_app_have_one_address(
    environment: Environment, tmp_path: Path, path: str, domain: str, status: int, wished: list[str]
) -> None:
    """What the body says of the shop is signed; a shop can ask for nothing of one with another secret."""
    (tmp_path / "relay.toml").write_text(SHARED)
    environment |= {"RELAY_CONFIG": str(tmp_path / "relay.toml"), "SECRET_OF_THE_APP": SECRET}
    environment |= {"ANOTHER_SECRET": "another-secret", "SHOPIFY_WEBHOOK_SECRETS": ""}
    relay = Relay(settings_of.load(environment))
    body = json.dumps(asked("customers/redact", shop_domain=domain)).encode()
    headers = shopify_sender.sign(body, SECRET, topic="customers/redact", now=int(time.time()))
    headers.pop("X-Shopify-Shop-Domain", None)
    client = app.create_app(relay.settings).test_client()
    assert client.post(path, data=body, headers=headers).status_code == status
    assert client.post(path, data=body + b" ", headers=headers).status_code == 401
    assert [row["shop"] for row in rows(relay, wishes)] == wished
    relay.close()


def test_a_request_that_comes_again_is_written_down_once(relay: Relay, post: Post) -> None:
    for _ in range(3):
        post(asked("customers/redact"), "customers/redact")
    assert len(rows(relay, wishes)) == 1


# --- tombstones ------------------------------------------------------------------------------------------


def test_no_later_copy_comes_back(relay: Relay, drain: Drain, post: Post, pixel: Pixel, order: Any) -> None:
    post(order)
    command(relay, email=EMAIL)
    copies = [
        post(order),
        post(order | {"updated_at": "later"}, "orders/updated"),
        post(order | {"financial_status": "pending"}, "orders/create"),
        post({"id": 9, "order_id": order["id"], "transactions": []}, "refunds/create"),
        post(order | {"id": 4711, "name": "#4711"}),  # never heard of before, but of the same person and time
    ]
    assert {copy.status_code for copy in copies} == {200}
    later = rows(relay, hooks)[1:]
    assert {(row["verdict"], row["reason"], row["sealed"], row["marks"]) for row in later} == {
        ("not_an_event", "erased", None, None)
    }
    assert len(rows(relay, events)) == 1
    drain.run(1)
    assert pixel.ids == []


def test_neither_replay_nor_backfill_nor_reading_again_bring_it_back(
    relay: Relay, drain: Drain, post: Post, pixel: Pixel, order: Any
) -> None:
    post(order)
    post(
        order | {"total_price": None, "current_total_price": None, "total_price_set": None}, "orders/updated"
    )
    quarantined = rows(relay, hooks)[1]
    command(relay, orders=(str(order["id"]),))
    everything = Question(
        shop="shopify", order=str(order["id"]), delivered=True, states=("suppressed", "due")
    )
    plan = replay.plan(relay, everything)
    assert (plan.ids, plan.left_out) == ([], {"erased": 1})
    assert replay.apply(relay, plan) == 0
    with relay.database.write() as db:  # as if the account had been added later
        db.execute(attempts.delete())
        db.execute(deliveries.delete())
    found = backfill.plan(relay, Missing(account="meta", since=0))
    assert (found.count, dict(found.left_out)) == (0, {"forgotten": 1})
    with relay.database.write() as db:  # as if the hook's content had been saved from the erasure
        back = {"verdict": "quarantined", "sealed": quarantined["sealed"]}
        db.execute(update(hooks).where(hooks.c.id == quarantined["id"]).values(back))
    (reread,) = rereading.map_again(relay, [quarantined["id"]])
    assert (reread.verdict, reread.reason, reread.is_new) == ("not_an_event", "erased", False)
    assert rows(relay, hooks)[1]["sealed"] is None
    drain.run(1)
    assert pixel.ids == []


def test_who_orders_again_is_welcome(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    command(relay, email=EMAIL)
    with relay.database.write() as db:  # the request was some time ago
        db.execute(update(tombstones).where(tombstones.c.until.is_not(None)).values(until=now_ms() - DAY))
    post(order | {"id": 4711, "name": "#4711"})
    assert [row["sealed"] is None for row in rows(relay, events)] == [True, False]


def test_an_order_that_was_never_heard_of_stays_away(relay: Relay, post: Post, order: Any) -> None:
    command(relay, orders=(str(order["id"]),))
    post(order)
    assert rows(relay, events) == []


def test_tombstones_survive_rotation_and_retention(
    relay: Relay, post: Post, order: Any, environment: Environment
) -> None:
    post(order)
    command(relay, email=EMAIL)
    old = (relay.settings.data_dir / "secret.key").read_text().strip()
    both = Relay(settings_of.load(environment | {"RELAY_SECRET_KEYS": f"{'n' * 40},{old}"}))
    list(rotation.rotate(both))
    both.close()
    new = Relay(settings_of.load(environment | {"RELAY_SECRET_KEYS": "n" * 40}))
    try:
        assert retention.forget(new.database, now_ms() + DAY) == 0
        assert len(rows(new, tombstones)) >= 2
        people = new.marks.of_people("shopify", Wish(action="erase", email=EMAIL).identities())
        assert people == relay.marks.of_people("shopify", Wish(action="erase", email=EMAIL).identities())
        assert people[0] in {row["mark"] for row in rows(new, tombstones)}
    finally:
        new.close()


def test_the_ledger_holds_no_plain_hash(relay: Relay, post: Post, order: Any) -> None:
    """Whoever steals the database must not be able to try addresses."""
    post(order)
    command(relay, email=EMAIL)
    written = repr([rows(relay, table) for table in (hooks, tombstones, wishes)]).lower()
    for text in (EMAIL, PHONE, str(CUSTOMER["id"]), PHONE[-9:]):
        for shop in ("", "shopify\nemail\n", "shopify\nphone\n", "shopify\ncustomer\n"):
            assert hashlib.sha256(f"{shop}{text}".encode()).hexdigest()[:16] not in written


# --- in flight -------------------------------------------------------------------------------------------


def on_the_wire(relay: Relay, delivery: int) -> None:
    """A worker has written its attempt down, and sends."""
    attempt = {"delivery": delivery, "batch": "batch", "size": 1, "opened_at": now_ms()}
    with relay.database.write() as db:
        db.execute(attempts.insert(), [attempt])


def test_what_was_claimed_but_not_sent_is_taken_away(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    now = now_ms()
    (claimed,) = relay.leases.claim("meta", 10, "batch", now, now + 60_000)
    assert command(relay, email=EMAIL).suppressed == 1
    assert not relay.leases.renew("batch", [claimed.id], now + 60_000)


def test_what_is_on_the_wire_ends_as_it_ends_and_goes_out_no_more(
    relay: Relay, drain: Drain, post: Post, pixel: Pixel, order: Any
) -> None:
    post(order)
    now = now_ms()
    (claimed,) = relay.leases.claim("meta", 10, "batch", now, now + 60_000)
    on_the_wire(relay, claimed.id)
    number = privacy.take(relay, "shopify", "shopify", Wish(action="erase", email=EMAIL))
    done = privacy.work(relay, number)
    assert done is not None
    assert (done.erased.in_flight, done.erased.suppressed) == (1, 0)
    assert rows(relay, deliveries)[0]["state"] == "due"
    again = Settled(claimed.id, Outcome("retry", "500"), "due", now)
    relay.leases.close("batch", [again], now)
    due_now(relay)
    drain.run(1)
    assert pixel.ids == []
    assert [(row["state"], row["reason"]) for row in rows(relay, deliveries)] == [("suppressed", "erased")]
    assert work(relay).state == "done"


def test_a_request_is_not_done_while_something_is_on_the_wire(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    now = now_ms()
    (claimed,) = relay.leases.claim("meta", 10, "batch", now, now + 60_000)
    on_the_wire(relay, claimed.id)
    assert command(relay, email=EMAIL).state == "open"


# --- everywhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", sealed_tables(), ids=lambda table: table.name)
def test_every_sealed_table_is_reached(table: Any) -> None:
    """Whoever adds a table with a column `sealed` must say how it belongs to an order, or why it does not."""
    own = {"wishes", "keys"}
    assert table.name in own or table in (events, hooks) or "event" in table.c
    assert table.name in own or "received_at" in table.c, "retention goes by it"


def test_what_a_browser_told_goes_too(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    beacon = {"shop": "shopify", "received_at": now_ms(), "sealed": b"x"}
    with relay.database.write() as db:
        db.execute(twins.insert(), [beacon | {"digest": b"1", "event": 1}])
    command(relay, email=EMAIL)
    with relay.database.write() as db:
        db.execute(twins.insert(), [beacon | {"digest": b"2", "event": 1}])
    Sweep(relay)._tidy_sometimes()
    assert [row["sealed"] for row in rows(relay, twins)] == [None, None]


# --- copies ----------------------------------------------------------------------------------------------


def test_a_copy_waits_for_the_shops_owner(
    relay: Relay, drain: Drain, post: Post, pixel: Pixel, order: Any
) -> None:
    post(order)
    drain.run(1)
    post(asked("customers/data_request"), "customers/data_request")
    told = work(relay)
    assert told.state == "waiting"
    file = copying.path(relay, told.id, told.passes)
    assert file.stat().st_mode & 0o777 == 0o600
    copy = json.loads(file.read_text())
    assert copy["orders"] == [str(order["id"])]
    assert copy["events"][0]["content"]["buyer"]["email"] == EMAIL
    assert copy["events"][0]["told_to"][0]["destination"] == "meta"
    assert copy["hooks"][0]["content"]["customer"]["email"] == EMAIL
    assert [(one.cause, one.count) for one in relay.alerts.open()] == [("privacy_export_waits", 1)]
    assert privacy.handed_over(relay, told.id)
    assert not privacy.handed_over(relay, told.id)
    privacy.work_due(relay, threading.Event())
    assert not file.exists()
    assert relay.alerts.open() == []
    assert rows(relay, events)[0]["sealed"] is not None


def test_a_copy_that_nobody_fetches_is_removed(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    post(asked("customers/data_request"), "customers/data_request")
    told = work(relay)
    with relay.database.write() as db:
        db.execute(update(wishes).values(due_at=0))
    privacy.work_due(relay, threading.Event())
    assert privacy.listed(relay)[0].state == "done"
    assert not copying.path(relay, told.id, told.passes).exists()


def test_what_was_erased_stands_in_no_copy(relay: Relay, post: Post, order: Any) -> None:
    post(order)
    post(asked("customers/data_request"), "customers/data_request")
    told = work(relay)
    file = copying.path(relay, told.id, told.passes)
    assert EMAIL in file.read_text()
    command(relay, email=EMAIL)
    work(relay)
    assert not [one for one in Path(file.parent).iterdir() if EMAIL in one.read_text()]
