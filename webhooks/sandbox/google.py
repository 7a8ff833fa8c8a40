"""A stand-in of Google's Data Manager API: tokens, ``events:ingest`` and ``requestStatus:retrieve``.

The words are those of reference/rest/v1/ErrorReason, the shapes those of the message classes in
google-ads-datamanager 0.9.4; a test holds the two together. One bad field refuses the whole request, and all
of them are listed. Which word Google would choose is invented wherever its pages do not say; so are the
sentences, and the order of the checks within an event.
"""

import re
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from webhooks.sandbox.google_desk import Desk
from webhooks.sandbox.google_shape import misshapen
from webhooks.sandbox.shapes import is_hash, is_text, matches
from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn, Step, json_reply, strict_json

AHEAD = 600  # invented: the upper bound is not documented
PROCESSING_SECONDS = 600  # invented: minutes to hours
MAX_EVENTS, MAX_IDENTIFIERS, MAX_DESTINATIONS = 2000, 10, 10
INGEST, STATUS = "/v1/events:ingest", "/v1/requestStatus:retrieve"
_RPC = "type.googleapis.com/google.rpc."

Violation = tuple[str, str]
"""A field's path and Google's word for what is wrong with it."""


def _error(code: int, status: str, reason: str, *violations: Violation, **metadata: str) -> dict[str, Any]:
    info = {"@type": f"{_RPC}ErrorInfo", "reason": reason, "domain": "datamanager.googleapis.com"}
    bad = [{"field": field, "description": f"invalid: {word}", "reason": word} for field, word in violations]
    details = [
        info | ({"metadata": metadata} if metadata else {}),
        *([{"@type": f"{_RPC}BadRequest", "fieldViolations": bad}] if bad else []),
        {"@type": f"{_RPC}RequestInfo", "requestId": "stand-in-call"},
    ]
    return {"error": {"code": code, "message": f"stand-in: {reason}", "status": status, "details": details}}


def _step(code: int, status: str, reason: str, **metadata: str) -> Step:
    return Step(status=code, body=_error(code, status, reason, **metadata))


class Google(StandIn):
    """Knows accounts by ``customer_id`` and ``conversion_action_id``, and by their credentials.

    ``login_customer_id`` is the manager that must be named; ``expired_token`` is a token that was right once,
    ``foreign_token`` one of somebody without rights.
    """

    slug = "google"
    dedup_seconds = 10**9  # the same transactionId is the same conversion for good
    demo: ClassVar[Mapping[str, str]] = {
        "customer_id": "1234567890",
        "conversion_action_id": "987654321",
        "client_id": "stand-in-client",
        "client_secret": "stand-in-secret",
        "refresh_token": "stand-in-refresh-token",
    }
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": _step(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", quota_limit="RequestsPerMinute"),
        "exhausted": _step(429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", quota_limit="RequestsPerDay"),
        "internal_error": _step(500, "INTERNAL", "INTERNAL_ERROR"),
        "unavailable": _step(503, "UNAVAILABLE", "UNAVAILABLE"),
        "deadline": _step(504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
        "too_new": _step(400, "INVALID_ARGUMENT", "CONVERSION_ACTION_TOO_RECENTLY_CREATED"),
        "token_expired": _step(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED"),
        "no_permission": _step(403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
        "api_disabled": _step(403, "PERMISSION_DENIED", "SERVICE_DISABLED"),
        "terms_not_signed": _step(
            400, "INVALID_ARGUMENT", "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED"
        ),
    }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.desk = Desk(self)
        self.accepted: dict[str, tuple[float, list[str]]] = {}
        self.values: dict[str, float] = {}
        self.fates: dict[str, str] = {}
        """Why the event with this transactionId is not processed once it was accepted."""

    def is_scripted(self, hit: Hit) -> bool:
        """Events alone are."""
        return hit.path == INGEST

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """A token, the events of a request, or what became of them."""
        if (hit.method, hit.path) == ("POST", "/token"):
            return self.desk.exchange(hit), []
        if (hit.method, hit.path) == ("GET", STATUS):
            self.desk.caller(hit)
            return self._status(hit.query.get("requestId", "")), []
        if (hit.method, hit.path) != ("POST", INGEST):
            return Reply(404, b"<html>Error 404 (Not Found)</html>", {"Content-Type": "text/html"}), []
        return self._ingest(hit)

    # --- events ------------------------------------------------------------------------------------------

    def _ingest(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        caller = self.desk.caller(hit)
        body = _body(hit)
        account = _addressed(body, caller)
        violations = list(_violations(body, self.now()))
        if violations:
            raise _refused(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", *violations)
        if body.get("validateOnly"):
            return json_reply(200, {}), []
        ids = [event["transactionId"] for event in body["events"]]
        self.values |= {event["transactionId"]: event.get("conversionValue", 0.0) for event in body["events"]}
        request = f"stand-in-request-{len(self.accepted) + 1}"
        self.accepted[request] = (self.now(), ids)
        counted = [Counted(account, "Purchase", event["transactionId"], event) for event in body["events"]]
        return json_reply(200, {"requestId": request}), counted

    def dedup_keys(self, counted: Counted) -> dict[Hashable, int]:
        """The tag in the browser and this API tell of one conversion."""
        return {(counted.account, counted.event_id): self.dedup_seconds}

    def _status(self, request: str) -> Reply:
        if request not in self.accepted:
            raise _refused(404, "NOT_FOUND", "INVALID_REQUEST_ID")
        at, ids = self.accepted[request]
        if self.now() < at + PROCESSING_SECONDS:
            return json_reply(200, {"requestStatusPerDestination": [{"requestStatus": "PROCESSING"}]})
        reasons = [self.fates[one] for one in ids if one in self.fates]
        found: dict[str, Any] = {
            "requestStatus": _FATES[bool(reasons), len(reasons) == len(ids)],
            "eventsIngestionStatus": {"recordCount": str(len(ids))},
        }
        if reasons:
            counts = [
                {"recordCount": str(reasons.count(one)), "reason": f"PROCESSING_ERROR_REASON_{one}"}
                for one in sorted(set(reasons))
            ]
            found["errorInfo"] = {"errorCounts": counts}
        return json_reply(200, {"requestStatusPerDestination": [found]})


_FATES = {
    (False, False): "SUCCESS",
    (True, False): "PARTIAL_SUCCESS",
    (True, True): "FAILED",
}


def _refused(code: int, status: str, reason: str, *violations: Violation) -> Refusal:
    return Refusal(json_reply(code, _error(code, status, reason, *violations)))


def _body(hit: Hit) -> dict[str, Any]:
    """The document, if protobuf's JSON would read it: no unknown names, no other types."""
    body = strict_json(hit.body)
    declared = hit.headers.get("content-type", "").partition(";")[0].strip()
    if declared != "application/json" or not isinstance(body, dict):
        raise _refused(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", ("", "INVALID_FORMAT"))
    if (field := misshapen(body)) is not None:
        raise _refused(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", (field, "INVALID_FORMAT"))
    return body


def _addressed(body: Mapping[str, Any], caller: Mapping[str, Any]) -> str:
    """The account and conversion action, if the caller may write to them."""
    receivers = body.get("destinations", [])
    if not 1 <= len(receivers) <= MAX_DESTINATIONS:
        word = "TOO_MANY_DESTINATIONS" if receivers else "REQUIRED_FIELD_MISSING"
        raise _refused(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", ("destinations", word))
    for index, one in enumerate(receivers):
        operating = one.get("operatingAccount", {}).get("accountId", "")
        if matches(operating, "[0-9]+") and operating != _digits(caller, "customer_id"):
            raise _refused(403, "PERMISSION_DENIED", "PERMISSION_DENIED")
        if wrong := _misaddressed(one, caller):
            violation = (f"destinations[{index}].{wrong[0]}", wrong[1])
            raise _refused(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", violation)
    return str(caller["conversion_action_id"])


def _misaddressed(one: Mapping[str, Any], caller: Mapping[str, Any]) -> Violation | None:
    operating = one.get("operatingAccount", {})
    if not matches(operating.get("accountId"), "[0-9]+"):
        return "operating_account.account_id", "INVALID_FORMAT"
    if operating.get("accountType") != "GOOGLE_ADS":
        return "operating_account.account_type", "DESTINATION_ACCOUNT_TYPE_MISMATCH"
    if one.get("loginAccount", {}).get("accountId", "") != _digits(caller, "login_customer_id"):
        return "login_account", "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH"
    if one.get("productDestinationId") != caller["conversion_action_id"]:
        return "product_destination_id", "INVALID_CONVERSION_ACTION_ID"
    return None


def _digits(account: Mapping[str, Any], name: str) -> str:
    return str(account.get(name, "")).replace("-", "")


# --- what is wrong with the events -----------------------------------------------------------------------


def _violations(body: Mapping[str, Any], now: float) -> Iterator[Violation]:
    events = body.get("events", [])
    if not events:
        yield "events", "REQUIRED_FIELD_MISSING"
    if len(events) > MAX_EVENTS:
        yield "events", "TOO_MANY_EVENTS"
        return
    if body.get("encoding") != "HEX" and any("userData" in event for event in events):
        yield "encoding", "REQUIRED_FIELD_MISSING"
    for index, event in enumerate(events):
        for field, word in _of_event(event, now):
            yield f"events[{index}].{field}".removesuffix("."), word


def _of_event(event: Mapping[str, Any], now: float) -> Iterator[Violation]:
    if not event.get("transactionId"):
        yield "transaction_id", "REQUIRED_FIELD_MISSING"
    if "eventTimestamp" not in event:
        yield "event_timestamp", "REQUIRED_FIELD_MISSING"
    elif datetime.fromisoformat(event["eventTimestamp"]).timestamp() > now + AHEAD:
        yield "event_timestamp", "EVENT_TIME_INVALID"
    if event.get("eventSource") != "WEB":
        yield "event_source", "EVENT_SOURCE_AND_DESTINATION_MISMATCH"
    if not matches(event.get("currency"), "[A-Z]{3}"):
        yield "currency", "INVALID_CURRENCY_CODE"
    if event.get("conversionValue", -1) < 0:
        yield "conversion_value", "INVALID_NUMBER_FORMAT"
    yield from _of_person(event)
    yield from _of_click(event.get("adIdentifiers", {}))
    yield from _of_cart(event.get("cartData"))
    for name, value in event.get("eventDeviceInfo", {}).items():
        if not value:
            yield f"event_device_info.{name}", "REQUIRED_FIELD_MISSING"


def _of_person(event: Mapping[str, Any]) -> Iterator[Violation]:
    found = event.get("userData", {}).get("userIdentifiers", [])
    if not found and not event.get("adIdentifiers"):
        yield "", "NO_IDENTIFIERS_PROVIDED"
    if len(found) > MAX_IDENTIFIERS:
        yield "user_data.user_identifiers", "TOO_MANY_USER_IDENTIFIERS"
    for index, one in enumerate(found):
        if len(one) != 1:
            yield f"user_data.user_identifiers[{index}]", "INVALID_FORMAT"
        for field, word in _of_identifier(one):
            yield f"user_data.user_identifiers[{index}].{field}", word


def _of_identifier(one: Mapping[str, Any]) -> Iterator[Violation]:
    hashed = {"email_address": one.get("emailAddress"), "phone_number": one.get("phoneNumber")}
    if address := one.get("address"):
        hashed |= {f"address.{_snake(key)}": address.get(key, "") for key in ("givenName", "familyName")}
        if not matches(address.get("regionCode"), "[A-Z]{2}"):
            missing = not address.get("regionCode")
            yield "address.region_code", "REQUIRED_FIELD_MISSING" if missing else "INVALID_REGION_CODE"
        if not address.get("postalCode") or is_hash(address["postalCode"]):
            missing = not address.get("postalCode")
            yield "address.postal_code", "REQUIRED_FIELD_MISSING" if missing else "INVALID_POSTAL_CODE"
    for field, value in hashed.items():
        if value == "":
            yield field, "REQUIRED_FIELD_MISSING"
        elif value is not None and not is_hash(value):
            yield field, "INVALID_SHA256_FORMAT" if matches(value, "[0-9a-fA-F]+") else "INVALID_HEX_ENCODING"


def _of_click(clicks: Mapping[str, Any]) -> Iterator[Violation]:
    """That an Ads account refuses ``dclid``, and more than one click id, is invented."""
    for name, value in clicks.items():
        if not is_text(value):
            yield f"ad_identifiers.{name}", "REQUIRED_FIELD_MISSING"
    if "dclid" in clicks or len(clicks) > 1:
        yield "ad_identifiers", "INVALID_AD_IDENTIFIER_FOR_ACCOUNT"


def _of_cart(cart: Mapping[str, Any] | None) -> Iterator[Violation]:
    if cart is None:
        return
    if not matches(cart.get("merchantId"), "[0-9]+"):
        yield "cart_data.merchant_id", "INVALID_MERCHANT_ID"
    if not matches(cart.get("merchantFeedLanguageCode", "en"), "[a-z]{2}"):
        yield "cart_data.merchant_feed_language_code", "INVALID_MERCHANT_FEED_LANGUAGE_CODE"
    for index, item in enumerate(cart.get("items", [])):
        if not item.get("merchantProductId") or item.get("quantity", 0) < 1:
            yield f"cart_data.items[{index}]", "INVALID_FORMAT"


def _snake(name: str) -> str:
    return re.sub("([A-Z])", lambda letter: f"_{letter[1].lower()}", name)
