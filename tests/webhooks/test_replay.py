"""Replay: what is chosen, what is left out, and what the destination sees of it."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel, rows
from webhooks import audit, backfill, replay, rereading, rotation
from webhooks.backfill import Missing
from webhooks.clock import DAY, MINUTE, now_ms
from webhooks.delivery import Drain
from webhooks.relay import Relay
from webhooks.replay import CHOSEN_BY_DEFAULT, BadQuestion, Question
from webhooks.schema import audit as audited
from webhooks.schema import deliveries, events, hooks

Orders = Callable[[int], list[str]]
Post = Callable[..., Any]


def change(relay: Relay, order: str | None = None, **values: object) -> None:
    """Changes the deliveries of an order, or all."""
    of = select(events.c.id).where(events.c.order_id == order)
    where = [deliveries.c.event.in_(of)] if order else []
    with relay.database.write() as db:
        assert db.execute(update(deliveries).where(*where).values(**values)).rowcount > 0


def forget(relay: Relay, order: str) -> None:
    with relay.database.write() as db:
        db.execute(update(events).where(events.c.order_id == order).values(sealed=None))


def again(relay: Relay, **asked: Any) -> int:
    return replay.apply(relay, replay.plan(relay, Question(**asked)))


def audit_rows(relay: Relay) -> list[tuple[str, str, int]]:
    with relay.database.read() as db:
        found = db.execute(select(audited).order_by(audited.c.id)).mappings()
        return [(row["action"], row["question"], row["count"]) for row in found]


# --- what the destination sees ---------------------------------------------------------------------------


def test_a_refused_delivery_is_sent_again_as_the_same_event(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    [placed] = orders(1)
    pixel.answer = lambda _: pixel.error(400, message="no", code=100, error_subcode=2804009)
    drain.run(5)
    assert rows(relay)[placed]["state"] == "refused"
    drain.run(5)
    assert pixel.ids == [placed], "what is refused is not sent again by itself"
    pixel.answer = pixel.accept
    assert again(relay, states=("refused",)) == 1
    row = rows(relay)[placed]
    assert (row["state"], row["attempts"], row["crashes"], row["reason"]) == ("due", 0, 0, "")
    drain.run(5)
    assert pixel.ids == [placed, placed]
    row = rows(relay)[placed]
    assert (row["state"], row["attempts"], row["event_id"]) == ("delivered", 1, placed)
    assert audit_rows(relay) == [("replay", "states=refused", 1)]


def test_a_replay_begins_with_the_first_pause_of_the_schedule(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    [placed] = orders(1)
    change(relay, state="refused", attempts=30, crashes=1)
    again(relay, shop="shopify", order=placed)
    pixel.answer = lambda _: pixel.error(503)
    drain.run(0.01)
    assert rows(relay)[placed]["attempts"] >= 1
    assert rows(relay)[placed]["attempts"] < 30


def test_what_may_have_been_counted_is_sent_only_by_name(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    [placed] = orders(1)
    long_ago = now_ms() - 3 * DAY
    change(relay, ambiguous=True, first_sent_at=long_ago, expires_at=now_ms() + DAY)
    drain.run(5)
    assert (rows(relay)[placed]["reason"], pixel.ids) == ("uncertain", [])
    bulk = replay.plan(relay, Question(states=("refused",)))
    assert (bulk.ids, bulk.left_out) == ([], {"may_have_been_counted": 1})
    assert again(relay, shop="shopify", order=placed) == 1
    drain.run(5)
    row = rows(relay)[placed]
    assert (row["state"], row["ambiguous"], pixel.ids) == ("delivered", True, [placed])


def test_in_bulk_the_destinations_memory_still_counts(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    """A delivery that is ambiguous for another reason than its end: the worker decides, as always."""
    [placed] = orders(1)
    change(relay, state="broken", reason="x", ambiguous=True, first_sent_at=now_ms() - 3 * DAY)
    assert again(relay, states=("broken",)) == 1
    drain.run(5)
    assert (rows(relay)[placed]["reason"], pixel.ids) == ("uncertain", [])


def test_what_was_delivered_is_sent_again_only_by_name(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    first, second = orders(2)
    drain.run(5)
    before = rows(relay)[first]["delivered_at"]
    plan = replay.plan(relay, Question(shop="shopify", order=first))
    assert (plan.ids, plan.left_out) == ([], {"delivered": 1})
    assert again(relay, account="meta") == 0
    assert again(relay, shop="shopify", order=first, delivered=True) == 1
    drain.run(5)
    assert sorted(pixel.ids) == sorted([first, second, first])
    assert rows(relay)[first]["delivered_at"] >= before


# --- what is chosen --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["due", "held", "refused", "expired", "suppressed", "broken", "delivered"])
def test_states_are_chosen_by_default_or_by_name(relay: Relay, orders: Orders, state: str) -> None:
    [placed] = orders(1)
    change(relay, state=state)
    by_default = bool(replay.plan(relay, Question(account="meta")).ids)
    assert by_default is (state in CHOSEN_BY_DEFAULT)
    if state != "delivered":
        assert replay.plan(relay, Question(states=(state,))).states == {state: 1}
    if not by_default:
        assert replay.plan(relay, Question(shop="shopify", order=placed)).left_out == {state: 1}


@pytest.mark.parametrize("asked", [{"states": ("refused",)}, {"shop": "shopify", "order": "7000001"}])
def test_forgotten_old_and_flying_ones_are_never_chosen(relay: Relay, orders: Orders, asked: Any) -> None:
    [placed] = orders(1)
    change(relay, state="refused")
    assert len(replay.plan(relay, Question(**asked)).ids) == 1
    change(relay, batch="somebody")
    assert replay.plan(relay, Question(**asked)).left_out == {"in_flight": 1}
    change(relay, batch=None, expires_at=now_ms() - 1)
    assert replay.plan(relay, Question(**asked)).left_out == {"too_old": 1}
    forget(relay, placed)
    assert replay.plan(relay, Question(**asked)).left_out == {"forgotten": 1}
    assert again(relay, **asked) == 0
    assert rows(relay)[placed]["state"] == "refused"
    assert audit_rows(relay) == []


def test_a_question_is_narrowed_by_all_it_names(relay: Relay, orders: Orders) -> None:
    first, second = orders(2)
    change(relay, state="refused")
    with relay.database.write() as db:
        old = update(events).where(events.c.order_id == first).values(received_at=now_ms() - 2 * DAY)
        db.execute(old)

    def chosen(**asked: Any) -> int:
        return len(replay.plan(relay, Question(**asked)).ids)

    assert chosen(since=now_ms() - DAY) == 1
    assert chosen(since=now_ms() - 3 * DAY) == 2
    assert chosen(destination="meta", shop="shopify", account="meta", states=("refused", "due")) == 2
    assert chosen(destination="nobody") == chosen(account="nobody") == chosen(shop="nobody") == 0
    assert chosen(shop="shopify", order=f"#{second}") == 1
    assert chosen(shop="shopify", order=second, account="nobody") == 0


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        pytest.param({}, "say what to send again", id="everything"),
        pytest.param({"order": "1"}, "name the shop", id="order without shop"),
        pytest.param({"delivered": True, "account": "meta"}, "give its order", id="delivered in bulk"),
        pytest.param({"states": ("delivered",)}, "sent twice", id="delivered as a state"),
        pytest.param({"shop": "a", "order": "1", "states": ("delivered",)}, "expressly", id="without asking"),
        pytest.param({"states": ("lost",)}, "not a state", id="unknown state"),
    ],
)
def test_a_question_that_chooses_too_much_is_refused(relay: Relay, asked: Any, sentence: str) -> None:
    with pytest.raises(BadQuestion, match=sentence):
        replay.plan(relay, Question(**asked))


# --- large ones ------------------------------------------------------------------------------------------


def test_a_large_replay_trickles_past_new_orders(
    relay: Relay, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = orders(5)
    change(relay, state="refused")
    monkeypatch.setattr(replay, "CHUNK", 2)
    heard: list[tuple[int, int]] = []
    plan = replay.plan(relay, Question(states=("refused",)))
    assert replay.apply(relay, plan, lambda done, of: heard.append((done, of))) == 5
    assert heard == [(2, 5), (4, 5), (5, 5)]
    due = [rows(relay)[one]["due_at"] for one in placed]
    assert [(at - due[0]) // replay.PAUSE for at in due] == [0, 0, 1, 1, 2]
    assert audit_rows(relay) == [("replay", "states=refused", 5)]


def test_what_changed_since_the_plan_is_skipped(relay: Relay, orders: Orders) -> None:
    first, second, third = orders(3)
    change(relay, state="refused")
    plan = replay.plan(relay, Question(states=("refused",)))
    change(relay, first, state="delivered")
    change(relay, second, state="due", batch="somebody")
    assert replay.apply(relay, plan) == 1
    states = {one: row["state"] for one, row in rows(relay).items()}
    assert states == {first: "delivered", second: "due", third: "due"}
    assert rows(relay)[second]["batch"] == "somebody"


def test_a_replay_cut_off_leaves_a_true_audit(
    relay: Relay, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders(5)
    change(relay, state="refused")
    monkeypatch.setattr(replay, "CHUNK", 2)

    def cut(done: int, _of: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    plan = replay.plan(relay, Question(states=("refused",)))
    with pytest.raises(KeyboardInterrupt):
        replay.apply(relay, plan, cut)
    assert audit_rows(relay) == [("replay", "states=refused", 4)]
    assert again(relay, states=("refused",)) == 1


def test_two_replays_at_once_make_each_delivery_due_once(relay: Relay, orders: Orders) -> None:
    orders(6)
    change(relay, state="refused")
    plan = replay.plan(relay, Question(states=("refused",)))
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(replay.apply(relay, plan))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 6


def test_the_audit_says_who(relay: Relay, orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    orders(1)
    again(relay, states=("due",))
    with relay.database.read() as db:
        row = db.execute(select(audited)).mappings().one()
    assert row["who"] == audit.who() != ""
    assert abs(row["at"] - now_ms()) < MINUTE
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert audit.who() == "uid 4000000"


# --- what was never there --------------------------------------------------------------------------------


@pytest.fixture
def without(relay: Relay, orders: Orders) -> list[str]:
    """Four orders that came before the account did."""
    placed = orders(4)
    with relay.database.write() as db:
        db.execute(delete(deliveries))
    return placed


def test_an_account_that_was_added_later_gets_what_it_missed(
    relay: Relay, drain: Drain, pixel: Pixel, without: list[str], post: Post, order: Any
) -> None:
    missing = Missing(account="meta", since=now_ms() - DAY)
    assert backfill.plan(relay, missing).count == 4
    assert rows(relay) == {}, "a plan changes nothing"
    assert backfill.apply(relay, missing) == 4
    assert backfill.apply(relay, missing) == 0
    drain.run(5)
    assert sorted(pixel.ids) == without
    assert [(action, count) for action, _, count in audit_rows(relay)] == [("replay", 4)]


def test_only_what_the_destination_still_takes_is_made(relay: Relay, without: list[str]) -> None:
    old, forgotten, early, _ = without
    forget(relay, forgotten)
    with relay.database.write() as db:
        row = db.execute(select(events.c.id, events.c.sealed).where(events.c.order_id == old)).one()
        event = json.loads(relay.vault.open(row.sealed)) | {"event_time": now_ms() // 1_000 - 90 * 86_400}
        aged = relay.vault.seal(json.dumps(event).encode())
        db.execute(update(events).where(events.c.id == row.id).values(sealed=aged))
        db.execute(update(events).where(events.c.order_id == early).values(received_at=now_ms() - 9 * DAY))
    found = backfill.plan(relay, Missing(account="meta", since=now_ms() - DAY))
    assert (found.count, dict(found.left_out)) == (1, {"too_old": 1, "forgotten": 1})


def test_a_large_backfill_goes_in_chunks(
    relay: Relay, without: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with relay.database.write() as db:
        db.execute(update(events).values(received_at=now_ms()))  # the same moment: the id decides
    monkeypatch.setattr(backfill, "CHUNK", 3)
    assert backfill.apply(relay, Missing(account="meta", since=now_ms() - DAY)) == 4
    due = [rows(relay)[one]["due_at"] for one in without]
    assert [at - due[0] for at in due] == [0, 0, 0, replay.PAUSE]


@pytest.mark.parametrize(
    ("account", "shop", "sentence"),
    [("nobody", "", "there is no account"), ("meta", "nobody", "no such shop sends")],
)
def test_an_account_that_nobody_sends_to_is_refused(
    relay: Relay, account: str, shop: str, sentence: str
) -> None:
    with pytest.raises(BadQuestion, match=sentence):
        backfill.plan(relay, Missing(account=account, since=0, shop=shop))


# --- hooks read again ------------------------------------------------------------------------------------


def set_aside(relay: Relay, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """A good order that arrived while the mapping was broken."""
    from integrations.stores.shopify import Shopify

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Shopify, "map", broken)
        post(order)
    with relay.database.read() as db:
        found: int = db.execute(select(hooks.c.id).where(hooks.c.verdict == "quarantined")).scalar_one()
        return found


def test_a_quarantined_order_is_mapped_again_and_sent(
    relay: Relay, drain: Drain, pixel: Pixel, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = set_aside(relay, post, order, monkeypatch)
    assert rereading.judge_again(relay, number).arrival.verdict == "event"
    assert rows(relay) == {}, "judging changes nothing"
    [reread] = rereading.map_again(relay, [number])
    assert (reread.verdict, reread.order_id, reread.is_new) == ("event", str(order["id"]), True)
    drain.run(5)
    assert pixel.ids == [str(order["id"])]
    assert list(rereading.quarantined(relay)) == []
    assert audit_rows(relay) == [("quarantine retry", "hooks", 1)]


def test_an_order_that_came_otherwise_meanwhile_is_a_duplicate(
    relay: Relay, post: Post, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = set_aside(relay, post, order, monkeypatch)
    post(order, "orders/create")
    [reread] = rereading.map_again(relay, [number])
    assert (reread.verdict, reread.is_new) == ("duplicate", False)
    assert len(rows(relay)) == 1


def test_what_cannot_be_read_stays_with_its_reason(relay: Relay, post: Post, order: Any) -> None:
    post(b"[]")
    post(order)
    [aside] = rereading.quarantined(relay)
    other = aside + 1
    with relay.database.read() as db:
        before = db.execute(select(hooks.c.reason).where(hooks.c.id == aside)).scalar_one()
    told = list(rereading.map_again(relay, [aside, other, 10**9]))
    assert [one.verdict for one in told] == ["quarantined"] * 3
    assert told[0].reason == before
    assert "nothing to retry" in told[1].reason
    assert "there is no hook" in told[2].reason
    with relay.database.write() as db:
        db.execute(update(hooks).values(sealed=None))
    [reread] = rereading.map_again(relay, [aside])
    assert "forgotten" in reread.reason
    assert list(rereading.quarantined(relay)) == []


def test_an_outline_shows_how_a_body_is_built_and_no_value(relay: Relay, post: Post) -> None:
    post({"email": "ada@example.com", "lines": [1, 2], "to": {"city": "Turin"}, "n": 1, "x": None, "y": ""})
    [aside] = rereading.quarantined(relay)
    assert rereading.outline(relay, aside) == {
        "email": "text of 15",
        "lines": "list of 2",
        "to": "object of 1",
        "n": "number",
        "x": "none",
        "y": "empty text",
    }


# --- keys ------------------------------------------------------------------------------------------------


def test_rotation_seals_everything_under_the_newest_key(
    environment: Environment, relay: Relay, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.fernet import Fernet

    from webhooks.vault import Vault

    orders(3)
    old = (relay.settings.data_dir / "secret.key").read_text()
    new = Fernet.generate_key().decode()
    relay.vault = Vault([new, old])
    forget(relay, "7000001")
    monkeypatch.setattr(rotation, "CHUNK", 2)
    assert rotation.total(relay) == 6  # the key for marks is one of them
    *_, done = rotation.rotate(relay)
    assert (done.seen, done.renewed, done.unreadable) == (6, 6, 0)
    *_, twice = rotation.rotate(relay)
    assert (twice.seen, twice.renewed) == (6, 0)
    relay.vault = Vault([new])
    with relay.database.read() as db:
        sealed = [
            *db.execute(select(events.c.sealed)).scalars(),
            *db.execute(select(hooks.c.sealed)).scalars(),
        ]
    assert [token is None or relay.vault.open(token) != b"" for token in sealed] == [True] * 6
    assert sealed.count(None) == 1, "what was forgotten stays forgotten"
    relay.vault = Vault([Fernet.generate_key().decode()])
    *_, lost = rotation.rotate(relay)
    assert (lost.renewed, lost.unreadable) == (0, 6)


def test_an_order_under_a_key_that_is_not_known_yet_waits_for_it(
    relay: Relay, drain: Drain, pixel: Pixel, orders: Orders
) -> None:
    """A deploy brings the new key to the web process first: the worker before it must not give up."""
    from cryptography.fernet import Fernet

    from webhooks.vault import Vault

    orders(2)
    of_the_web = (relay.settings.data_dir / "secret.key").read_text()
    of_the_worker = Fernet.generate_key().decode()
    relay.vault = Vault([of_the_worker])
    drain.run(5)
    assert pixel.calls == []
    waiting = rows(relay).values()
    told = {(row["state"], row["reason"], row["attempts"]) for row in waiting}
    assert told == {("due", "sealed", 0)}
    assert all(now_ms() + 45_000 < row["due_at"] < now_ms() + 150_000 for row in waiting)
    relay.vault = Vault([of_the_web, of_the_worker])
    change(relay, due_at=0)
    drain.run(5)
    assert {row["state"] for row in rows(relay).values()} == {"delivered"}


def test_a_rotation_that_was_cut_off_goes_on(
    relay: Relay, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.fernet import Fernet

    from webhooks.vault import Vault

    orders(4)
    old = (relay.settings.data_dir / "secret.key").read_text()
    relay.vault = Vault([Fernet.generate_key().decode(), old])
    monkeypatch.setattr(rotation, "CHUNK", 2)
    first = next(rotation.rotate(relay)).renewed
    assert 0 < first <= 2
    *_, rest = rotation.rotate(relay)
    assert rest.renewed == rotation.total(relay) - first
