"""A stand-in of Reddit's Conversions API v3.

The sentences are those of its page on errors and of a recorded 400, which names each field that is wrong.
That unknown and unhashed fields are refused is invented: such checks are stricter than Reddit, so that a slip
of ours is seen here and not in a pixel that matches nobody.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from webhooks.sandbox.shapes import (
    Check,
    faults,
    is_hash,
    is_integer,
    is_list,
    is_number,
    is_page,
    is_text,
    matches,
)
from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn, Step, json_reply, strict_json

HOUR = 3_600
AHEAD = 300
MAX_EVENTS = 1000
MATCH_KEYS = frozenset({"email", "phone_number", "external_id", "ip_address", "user_agent", "uuid"})
TRACKING_TYPES = frozenset(
    {"PAGE_VISIT", "VIEW_CONTENT", "SEARCH", "ADD_TO_CART", "ADD_TO_WISHLIST", "PURCHASE", "LEAD", "SIGN_UP"}
)

_PROCESSING: Mapping[str, Check] = {
    "modes": lambda value: value == ["LDU"],
    "country": lambda value: matches(value, "[A-Z]{2}"),
    "region": lambda value: matches(value, "US-[A-Z]{2}"),
}
_USER: Mapping[str, Check] = {
    **dict.fromkeys(("email", "phone_number", "external_id", "ip_address"), is_hash),
    "user_agent": is_text,
    "uuid": lambda value: matches(value, r"[0-9]{10,13}\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "data_processing_options": lambda value: not any(faults(value, _PROCESSING, ("modes",))),
}
_PRODUCT: Mapping[str, Check] = {
    **dict.fromkeys(("id", "name", "category"), is_text),
    "quantity": lambda value: is_integer(value) and value > 0,
    "item_price": lambda value: is_number(value) and value >= 0,
}
_METADATA: Mapping[str, Check] = {
    "conversion_id": is_text,
    "currency": lambda value: matches(value, "[A-Z]{3}"),
    "value": lambda value: is_number(value) and value >= 0,
    "item_count": lambda value: is_integer(value) and value > 0,
    "products": lambda value: is_list(value, lambda one: not any(faults(one, _PRODUCT, ("id",)))) and value,
}
_TYPE: Mapping[str, Check] = {"tracking_type": lambda value: is_text(value) and value in TRACKING_TYPES}
_EVENT: Mapping[str, Check] = {
    "event_at": is_integer,
    "action_source": lambda value: value in ("WEBSITE", "APP", "PHYSICAL_STORE", "OTHER"),
    "event_source_url": is_page,
    "click_id": lambda value: matches(value, r"[\w.~-]+"),
    "type": lambda value: isinstance(value, dict),
    "user": lambda value: isinstance(value, dict),
    "metadata": lambda value: isinstance(value, dict),
}
_DATA: Mapping[str, Check] = {
    "events": lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_EVENTS,
    "test_id": is_text,
    "partner": is_text,
}


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


class Reddit(StandIn):
    """Knows accounts by ``pixel_id`` and ``access_token``. ``foreign_token`` may not use the pixel."""

    slug = "reddit"
    demo: ClassVar[Mapping[str, str]] = {"pixel_id": "a2_abcdefghijkl", "access_token": "stand-in-token"}
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(
            status=429, body=_error(429, "Too many requests/events within timeframe."), times=1
        ),
        "unavailable": Step(
            status=500,
            body=_error(500, "The service is currently unavailable. No conversion events were processed."),
        ),
        "token_revoked": Step(status=401, body=_error(401, "UNAUTHORIZED"), times=None),
        "no_scope": Step(
            status=403, body=_error(403, "Missing adsconversions scope to post conversions to Pixel.")
        ),
        "no_pixel": Step(status=404, body=_error(404, "Not found")),
        "wrong_count": Step(
            status=200,
            body={"data": {"message": "Successfully processed 0 conversion events."}},
            counted=True,
        ),
        "no_receipt": Step(status=200, body={"data": None}, counted=True),
    }

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """All of the events, or none and every reason."""
        pixel = self._pixel(hit)
        data = _data(hit)
        events = data["events"]
        reasons = {index: list(_complaints(event, self.now())) for index, event in enumerate(events)}
        if wrong := {index: found for index, found in reasons.items() if found}:
            raise _invalid(wrong)
        note = {"test_id": data.get("test_id", "")}
        counted = [
            Counted(pixel, event["type"]["tracking_type"], event["metadata"]["conversion_id"], event, note)
            for event in events
        ]
        message = f"Successfully processed {len(events)} conversion events."
        return json_reply(200, {"data": {"message": message}}), counted

    def _pixel(self, hit: Hit) -> str:
        scheme, _, token = hit.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise Refusal(json_reply(401, _error(401, "No bearer token provided")))
        tokens = {
            one[name] for one in self.accounts for name in ("access_token", "foreign_token") if name in one
        }
        if token not in tokens:
            raise Refusal(json_reply(401, _error(401, "UNAUTHORIZED")))
        head, _, pixel = hit.path.removesuffix("/conversion_events").rpartition("/")
        if head != "/api/v3/pixels" or not hit.path.endswith("/conversion_events") or hit.method != "POST":
            raise Refusal(json_reply(404, _error(404, "Not found")))
        if not any(one["pixel_id"] == pixel and one["access_token"] == token for one in self.accounts):
            message = f"You're not authorized to post conversions to Pixel ID {pixel}."
            raise Refusal(json_reply(403, _error(403, message)))
        return pixel


def _data(hit: Hit) -> dict[str, Any]:
    """What stands in the wrapper. More than 1000 events are documented to be a "Bad Request"."""
    body = strict_json(hit.body)
    is_json = hit.headers.get("content-type", "").partition(";")[0].strip() == "application/json"
    wrapped = not any(faults(body, {"data": lambda value: isinstance(value, dict)}, ("data",)))
    if not is_json or not wrapped or any(faults(body["data"], _DATA, ("events",))):
        raise Refusal(json_reply(400, _error(400, "Bad Request")))
    data: dict[str, Any] = body["data"]
    return data


def _complaints(event: Any, now: float) -> Iterator[tuple[str, str]]:
    """Fields and what is wrong with them."""
    wrong = list(_named(event, _EVENT, ("event_at", "action_source", "type", "metadata")))
    yield from wrong
    if wrong:
        return
    yield from _about_time(event["event_at"] / 1000, now)
    user, metadata = event.get("user", {}), event["metadata"]
    yield from _named(event["type"], _TYPE, ("tracking_type",), "type.")
    yield from _named(user, _USER, (), "user.")
    purchase = event["type"].get("tracking_type") == "PURCHASE"
    needed = ("conversion_id", "item_count", "products") if purchase else ("conversion_id",)
    yield from _named(metadata, _METADATA, needed, "metadata.")
    if "click_id" not in event and MATCH_KEYS.isdisjoint(user):
        yield "user", "at least one match key is required"
    if ("value" in metadata) != ("currency" in metadata):
        yield "metadata.currency", "value and currency must come together"
    if event["action_source"] != "WEBSITE" and "event_source_url" in event:
        yield "event_source_url", "is for action_source WEBSITE"


def _about_time(at: float, now: float) -> Iterator[tuple[str, str]]:
    if at <= now - 168 * HOUR:
        yield "event_at", "event_at timestamp must be less than 168h0m0s old"
    if at > now + AHEAD:
        yield "event_at", "event_at timestamp must not be in the future"


def _named(
    found: Any, known: Mapping[str, Check], required: tuple[str, ...], before: str = ""
) -> Iterator[tuple[str, str]]:
    for name, fault in faults(found, known, required):
        shown = "".join(sign for sign in name if sign.isascii() and (sign.isalnum() or sign == "_"))
        yield f"{before}{shown or 'event'}", f"{before}{shown}: {fault}"


def _invalid(wrong: Mapping[int, list[tuple[str, str]]]) -> Refusal:
    message = f"There were {len(wrong)} invalid conversion events. None were processed."
    fields = [
        {"field": f"$.data.events[{index}].{name}", "message": reason}
        for index, found in wrong.items()
        for name, reason in found
    ]
    return Refusal(json_reply(400, {"error": {"code": 400, "message": message, "fields": fields}}))
