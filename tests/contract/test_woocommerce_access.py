"""A WooCommerce shop asked through its own API, over real HTTP: time zones, pages that shift, failures."""

import base64
import ssl
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.access import Access, Away, NoAccess, Pulled
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.stores.woocommerce import WooCommerce, access
from tests.contract.samples import NOW, SECRET, shop
from webhooks.sandbox.standin import Hit, Reply, Step
from webhooks.sandbox.wire import serving
from webhooks.sandbox.woocommerce_shop import WooCommerceShop
from webhooks.settings_values import BadValue, of_setting

STORE = WooCommerce()
NOWHERE = "http://127.0.0.1:9/webhooks/woocommerce"  # the discard port: nobody listens


class Busy(WooCommerceShop):
    """A shop in which something happens before each request is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: Callable[[Hit], None] = lambda _hit: None

    def receive(self, hit: Hit) -> Reply:
        self.happens(hit)
        return super().receive(hit)

    def clear(self, zone: str, now: float) -> None:
        self.orders.clear()
        self._nonces.clear()  # Hypothesis begins every example with the same random numbers
        self.zone = ZoneInfo(zone)
        self.happens = lambda _hit: None
        self.freeze(now)

    def kept(self, number: int, at: float) -> None:
        self.keep(str(number), self.order(number, at))


class Play(NamedTuple):
    kind: Busy
    api: Access


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Busy, str]]:
    kind = Busy()
    with serving(kind) as address:
        yield kind, address
    kind.close()


@pytest.fixture
def play(served: tuple[Busy, str]) -> Play:
    kind, address = served
    kind.clear("Europe/Berlin", NOW)
    kind.subscriptions.clear()
    kind.requests.clear()
    kind.script([])
    kind.refuses, kind.may_write, kind.down_until = "", True, 0.0
    return Play(kind, opened(kind, address))


def opened(kind: WooCommerceShop, address: str, seconds: float = 5.0) -> Access:
    return STORE.access(shop(STORE, **kind.settings(address)), Secret(""), seconds)


def pulled(api: Access, since: int, until: int) -> list[Pulled]:
    found: list[Pulled] = []
    after = ""
    while True:
        page = api.pull(since, until, after)
        found += page.orders
        if not page.next:
            return found
        after = page.next


def ids(found: list[Pulled]) -> list[int]:
    return [int(one.order_id) for one in found]


# --- the time-zone trap ----------------------------------------------------------------------------------

CHANGES = {  # when the clocks change, and the zone of the shop
    "Berlin, an hour is left out": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Berlin, an hour comes twice": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "St. John's, an hour is left out": ("America/St_Johns", datetime(2026, 3, 8, 5, 30, tzinfo=UTC)),
    "St. John's, an hour comes twice": ("America/St_Johns", datetime(2026, 11, 1, 4, 30, tzinfo=UTC)),
    "Berlin, a day in winter": ("Europe/Berlin", datetime(2026, 12, 1, 12, tzinfo=UTC)),
    "St. John's, a day in summer": ("America/St_Johns", datetime(2026, 7, 1, 12, tzinfo=UTC)),
}
zones = pytest.mark.parametrize(("zone", "moment"), CHANGES.values(), ids=CHANGES)


@zones
def test_a_window_holds_what_changed_within_it(play: Play, zone: str, moment: datetime) -> None:
    """Both edges belong to it, whatever the shop's clocks say and do meanwhile."""
    middle = int(moment.timestamp())
    play.kind.clear(zone, middle + 86_400)
    times = {number: middle + (number - 60) * 300 for number in range(1, 120)}
    for number, at in times.items():
        play.kind.kept(number, at)
    for since, until in ((middle - 3_600, middle + 3_600), (middle, middle), (middle - 299, middle + 299)):
        within = [number for number, at in times.items() if since <= at <= until]
        found = pulled(play.api, since, until)
        assert ids(found) == within
        assert [one.changed_at for one in found] == [times[number] for number in within]


@zones
@pytest.mark.parametrize("shape", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00"], ids=["Z", "offset"])
def test_the_sandbox_shop_has_the_trap(play: Play, zone: str, moment: datetime, shape: str) -> None:
    """Otherwise the test above proves nothing: UTC that says so is shifted, without an error."""
    middle = int(moment.timestamp())
    play.kind.clear(zone, middle + 86_400)
    for number in range(1, 40):
        play.kind.kept(number, middle + (number - 20) * 900)
    since = moment - timedelta(hours=1)
    query = {"modified_after": since.strftime(shape), "dates_are_gmt": "true", "per_page": "100"}
    right = {**query, "modified_after": since.strftime("%Y-%m-%dT%H:%M:%S")}
    client = play.api._client  # type: ignore[attr-defined]
    assert client.ask("get", "orders", query).body != client.ask("get", "orders", right).body


def test_what_the_clock_shows_twice_is_in_one_window_only(play: Play) -> None:
    """Two orders an hour apart with the same local time, each in its own hour."""
    moment = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())
    play.kind.clear("Europe/Berlin", moment + 86_400)
    play.kind.kept(1, moment - 1_800)
    play.kind.kept(2, moment + 1_800)
    assert play.kind.orders["1"]["date_modified"] == play.kind.orders["2"]["date_modified"]
    assert ids(pulled(play.api, moment - 3_600, moment - 1)) == [1]
    assert ids(pulled(play.api, moment, moment + 3_599)) == [2]


# --- pages -----------------------------------------------------------------------------------------------


def test_an_order_reads_as_its_hook_does(play: Play) -> None:
    order = play.kind.order(7, NOW - 100)
    play.kind.keep("7", order)
    (found,) = pulled(play.api, NOW - 3_600, NOW)
    mine = shop(STORE)
    told = Hook({"x-wc-webhook-topic": "order.created"}, play.kind._body(order), found.hook.received_at)
    assert found.hook.body == told.body
    assert STORE.read(found.hook, mine) == STORE.read(told, mine)
    assert STORE.topic(found.hook) == "order.updated"


def test_pages_that_shift_lose_nothing(play: Play) -> None:
    """Every order that was listed is edited as soon as it was, and so leaves the window."""
    for number in range(1, 221):
        play.kind.kept(number, NOW - 1_000)
    seen: list[int] = []

    def edit(_hit: Hit) -> None:
        for number in seen:
            play.kind.kept(number, NOW)
        seen.clear()

    play.kind.happens = edit
    found: list[int] = []
    after = ""
    while True:
        page = play.api.pull(NOW - 1_000, NOW - 1, after)
        seen[:] = ids(list(page.orders))
        found += seen
        after = page.next
        if not after:
            break
    assert found == list(range(1, 221))


def test_the_same_second_may_hold_more_than_a_page(play: Play) -> None:
    for number in range(1, 3 * access.PAGE):
        play.kind.kept(number, NOW - 5)
    assert ids(pulled(play.api, NOW - 5, NOW - 5)) == list(range(1, 3 * access.PAGE))


@pytest.mark.parametrize("after", ["", "x", "-1:5", "5", ":", "1:2:3"], ids=lambda after: after or "nothing")
def test_what_is_no_place_begins_anew(play: Play, after: str) -> None:
    play.kind.kept(3, NOW - 5)
    assert [one.order_id for one in play.api.pull(NOW - 10, NOW, after).orders] == ["3"]


def test_a_shop_that_takes_no_heed_of_the_filter_is_not_believed(play: Play) -> None:
    """An old WooCommerce ignores `modified_after`; a plugin may order by something else."""
    raw = play.kind._body(play.kind.order(3, NOW - 5_000))
    play.kind.script(
        [Step(status=200, body=f"[{raw.decode()}]", headers={"Content-Type": "application/json"})]
    )
    with pytest.raises(NoAccess) as refused:
        play.api.pull(NOW - 100, NOW)
    assert refused.value.reason == "list_changed"


class Edit(NamedTuple):
    """What happens before a request of the pull: this order is changed, or placed if it is not there."""

    request: int
    order: int


ZONES = st.sampled_from(["Europe/Berlin", "America/St_Johns", "UTC", "Asia/Kathmandu"])
AROUND = (-3_601, -3_600, -1_801, -1_800, -1, 0, 1, 1_799, 1_800, 3_599, 3_600)
OFFSETS = st.lists(st.sampled_from(AROUND), max_size=24)
EDITS = st.lists(st.builds(Edit, st.integers(2, 6), st.integers(1, 24)), max_size=12)


@given(zone=ZONES, change=st.sampled_from(list(CHANGES.values())), offsets=OFFSETS, edits=EDITS)
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_history_loses_or_doubles_an_order(
    monkeypatch: pytest.MonkeyPatch,
    served: tuple[Busy, str],
    zone: str,
    change: tuple[str, datetime],
    offsets: list[int],
    edits: list[Edit],
) -> None:
    """Against a plain reference: the states that every order was ever in. Pages of three, two windows that
    overlap by a minute; what was untouched comes once per window, and the last state of all comes."""
    monkeypatch.setattr(access, "PAGE", 3)
    monkeypatch.setattr(access, "_STEP", 2)
    kind, address = served
    middle = int(change[1].timestamp())
    first, second = middle + 3_600, middle + 7_200
    kind.clear(zone, first)
    last = {number: middle + offset for number, offset in enumerate(offsets, 1)}
    states = set(last.items())
    for number, at in last.items():
        kind.kept(number, at)
    asked = [0]

    def happen(_hit: Hit) -> None:
        asked[0] += 1
        for edit in edits:
            if edit.request == asked[0]:
                kind.freeze(kind.now() + 1)
                kind.kept(edit.order, kind.now())
                last[edit.order] = int(kind.now())
                states.add((edit.order, last[edit.order]))

    kind.happens = happen
    api = opened(kind, address)
    early = seen(pulled(api, middle - 3_600, first))
    kind.happens = lambda _hit: None
    kind.freeze(second)
    late = seen(pulled(api, first - 60, second))
    changed = {edit.order for edit in edits}
    assert len(early) == len(set(early))
    assert set(early) | set(late) <= states
    untouched = {state for state in states if state[0] not in changed}
    assert {state for state in early if state[0] not in changed} == {
        state for state in untouched if middle - 3_600 <= state[1] <= first
    }
    assert {state for state in last.items() if state[1] >= middle - 3_600} <= {*early, *late}
    assert sorted(late) == sorted(state for state in last.items() if first - 60 <= state[1] <= second)


def seen(found: list[Pulled]) -> list[tuple[int, int]]:
    return [(int(one.order_id), one.changed_at) for one in found]


# --- webhooks --------------------------------------------------------------------------------------------


def test_a_paused_webhook_goes_on(play: Play) -> None:
    made = play.api.subscribe("order.created", NOWHERE)
    one = play.kind.registered(made.id)
    assert one is not None
    one.active, one.more["status"] = False, "paused"
    (found,) = play.api.subscriptions()
    assert not found.active
    assert "paused" in found.detail
    assert play.api.subscribe("order.created", NOWHERE) == made


def test_a_disabled_webhook_is_made_anew(play: Play) -> None:
    """Switched on again it would be disabled by the next failure: the shop keeps the count."""
    made = play.api.subscribe("order.created", NOWHERE)
    for number in range(1, 8):
        (before,) = play.api.subscriptions()
        assert before.active
        play.kind.place(play.kind.order(number, NOW))
    (disabled,) = play.api.subscriptions()
    assert not disabled.active
    assert "disabled" in disabled.detail
    anew = play.api.subscribe("order.created", NOWHERE)
    assert anew.id != made.id
    assert play.api.subscriptions() == [anew]
    play.kind.place(play.kind.order(8, NOW))
    assert play.api.subscriptions()[0].active


def test_switched_on_by_hand_it_keeps_its_failures(play: Play) -> None:
    """What the test above relies on."""
    made = play.api.subscribe("order.created", NOWHERE)
    client = play.api._client  # type: ignore[attr-defined]
    for number in range(1, 9):
        if not play.api.subscriptions()[0].active:
            client.ask("put", f"webhooks/{made.id}", data={"status": "active"})
        play.kind.place(play.kind.order(number, NOW))
    assert [one.number for one in play.kind.delivered[-8:]] == [1] * 8  # nothing is sent twice
    assert not play.api.subscriptions()[0].active


def test_several_of_a_kind_become_one(play: Play) -> None:
    """The shop refuses none, and sends every hook as often."""
    client = play.api._client  # type: ignore[attr-defined]
    for topic in ("order.updated", "order.updated", "product.updated"):
        client.ask("post", "webhooks", data={"topic": topic, "delivery_url": NOWHERE})
    assert len(play.api.subscriptions()) == 2
    kept = play.api.subscribe("order.updated", NOWHERE)
    assert play.api.subscriptions() == [kept]
    assert {one.topic for one in play.kind.subscriptions} == {"order.updated", "product.updated"}


def test_the_secret_is_the_shops_first(play: Play, served: tuple[Busy, str]) -> None:
    play.kind.subscriptions.clear()
    play.api.subscribe("order.created", NOWHERE)
    assert play.kind.subscriptions[0].more["secret"] == SECRET
    play.kind.subscriptions[0].more["secret"] = "another"
    play.api.subscribe("order.created", NOWHERE)
    assert play.kind.subscriptions[0].more["secret"] == SECRET
    none = STORE.access(
        msgspec.structs.replace(shop(STORE, **play.kind.settings(served[1])), secrets=()), Secret(""), 5
    )
    assert refused(lambda: none.subscribe("order.created", NOWHERE)).reason == "secret_missing"


# --- answers that are none -------------------------------------------------------------------------------


def refused(call: Callable[[], object]) -> NoAccess:
    with pytest.raises(NoAccess) as found:
        call()
    told = "".join(traceback.format_exception(found.value))
    assert not any(secret in told for secret in WooCommerceShop.demo.values())
    return found.value


def word(code: str, status: int) -> Step:
    return Step(status=status, body={"code": code, "message": "Nein.", "data": {"status": status}})


PAGE_OF_HTML = "<!DOCTYPE html><html>Just a moment…</html>"
REFUSALS = {
    "redirect": (Step(scene="redirect"), "redirected"),
    "wrong key": (word("woocommerce_rest_cannot_view", 401), "credentials_refused"),
    "wrong secret": (word("woocommerce_rest_authentication_error", 401), "credentials_refused"),
    "demoted user": (word("woocommerce_rest_cannot_view", 403), "credentials_refused"),
    "no WooCommerce": (word("rest_no_route", 404), "no_api"),
    "plain permalinks": (Step(status=404, body=PAGE_OF_HTML), "no_api"),
    "old WooCommerce": (word("rest_invalid_param", 400), "not_understood"),
    "plugin that closes the API": (word("rest_not_logged_in", 401), "closed"),
    "firewall": (Step(status=403, body=PAGE_OF_HTML), "closed"),
    "password before the shop": (Step(status=401, body="Authorization Required"), "closed"),
}


@pytest.mark.parametrize(("step", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_to_do(play: Play, step: Step, reason: str) -> None:
    play.kind.script([step])
    error = refused(lambda: play.api.pull(NOW - 60, NOW))
    assert error.reason == reason
    assert len(error.remedy) > 40


def test_a_key_that_may_only_read_is_told_so(play: Play) -> None:
    play.kind.may_write = False
    assert play.api.pull(NOW - 60, NOW).orders == ()
    error = refused(play.api.probe)
    assert error.reason == "read_only"
    assert "Read/Write" in error.remedy


def test_a_byte_order_mark_is_no_fault(play: Play) -> None:
    headers = {"X-WP-Total": "1", "Content-Type": "application/json"}
    body = f"\ufeff[{play.kind._body(play.kind.order(3, NOW)).decode()}]"
    play.kind.script([Step(status=200, body=body, headers=headers)])
    assert ids(list(play.api.pull(NOW, NOW).orders)) == [3]


ADDRESSES = {
    "https://shop.example.com": True,
    "https://shop.example.com:8443/blog": True,
    "http://127.0.0.1:8080": True,
    "http://localhost/": True,
    "http://shop.example.com": False,
    "http://127.0.0.1.example.com": False,
    "http://127.0.0.1@example.com": False,
    "https://key:secret@shop.example.com": False,
    "https://shop.example.com/?p=1": False,
    "ftp://shop.example.com": False,
}


@pytest.mark.parametrize(("written", "is_good"), ADDRESSES.items(), ids=ADDRESSES)
def test_the_key_leaves_this_machine_over_tls_alone(written: str, is_good: bool) -> None:
    setting = next(one for one in STORE.settings if one.name == "url")
    if is_good:
        assert of_setting(setting, written) == written
        return
    with pytest.raises(BadValue):
        of_setting(setting, written)


# --- over TLS --------------------------------------------------------------------------------------------


class Remembering(BaseHTTPRequestHandler):
    """Answers every request as ``server.answer`` does."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        for piece in self.server.answer:  # type: ignore[attr-defined]
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
        """Silent."""


@contextmanager
def answering(pieces: Iterable[bytes], context: ssl.SSLContext | None = None) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Remembering)
    server.asked, server.answer, server.daemon_threads = [], pieces, True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.com")])
    own = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(own, critical=False)
        .sign(key, hashes.SHA256())
    )
    written = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "shop.pem"
    path.write_bytes(written + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_over_tls_the_key_stands_in_the_header_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with answering([b"[]"], context) as server:
        options = {**WooCommerceShop.demo, "url": f"https://127.0.0.1:{server.server_port}"}
        api = STORE.access(shop(STORE, **options), Secret(""), 5)
        assert api.pull(NOW - 60, NOW).orders == ()
        ((asked, headers),) = server.asked
    key, secret = WooCommerceShop.demo["consumer_key"], WooCommerceShop.demo["consumer_secret"]
    assert headers["Authorization"] == f"Basic {base64.b64encode(f'{key}:{secret}'.encode()).decode()}"
    assert "consumer" not in asked
    assert "oauth" not in asked
    assert asked.count("modified_after") == 1


def test_an_unknown_certificate_is_not_talked_to(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    with answering([b"[]"], context) as server:
        options = {**WooCommerceShop.demo, "url": f"https://127.0.0.1:{server.server_port}"}
        api = STORE.access(shop(STORE, **options), Secret(""), 5)
        with pytest.raises(Away, match="SSLError"):
            api.pull(NOW - 60, NOW)
        assert server.asked == []


def test_an_answer_that_drips_is_not_waited_for() -> None:
    """The timeout of a socket is one of silence only."""
    ended = threading.Event()

    def drops() -> Iterator[bytes]:
        while not ended.wait(0.05):
            yield b" "

    with answering(drops()) as server:
        options = {**WooCommerceShop.demo, "url": f"http://127.0.0.1:{server.server_port}"}
        api = STORE.access(shop(STORE, **options), Secret(""), 0.3)
        with pytest.raises(Away, match="too long"):
            api.pull(NOW - 60, NOW)
        ended.set()
