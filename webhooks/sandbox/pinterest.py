"""A stand-in of Pinterest's "Send conversions" (API v5).

What the published OpenAPI document says of a field's type refuses the whole request (400, code 4196); what it
says in words fails the event alone (422). Where that line runs is invented, and so is what is marked: such
checks are stricter than Pinterest, so that a slip of ours is seen here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from webhooks.sandbox.shapes import (
    Check,
    faults,
    is_hash,
    is_integer,
    is_ip,
    is_list,
    is_page,
    is_text,
    matches,
)
from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn, Step, json_reply, strict_json

AHEAD = 600  # invented: the bound is not documented; milliseconds lie beyond it
MAX_EVENTS, MAX_TEST_EVENTS = 1000, 20

EVENT_NAMES = frozenset(
    {"add_payment_info", "add_to_cart", "add_to_wishlist", "app_install", "app_open", "checkout", "contact"}
    | {"custom", "customize_product", "find_location", "initiate_checkout", "lead", "page_visit", "schedule"}
    | {"search", "signup", "start_trial", "submit_application", "subscribe", "view_category", "view_content"}
    | {"watch_video"}
)
_HASHED = ("em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country", "external_id", "hashed_maids")


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_strings(value: Any) -> bool:
    return is_list(value, _is_string)


# ConversionEvents of the OpenAPI document 5.23, as far as a shop's sale goes; other properties are refused.
_USER: Mapping[str, Check] = {
    **dict.fromkeys(_HASHED, _is_strings),
    **dict.fromkeys(("click_id", "partner_id", "client_ip_address", "client_user_agent"), _is_string),
}
_CONTENT: Mapping[str, Check] = {
    **dict.fromkeys(("id", "item_name", "item_category", "item_brand", "item_price"), _is_string),
    "quantity": is_integer,
}
_CUSTOM: Mapping[str, Check] = {
    **dict.fromkeys(("currency", "value", "order_id", "search_string", "opt_out_type", "np"), _is_string),
    **dict.fromkeys(("content_name", "content_category", "content_brand", "predicted_ltv"), _is_string),
    "num_items": is_integer,
    "content_ids": _is_strings,
    "contents": lambda value: is_list(value, lambda one: not any(faults(one, _CONTENT))),
}
_EVENT: Mapping[str, Check] = {
    **dict.fromkeys(("event_name", "action_source", "event_id"), _is_string),
    **dict.fromkeys(("event_source_url", "partner_name", "language"), _is_string),
    "event_time": is_integer,
    "opt_out": lambda value: isinstance(value, bool),
    "user_data": lambda value: not any(faults(value, _USER)),
    "custom_data": lambda value: not any(faults(value, _CUSTOM)),
}
_REQUIRED = ("event_name", "action_source", "event_time", "event_id", "user_data")


def _error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}


class Pinterest(StandIn):
    """Knows accounts by ``ad_account_id`` and ``access_token``."""

    slug = "pinterest"
    demo: ClassVar[Mapping[str, str]] = {"ad_account_id": "549755885175", "access_token": "stand-in-token"}
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=429, body=_error(8, "This request exceeded a rate limit.")),
        "unavailable": Step(status=503, body=_error(4197, "Service unavailable.")),
        "unexpected": Step(status=500, body=_error(-1, "Unexpected error")),
        "token_revoked": Step(status=401, body=_error(2, "Authentication failed."), times=None),
        "no_permission": Step(status=403, body=_error(29, "You are not permitted to access that resource.")),
        "no_account": Step(status=404, body=_error(50, "Ad account not found.")),  # the code is invented
        "no_events": Step(
            status=200, body={"num_events_received": 1, "num_events_processed": 1}, counted=True
        ),
        "pending": Step(
            status=200,
            body={"num_events_received": 1, "num_events_processed": 0, "events": [{"status": "pending"}]},
            counted=True,
        ),
    }

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """A status for each event; those that are processed count, unless the request is a test."""
        account = self._account(hit)
        events = _events(hit)
        reasons = [next(_complaints(event, self.now()), "") for event in events]
        good = [event for event, reason in zip(events, reasons, strict=True) if not reason]
        answer = {
            "num_events_received": len(events),
            "num_events_processed": len(good),
            "events": [_status(reason) for reason in reasons],
        }
        recorded = [] if hit.query.get("test") == "true" else good
        counted = [Counted(account, event["event_name"], event["event_id"], event) for event in recorded]
        if len(good) == len(events):
            return json_reply(200, answer), counted
        message = "Not all events were successfully processed."
        return json_reply(422, {**_error(4198, message), "details": answer}), counted  # the code is invented

    def _account(self, hit: Hit) -> str:
        scheme, _, token = hit.headers.get("authorization", "").partition(" ")
        mine = [one for one in self.accounts if token and one["access_token"] == token]
        if scheme != "Bearer" or not mine:
            raise Refusal(json_reply(401, _error(2, "Authentication failed.")))
        path = re.fullmatch(r"/v5/ad_accounts/([0-9]{1,18})/events", hit.path)
        if not path or hit.method != "POST":
            raise Refusal(json_reply(404, _error(50, "Not found.")))  # the code is invented
        if not any(one["ad_account_id"] == path[1] for one in mine):
            raise Refusal(json_reply(403, _error(29, "You are not permitted to access that resource.")))
        return path[1]


def _events(hit: Hit) -> list[dict[str, Any]]:
    """The request's events, every one of the right shape."""
    if hit.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _invalid("Content-Type")
    limit = MAX_TEST_EVENTS if hit.query.get("test") == "true" else MAX_EVENTS
    body = strict_json(hit.body)
    wrong = next(faults(body, {"data": lambda value: isinstance(value, list)}, ("data",)), None)
    if wrong or not 1 <= len(body["data"]) <= limit:
        raise _invalid("data")
    events: list[dict[str, Any]] = body["data"]
    for event in events:
        if found := next(faults(event, _EVENT, _REQUIRED), None):
            raise _invalid(found[0])
    return events


def _complaints(event: Mapping[str, Any], now: float) -> Iterator[str]:
    """What the document says in words. That hashes, amounts and times are looked at is invented."""
    if event["event_name"] not in EVENT_NAMES:
        yield "event_name is not supported"
    if event["action_source"] not in {"web", "offline", "app_android", "app_ios"}:
        yield "action_source is not supported"
    if not 946_684_800 <= event["event_time"] <= now + AHEAD:
        yield "event_time is not a time in seconds"
    if not is_text(event["event_id"]):
        yield "event_id is empty"
    if not is_page(event.get("event_source_url", "https://a.example/")):
        yield "event_source_url is not a page"
    yield from _about_user(event["user_data"])
    yield from _about_sale(event.get("custom_data", {}))


def _about_user(user: Mapping[str, Any]) -> Iterator[str]:
    browser = {"client_ip_address", "client_user_agent"} <= user.keys()
    if not browser and "em" not in user and "hashed_maids" not in user:
        yield "user_data needs em, hashed_maids, or client_ip_address and client_user_agent"
    for key in _HASHED:
        if not (key not in user or (user[key] and is_list(user[key], is_hash))):
            yield f"{key} is not a list of SHA-256 hashes"
    if not is_ip(user.get("client_ip_address", "203.0.113.7")):
        yield "client_ip_address is not an address"
    if not all(is_text(user.get(key, "-")) for key in ("client_user_agent", "click_id")):
        yield "user_data holds an empty string"


def _about_sale(custom: Mapping[str, Any]) -> Iterator[str]:
    contents = custom.get("contents", [])
    amounts = [custom.get("value", "0"), *(one.get("item_price", "0") for one in contents)]
    if not all(matches(amount, r"[0-9]{1,15}(\.[0-9]{1,6})?") for amount in amounts):
        yield "value and item_price must be numbers as strings"
    if not matches(custom.get("currency", "USD"), "[A-Z]{3}"):
        yield "currency is not a code of ISO 4217"
    if custom.get("opt_out_type", "LDP") != "LDP":
        yield "opt_out_type is not supported"
    if not all(is_text(one.get("id")) and one.get("quantity", 1) > 0 for one in contents):
        yield "a content has no id or quantity"


def _status(reason: str) -> dict[str, str]:
    if reason:
        return {"status": "failed", "error_message": reason, "warning_message": ""}
    return {"status": "processed", "error_message": "", "warning_message": ""}


def _invalid(name: str) -> Refusal:
    shown = re.sub("[^A-Za-z_-]", "", name)
    return Refusal(json_reply(400, _error(4196, f"Invalid conversion event: {shown}")))
