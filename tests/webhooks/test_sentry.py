"""What is sent to Sentry: a canary is planted wherever Sentry's defaults are known to leak, one at a time."""

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import redis
import sentry_sdk
import urllib3
from flask import Flask
from pytest_httpserver import HTTPServer
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from webhooks import reporting

CANARY = "canary-" + "7f3a"  # in two parts, so that a source line shown beside a frame is no find
EMAIL, PHONE, TOKEN = f"{CANARY}@shop.test", f"+49 151 23456789;{CANARY}", f"EAA{CANARY}"
DSN = "http://public@127.0.0.1:9/1"


class Caught(Transport):
    """Takes what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keeps the very bytes."""
        self.sent.append(envelope.serialize())
        for item in envelope.items:
            if item.payload.json is not None:
                self.events.append(item.payload.json)


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> Iterator[Caught]:
    """A transport; Sentry is off again afterwards."""
    monkeypatch.setattr(reporting, "_quiet_until", {})
    yield Caught()
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_isolation_scope().clear()
    sentry_sdk.get_current_scope().clear()


def start(caught: Caught, **more: Any) -> None:
    """Sentry as the relay starts it, but for the transport."""
    sentry_sdk.init(**{**reporting.sentry_options(DSN, "production", "web"), "transport": caught, **more})


# --- leaks -----------------------------------------------------------------------------------------------


def app() -> Flask:
    """A web application whose one route fails."""
    flask = Flask(__name__)

    @flask.post("/webhooks/<store>/<shop>")
    def intake(store: str, shop: str) -> NoReturn:
        raise ValueError(f"{store} {shop}")

    return flask


def post(**request: Any) -> None:
    """One hook, which fails."""
    client = app().test_client()
    assert client.post("/webhooks/shopify/main", **request).status_code == 500


def in_body() -> None:
    """The order itself."""
    post(json={"email": EMAIL, "phone": PHONE})


def in_headers() -> None:
    """Signatures, credentials, and whatever a stranger sends."""
    names = ("X-Shopify-Hmac-Sha256", "Stripe-Signature", "Authorization", "Cookie", "User-Agent", "X-Any")
    post(headers=dict.fromkeys(names, TOKEN) | {"Content-Type": f"text/plain; {CANARY}"})


def in_query() -> None:
    """What somebody put into the webhook's address."""
    post(query_string={"email": EMAIL})


def in_locals() -> None:
    """The variables of each frame."""
    buyer = EMAIL
    try:
        raise ValueError(len(buyer))
    except ValueError as error:
        sentry_sdk.capture_exception(error)


def in_log_lines() -> None:
    """Log lines before the failure travel along as breadcrumbs."""
    logging.getLogger("elsewhere").warning("order of %s", EMAIL)
    sentry_sdk.capture_exception(ValueError())


def in_logged_errors() -> None:
    """Each error that any package logs would be an event of its own."""
    logging.getLogger("elsewhere").error("order of %s", EMAIL)
    sentry_sdk.capture_exception(ValueError())


def in_exception_text() -> None:
    """And in that of its cause."""
    try:
        try:
            raise KeyError(EMAIL)
        except KeyError as error:
            raise ValueError(f"no token {TOKEN} for {PHONE}") from error
    except ValueError as error:
        error.add_note(f"seen at {EMAIL}")
        sentry_sdk.capture_exception(error)


def in_arguments() -> None:
    """The command line may hold addresses with passwords."""
    before = sys.argv
    sys.argv = ["purchase-relay", f"redis://:{TOKEN}@cache.test"]
    try:
        sentry_sdk.capture_exception(ValueError())
    finally:
        sys.argv = before


def in_scope() -> None:
    """What an integration, today's or tomorrow's, adds by itself."""
    scope = sentry_sdk.get_isolation_scope()
    scope.set_user({"email": EMAIL, "ip_address": "203.0.113.9"})
    scope.set_context("order", {"buyer": EMAIL})
    scope.set_extra("phone", PHONE)
    scope.set_tag("shop", EMAIL)
    scope.set_tag("buyer", EMAIL)
    sentry_sdk.capture_exception(ValueError())


LEAKS: list[Callable[[], None]] = [
    in_body, in_headers, in_query, in_locals, in_log_lines, in_logged_errors, in_exception_text,
    in_arguments, in_scope,
]  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_nothing_leaks(leak: Callable[[], None], caught: Caught) -> None:
    """An event arrives, the canary does not."""
    start(caught)
    leak()
    assert len(caught.events) == 1
    assert caught.events[0]["exception"]["values"][-1]["type"] == "ValueError"
    assert_clean(caught)


@pytest.mark.parametrize("leak", LEAKS)
def test_sentrys_defaults_would_leak(leak: Callable[[], None], caught: Caught) -> None:
    """Otherwise the test above proves nothing."""
    sentry_sdk.init(DSN, transport=caught)
    leak()
    assert CANARY.encode() in b"".join(caught.sent)


def assert_clean(caught: Caught) -> None:
    """Not one of the bytes that would be sent."""
    for sent in caught.sent:
        assert CANARY.encode() not in sent
        assert b"23456789" not in sent


# --- outgoing calls --------------------------------------------------------------------------------------


def call_out(httpserver: HTTPServer) -> None:
    """One call with a token where it does not belong, then a failure."""
    httpserver.expect_request("/events").respond_with_data("{}")
    with sentry_sdk.start_transaction(name="deliver"), urllib3.PoolManager() as pool:
        pool.request("POST", httpserver.url_for(f"/events?access_token={TOKEN}"))
        sentry_sdk.capture_exception(ValueError())


@pytest.mark.parametrize("integrations", [[], ["stdlib"]], ids=["as shipped", "stdlib integration on"])
def test_outgoing_addresses_do_not_leak(
    integrations: list[str], httpserver: HTTPServer, caught: Caught
) -> None:
    """Neither as a breadcrumb nor as a span, not even with tracing and Sentry's own wire tap on."""
    more: dict[str, Any] = {"traces_sample_rate": 1.0}
    if integrations:
        more |= {"default_integrations": True, "integrations": []}
    start(caught, **more)
    call_out(httpserver)
    assert sorted(event.get("type", "event") for event in caught.events) == ["event", "transaction"]
    assert_clean(caught)
    outgoing = httpserver.log[0][0].headers
    assert not [name for name in outgoing.keys() if name.lower() in {"sentry-trace", "baggage"}]  # noqa: SIM118


def test_sentrys_defaults_would_leak_outgoing_addresses(httpserver: HTTPServer, caught: Caught) -> None:
    """Otherwise the test above proves nothing."""
    sentry_sdk.init(DSN, transport=caught, traces_sample_rate=1.0)
    call_out(httpserver)
    assert CANARY.encode() in b"".join(caught.sent)


# --- jobs ------------------------------------------------------------------------------------------------


def failing_job(email: str) -> NoReturn:
    """A job with an argument that it should not have."""
    raise ValueError(email)


def work(redis_url: str) -> None:
    """Enqueues the job and works it off."""
    with redis.Redis.from_url(redis_url) as connection:
        queue = Queue("relay", connection=connection, serializer=JSONSerializer)
        queue.enqueue(failing_job, EMAIL, description=f"deliver to {EMAIL}")
        SimpleWorker([queue], connection=connection, serializer=JSONSerializer).work(burst=True)


def test_a_failing_job_does_not_leak(redis_url: str, caught: Caught) -> None:
    """Which job it was is told, what it was given is not."""
    start(caught)
    work(redis_url)
    (event,) = caught.events
    assert event["extra"]["rq-job"]["func"].endswith("failing_job")
    assert_clean(caught)


def test_sentrys_defaults_would_leak_a_jobs_description(redis_url: str, caught: Caught) -> None:
    """Otherwise the test above proves nothing."""
    sentry_sdk.init(DSN, transport=caught)
    work(redis_url)
    assert CANARY.encode() in b"".join(caught.sent)


# --- what does arrive ------------------------------------------------------------------------------------


def test_a_failure_tells_where(caught: Caught) -> None:
    """Route, method, path, release and the place in the source."""
    start(caught)
    post(json={"email": EMAIL})
    (event,) = caught.events
    assert event["request"]["method"] == "POST"
    assert event["request"]["url"].endswith("/webhooks/shopify/main")
    assert event["request"]["headers"]["content-type"] == "application/json"
    assert event["transaction"] == "intake"
    assert event["release"].startswith("purchase-relay@")
    assert event["server_name"] == "web"
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "intake"


def test_an_alert_is_one_issue_per_cause(caught: Caught) -> None:
    """A thousand orders with one dead token are one thing to do; a second account's are another."""
    start(caught)
    for delivery in range(3):
        for account in ("one", "two"):
            reporting.alert("credentials", "The token is refused", account=account, delivery=delivery)
    assert [event["fingerprint"] for event in caught.events] == [
        ["credentials", "account=one"],
        ["credentials", "account=two"],
    ]
    assert caught.events[0]["message"] == "The token is refused"
    assert caught.events[0]["tags"] == {"account": "one", "delivery": "0", "kind": "credentials"}


def test_an_alert_repeats_after_a_while(caught: Caught, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence must not look like recovery."""
    start(caught)
    monkeypatch.setattr(reporting, "QUIET_SECONDS", 0)
    reporting.alert("credentials", "The token is refused", account="one")
    reporting.alert("credentials", "The token is refused", account="one")
    assert len(caught.events) == 2


def test_an_alert_carries_its_exception_and_our_log_lines(caught: Caught) -> None:
    """How it came to it."""
    start(caught)
    reporting.logger("webhooks.delivery").info("sending", delivery=7)
    reporting.alert("broken", "A bug of ours", error=ValueError(EMAIL), delivery=7)
    (event,) = caught.events
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert event["breadcrumbs"]["values"][0]["message"] == "sending"
    assert event["breadcrumbs"]["values"][0]["data"] == {"delivery": 7}
    assert_clean(caught)


def test_without_a_dsn_sentry_stays_off(caught: Caught) -> None:
    """An alert is then in the log only."""
    reporting.alert("credentials", "The token is refused")
    assert not sentry_sdk.is_initialized()
    assert caught.events == []
