"""What a Shopify shop's API does beyond the contract: rights, costs, long orders, late payments, sessions."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import shopify

from integrations.access import Away, NoAccess
from integrations.destination import Response
from integrations.discovery import stores
from integrations.event import Event
from integrations.hook import Hook
from integrations.money import NotMoney
from integrations.setting import Secret
from integrations.store import Malformed, NotAnEvent
from integrations.stores.shopify import pulled
from integrations.stores.shopify.client import API_VERSION, Client
from integrations.untrusted import site
from tests.contract import samples
from tests.contract.samples import NOW, Case
from tests.contract.shops import Bench, bench_of, failure, without
from webhooks.sandbox.graphql import Question
from webhooks.sandbox.shop import Registered
from webhooks.sandbox.shopify_schema import SCHEMA
from webhooks.sandbox.shopify_shop import MOST_COSTLY, VERSIONS, ShopifyShop
from webhooks.sandbox.standin import Step

DAY = 86_400
STORE = stores()["shopify"]
HERE = "https://relay.example.com/webhooks/main"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with bench_of(STORE) as made:
        yield made


@pytest.fixture
def shop(bench: Bench) -> ShopifyShop:
    assert isinstance(bench.shop, ShopifyShop)
    return bench.shop


# --- an order as its webhook has it ----------------------------------------------------------------------


def told_by_webhook(case: Case) -> bool:
    """The sample is an order, which the Admin API would show too."""
    if case.store is not STORE or STORE.topic(case.hook) not in {"orders/create", "orders/paid"}:
        return False
    return not {"id", "currency", "created_at", "line_items"} - json.loads(case.hook.body).keys()


ORDERS = [case for case in samples.cases() if told_by_webhook(case)]


@pytest.mark.parametrize("case", ORDERS, ids=lambda case: case.id)
def test_a_pulled_order_is_read_like_its_webhook(bench: Bench, shop: ShopifyShop, case: Case) -> None:
    body = json.loads(case.hook.body)
    shop.site = site(body.get("order_status_url", "")) or "https://www.shopify.com/"  # taken for none
    shop.keep(str(body["id"]), body)
    (order,) = bench.pull(1_500_000_000, NOW + 30 * DAY)
    updated = Hook({**case.hook.headers, "x-shopify-topic": "orders/updated"}, case.hook.body, NOW)
    told, found = verdict(updated, case), verdict(order.hook, case)
    if isinstance(told, Event):
        assert isinstance(found, Event)
        assert found == without(told, found)
        assert {name for name in told.buyer.__struct_fields__ if differs(told, found, name)} <= {"user_agent"}
    else:
        assert found == told
    assert order.order_id == str(body["id"])


def verdict(hook: Hook, case: Case) -> Event | str:
    try:
        return STORE.read(hook, case.shop)
    except (Malformed, NotAnEvent, NotMoney) as error:
        return f"{type(error).__name__} {error}"


def differs(told: Event, found: Event, name: str) -> bool:
    return bool(getattr(told.buyer, name) != getattr(found.buyer, name))


def test_samples_of_both_kinds_are_asked_for() -> None:
    verdicts = {case.expected.verdict for case in ORDERS}
    assert {"event", "not_an_event"} <= verdicts


def test_an_order_of_many_lines_comes_whole(bench: Bench, shop: ShopifyShop) -> None:
    order = shop.order(1, NOW)
    line = order["line_items"][0]
    order["line_items"] = [line | {"id": 9_000 + number, "sku": f"sku-{number}"} for number in range(137)]
    shop.keep(str(order["id"]), order)
    (found,) = bench.pull(NOW, NOW)
    assert [item.sku for item in bench.event(found).lines] == [f"sku-{number}" for number in range(137)]


def test_paid_weeks_later_is_a_sale_of_that_day(bench: Bench, shop: ShopifyShop) -> None:
    """As orders/paid would have told of it; the order's last change is kept apart."""
    paid_at = NOW - DAY
    order = shop.order(1, NOW - 20 * DAY) | {"updated_at": shop.order(1, NOW)["updated_at"]}
    shop.keep(str(order["id"]), order | {"paid_at": shop.order(1, paid_at)["created_at"]})
    (found,) = bench.pull(NOW - DAY, NOW)
    assert found.changed_at == NOW
    assert bench.event(found).event_time == paid_at


def test_an_old_order_that_was_touched_stays_old(bench: Bench, shop: ShopifyShop) -> None:
    order = shop.order(1, NOW - 20 * DAY) | {"updated_at": shop.order(1, NOW)["updated_at"]}
    shop.keep(str(order["id"]), order)
    (found,) = bench.pull(NOW - DAY, NOW)
    assert bench.event(found).event_time == NOW - 20 * DAY


def test_closed_and_cancelled_orders_are_listed(bench: Bench, shop: ShopifyShop) -> None:
    """Without a status Shopify lists the open ones alone."""
    for number, field in enumerate(("closed_at", "cancelled_at", "note"), 1):
        order = shop.order(number, NOW)
        shop.keep(str(order["id"]), order | {field: order["created_at"]})
    assert len(bench.pull(NOW, NOW)) == 3


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"id": 1, "updatedAt": "2026-11-22T09:33:20Z"},
        {"id": "gid://shopify/Order/0", "updatedAt": "2026-11-22T09:33:20Z"},
        {"id": "gid://shopify/Order/1", "updatedAt": "soon"},
    ],
    ids=["empty", "number", "zero", "time"],
)
def test_what_is_no_order_is_no_order(node: dict[str, Any]) -> None:
    with pytest.raises(Away):
        pulled.order_of(node, "", "example-store.myshopify.com", NOW)


ODD: tuple[object, ...] = (None, "", [], {}, 0, -1, True, "\ud800", "http://[::1", [None, 1, "x", [], {}])


def test_an_odd_field_does_no_harm(shop: ShopifyShop, bench: Bench) -> None:
    bench.place(NOW)
    (body,) = shop.orders.values()
    document = json.loads(json.dumps(asked_for(body)))
    for name in document.keys() - {"id", "updatedAt"}:
        for value in ODD:
            order = pulled.order_of(document | {name: value}, "", "example-store.myshopify.com", NOW)
            try:
                bench.event(order)
            except (Malformed, NotAnEvent) as error:
                str(error).encode()


def asked_for(body: dict[str, Any]) -> dict[str, Any]:
    """The order's node as Shopify answers with it."""
    flags = dict.fromkeys(pulled.PARTS, True)
    question = Question(SCHEMA, pulled.ORDERS, {"first": 1, "after": None, "query": "", **flags})
    shop = ShopifyShop()
    shop.keep(str(body["id"]), body)
    data, _ = question.answer(shop._root(), shop.rights)
    shop.close()
    node: dict[str, Any] = data["orders"]["nodes"][0]
    return node


# --- rights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "hint", "lost"),
    [
        ("email", "e-mail", "email"),
        ("phone", "phone", "phone"),
        ("name", "names", "last_name"),
        ("address", "cities", "city"),
        ("read_customers", "read_customers", "customer_id"),
    ],
)
def test_what_the_app_may_not_see_is_left_out(
    bench: Bench, shop: ShopifyShop, right: str, hint: str, lost: str
) -> None:
    order = shop.order(1, NOW) | {"phone": "+13125550144"}
    shop.keep(str(order["id"]), order)
    shop.rights -= {right}
    access = bench.open()
    assert access.probe()
    assert [hint in told for told in access.hints] == [True]
    (found,) = access.pull(NOW, NOW).orders
    event = bench.event(found)
    assert not getattr(event.buyer, lost)
    assert event.buyer.country == "CA"
    assert event.key == str(order["id"])


def test_with_few_rights_the_sale_is_still_known(bench: Bench, shop: ShopifyShop) -> None:
    bench.place(NOW, NOW)
    shop.rights = frozenset({"read_orders"})
    access = bench.open()
    access.probe()
    assert len(access.hints) == 6
    events = [bench.event(order) for order in access.pull(NOW, NOW).orders]
    assert [event.lines[0].product_id for event in events] == ["", ""]
    assert all(event.value > 0 and event.lines[0].unit_price for event in events)


def test_orders_older_than_sixty_days_need_a_right(bench: Bench, shop: ShopifyShop) -> None:
    long_ago = int(time.time()) - 61 * DAY
    assert bench.open().pull(long_ago, NOW).orders == ()
    shop.rights -= {"read_all_orders"}
    error = failure(lambda: bench.open().pull(long_ago, NOW))
    assert isinstance(error, NoAccess)
    assert "read_all_orders" in error.remedy


def test_a_token_without_the_right_to_read_orders(bench: Bench, shop: ShopifyShop) -> None:
    shop.rights -= {"read_orders"}
    error = failure(bench.open)
    assert isinstance(error, NoAccess)
    assert "read_orders" in error.remedy


def test_an_older_app_has_a_lasting_token(bench: Bench, shop: ShopifyShop) -> None:
    shop.accounts = [{**shop.demo, "access_token": "shpat_0123456789abcdef"}]
    account = bench.account(client_id="", client_secret="", access_token="shpat_0123456789abcdef")
    assert STORE.exchange(account, NOW) is None
    access = STORE.access(account, Secret(""), 1.0)
    assert access.probe() == shop.name
    assert access.subscribe("orders/paid", HERE).secret == ""


def test_what_an_app_registers_is_signed_with_its_client_secret(bench: Bench, shop: ShopifyShop) -> None:
    assert bench.open().subscribe("orders/paid", HERE).secret == shop.demo["client_secret"]


def test_without_a_domain_nobody_is_asked(bench: Bench) -> None:
    account = bench.account(domain="")
    assert STORE.exchange(account, NOW) is None
    with pytest.raises(NoAccess, match="SHOPIFY_DOMAIN"):
        STORE.access(account, Secret("token"), 1.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_exchange_is_the_owners(status: int) -> None:
    with pytest.raises(NoAccess):
        STORE.read_exchange(Response(status, b'{"error":"invalid_client"}'))


@pytest.mark.parametrize(
    ("status", "body"),
    [(0, b""), (500, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"access_token":""}'), (429, b"")],
)
def test_a_failed_exchange_is_tried_again(status: int, body: bytes) -> None:
    with pytest.raises(Away):
        STORE.read_exchange(Response(status, body))


# --- webhooks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{"includeFields": ["id"]}, {"format": "XML"}], ids=["fields", "format"])
def test_a_subscription_that_cannot_be_read_is_repaired(
    bench: Bench, shop: ShopifyShop, more: dict[str, Any]
) -> None:
    access = bench.open()
    access.subscribe("orders/paid", HERE)
    shop.subscriptions[0].more |= more
    (broken,) = access.subscriptions()
    assert not broken.active
    assert broken.detail
    repaired = access.subscribe("orders/paid", HERE)
    assert (repaired.id, repaired.active, repaired.detail) == (broken.id, True, "")


def test_one_of_the_apps_own_configuration_is_not_listed_and_good(bench: Bench, shop: ShopifyShop) -> None:
    """Shopify says that the address is taken; that is all that was wanted."""
    shop.unlisted.append(Registered(id="toml", topic="orders/paid", url=HERE))
    access = bench.open()
    made = access.subscribe("orders/paid", HERE)
    assert (made.id, made.url, made.active) == ("", HERE, True)
    access.unsubscribe(made)
    assert access.subscriptions() == []


def test_an_address_that_shopify_does_not_take_is_told(bench: Bench) -> None:
    error = failure(lambda: bench.open().subscribe("orders/paid", "http://relay.example.com/"))
    assert isinstance(error, NoAccess)
    assert "not allowed" in error.remedy


def test_protected_customer_data_is_told(bench: Bench) -> None:
    message = (
        "This app is not approved to subscribe to webhook topics containing protected customer data. See "
        "https://shopify.dev/docs/apps/launch/protected-customer-data for more details."
    )
    access = bench.open()
    listed = {"webhookSubscriptions": {"nodes": [], "pageInfo": {"hasNextPage": False}}}
    done = {"webhookSubscriptionCreate": {"userErrors": [{"message": message}]}}
    bench.shop.script([Step(status=200, body={"data": data}) for data in (listed, done)])
    error = failure(lambda: access.subscribe("orders/paid", HERE))
    assert isinstance(error, NoAccess)
    assert error.reason == "protected_customer_data"


def test_other_topics_are_not_ours(bench: Bench, shop: ShopifyShop) -> None:
    shop.subscriptions.append(Registered(id="gid://shopify/x/1", topic="app/uninstalled", url=HERE))
    assert bench.open().subscriptions() == []


def test_topics_follow_the_settings(bench: Bench) -> None:
    assert STORE.topics_of(bench.account()) == ("orders/create", "orders/paid")
    assert "refunds/create" in STORE.topics_of(bench.account(refunds="send"))


# --- what questions cost ---------------------------------------------------------------------------------


def test_every_question_may_be_asked(bench: Bench, shop: ShopifyShop) -> None:
    """A page of orders costs what it may hold at most."""
    flags = dict.fromkeys(pulled.PARTS, True)
    question = Question(SCHEMA, pulled.ORDERS, {"first": 10, "after": None, "query": "", **flags})
    assert 500 < question.cost <= MOST_COSTLY
    lines = Question(SCHEMA, pulled.MORE_LINES, {"id": "x", "after": "y", "product": True})
    assert lines.cost <= MOST_COSTLY
    assert API_VERSION in VERSIONS


def test_a_short_wait_is_taken(bench: Bench, shop: ShopifyShop) -> None:
    """Else a page of long orders would be begun again and again."""
    bench.place(*[NOW] * 25)
    shop.throttles, shop.bucket, shop.restores, shop.left = True, 900.0, 2_000.0, 900.0
    assert len(bench.pull(NOW, NOW)) == 25


def test_a_long_wait_is_the_callers(bench: Bench, shop: ShopifyShop) -> None:
    access = bench.open()
    shop.throttles, shop.bucket, shop.restores, shop.left = True, 2_000.0, 10.0, 100.0
    error = failure(lambda: access.pull(NOW, NOW))
    assert isinstance(error, Away)
    assert error.retry_after is not None
    assert 30 < error.retry_after < 100


# --- what is answered ------------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "inactive": ({"errors": [{"extensions": {"code": "SHOP_INACTIVE"}}]}, NoAccess, "shop_frozen"),
    "field": ({"errors": [{"extensions": {"code": "undefinedField"}}]}, NoAccess, "not_understood"),
    "syntax": ({"errors": [{"message": "syntax error"}]}, NoAccess, "not_understood"),
    "denied": (
        {"errors": [{"extensions": {"code": "ACCESS_DENIED"}, "path": ["orders"]}], "data": None},
        NoAccess,
        "missing_right",
    ),
    "denied_above": (
        {"errors": [{"extensions": {"code": "ACCESS_DENIED"}, "path": ["orders"]}], "data": {"orders": None}},
        NoAccess,
        "missing_right",
    ),
    "internal": ({"errors": [{"extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}, Away, ""),
    "words": ({"errors": "[API] Something"}, Away, ""),
    "no_orders": ({"data": {"orders": None}}, Away, ""),
    "no_list": ({"data": {"orders": {"nodes": {}}}}, Away, ""),
    "no_end": ({"data": {"orders": {"nodes": [], "pageInfo": {"hasNextPage": True}}}}, Away, ""),
    "no_info": ({"data": {"orders": {"nodes": []}}}, Away, ""),
    "no_order": (
        {"data": {"orders": {"nodes": [{"id": "x"}], "pageInfo": {"hasNextPage": False}}}},
        Away,
        "",
    ),
    "throttled_oddly": (
        {"errors": [{"extensions": {"code": "THROTTLED"}}], "extensions": {"cost": "much"}},
        Away,
        "",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(bench: Bench, name: str) -> None:
    body, kind, reason = ANSWERS[name]
    access = bench.open()
    bench.shop.script([Step(status=200, body=body, times=None)])
    error = failure(lambda: access.pull(NOW, NOW))
    assert type(error) is kind
    if reason:
        assert isinstance(error, NoAccess)
        assert error.reason == reason


@pytest.mark.parametrize("status", [402, 403, 404, 423, 301])
def test_a_status_that_the_owner_must_know(bench: Bench, status: int) -> None:
    access = bench.open()
    bench.shop.script([Step(status=status)])
    assert isinstance(failure(lambda: access.pull(NOW, NOW)), NoAccess)


def test_too_many_denials_are_told_at_once(bench: Bench, shop: ShopifyShop) -> None:
    """Of more than it wants to tell Shopify tells some, and one without a code."""
    bench.place(NOW)
    access = bench.open()
    denied = {"extensions": {"code": "ACCESS_DENIED"}, "path": ["orders", "nodes", 0, "customer"]}
    many = {"message": "Too many execution errors, max error limit reached. Results truncated"}
    shop.script([Step(status=200, body={"data": {"orders": None}, "errors": [denied, many]})])
    assert len(access.pull(NOW, NOW).orders) == 1


def test_a_list_that_ignores_the_window_is_not_believed(bench: Bench, shop: ShopifyShop) -> None:
    """Shopify leaves out what it does not know of a filter, and lists everything."""
    (order_id,) = bench.place(NOW - 60)
    answer = asked_for(shop.orders[order_id])
    listed = {"orders": {"nodes": [answer], "pageInfo": {"hasNextPage": False}}}
    access = bench.open()
    shop.script([Step(status=200, body={"data": listed})])
    error = failure(lambda: access.pull(NOW, NOW))
    assert isinstance(error, NoAccess)
    assert error.reason == "not_understood"


# --- ShopifyAPI and the socket ---------------------------------------------------------------------------


def test_no_session_stays_behind(bench: Bench) -> None:
    """It is shared by all threads, and the next shop would be asked with this one's token."""
    access = bench.open()
    access.probe()
    bench.shop.script([Step(status=500)])
    failure(access.probe)
    assert shopify.ShopifyResource.site is None
    assert "X-Shopify-Access-Token" not in shopify.ShopifyResource.headers


def test_two_shops_at_once_do_not_mix(bench: Bench) -> None:
    with bench_of(STORE) as other:
        assert isinstance(other.shop, ShopifyShop)
        other.shop.name = "Another Store"
        found: dict[str, set[str]] = {"one": set(), "two": set()}

        def ask(name: str, of: Bench) -> None:
            for _ in range(10):
                found[name].add(of.open().probe())

        threads = [threading.Thread(target=ask, args=pair) for pair in (("one", bench), ("two", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {"one": {"Example Store"}, "two": {"Another Store"}}


def test_an_error_body_is_not_printed(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    """ShopifyAPI prints it, with whatever it holds of buyers."""
    access = bench.open()
    bench.shop.script([Step(status=500, body={"email": "buyer@example.com"})])
    failure(access.probe)
    assert "".join(capfd.readouterr()) == ""


def test_a_server_that_drips_is_cut_off() -> None:
    """Each byte comes in time, and the answer never."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        base = f"http://127.0.0.1:{server.getsockname()[1]}"
        begun = time.monotonic()
        try:
            client = Client("example-store.myshopify.com", Secret("token"), 0.4, base=base)
            assert isinstance(failure(lambda: client.ask("query{shop{name}}", {})), Away)
            assert time.monotonic() - begun < 5
        finally:
            stop.set()
            thread.join()


def test_a_token_that_cannot_be_sent_is_not_shown() -> None:
    """Python's own error would quote it."""
    with pytest.raises(NoAccess) as caught:
        Client("example-store.myshopify.com", Secret("shpat_line\nbreak"), 1.0)
    assert "shpat_line" not in str(caught.value)


def test_without_a_stand_in_it_is_shopify_that_is_asked() -> None:
    client = Client("example-store.myshopify.com", Secret("token"), 1.0)
    endpoint, headers = client._opened()
    assert endpoint == f"https://example-store.myshopify.com/admin/api/{API_VERSION}/graphql.json"
    assert headers["X-Shopify-Access-Token"] == "token"
