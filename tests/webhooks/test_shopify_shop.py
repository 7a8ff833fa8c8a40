"""The Shopify shop of the sandbox: as strict as Shopify, and as unforgiving."""

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy import text
from werkzeug.serving import make_server

from integrations.access import NoAccess
from integrations.discovery import stores
from integrations.stores.shopify import pulled
from tests.contract.samples import NOW
from tests.contract.shops import Bench, bench_of
from webhooks import app
from webhooks.relay import Relay
from webhooks.sandbox.graphql import Question, Refused
from webhooks.sandbox.shop import Registered
from webhooks.sandbox.shopify_schema import SCHEMA
from webhooks.sandbox.shopify_shop import ShopifyShop
from webhooks.sandbox.standin import Hit
from webhooks.sandbox.wire import NoStandIn, stand_in

HOUR = 3_600
DEMO = ShopifyShop.demo


@pytest.fixture
def shop() -> Iterator[ShopifyShop]:
    """A shop on nobody's socket; its clock stands still."""
    made = ShopifyShop(clock=lambda: NOW)
    made.freeze(NOW)
    yield made
    made.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with bench_of(stores()["shopify"]) as made:
        yield made


def subscribed(shop: ShopifyShop, url: str, topic: str = "orders/create") -> Registered:
    registered = Registered(id=f"gid://shopify/WebhookSubscription/{topic}", topic=topic, url=url)
    shop.subscriptions.append(registered)
    return registered


# --- webhooks --------------------------------------------------------------------------------------------


def test_an_order_is_told_of_at_once(shop: ShopifyShop, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hooks", method="POST").respond_with_data("")
    for topic in ("orders/create", "orders/paid"):
        subscribed(shop, httpserver.url_for("/hooks"), topic)
    shop.place(shop.order(1, NOW))
    shop.place(shop.order(2, NOW) | {"financial_status": "pending"})
    topics = [request.headers["X-Shopify-Topic"] for request, _ in httpserver.log]
    assert topics == ["orders/create", "orders/paid", "orders/create"]
    assert all(sent.taken and sent.number == 1 for sent in shop.delivered)


def test_a_hook_that_fails_comes_again_unchanged_for_four_hours(
    shop: ShopifyShop, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hooks").respond_with_data("", status=503)
    subscribed(shop, httpserver.url_for("/hooks"))
    shop.place(shop.order(1, NOW))
    shop.move(4 * HOUR + 1)
    assert [sent.number for sent in shop.delivered] == list(range(1, 10))
    assert 3.5 * HOUR < shop.delivered[-1].at - NOW <= 4 * HOUR
    assert len({request.get_data() for request, _ in httpserver.log}) == 1
    assert len({request.headers["X-Shopify-Webhook-Id"] for request, _ in httpserver.log}) == 1
    assert shop.subscriptions == []


def test_a_redirect_is_a_failure(shop: ShopifyShop, httpserver: HTTPServer) -> None:
    headers = {"Location": httpserver.url_for("/elsewhere")}
    httpserver.expect_request("/hooks").respond_with_data("", status=302, headers=headers)
    subscribed(shop, httpserver.url_for("/hooks"))
    shop.place(shop.order(1, NOW))
    assert [sent.status for sent in shop.delivered] == [302]
    assert len(httpserver.log) == 1


def test_an_outage_of_three_hours_is_survived(shop: ShopifyShop, httpserver: HTTPServer) -> None:
    subscribed(shop, httpserver.url_for("/hooks"))
    httpserver.expect_request("/hooks").respond_with_data("", status=503)
    shop.place(shop.order(1, NOW))
    shop.move(3 * HOUR)
    httpserver.clear()
    httpserver.expect_request("/hooks").respond_with_data("")
    shop.move(HOUR)
    assert shop.delivered[-1].taken
    assert [one.failures for one in shop.subscriptions] == [0]


def test_after_six_hours_the_orders_are_lost_but_listed(shop: ShopifyShop, httpserver: HTTPServer) -> None:
    """This is the gap that is healed by comparing the lists."""
    subscribed(shop, "http://127.0.0.1:9/hooks")
    for number in range(1, 51):
        shop.place(shop.order(number, shop.now()))
        shop.move(6 * HOUR / 50)
    assert len(shop.orders) == 50
    assert shop.subscriptions == []
    assert not any(sent.taken for sent in shop.delivered)
    seen = len(shop.delivered)
    shop.move(6 * HOUR)
    assert len(shop.delivered) == seen


def test_hooks_can_get_lost(shop: ShopifyShop, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hooks").respond_with_data("")
    subscribed(shop, httpserver.url_for("/hooks"))
    shop.lose_hooks = 2
    for number in (1, 2, 3):
        shop.place(shop.order(number, NOW))
    assert [sent.order_id for sent in shop.delivered] == [str(shop.order(3, NOW)["id"])]
    assert len(shop.orders) == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_relay_takes_its_hooks(relay: Relay, environment: dict[str, str]) -> None:
    """Over real HTTP, signed with the secret of the app that registered."""
    shop = ShopifyShop([{**DEMO, "signs_with": environment["SHOPIFY_WEBHOOK_SECRETS"]}])
    server = make_server("127.0.0.1", 0, app.create_app(relay.settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        subscribed(shop, f"http://127.0.0.1:{server.port}/webhooks/shopify", "orders/paid")
        shop.place(shop.order(7, shop.now()))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        shop.close()
    assert [sent.status for sent in shop.delivered] == [200]
    with relay.database.engine.connect() as connection:
        assert connection.execute(text("select count(*) from events")).scalar() == 1


# --- tokens ----------------------------------------------------------------------------------------------


def test_a_token_lives_for_a_day(bench: Bench) -> None:
    shop = bench.open()
    assert shop.probe()
    bench.shop.move(24 * HOUR - 2)
    assert shop.probe()
    bench.shop.move(2)
    with pytest.raises(NoAccess, match="credentials_refused"):
        shop.probe()
    assert bench.open().probe()


def test_nobody_is_answered_without_a_token(shop: ShopifyShop) -> None:
    for token in ("", "shpat_guessed"):
        headers = {"x-shopify-access-token": token}
        reply = shop.receive(Hit("POST", "/admin/api/2026-07/graphql.json", {}, headers, b"{}"))
        assert reply.status == 401


@pytest.mark.parametrize(
    "path", ["/admin/api/2019-07/graphql.json", "/admin/api/2026-07/orders.json", "/graphql.json"]
)
def test_other_addresses_are_none(shop: ShopifyShop, path: str) -> None:
    assert shop.receive(Hit("POST", path)).status == 404


# --- questions -------------------------------------------------------------------------------------------

REFUSED = {
    "field": ("query{shop{id2}}", {}, "Field 'id2' doesn't exist on type 'Shop'"),
    "root": ("query{products(first:1){nodes{id}}}", {}, "Field 'products' doesn't exist on type 'Query'"),
    "argument": ("query{shop(x:1){name}}", {}, "Field 'shop' doesn't accept argument 'x'"),
    "scalar": ("query{shop{name{x}}}", {}, "must have selections"),
    "object": ("query{shop}", {}, "must have selections"),
    "unused": ("query Q($a:Int!){shop{name}}", {"a": 1}, "declared but not used"),
    "undeclared": ("query{order(id:$id){id}}", {}, "used but not declared"),
    "given": ("query{shop{name}}", {"a": 1}, "not declared"),
    "missing": ("query Q($id:ID!){order(id:$id){id}}", {}, "was provided invalid value"),
    "open": ("query{shop{name}", {}, "syntax error"),
    "closed": ("query{shop{name}}}", {}, "syntax error"),
    "empty": ("query{}", {}, "syntax error"),
    "nothing": ("", {}, "syntax error"),
    "word": ("shop", {}, "syntax error"),
    "sign": ("query{shop{%}}", {}, "syntax error"),
    "fragment": ("query{...all}", {}, "syntax error"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_question_that_shopify_refuses(name: str) -> None:
    document, variables, words = REFUSED[name]
    with pytest.raises(Refused, match=words.replace("(", r"\(")):
        Question(SCHEMA, document, variables)


def test_a_field_without_its_right_is_null_and_told(shop: ShopifyShop) -> None:
    order = shop.order(1, NOW)
    shop.keep(str(order["id"]), order)
    document = "query Q($id:ID!){order(id:$id){name email lineItems(first:1){nodes{sku product{id}}}}}"
    question = Question(SCHEMA, document, {"id": f"gid://shopify/Order/{order['id']}"})
    data, errors = question.answer(shop._root(), frozenset({"read_orders"}))
    assert data["order"]["name"] == "#1"
    assert data["order"]["email"] is None
    paths = [error["path"] for error in errors]
    assert paths == [["order", "email"], ["order", "lineItems", "nodes", 0, "product"]]
    assert {error["extensions"]["code"] for error in errors} == {"ACCESS_DENIED"}


def test_what_may_come_is_what_it_costs() -> None:
    one = Question(SCHEMA, "query{orders(first:1){nodes{id app{id}}}}", {}).cost
    ten = Question(SCHEMA, "query{orders(first:10){nodes{id app{id}}}}", {}).cost
    assert (one, ten) == (2, 20)
    left_out = "query Q($x:Boolean!){orders(first:10){nodes{id app @include(if:$x){id}}}}"
    assert Question(SCHEMA, left_out, {"x": False}).cost == 10


def test_too_costly_a_question_is_refused(shop: ShopifyShop) -> None:
    flags: dict[str, Any] = dict.fromkeys(pulled.PARTS, True)
    answer = asked(shop, pulled.ORDERS, {"first": 100, "after": None, "query": "status:any", **flags})
    assert answer["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"


def test_an_empty_bucket_throttles(shop: ShopifyShop) -> None:
    shop.bucket, shop.left, shop.restores = 3.0, 3.0, 0.001
    assert "data" in asked(shop, "query{shop{name primaryDomain{url}}}", {})
    answer = asked(shop, "query{shop{name primaryDomain{url}}}", {})
    assert answer["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert answer["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] < 2


@pytest.mark.parametrize("query", ["updated:>='2026-11-22T00:00:00Z'", "updated_at:>=yesterday", "name:#1"])
def test_a_filter_that_shopify_would_leave_out_is_refused(shop: ShopifyShop, query: str) -> None:
    document = "query Q($query:String!){orders(first:1 query:$query sortKey:UPDATED_AT){nodes{id}}}"
    assert "errors" in asked(shop, document, {"query": query})


def asked(shop: ShopifyShop, document: str, variables: dict[str, Any]) -> dict[str, Any]:
    pair = {name: DEMO[name] for name in ("client_id", "client_secret")}
    form = urlencode({"grant_type": "client_credentials", **pair})
    token = json.loads(shop.receive(Hit("POST", "/admin/oauth/access_token", body=form.encode())).body)
    headers = {"x-shopify-access-token": token["access_token"]}
    body = json.dumps({"query": document, "variables": variables}).encode()
    reply = shop.receive(Hit("POST", "/admin/api/2026-07/graphql.json", {}, headers, body))
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


def test_it_is_found_by_its_name() -> None:
    assert stand_in("shopify_shop") is ShopifyShop
    with pytest.raises(NoStandIn):
        stand_in("magento_shop")
