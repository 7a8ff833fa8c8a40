"""What is particular to Google: tokens, Google's own message classes, culprits, and what comes after yes."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.ads import datamanager_v1
from google.protobuf import json_format

from integrations.destination import Account, Outcome, Request, Response, Token
from integrations.destinations.google import answer as words
from integrations.destinations.google.credentials import SCOPE, TOKEN_URL
from integrations.discovery import destinations
from integrations.event import Buyer, Consent, Event, Line
from tests.contract import deliveries
from tests.contract.deliveries import EVENTS, NOW, account, answer, delivery
from webhooks.sandbox.google import Google
from webhooks.sandbox.wire import serving
from webhooks.transport import Transport

GOOGLE = destinations()["google"]
FULL = EVENTS["web_full"]
CLIENT = "GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET and GOOGLE_REFRESH_TOKEN"
NO_CLIENT = {"client_id": "", "client_secret": "", "refresh_token": ""}


def _event(event: Event, **options: Any) -> dict[str, Any]:
    body = json.loads(GOOGLE.build([delivery(event)], account(GOOGLE, **options), NOW).body)
    built: dict[str, Any] = body["events"][0]
    return built


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport(total_seconds=5)
    yield made
    made.close()


# --- Google's own message classes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in EVENTS if deliveries.fit(GOOGLE, name)])
def test_googles_own_classes_read_the_request(name: str) -> None:
    """Unknown names, wrong types and wrong enums are errors to them."""
    raw = GOOGLE.build([delivery(EVENTS[name])], account(GOOGLE), NOW).body
    read = json_format.Parse(raw, datamanager_v1.IngestEventsRequest.pb()())
    written = json.loads(raw)
    assert json_format.MessageToDict(read) == _as_protobuf_writes(written)


def test_googles_own_classes_refuse_what_they_do_not_know() -> None:
    """Otherwise the test above proves nothing."""
    with pytest.raises(json_format.ParseError):
        json_format.Parse('{"events": [{"order": "1"}]}', datamanager_v1.IngestEventsRequest.pb()())


def test_googles_own_classes_read_the_check_and_the_stand_in() -> None:
    checking = GOOGLE.check(account(GOOGLE), NOW)
    assert checking is not None
    read = json_format.Parse(checking.body, datamanager_v1.IngestEventsRequest.pb()())
    assert (read.validate_only, len(read.events)) == (True, 1)


def _as_protobuf_writes(value: Any, name: str = "") -> Any:
    """64-bit integers are text in protobuf's JSON, and a price of zero is none."""
    if isinstance(value, dict):
        told = {key: part for key, part in value.items() if (key, part) != ("unitPrice", 0)}
        return {key: _as_protobuf_writes(part, key) for key, part in told.items()}
    if isinstance(value, list):
        return [_as_protobuf_writes(part) for part in value]
    return str(value) if name == "quantity" else value


def test_every_word_that_is_judged_is_one_of_googles() -> None:
    reasons = set(datamanager_v1.ErrorReason.__members__)
    canonical = {"ABORTED", "CANCELLED", "INTERNAL", "UNAVAILABLE", "UNKNOWN", "UNAUTHENTICATED"}
    before_the_api = {
        *("ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        *("CREDENTIALS_MISSING", "RATE_LIMIT_EXCEEDED", "SERVICE_DISABLED", "CONSUMER_INVALID"),
        "USER_PROJECT_DENIED",
    }
    assert words._ROWS.keys() - reasons == canonical | before_the_api


# --- click ids and consent -------------------------------------------------------------------------------

CLICK = "EAIaIQobChMI-click_0A"


@pytest.mark.parametrize(
    ("attributes", "landing", "expected"),
    [
        ({"gclid": CLICK}, {}, {"gclid": CLICK}),
        ({}, {"gclid": CLICK}, {"gclid": CLICK}),
        ({"_gcl_aw": f"GCL.1794998000.{CLICK}"}, {}, {"gclid": CLICK}),
        ({"_gcl_aw": f"GCL.1794998000.{CLICK}"}, {"gclid": "Another-click-1"}, {"gclid": "Another-click-1"}),
        ({"_gcl_aw": f"gcl.1794998000.{CLICK}"}, {}, {}),
        ({"_gcl_aw": CLICK}, {}, {}),
        ({"_gcl_aw": f"GCL.1794998000.{CLICK}.label"}, {}, {}),
        ({}, {"gbraid": "0AAAA-braid_1"}, {"gbraid": "0AAAA-braid_1"}),
        ({}, {"wbraid": "Cj8KCQiA-braid"}, {"wbraid": "Cj8KCQiA-braid"}),
        ({"gclid": CLICK}, {"gbraid": "0AAAA-braid_1"}, {"gclid": CLICK}),
        ({}, {"gbraid": "0AAAA-braid_1", "wbraid": "Cj8KCQiA-braid"}, {"gbraid": "0AAAA-braid_1"}),
        ({}, {"dclid": "CjgKEAiA-dclid"}, {}),
        ({"gclid": "<script>alert(1)"}, {}, {}),
        ({"gclid": "short"}, {}, {}),
        ({"gclid": "x" * 501}, {}, {}),
        ({"gclid": "two words here"}, {}, {}),
    ],
    ids=range(16),
)
def test_click_id(attributes: dict[str, str], landing: dict[str, str], expected: dict[str, str]) -> None:
    event = msgspec.structs.replace(FULL, attributes=attributes, landing=landing)
    assert _event(event).get("adIdentifiers", {}) == expected


def test_a_click_alone_is_enough() -> None:
    event = msgspec.structs.replace(FULL, buyer=Buyer(first_name="Mary"))
    assert GOOGLE.unfit(event, account(GOOGLE), NOW) is None
    assert "userData" not in _event(event)
    bare = msgspec.structs.replace(event, attributes={})
    unfit = GOOGLE.unfit(bare, account(GOOGLE), NOW)
    assert unfit is not None
    assert (unfit.state, unfit.reason) == ("refused", "NO_IDENTIFIERS_PROVIDED")


@pytest.mark.parametrize(
    ("consent", "told"),
    [
        (Consent(), None),
        (Consent(ad_user_data="granted"), {"adUserData": "CONSENT_GRANTED"}),
        (
            Consent(ad_user_data="granted", ad_personalization="denied"),
            {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_DENIED"},
        ),
    ],
    ids=["unknown", "half", "not_personalised"],
)
def test_consent_is_told_as_it_was_said(consent: Consent, told: dict[str, str] | None) -> None:
    assert _event(msgspec.structs.replace(FULL, consent=consent)).get("consent") == told


def test_a_cart_needs_a_merchant_and_items() -> None:
    assert "cartData" not in _event(FULL, merchant_id="")
    assert "cartData" not in _event(msgspec.structs.replace(FULL, lines=(Line(title="Lampe"),)))
    assert "cartData" not in _event(msgspec.structs.replace(FULL, lines=(Line(sku="A", quantity=0),)))


def test_an_address_needs_all_of_its_parts() -> None:
    for part in ("first_name", "last_name", "postcode", "country"):
        buyer = msgspec.structs.replace(FULL.buyer, **{part: ""})
        told = _event(msgspec.structs.replace(FULL, buyer=buyer))["userData"]["userIdentifiers"]
        assert [one for one in told if "address" in one] == []


# --- culprits --------------------------------------------------------------------------------------------


def _refusal(*violations: tuple[str, str], reason: str = "INVALID_ARGUMENT") -> Response:
    fields = [{"field": field, "reason": word, "description": "no"} for field, word in violations]
    details = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason},
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields},
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "call-7"},
    ]
    error = {"code": 400, "status": "INVALID_ARGUMENT", "message": "m", "details": details}
    return answer(400, {"error": error})


def _told(outcomes: list[Outcome]) -> list[tuple[str, str, bool]]:
    return [(one.state, one.reason, one.whole) for one in outcomes]


@pytest.mark.parametrize("path", ["events[1].currency", "events.events[1].currency", "events[1]"])
def test_the_named_event_is_refused_and_the_others_are_not_to_blame(path: str) -> None:
    outcomes = GOOGLE.read(3, _refusal((path, "INVALID_CURRENCY_CODE")))
    innocent = ("refused", "INVALID_ARGUMENT", True)
    assert _told(outcomes) == [innocent, ("refused", "INVALID_CURRENCY_CODE", False), innocent]
    assert {one.trace for one in outcomes} == {"call-7"}
    assert path in outcomes[1].detail


def test_every_named_event_is_refused_for_its_first_fault() -> None:
    faults = [("events[0].currency", "INVALID_CURRENCY_CODE"), ("events[2].a", "INVALID_FORMAT")]
    outcomes = GOOGLE.read(3, _refusal(*faults, ("events[0].b", "INVALID_HEX_ENCODING")))
    assert [one.reason for one in outcomes] == ["INVALID_CURRENCY_CODE", "INVALID_ARGUMENT", "INVALID_FORMAT"]
    assert [one.whole for one in outcomes] == [False, True, False]


def test_a_violation_without_a_word_of_its_own_gets_the_general_one() -> None:
    """As where a name is unknown: a sentence, and no reason."""
    fields = {"fieldViolations": [{"field": "events[0]", "description": 'Unknown name "a"'}]}
    document = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [fields]}}
    assert _told(GOOGLE.read(2, answer(400, document))) == [
        ("refused", "INVALID_ARGUMENT", False),
        ("refused", "INVALID_ARGUMENT", True),
    ]


@pytest.mark.parametrize(
    "violations",
    [
        [("events[0].currency", "INVALID_CURRENCY_CODE"), ("destinations[0].x", "INVALID_FORMAT")],
        [("destinations.destinations[0].operating_account", "REQUIRED_FIELD_MISSING")],
        [("events[1].cart_data.merchant_id", "INVALID_MERCHANT_ID")],
        [("events[0]", "NOT_ALLOWLISTED")],
    ],
    ids=["beside_an_event", "alone", "merchant", "allowlist"],
)
def test_what_the_settings_are_to_blame_for_holds_the_account(violations: list[tuple[str, str]]) -> None:
    outcomes = GOOGLE.read(3, _refusal(*violations))
    assert {(one.state, one.spent) for one in outcomes} == {("held", False)}


@pytest.mark.parametrize("path", ["events[3].currency", "events[9999].currency", "events[-1].currency"])
def test_an_event_that_was_not_sent_is_nobody(path: str) -> None:
    """Then nobody is named, and the batch is halved."""
    assert (
        _told(GOOGLE.read(2, _refusal((path, "INVALID_CURRENCY_CODE"))))
        == [("refused", "INVALID_ARGUMENT", True)] * 2
    )


def test_a_warning_is_told_to_its_event() -> None:
    word = "WARNING_REASON_INVALID_MERCHANT_ID"
    document = {"requestId": "r-1", "fieldWarnings": [{"reason": word, "field": "events[1].cart_data"}]}
    json_format.Parse(json.dumps(document), datamanager_v1.IngestEventsResponse.pb()())
    outcomes = GOOGLE.read(2, answer(200, document))
    assert [(one.state, one.detail) for one in outcomes] == [("delivered", ""), ("delivered", word)]
    assert {one.trace for one in outcomes} == {"r-1"}


def test_a_newer_value_takes_the_place_of_the_older(transport: Transport) -> None:
    """That is what a repetition under the same transactionId does: it never counts twice."""
    kind = Google([_options(account(GOOGLE))], clock=lambda: NOW)
    with serving(kind) as address:
        known = account(GOOGLE, address)
        for value in ("10.00", "20.50"):
            event = msgspec.structs.replace(FULL, value=msgspec.convert(value, type(FULL.value)))
            request = _authorized(GOOGLE.build([delivery(event)], known, NOW), known, transport)
            assert GOOGLE.read(1, transport.send(request))[0].state == "delivered"
    assert [one.kept for one in kind.record] == [True, False]
    assert kind.values == {"1001": 20.5}


# --- tokens ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key_file() -> str:
    """The JSON key of a service account that nobody has."""
    return _key_file(rsa.generate_private_key(public_exponent=65_537, key_size=2048))


def _key_file(key: Any, **more: Any) -> str:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    email = "relay@invented-project.iam.gserviceaccount.com"
    fields = {"type": "service_account", "private_key_id": "k1", "private_key": pem, "client_email": email}
    return json.dumps(fields | more)


def _options(known: Account) -> dict[str, Any]:
    return {name: str(value) for name, value in known.options.items() if value}


def _exchange(known: Account, transport: Transport) -> Token | Outcome:
    asked = GOOGLE.exchange(known, NOW)
    assert asked is not None
    return asked if isinstance(asked, Outcome) else GOOGLE.read_exchange(transport.send(asked))


def _authorized(request: Request, known: Account, transport: Transport) -> Request:
    got = _exchange(known, transport)
    assert isinstance(got, Token)
    headers = {**request.headers, "Authorization": f"Bearer {got.value}"}
    return msgspec.structs.replace(request, headers=headers)


@pytest.mark.parametrize("in_base64", [False, True])
def test_a_key_file_gets_a_token(key_file: str, transport: Transport, in_base64: bool) -> None:
    written = base64.b64encode(key_file.encode()).decode() if in_base64 else key_file
    options = NO_CLIENT | {"service_account": written}
    kind = Google([_options(account(GOOGLE, **options))], clock=lambda: NOW)
    with serving(kind) as address:
        known = account(GOOGLE, address, **options)
        request = _authorized(GOOGLE.build([delivery(FULL)], known, NOW), known, transport)
        assert GOOGLE.read(1, transport.send(request))[0].state == "delivered"


def test_the_assertion_says_what_google_wants(key_file: str) -> None:
    asked = GOOGLE.exchange(account(GOOGLE, **NO_CLIENT, service_account=key_file), NOW)
    assert isinstance(asked, Request)
    assert asked.url == TOKEN_URL
    assertion = asked.body.decode().rpartition("assertion=")[2]
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "kid": "k1", "typ": "JWT"}
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims.pop("iat") <= NOW
    assert NOW + 1_800 < claims.pop("exp") <= NOW + 3_600
    assert claims == {
        "iss": "relay@invented-project.iam.gserviceaccount.com",
        "scope": SCOPE,
        "aud": "https://oauth2.googleapis.com/token",
    }


@pytest.mark.parametrize("minutes", [-90, 90], ids=["slow", "fast"])
def test_a_wrong_clock_is_named(key_file: str, transport: Transport, minutes: int) -> None:
    options = NO_CLIENT | {"service_account": key_file}
    kind = Google([_options(account(GOOGLE, **options))], clock=lambda: NOW + minutes * 60)
    with serving(kind) as address:
        outcome = _exchange(account(GOOGLE, address, **options), transport)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == ("held", "invalid_grant")
    assert "clock" in outcome.detail


def test_another_accounts_key_is_held(key_file: str, transport: Transport) -> None:
    kind = Google([_options(account(GOOGLE, **NO_CLIENT, service_account=key_file))], clock=lambda: NOW)
    other = _key_file(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    with serving(kind) as address:
        outcome = _exchange(account(GOOGLE, address, **NO_CLIENT, service_account=other), transport)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason, outcome.spent) == ("held", "invalid_grant", False)


NO_KEYS = {
    "text": "nobody",
    "base64": base64.b64encode(b"nobody").decode(),
    "binary": base64.b64encode(bytes(range(256))).decode(),
    "list": "[]",
    "empty": "{}",
    "half": '{"type": "service_account", "private_key": "-----BEGIN',
    "no_key": '{"client_email": "a@b.example", "private_key": "nobody"}',
    "number": '{"client_email": "a@b.example", "private_key": 7}',
    "deep": "{" + '"a":{' * 500,
    "not_ascii": "ключ",
    "elliptic": _key_file(ec.generate_private_key(ec.SECP256R1())),
    "nobody's": _key_file(rsa.generate_private_key(public_exponent=65_537, key_size=2048), client_email=""),
}


@pytest.mark.parametrize("written", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key_is_said_to_be_none(written: str) -> None:
    outcome = GOOGLE.exchange(account(GOOGLE, **NO_CLIENT, service_account=written), NOW)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.spent) == ("held", False)
    assert outcome.detail.startswith("GOOGLE_SERVICE_ACCOUNT is not the JSON key")
    assert written not in outcome.detail


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        (
            NO_CLIENT,
            f"set GOOGLE_SERVICE_ACCOUNT, or {CLIENT}",
        ),
        ({"client_secret": ""}, "GOOGLE_CLIENT_SECRET is missing"),
        ({"client_id": "", "refresh_token": ""}, "GOOGLE_CLIENT_ID and GOOGLE_REFRESH_TOKEN is missing"),
        (
            {"service_account": "{}"},
            f"set either GOOGLE_SERVICE_ACCOUNT or {CLIENT}, not both",
        ),
    ],
    ids=["none", "one_missing", "two_missing", "both"],
)
def test_credentials_that_are_not_complete_are_named(options: dict[str, str], detail: str) -> None:
    assert GOOGLE.exchange(account(GOOGLE, **options), NOW) == Outcome(
        "held", "credentials", detail, spent=False
    )


def test_a_stand_in_gives_its_tokens_itself() -> None:
    """No credential goes to Google while somebody else plays it, nor the other way round."""
    for base, url in (("", TOKEN_URL), ("http://127.0.0.1:9", "http://127.0.0.1:9/token")):
        asked = GOOGLE.exchange(account(GOOGLE, base), NOW)
        assert isinstance(asked, Request)
        assert asked.url == url


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("refresh_token", "invalid_grant"),
        ("client_secret", "invalid_client"),
        ("client_id", "invalid_client"),
    ],
)
def test_refused_credentials_hold(transport: Transport, option: str, reason: str) -> None:
    kind = Google([_options(account(GOOGLE))], clock=lambda: NOW)
    with serving(kind) as address:
        outcome = _exchange(account(GOOGLE, address, **{option: "another"}), transport)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason, outcome.spent) == ("held", reason, False)


@pytest.mark.parametrize(
    ("response", "state", "reason"),
    [
        (answer(400, {"error": "invalid_scope"}), "held", "invalid_scope"),
        (answer(400, {"error": "news"}), "held", "news"),
        (answer(403, {"error": {"status": "PERMISSION_DENIED"}}), "held", "http_403"),
        (answer(500, {"error": "internal_failure"}), "retry", "internal_failure"),
        (Response(503, b"<html>"), "retry", "http_503"),
        (Response(400, b"<html>"), "retry", "http_400"),
        (answer(200, {"access_token": "two words", "expires_in": 60}), "retry", "no_receipt"),
        (answer(200, {"access_token": "x\r\nHost: a", "expires_in": 60}), "retry", "no_receipt"),
        (answer(200, {"access_token": "t"}), "retry", "no_receipt"),
        (Response(0, fault="maybe_sent"), "retry", "no_answer"),
    ],
    ids=range(10),
)
def test_no_token(response: Response, state: str, reason: str) -> None:
    outcome = GOOGLE.read_exchange(response)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.reason) == (state, reason)
    assert (outcome.ambiguous, outcome.whole) == (False, False), "no event was sent"


def test_the_quota_project_is_named_where_one_is_set() -> None:
    known = account(GOOGLE, quota_project="invented-project")
    confirming = GOOGLE.confirm("r-1", known)
    assert confirming is not None
    for request in (GOOGLE.build([delivery(FULL)], known, NOW), confirming):
        assert request.headers["x-goog-user-project"] == "invented-project"
    assert "x-goog-user-project" not in GOOGLE.build([delivery(FULL)], account(GOOGLE), NOW).headers


# --- what became of it -----------------------------------------------------------------------------------


def _status(status: str, sent: int = 3, **errors: int) -> Response:
    found: dict[str, Any] = {"requestStatus": status, "eventsIngestionStatus": {"recordCount": str(sent)}}
    if errors:
        prefix = "PROCESSING_ERROR_REASON_"
        counts = [{"reason": prefix + word, "recordCount": str(count)} for word, count in errors.items()]
        found["errorInfo"] = {"errorCounts": counts}
    document = {"requestStatusPerDestination": [found]}
    json_format.Parse(json.dumps(document), datamanager_v1.RetrieveRequestStatusResponse.pb()())
    return answer(200, document)


@pytest.mark.parametrize(
    ("response", "state", "reason"),
    [
        (_status("SUCCESS"), "delivered", ""),
        (_status("PROCESSING"), "retry", "PROCESSING"),
        (_status("REQUEST_STATUS_UNKNOWN"), "retry", "REQUEST_STATUS_UNKNOWN"),
        (_status("FAILED", EVENT_TOO_OLD=3), "refused", "EVENT_TOO_OLD"),
        (
            _status("PARTIAL_SUCCESS", NO_CONSENT=1, EVENT_TOO_OLD=2),
            "refused",
            "PARTIAL_SUCCESS/EVENT_TOO_OLD",
        ),
        (_status("PARTIAL_SUCCESS", DUPLICATE_TRANSACTION_ID=1), "delivered", ""),
        (_status("FAILED", DUPLICATE_TRANSACTION_ID=2, NO_CONSENT=1), "refused", "NO_CONSENT"),
        (_status("FAILED"), "refused", "UNSPECIFIED"),
        (answer(200, {}), "retry", "http_200"),
        (answer(404, {"error": {"status": "NOT_FOUND"}}), "retry", "http_404"),
        (answer(401, {"error": {"status": "UNAUTHENTICATED"}}), "retry", "http_401"),
        (Response(502, b"<html>"), "retry", "http_502"),
        (Response(0, fault="not_sent"), "retry", "not_sent"),
    ],
    ids=range(13),
)
def test_what_became_of_a_call(response: Response, state: str, reason: str) -> None:
    outcome = GOOGLE.read_confirm(response)
    assert (outcome.state, outcome.reason) == (state, reason)


def test_only_counts_are_known() -> None:
    outcome = GOOGLE.read_confirm(_status("PARTIAL_SUCCESS", sent=200, NO_CONSENT=1, EVENT_TOO_OLD=2))
    said = "of 200 accepted events Google could not process: EVENT_TOO_OLD (2), NO_CONSENT (1)"
    assert outcome.detail == said


def test_nothing_is_asked_without_a_receipt() -> None:
    assert GOOGLE.confirm("", account(GOOGLE)) is None
    asked = GOOGLE.confirm("a/b+c=", account(GOOGLE))
    assert asked is not None
    assert asked.url == "https://datamanager.googleapis.com/v1/requestStatus:retrieve?requestId=a%2Fb%2Bc%3D"
    assert asked.method == "GET"
