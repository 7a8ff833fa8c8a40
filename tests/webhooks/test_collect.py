"""What a browser tells of an order: taken from the shop's own pages alone, never more than an addition."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from integrations import event as events
from integrations.event import Event
from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel, rows
from webhooks import app, schema, storytelling, twins
from webhooks.beacon import MAX_BYTES
from webhooks.clock import SECOND, now_ms
from webhooks.delivery import Drain
from webhooks.questions import Questions
from webhooks.relay import Relay

ORIGIN = "https://shop.example.com"
ADDRESS = "/collect/shopify"
FBP = "fb.1.1763800000000.1098765432"
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)"

sqlite_alone = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
Body = dict[str, Any]


@pytest.fixture
def environment(environment: Environment) -> Environment:
    """The beacon is on; silence about consent is no objection here."""
    return environment | {
        "SHOPIFY_ORIGINS": ORIGIN,
        "SHOPIFY_CONSENT_POLICY": "opt_out",
        "RELAY_PROXIES": "1",
    }


@pytest.fixture
def desk(relay: Relay) -> Iterator[FlaskClient]:
    """The web application of the same ledger."""
    made = app.create_app(relay.settings)
    yield made.test_client()
    made.extensions["relay"].close()


@pytest.fixture
def bare(order: Body) -> Body:
    """An order that carries nothing of its browser: Buy it now."""
    details = {"client_details": None, "browser_ip": None, "landing_site": None, "referring_site": None}
    return order | details | {"note_attributes": []}


def beacon(order: Body, /, **changes: Any) -> Body:
    """What the snippet on the confirmation page of this order sends."""
    return {
        "v": 1,
        "event_name": "Purchase",
        "order": {"order_id": str(order["id"]), "checkout_token": order["checkout_token"]},
        "event_ids": {"meta": str(order["id"])},
        "fired": ["meta"],
        "attributes": {"_fbp": FBP, "_ttp": "not-looked-up-here"},
        "page_url": f"{ORIGIN}/checkouts/cn/secret/thank-you?key=1",
        "at": now_ms(),
    } | changes


def tell(
    desk: FlaskClient, body: Body | bytes, *, origin: str = ORIGIN, address: str = ADDRESS, **headers: str
) -> TestResponse:
    """Sends it as the page does."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = {"Origin": origin, "X-Forwarded-For": "81.2.69.142", "User-Agent": AGENT} | headers
    return desk.post(address, data=raw, content_type="text/plain;charset=UTF-8", headers=known)


def told(relay: Relay, order: Body) -> Event:
    """The order's event as it stands in the ledger."""
    same = (schema.events.c.order_id == str(order["id"]), schema.events.c.event_name == "Purchase")
    with relay.database.read() as db:
        sealed = db.execute(select(schema.events.c.sealed).where(*same)).scalar_one()
    return events.decode(relay.vault.open(sealed))


def count(relay: Relay, table: Any) -> int:
    with relay.database.read() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()


# --- an order and its beacon --------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["beacon", "order"])
def test_a_beacon_adds_what_the_order_lacks(
    relay: Relay,
    desk: FlaskClient,
    post: Callable[..., TestResponse],
    bare: Body,
    first: str,
    pixel: Pixel,
    drain: Drain,
) -> None:
    steps: list[Callable[[], TestResponse]] = [lambda: tell(desk, beacon(bare)), lambda: post(bare)]
    answers = [step().status_code for step in (steps if first == "beacon" else steps[::-1])]
    assert sorted(answers) == [200, 204]

    event = told(relay, bare)
    assert event.attributes == {"_fbp": FBP}
    assert (event.buyer.ip, event.buyer.user_agent) == ("81.2.69.142", AGENT)
    assert event.page_url == f"{ORIGIN}/"
    assert rows(relay)[event.order_id]["due_at"] <= now_ms()

    drain.run(5)
    [[sent]] = pixel.calls
    assert sent["event_id"] == event.order_id
    assert sent["user_data"]["fbp"] == FBP
    assert sent["user_data"]["client_ip_address"] == "81.2.69.142"


def test_an_order_waits_for_its_beacon_and_no_longer(
    relay: Relay,
    desk: FlaskClient,
    post: Callable[..., TestResponse],
    bare: Body,
    pixel: Pixel,
    drain: Drain,
) -> None:
    before = now_ms()
    post(bare)
    row = rows(relay)[str(bare["id"])]
    assert row["reason"] == twins.AWAITS
    assert before + 10 * SECOND <= row["due_at"] <= now_ms() + 10 * SECOND
    story = storytelling.tell(Questions(relay.database).story("shopify", "1042"), {}, before)
    assert "waits for what the shopper's browser tells" in str([chapter.lines for chapter in story])
    drain.run(0.1)
    assert not pixel.calls
    assert relay.leases.look(["meta"], row["due_at"]).due == {"meta"}, "it goes out although no beacon came"

    tell(desk, beacon(bare))
    drain.run(5)
    assert pixel.ids == [str(bare["id"])]


@sqlite_alone
@pytest.mark.parametrize("wait", ["0", "3"])
def test_how_long_is_a_setting(
    environment: Environment, relay: Relay, post: Callable[..., TestResponse], bare: Body, wait: str
) -> None:
    assert relay.settings.shops[0].beacon_wait == int(wait)
    post(bare)
    row = rows(relay)[str(bare["id"])]
    assert row["due_at"] - row["created_at"] == int(wait) * SECOND


@pytest.fixture
def wait() -> str:
    return "10"


@pytest.fixture(autouse=True)
def chosen_wait(environment: Environment, wait: str) -> None:
    environment["SHOPIFY_BEACON_WAIT_SECONDS"] = wait


@sqlite_alone
@pytest.mark.parametrize(
    "carried",
    [
        pytest.param({"note_attributes": [{"name": "_fbp", "value": FBP}]}, id="cookie"),
        pytest.param({"note_attributes": [{"name": "marketing_consent", "value": "granted"}]}, id="consent"),
        pytest.param({"landing_site": "/?fbclid=IwAR0exampleClickId"}, id="click"),
        pytest.param({"source_name": "pos"}, id="till"),
    ],
)
def test_what_tells_of_its_browser_or_has_none_waits_for_nothing(
    relay: Relay, post: Callable[..., TestResponse], bare: Body, carried: Body
) -> None:
    post(bare | carried)
    row = rows(relay)[str(bare["id"])]
    assert row["due_at"] == row["created_at"]
    assert row["reason"] == ""


@sqlite_alone
def test_what_the_order_carries_stays(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], order: Body
) -> None:
    tell(desk, beacon(order, attributes={"_fbp": "fb.1.1763800000000.666", "marketing_consent": "granted"}))
    post(order)
    event = told(relay, order)
    assert event.captured("fbp") == "fb.1.1715680000000.1098765432"
    assert event.buyer.ip == "203.0.113.25"
    assert event.consent.source == "order attribute marketing_consent"


@sqlite_alone
def test_the_first_beacon_wins(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], bare: Body
) -> None:
    tell(desk, beacon(bare))
    tell(desk, beacon(bare, attributes={"_fbp": "fb.1.1763800000000.666"}))
    post(bare)
    tell(desk, beacon(bare, attributes={"_fbp": "fb.1.1763800000000.777"}))
    assert told(relay, bare).captured("fbp") == FBP


@sqlite_alone
def test_a_later_no_counts_and_a_later_yes_does_not(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], bare: Body, pixel: Pixel, drain: Drain
) -> None:
    post(bare)
    for answer in ("granted", "denied", "granted"):
        tell(desk, beacon(bare, attributes={"marketing_consent": answer}))
    assert told(relay, bare).consent.ad_user_data == "denied"
    drain.run(5)
    assert not pixel.calls
    assert rows(relay)[str(bare["id"])]["state"] == "suppressed"


@sqlite_alone
def test_a_no_is_heard_however_much_was_said_before(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], bare: Body
) -> None:
    for number in range(2 * twins.OF_AN_ORDER):
        tell(desk, beacon(bare, event_ids={"meta": str(number)}), **{"X-Forwarded-For": f"81.2.69.{number}"})
    assert count(relay, schema.twins) == twins.OF_AN_ORDER
    tell(desk, beacon(bare, attributes={"marketing_consent": "denied"}))
    post(bare)
    assert told(relay, bare).consent.ad_storage == "denied"


@sqlite_alone
def test_what_was_delivered_stays_as_it_was_sent(
    relay: Relay,
    desk: FlaskClient,
    post: Callable[..., TestResponse],
    order: Body,
    pixel: Pixel,
    drain: Drain,
) -> None:
    plain = order | {"client_details": None, "browser_ip": None}
    post(plain)
    drain.run(5)
    tell(desk, beacon(plain))
    assert not drain.run(1)
    assert len(pixel.calls) == 1
    assert rows(relay)[str(order["id"])]["state"] == "delivered"


def test_an_order_and_its_beacon_that_come_at_once_meet(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], bare: Body
) -> None:
    limits = desk.application.extensions["beacon_limits"]
    limits.line = limits.places = BoundedSemaphore(16)  # a busy machine is not the question here
    orders = [bare | {"id": 8_000_001 + n, "checkout_token": f"token-{n}"} for n in range(8)]
    sides = [lambda one=one: post(one) for one in orders]
    sides += [lambda one=one: tell(desk, beacon(one)) for one in orders]
    with ThreadPoolExecutor(len(sides)) as threads:
        answers = [one.status_code for one in threads.map(lambda side: side(), sides)]
    assert answers == [200] * len(orders) + [204] * len(orders)
    assert [told(relay, one).attributes for one in orders] == [{"_fbp": FBP}] * len(orders)


# --- who is believed ----------------------------------------------------------------------------------------


@sqlite_alone
@pytest.mark.parametrize(
    "names",
    [
        pytest.param({"order_id": "5512345678901"}, id="the number alone"),
        pytest.param({"order_name": "#1042"}, id="the name alone"),
        pytest.param({"order_id": "5512345678901", "checkout_token": "guessed"}, id="a guessed token"),
        pytest.param({"order_id": "5512345678901", "order_name": "#7"}, id="another order's name"),
    ],
)
def test_whoever_knows_only_numbers_adds_nothing(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], bare: Body, names: Body
) -> None:
    forged = beacon(bare, order=names, attributes={"_fbp": FBP, "marketing_consent": "denied"})
    tell(desk, forged)
    post(bare)
    before = rows(relay)[str(bare["id"])]
    tell(desk, forged | {"event_ids": {"meta": "7"}})
    event = told(relay, bare)
    assert event.attributes == {}
    assert event.consent == events.Consent()
    assert rows(relay)[str(bare["id"])] == before
    tell(desk, beacon(bare))
    assert told(relay, bare).attributes == {"_fbp": FBP}, "and does not stand in the way of who knows more"


@sqlite_alone
def test_a_guess_delays_nothing(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], order: Body
) -> None:
    """Before the order is there, its number may be known, or tried."""
    tell(desk, beacon(order, order={"order_id": str(order["id"])}))
    post(order)
    row = rows(relay)[str(order["id"])]
    assert row["due_at"] == row["created_at"]


@sqlite_alone
def test_an_order_of_which_nothing_else_is_known_is_found_by_its_number(
    relay: Relay, desk: FlaskClient, post: Callable[..., TestResponse], bare: Body
) -> None:
    plain = bare | {"checkout_token": None}
    post(plain)
    tell(desk, beacon(plain, order={"order_id": f"gid://shopify/OrderIdentity/{plain['id']}"}))
    assert told(relay, plain).attributes == {"_fbp": FBP}


@sqlite_alone
def test_a_browser_makes_no_event_ids(
    environment: Environment, desk: FlaskClient, relay: Relay, post: Callable[..., TestResponse], bare: Body
) -> None:
    """The refund of an order takes its id of the same attributes."""
    shop = relay.settings.shops[0]
    assert shop.event_ids == {"meta": "{meta:_fbp|order_id}"}
    post(bare)
    tell(desk, beacon(bare))
    assert events.event_id(told(relay, bare), "{meta:_fbp|order_id}") == str(bare["id"])


@pytest.fixture(autouse=True)
def chosen_template(environment: Environment, request: pytest.FixtureRequest) -> None:
    if request.node.name.startswith("test_a_browser_makes_no_event_ids"):
        environment["SHOPIFY_EVENT_ID"] = "{meta:_fbp|order_id}"


@sqlite_alone
def test_nothing_comes_of_a_beacon_alone(relay: Relay, desk: FlaskClient, bare: Body) -> None:
    assert tell(desk, beacon(bare)).status_code == 204
    assert [count(relay, table) for table in (schema.events, schema.hooks, schema.deliveries)] == [0, 0, 0]


@sqlite_alone
def test_what_nobody_comes_for_is_bounded(
    relay: Relay, desk: FlaskClient, bare: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "ALONE", 10)
    monkeypatch.setattr(twins, "PRUNE_EVERY", 5)
    monkeypatch.setattr(desk.application.extensions["relay"].twins, "_until_pruned", 5)
    for number in range(40):
        tell(desk, beacon(bare, order={"order_id": str(number)}), **{"X-Forwarded-For": f"81.2.69.{number}"})
    assert 10 <= count(relay, schema.twins) <= 20
    assert count(relay, schema.bridges) == count(relay, schema.twins)


# --- answers ------------------------------------------------------------------------------------------------


@sqlite_alone
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://shop.example.com", "", "https://SHOP.example.com"]
)
def test_another_site_is_refused(desk: FlaskClient, relay: Relay, bare: Body, origin: str) -> None:
    answer = tell(desk, beacon(bare), origin=origin)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert count(relay, schema.twins) == 0


@sqlite_alone
@pytest.mark.parametrize(
    ("page", "status"),
    [(f"{ORIGIN}/thank-you", 204), ("https://evil.example/", 403), ("", 403), ("//[", 403)],
)
def test_a_frame_without_an_origin_must_say_whose_it_is(
    desk: FlaskClient, bare: Body, page: str, status: int
) -> None:
    assert tell(desk, beacon(bare, page_url=page), origin="null").status_code == status


@sqlite_alone
def test_a_browser_may_ask_first(desk: FlaskClient) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = desk.options(ADDRESS, headers=headers)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert desk.options(ADDRESS, headers={"Origin": "https://evil.example"}).status_code == 403


@sqlite_alone
@pytest.mark.parametrize("address", ["/collect/nobody", "/collect/", "/collect/shopify/1"])
def test_an_unknown_shop(desk: FlaskClient, bare: Body, address: str) -> None:
    assert tell(desk, beacon(bare), address=address).status_code == 404


@sqlite_alone
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_one_is_refused(desk: FlaskClient, bare: Body, chunked: bool) -> None:
    body = json.dumps(beacon(bare)).encode()
    for size, status in ((MAX_BYTES, 204), (MAX_BYTES + 1, 413)):
        raw = body + b" " * (size - len(body))
        if chunked:
            answer = desk.post(
                ADDRESS,
                headers={"Origin": ORIGIN, "Transfer-Encoding": "chunked"},
                environ_overrides={"wsgi.input": _Stream(raw), "wsgi.input_terminated": True},
            )
        else:
            answer = tell(desk, raw)
        assert answer.status_code == status


class _Stream:
    """A body of which nobody knows the length before."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        piece, self._raw = (self._raw, b"") if size < 0 else (self._raw[:size], self._raw[size:])
        return piece


@sqlite_alone
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"v": 2}, id="version"),
        pytest.param({"value": "0.01"}, id="a value"),
        pytest.param({"order": {}}, id="no order"),
        pytest.param({"order": {"order_id": ""}}, id="an empty name"),
        pytest.param({"order": {"id": "1"}}, id="another name"),
        pytest.param({"order": {"order_id": "7" * 256}}, id="a long name"),
        pytest.param({"attributes": {"_fbp": 7}}, id="a number"),
        pytest.param({"attributes": {str(n): "x" for n in range(101)}}, id="many attributes"),
        pytest.param({"fired": "meta"}, id="text for a list"),
        pytest.param({"seen": [{"destination": "meta", "value": 1}]}, id="more than is asked"),
    ],
)
def test_what_is_no_beacon_is_refused(desk: FlaskClient, relay: Relay, bare: Body, change: Body) -> None:
    assert tell(desk, beacon(bare, **change)).status_code == 400
    assert count(relay, schema.twins) == 0


@sqlite_alone
def test_one_client_is_slowed_down_and_no_other(desk: FlaskClient, bare: Body) -> None:
    first = [tell(desk, beacon(bare, at=number)).status_code for number in range(40)]
    assert first[0] == 204
    assert first[-1] == 429
    assert tell(desk, beacon(bare), **{"X-Forwarded-For": "81.2.70.1"}).status_code == 204


@sqlite_alone
def test_a_database_that_is_away_is_said_so_at_once(
    desk: FlaskClient, relay: Relay, bare: Body, tmp_path: Any
) -> None:
    with relay.database.write():  # somebody holds its lock
        answers = [tell(desk, beacon(bare)).status_code]
    assert answers == [503]


@sqlite_alone
def test_the_same_again_adds_nothing(desk: FlaskClient, relay: Relay, bare: Body) -> None:
    for number in range(3):
        assert tell(desk, beacon(bare, at=number)).status_code == 204
    assert count(relay, schema.twins) == 1
