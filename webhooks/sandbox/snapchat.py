"""A stand-in of Snapchat's Conversions API, version 3.

What is refused with INVALID and 400 is what Snap's page VerifySetUp lists (a required field, price or
currency of a purchase, time out of range, personal data not hashed, too little of it). The answer has the
shape of Snap's OpenAPI document; its codes and sentences are invented. So are the checks beyond that list:
stricter than Snapchat may be, so that a slip of ours is seen here and not in a pixel that matches nobody.
"""

import re
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

from webhooks.sandbox.shapes import is_hash, is_integer, is_ip, is_list, is_number, is_page, is_text, matches
from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn, Step, json_reply, strict_json

DAY = 86_400
AHEAD = 600  # invented: the upper bound is not documented
MAX_EVENTS = 2000

_HASHED = frozenset({"em", "ph", "fn", "ln", "ge", "ct", "st", "zp", "country", "external_id"})
_PLAIN = frozenset({"client_ip_address", "client_user_agent", "sc_click_id", "sc_cookie1"})
_EVENT_KEYS = frozenset(
    {"event_name", "event_time", "event_id", "action_source", "event_source_url"}
    | {"user_data", "custom_data", "data_processing_options"}
)
_CUSTOM_KEYS = frozenset({"value", "currency", "order_id", "num_items", "content_ids", "contents"})
_CONTENT_KEYS = frozenset({"id", "quantity", "item_price", "delivery_category"})
_SOURCES = frozenset({"WEB", "MOBILE_APP", "OFFLINE"})
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DECIMAL = r"[0-9]+(\.[0-9]+)?"
_NO_TOKEN = {"status": "INVALID", "reason": "Invalid access token"}
_FULL = {"status": "INVALID", "reason": "Too many requests"}
_BROKEN = {"status": "INVALID", "reason": "Internal error"}


class _Unacceptable(Exception):
    """A check's complaint about an event: an invented code and sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Snapchat(StandIn):
    """Knows accounts by ``pixel_id`` and ``access_token``."""

    slug = "snapchat"
    demo: ClassVar[Mapping[str, str]] = {
        "pixel_id": "6a1f0b2c-3d4e-4f50-8a6b-7c8d9e0f1a2b",
        "access_token": "stand-in-token",
    }
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=429, body=_FULL),
        "token_expired": Step(status=401, body=_NO_TOKEN, times=None),
        "forbidden": Step(status=403, body={"status": "INVALID", "reason": "Not authorized for this pixel"}),
        "unavailable": Step(status=503, body=_BROKEN),
        "internal_error": Step(status=500, body=_BROKEN, counted=True),
        "strange_status": Step(status=200, body={"status": "ACCEPTED"}, counted=True),
        "no_status": Step(status=200, body={"reason": "OK"}, counted=True),
    }

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """All of the request's events, or the first complaint. Under ``/validate`` nothing counts."""
        pixel, validating = self._pixel(hit)
        events = _events(hit)
        for index, event in enumerate(events):
            try:
                _check(event, self.now())
            except _Unacceptable as error:
                raise _refusal(index, error.code, str(error)) from error
        said = {"status": "VALID", "reason": "Events have been processed successfully."}
        if validating:
            logs = [{"event": index, "status": "VALID"} for index in range(len(events))]
            return json_reply(200, {**said, "test_event": True, "event_logs": logs}), []
        return json_reply(200, said), [
            Counted(pixel, event["event_name"], event["event_id"], event) for event in events
        ]

    def dedup_keys(self, counted: Counted) -> dict[Hashable, int]:
        """Deduplication: any event by its event_id for 48 hours, a purchase by its order_id for 30 days."""
        keys = super().dedup_keys(counted)
        order = counted.event.get("custom_data", {}).get("order_id", "")
        if order and counted.event_name == "PURCHASE":
            keys["order", counted.account, order] = 30 * DAY
        return keys

    def _pixel(self, hit: Hit) -> tuple[str, bool]:
        """Token, then pixel; whether it is only to be validated."""
        scheme, _, token = hit.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            token = hit.query.get("access_token", "")
        mine = [account for account in self.accounts if token and account["access_token"] == token]
        if not mine:
            raise Refusal(json_reply(401, _NO_TOKEN))
        path = re.fullmatch(r"/v3/([^/]+)/events(/validate)?", hit.path)
        if not path or not re.fullmatch(_UUID, path[1].lower()):
            raise Refusal(json_reply(400, {"status": "INVALID", "reason": "Invalid pixel id"}))
        if not any(account["pixel_id"].lower() == path[1].lower() for account in mine):
            raise Refusal(json_reply(403, {"status": "INVALID", "reason": "Not authorized for this pixel"}))
        return path[1].lower(), path[2] is not None


def _events(hit: Hit) -> list[Any]:
    if hit.method != "POST":
        raise Refusal(json_reply(405, {"status": "INVALID", "reason": "Method not allowed"}))
    if hit.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _refusal(None, "CONTENT_TYPE", "The body is not declared to be JSON")
    body = strict_json(hit.body)
    if not isinstance(body, dict):
        raise _refusal(None, "JSON", "The body is not a JSON object")
    events = body.get("data")
    if body.keys() - {"data"} or not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        raise _refusal(None, "DATA", "data must hold between 1 and 2000 events")
    return events


def _check(event: Any, now: float) -> None:
    _demand("EVENT", isinstance(event, dict))
    _demand("UNKNOWN_FIELD", event.keys() <= _EVENT_KEYS)  # Snapchat may ignore them, and a slip of ours
    _demand("EVENT_NAME", matches(event.get("event_name"), "[A-Z][A-Z0-9_]+"))
    _demand("EVENT_ID", is_text(event.get("event_id")))  # optional at Snapchat
    _demand("EVENT_TIME", is_integer(event.get("event_time")))
    at = event["event_time"] / 1000 if event["event_time"] > 10**11 else event["event_time"]  # either unit
    _demand("EVENT_TIME_RANGE", now - 37 * DAY <= at <= now + AHEAD)
    _demand("ACTION_SOURCE", matches(event.get("action_source"), "|".join(_SOURCES)))
    on_site = event["action_source"] == "WEB"
    _demand(
        "EVENT_SOURCE_URL", is_page(event.get("event_source_url", "" if on_site else "https://a.example"))
    )
    _demand("DATA_PROCESSING_OPTIONS", event.get("data_processing_options", []) in ([], ["LDU"]))
    _check_person(event.get("user_data"))
    _check_custom(event.get("custom_data", {}), purchase=event["event_name"] == "PURCHASE")


def _check_person(person: Any) -> None:
    _demand("USER_DATA", isinstance(person, dict))
    _demand("UNKNOWN_FIELD", person.keys() <= _HASHED | _PLAIN)
    for key in sorted(_HASHED & person.keys()):
        values = person[key] if isinstance(person[key], list) else [person[key]]
        _demand("UNHASHED_PII", values != [] and is_list(values, is_hash))
    for key in sorted(_PLAIN & person.keys()):
        _demand(key.upper(), is_text(person[key]))
    _demand("CLIENT_IP_ADDRESS", is_ip(person.get("client_ip_address", "203.0.113.7")))
    both = {"client_ip_address", "client_user_agent"} <= person.keys()
    _demand("INSUFFICIENT_PII", "em" in person or "ph" in person or both)


def _check_custom(custom: Any, *, purchase: bool) -> None:
    _demand("CUSTOM_DATA", isinstance(custom, dict))
    _demand("UNKNOWN_FIELD", custom.keys() <= _CUSTOM_KEYS)
    if purchase:
        _demand("PRICE_OR_CURRENCY", custom.get("value") is not None and bool(custom.get("currency")))
    value = custom.get("value", 0)
    # The page Parameters has text, the OpenAPI document a number, for the value as for the count.
    _demand("VALUE", matches(value, _DECIMAL) or (is_number(value) and value >= 0))
    _demand("CURRENCY", matches(custom.get("currency", "USD"), "[A-Z]{3}"))
    _demand("ORDER_ID", is_text(custom.get("order_id", "-")))
    count = custom.get("num_items", 1)
    _demand("NUM_ITEMS", matches(count, "[0-9]+") or is_integer(count))
    _demand("CONTENT_IDS", is_list(custom.get("content_ids", []), is_text))
    _demand("CONTENTS", is_list(custom.get("contents", []), _is_content))


def _is_content(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() <= _CONTENT_KEYS
        and is_text(content.get("id"))
        and matches(content.get("quantity"), "[1-9][0-9]*")
        and matches(content.get("item_price", "0"), _DECIMAL)
    )


def _demand(code: str, fits: bool) -> None:
    if not fits:
        raise _Unacceptable(code, f"{code.lower().replace('_', ' ')} does not fit")


def _refusal(index: int | None, code: str, sentence: str) -> Refusal:
    answer = {"status": "INVALID", "errors": {"codes": [code], "error_msgs": [sentence]}}
    return Refusal(json_reply(400, answer if index is None else {**answer, "event": index}))
