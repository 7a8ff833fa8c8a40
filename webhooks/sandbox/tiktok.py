"""A stand-in of TikTok's Events API 2.0.

The codes and the words of 40001, 40002, 40100 and 40105 are recorded answers; every answer has the status
200. Which fields are looked at beyond their type is nowhere documented: the checks marked as invented are
stricter than TikTok may be, so that a slip of ours is seen here and not in a pixel that matches nobody.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from webhooks.sandbox.shapes import is_hash, is_integer, is_ip, is_list, is_number, is_page, is_text, matches
from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn, Step, json_reply, strict_json

DAY = 86_400
AHEAD = 600  # invented: the upper bound is not documented
MAX_EVENTS = 1000
PATH = "/open_api/v1.3/event/track/"

Check = Callable[[Any], bool]

_PLACE = r"[^\sA-Z]+"
# Field by field: what fits, and what TikTok says if it does not. Keys that are not here are refused.
_ROOT: Mapping[str, Check] = {
    "event_source": lambda value: value == "web",
    "event_source_id": is_text,
    "test_event_code": is_text,
    "data": lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_EVENTS,
}
_EVENT: Mapping[str, Check] = {
    "event": is_text,
    "event_time": is_integer,
    "event_id": is_text,
    "user": lambda value: isinstance(value, dict),
    "page": lambda value: isinstance(value, dict),
    "properties": lambda value: isinstance(value, dict),
    "limited_data_use": lambda value: isinstance(value, bool),
}
_USER: Mapping[str, Check] = {  # that hashes are looked at is invented
    **dict.fromkeys(("email", "phone", "external_id", "first_name", "last_name", "zip_code"), is_hash),
    **dict.fromkeys(("city", "state"), lambda value: matches(value, _PLACE) and not is_hash(value)),
    "country": lambda value: matches(value, "[a-z]{2}"),
    **dict.fromkeys(("ttclid", "ttp"), lambda value: matches(value, "[!-~]+")),
    "ip": is_ip,
    "user_agent": is_text,
}
_PAGE: Mapping[str, Check] = {"url": is_page, "referrer": is_page}
_PROPERTIES: Mapping[str, Check] = {
    "value": lambda value: is_number(value) and value >= 0,
    "currency": lambda value: matches(value, "[A-Z]{3}"),
    "order_id": is_text,
    "content_type": lambda value: value in ("product", "product_group"),
    "contents": lambda value: is_list(value, lambda one: isinstance(one, dict)),
}
_CONTENT: Mapping[str, Check] = {
    "content_id": is_text,
    "content_name": is_text,
    "quantity": lambda value: is_integer(value) and value > 0,
    "price": is_number,
}
_IDENTIFIERS = frozenset({"email", "phone", "external_id", "ttclid", "ttp"})
_TEXTS = frozenset({"event_id", "order_id", "content_id", "content_name", "event", "event_source_id"})


def _answer(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "request_id": "20261118110640010245TANDIN", "data": {}}


class TikTok(StandIn):
    """Knows accounts by ``pixel_id`` and ``access_token``."""

    slug = "tiktok"
    demo: ClassVar[Mapping[str, str]] = {
        "pixel_id": "C4A1B2C3D4E5F6G7H8I9",
        "access_token": "stand-in-token",
        "page_url": "https://shop.example.com/",
    }
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=200, body=_answer(40100, "Too many requests. Please retry in some time.")),
        "throttled_401": Step(status=401, body=_answer(40100, "Too many requests.")),
        "partial": Step(status=200, body=_answer(20001, "Partial success"), counted=True),
        "system_error": Step(status=200, body=_answer(50000, "System error"), counted=True),
        "service_error": Step(status=200, body=_answer(51010, "Service error"), counted=True),
        "token_revoked": Step(
            status=200, body=_answer(40105, "Access token is incorrect or has been revoked."), times=None
        ),
        "no_permission": Step(status=200, body=_answer(40001, "No permission to operate pixel code")),
        "no_code": Step(status=200, body={"message": "OK"}, counted=True),
    }

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """All of the request's events, or the first reason against one of them."""
        mine = self._accounts(hit)
        body = _body(hit)
        pixel = body["event_source_id"]
        if not any(account["pixel_id"] == pixel for account in mine):
            message = f"No permission to operate pixel code: {pixel}. You must be an admin or operator"
            raise _refusal(40001, f"{message} of this advertiser account.")
        for index, event in enumerate(body["data"]):
            _check(event, f"Batch.{index}", self.now())
        note = {"test_event_code": body.get("test_event_code", "")}
        counted = [Counted(pixel, event["event"], event["event_id"], event, note) for event in body["data"]]
        return json_reply(200, _answer(0, "OK")), counted

    def _accounts(self, hit: Hit) -> list[Mapping[str, Any]]:
        """Those that the token may use."""
        token = hit.headers.get("access-token", "")
        if not token:
            raise _refusal(40104, "Access token is empty")
        mine = [account for account in self.accounts if account["access_token"] == token]
        if not mine:
            raise _refusal(40105, "Access token is incorrect or has been revoked.")
        return mine


def _body(hit: Hit) -> dict[str, Any]:
    if hit.method != "POST" or hit.path != PATH:
        raise _refusal(40000, "The path or method is not supported")  # invented
    if hit.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _refusal(40002, "Content-Type: must be application/json")  # invented
    body = strict_json(hit.body)
    if not isinstance(body, dict):
        raise _refusal(40002, "Invalid JSON")  # invented
    _check_fields(body, _ROOT, "", required=("event_source", "event_source_id", "data"))
    return body


def _check(event: Any, path: str, now: float) -> None:
    if not isinstance(event, dict):
        raise _refusal(40002, f"{path}: Not a valid mapping type")
    _check_fields(event, _EVENT, path, required=("event", "event_time", "event_id", "user", "page"))
    _check_time(event["event_time"], path, now)
    _check_fields(event["user"], _USER, f"{path}.user")
    _check_fields(event["page"], _PAGE, f"{path}.page", required=("url",))
    known = event["user"].keys()
    if known.isdisjoint(_IDENTIFIERS) and not {"ip", "user_agent"} <= known:
        raise _refusal(40002, f"{path}.user: Missing data for an identifier")  # invented
    properties = event.get("properties", {})
    needed = ("value", "currency") if event["event"] in {"Purchase", "CompletePayment"} else ()
    _check_fields(properties, _PROPERTIES, f"{path}.properties", required=needed)
    for index, content in enumerate(properties.get("contents", [])):
        _check_fields(content, _CONTENT, f"{path}.properties.contents.{index}", required=("content_id",))


def _check_time(at: int, path: str, now: float) -> None:
    """Both sentences are invented; milliseconds lie in the future."""
    if at < now - 7 * DAY:
        raise _refusal(40002, f"{path}.event_time: The event is older than 7 days")
    if at > now + AHEAD:
        raise _refusal(40002, f"{path}.event_time: The event lies in the future")


def _check_fields(
    found: Mapping[str, Any], known: Mapping[str, Check], path: str, required: tuple[str, ...] = ()
) -> None:
    """Every required field, then every field that there is."""
    before = f"{path}." if path else ""
    for name in required:
        if name not in found:
            raise _refusal(40002, f"{before}{name}: Missing data for required field.")
    for name, value in found.items():
        if name not in known:  # TikTok ignores them, and with them a slip of ours
            raise _refusal(40002, f"{before}{re.sub('[^a-zA-Z_]', '', name)}: Unknown field.")
        if not known[name](value):
            raise _refusal(40002, f"{before}{name}: Not a valid {'string' if name in _TEXTS else 'value'}")


def _refusal(code: int, message: str) -> Refusal:
    return Refusal(json_reply(200, _answer(code, message)))
