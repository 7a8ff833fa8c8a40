"""A stand-in of OpenAI's Ads Conversions API.

What is refused follows the documents. What is answered follows recorded answers, of which there are few: a
receipt, "Missing scopes", and that errors come in the envelope of OpenAI's other interfaces; the other
sentences are invented. So are the checks marked as such: OpenAI ignores the value, and here it is refused.
"""

from collections.abc import Mapping
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

DAY = 86_400
AHEAD = 600
MAX_EVENTS = 1000
MAX_VALUES = 3
SCOPE = "ads.third_party_events.write"

SOURCES = frozenset({"web", "mobile_app", "offline", "physical_store", "phone_call", "email", "other"})
DATA_TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("order_created", "checkout_started", "contents_viewed", "items_added", "page_viewed"), "contents"
    ),
    **dict.fromkeys(("lead_created", "registration_completed", "appointment_scheduled"), "customer_action"),
    **dict.fromkeys(("subscription_created", "trial_started"), "plan_enrollment"),
    "custom": "custom",
}


def _values(fits: Check) -> Check:
    """That more than three values, and other than these, are refused is invented: they are ignored."""
    return lambda value: is_list(value, fits) and 1 <= len(value) <= MAX_VALUES


def _is_place(value: Any) -> bool:
    return is_text(value) and value == value.strip() and len(value) <= 128


def _is_currency(value: Any) -> bool:
    return matches(value, "[A-Z]{3}")


def _is_opaque(value: Any) -> bool:
    return matches(value, r"\S+")


_USER: Mapping[str, Check] = {
    **dict.fromkeys(("emails_sha256", "phone_numbers_sha256", "external_ids_sha256"), _values(is_hash)),
    **dict.fromkeys(("first_names_sha256", "last_names_sha256"), _values(is_hash)),
    **dict.fromkeys(("regions", "cities"), _values(_is_place)),
    "postal_codes": _values(lambda value: matches(value, "[A-Za-z0-9 -]{1,32}")),
    "countries": _values(lambda value: matches(value, "[A-Z]{2}")),
    "obref": _is_opaque,
    "ip_address": is_ip,
    "user_agent": is_text,
}
_CONTENT: Mapping[str, Check] = {
    **dict.fromkeys(("id", "group_id", "name", "content_type"), is_text),
    "quantity": lambda value: is_integer(value) and value > 0,
    "amount": lambda value: is_integer(value) and value >= 0,
    "currency": _is_currency,
}
_DATA: Mapping[str, Check] = {
    "type": is_text,
    "amount": lambda value: is_integer(value) and value >= 0,
    "currency": _is_currency,
    "contents": lambda value: is_list(value, lambda one: one != {} and not any(faults(one, _CONTENT))),
}
_EVENT: Mapping[str, Check] = {
    "id": is_text,
    "type": lambda value: is_text(value) and value in DATA_TYPES,
    "timestamp_ms": is_integer,
    "oppref": _is_opaque,
    "source_url": is_page,
    "action_source": lambda value: is_text(value) and value in SOURCES,
    "user": lambda value: not any(faults(value, _USER)),
    "opt_out": lambda value: isinstance(value, bool),
    "data": lambda value: not any(faults(value, _DATA, ("type",))),
}
_ROOT: Mapping[str, Check] = {
    "validate_only": lambda value: isinstance(value, bool),
    "integration_source": lambda value: matches(value, r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "events": lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_EVENTS,
}


def _error(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


_UNSCOPED = _error(f"You have insufficient permissions for this operation. Missing scopes: {SCOPE}.")


class OpenAI(StandIn):
    """Knows accounts by ``pixel_id`` and ``conversions_api_key``. ``other_key`` is a key of another kind."""

    slug = "openai"
    demo: ClassVar[Mapping[str, str]] = {
        "pixel_id": "RrQuExample0Pixel1Id2x",
        "conversions_api_key": "stand-in-key",
    }
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=429, body=_error("Rate limit reached", "rate_limit_error")),
        "out_of_order": Step(
            status=500, body=_error("The server had an error", "server_error"), counted=True
        ),
        "overloaded": Step(status=503, body=_error("Overloaded", "server_error")),
        "unscoped": Step(status=401, body=_UNSCOPED, times=None),
        "forbidden": Step(status=403, body=_error("Forbidden")),
        "no_pixel": Step(status=404, body=_error("Not found")),
        "wrong_count": Step(status=200, body={"accepted_events": 0}, counted=True),
    }

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """All of the events, or the first reason against one of them."""
        pixel = self._pixel(hit)
        body = _body(hit)
        for index, event in enumerate(body["events"]):
            _check(event, f"events[{index}]", self.now())
        recorded = [] if body.get("validate_only") else body["events"]
        counted = [Counted(pixel, event["type"], event["id"], event) for event in recorded]
        return json_reply(200, {"accepted_events": len(body["events"])}), counted

    def _pixel(self, hit: Hit) -> str:
        scheme, _, key = hit.headers.get("authorization", "").partition(" ")
        if any(key and one.get("other_key") == key for one in self.accounts):
            raise Refusal(json_reply(401, _UNSCOPED))
        mine = [one for one in self.accounts if key and one["conversions_api_key"] == key]
        if scheme != "Bearer" or not mine:
            raise Refusal(json_reply(401, _error("Incorrect API key provided")))
        if hit.method != "POST" or hit.path != "/v1/events":
            raise Refusal(json_reply(404, _error("Not found")))
        pixel = hit.query.get("pid", "")
        if not any(one["pixel_id"] == pixel for one in mine):
            raise Refusal(json_reply(404, _error("Client data source not found")))
        return pixel


def _body(hit: Hit) -> dict[str, Any]:
    if hit.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _invalid("Content-Type", "unfit")
    body = strict_json(hit.body)
    for name, fault in faults(body, _ROOT, ("events",)):
        raise _invalid(name or "body", fault)
    checked: dict[str, Any] = body
    return checked


def _check(event: Any, path: str, now: float) -> None:
    for name, fault in faults(event, _EVENT, ("id", "type", "timestamp_ms", "data")):
        raise _invalid(f"{path}.{name}" if name else path, fault)
    if not (now - 7 * DAY) * 1000 <= event["timestamp_ms"] <= (now + AHEAD) * 1000:
        raise _invalid(f"{path}.timestamp_ms", "unfit")
    if event.get("action_source") == "web" and "source_url" not in event:
        raise _invalid(f"{path}.source_url", "missing")
    data = event["data"]
    if data["type"] != DATA_TYPES[event["type"]]:
        raise _invalid(f"{path}.data.type", "unfit")
    if "amount" in data and "currency" not in data:
        raise _invalid(f"{path}.data.currency", "missing")


def _invalid(name: str, fault: str) -> Refusal:
    sentence = "Missing required field" if fault == "missing" else "Invalid value for field"
    shown = "".join(sign for sign in name if sign.isascii() and (sign.isalnum() or sign in "._[]-"))
    return Refusal(json_reply(400, _error(f"{sentence}: {shown}")))
