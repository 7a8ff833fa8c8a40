"""A stand-in of Meta's Conversions API.

What it refuses, and in which order, follows the documents and recorded answers of the endpoint
(`integrations/destinations/meta`). Where both are silent an answer had to be invented: its subcode
then lies above 9,900,000, or a comment says so. The invented checks are stricter than Meta, so that a slip of
ours is seen here and not in an account that silently matches nobody.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn, Step, json_reply, strict_json

DAY = 86_400
AHEAD = 600  # invented: the upper bound is not documented
MAX_EVENTS = 1000
STATES: tuple[tuple[int, ...], ...] = ((0,), tuple(range(1000, 1014)))  # of no country, and of the US
VERSIONS = frozenset({"v24.0", "v25.0", "v26.0"})  # those that live probes found

_HASHED = frozenset({"em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country"})
_PLAIN = frozenset({"client_ip_address", "client_user_agent", "fbc", "fbp", "subscription_id", "fb_login_id"})
_EVENT_KEYS = frozenset(
    {"event_name", "event_time", "event_id", "action_source", "event_source_url", "referrer_url"}
    | {"user_data", "custom_data", "opt_out", "data_processing_options"}
    | {"data_processing_options_country", "data_processing_options_state"}
)
_CUSTOM_KEYS = frozenset(
    {"value", "currency", "order_id", "num_items", "content_type", "content_ids", "contents"}
    | {"content_name", "content_category", "predicted_ltv", "net_revenue", "status", "search_string"}
)
_CONTENT_KEYS = frozenset(
    {"id", "quantity", "item_price", "title", "description", "brand", "category", "delivery_category"}
)
_SOURCES = frozenset(
    {"website", "email", "app", "phone_call", "chat", "physical_store", "system_generated"}
    | {"business_messaging", "other"}
)
_TOO_BROAD = (
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
)
_LIMIT = "Application request limit reached"


def _error(code: int, message: str, subcode: int | None = None, **more: Any) -> dict[str, Any]:
    error = {"message": message, "type": "OAuthException", "code": code, **more}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": {**error, "fbtrace_id": "AStandInTrace"}}


class Meta(StandIn):
    """Knows accounts by ``pixel_id`` and ``access_token``; ``app_secret`` makes it demand the proof.

    ``expired_token`` is a token that was right once.
    """

    slug = "meta"
    demo: ClassVar[Mapping[str, str]] = {"pixel_id": "1234567890", "access_token": "stand-in-token"}
    scenes: ClassVar[Mapping[str, Step]] = {
        "throttled": Step(status=400, body=_error(4, f"(#4) {_LIMIT}", is_transient=True)),
        "throttled_user": Step(status=400, body=_error(17, f"(#17) User {_LIMIT}", 2446079)),
        "throttled_custom": Step(
            status=400, body=_error(613, "Calls to this api have exceeded the rate limit")
        ),
        "not_ready": Step(status=400, body=_error(21009, "Data set temporarily not ready")),
        "unknown_error": Step(status=500, body=_error(1, "An unknown error occurred")),
        "unavailable": Step(status=500, body=_error(2, "Service temporarily unavailable", is_transient=True)),
        "token_expired": Step(
            status=400,
            body=_error(190, "Error validating access token: Session has expired", 463),
            times=None,
        ),
        "password_changed": Step(
            status=400, body=_error(190, "Error validating access token: the session is invalid", 460)
        ),
        "bad_field": Step(status=400, body=_error(100, "Invalid parameter", 2804048, is_transient=False)),
        "no_permission": Step(status=403, body=_error(200, "(#200) Permissions error")),
        "wrong_count": Step(status=200, body={"events_received": 0, "messages": []}, counted=True),
    }

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """All of the request's events, or the first reason against any of them."""
        account = self._account(hit)
        body = _body(hit)
        _check_proof(account, body)
        events = body.get("data")
        if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
            raise _parameter("(#100) The parameter data must hold between 1 and 1000 events", 9_900_001)
        messages: list[str] = []
        counted = [
            Counted(
                account["pixel_id"],
                *_identified(_checked(event, self.now(), messages)),
                event,
                {"test_event_code": body.get("test_event_code", "")},
            )
            for event in events
        ]
        answer = {"events_received": len(events), "messages": messages, "fbtrace_id": "AStandInTrace"}
        return json_reply(200, answer), counted

    def _account(self, hit: Hit) -> Mapping[str, Any]:
        """Token, version, pixel: in this order. A token in the body is not looked for."""
        scheme, _, token = hit.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            token = hit.query.get("access_token", "")
        if any(token == account.get("expired_token") for account in self.accounts):
            expired = _error(190, "Error validating access token: Session has expired", 463)
            raise Refusal(json_reply(400, expired))
        mine = [account for account in self.accounts if token and account["access_token"] == token]
        if not mine:
            message = "Invalid OAuth access token - Cannot parse access token"
            raise Refusal(json_reply(401, _error(190, message), {"WWW-Authenticate": "OAuth"}))
        path = re.fullmatch(r"/(v[^/]+)/([^/]+)/events", hit.path)
        if not path or path[1] not in VERSIONS:  # 2635 is remembered, not looked up
            raise Refusal(json_reply(400, _error(2635, "(#2635) You are calling a deprecated version")))
        for account in mine:
            if account["pixel_id"] == path[2]:
                return account
        missing = "Unsupported post request. The object does not exist or cannot be loaded"
        raise Refusal(json_reply(400, _error(100, missing, 33, type="GraphMethodException")))


def _body(hit: Hit) -> dict[str, Any]:
    if hit.method != "POST":
        raise _parameter("Unsupported request", 9_900_002)
    if hit.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _parameter("the body is not declared to be JSON", 9_900_003)  # a form would do at Meta
    body = strict_json(hit.body)
    if not isinstance(body, dict):
        raise _parameter("the body is not a JSON object", 9_900_004)
    known = {"data", "test_event_code", "partner_agent", "appsecret_proof", "upload_id", "upload_tag"}
    _known_keys(body, frozenset(known), "the request")
    agent = body.get("partner_agent", "aa")
    if not isinstance(agent, str) or len(agent) >= 23 or len(re.findall("[A-Za-z]", agent)) < 2:
        raise _parameter("partner_agent must be shorter than 23 characters", 9_900_005)
    return body


def _check_proof(account: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    secret, token = account.get("app_secret", ""), account["access_token"]
    expected = hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()
    if secret and body.get("appsecret_proof") != expected:
        raise Refusal(json_reply(400, _error(104, "API calls require an appsecret_proof argument")))


def _checked(event: Any, now: float, messages: list[str]) -> dict[str, Any]:
    """The event, if every check passes; the order is Meta's where it is known."""
    if not isinstance(event, dict):
        raise _parameter("an event is not an object", 9_900_010)
    _known_keys(event, _EVENT_KEYS, "an event")
    for check in (_check_time, _check_names, _check_custom, _check_person, _check_source, _check_processing):
        check(event, now)
    messages.extend(_warnings(event))
    return event


def _check_time(event: dict[str, Any], now: float) -> None:
    at: Any = event.get("event_time")
    days = 62 if event.get("action_source") == "physical_store" else 7
    if not _is_integer(at) or at < now - days * DAY or at > 10**11:  # milliseconds are no time of today
        old = {"error_user_title": "Event Timestamp Too Old", "is_transient": False}
        raise _parameter("Invalid parameter", 2804003, **old)
    if at > now + AHEAD:
        raise _parameter("event_time lies in the future", 9_900_011)


def _check_names(event: dict[str, Any], _now: float) -> None:
    if not isinstance(event.get("event_name"), str) or not event["event_name"]:
        raise _parameter("event_name is missing", 9_900_012)
    if not isinstance(event.get("event_id"), str) or not event["event_id"]:  # optional at Meta
        raise _parameter("event_id is not a string", 9_900_013)


def _check_custom(event: dict[str, Any], _now: float) -> None:
    custom = event.get("custom_data")
    if not isinstance(custom, dict):
        custom = {}
    if event["event_name"] == "Purchase" and (custom.get("value") is None or not custom.get("currency")):
        raise _parameter("Purchase needs value and currency", 2804009)
    _known_keys(custom, _CUSTOM_KEYS, "custom_data")
    _demand(9_900_020, "value", _is_number(custom.get("value", 0)) and custom.get("value", 0) >= 0)
    _demand(9_900_021, "currency", _matches(custom.get("currency", "USD"), "[A-Za-z]{3}"))
    _demand(9_900_022, "order_id", isinstance(custom.get("order_id", ""), str))
    _demand(9_900_023, "num_items", _is_integer(custom.get("num_items", 1)))
    _demand(9_900_024, "content_type", custom.get("content_type", "product") in ("product", "product_group"))
    ids, contents = custom.get("content_ids", ["-"]), custom.get("contents", [])
    _demand(9_900_025, "content_ids", _is_list(ids, lambda one: isinstance(one, str) and one != ""))
    _demand(9_900_026, "contents", _is_list(contents, _is_content))


def _is_content(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() <= _CONTENT_KEYS
        and isinstance(content.get("id"), str)
        and content["id"] != ""
        and _is_integer(content.get("quantity"))
        and content["quantity"] > 0
        and _is_number(content.get("item_price", 0))
        and isinstance(content.get("title", ""), str)
    )


def _check_person(event: dict[str, Any], _now: float) -> None:
    person = event.get("user_data")
    if not isinstance(person, dict) or any(person.keys() <= broad for broad in _TOO_BROAD):
        title = "You haven't added sufficient customer information parameter data for this event"
        raise _parameter("Invalid parameter", 2804050, error_user_title=title, is_transient=False)
    _known_keys(person, _HASHED | _PLAIN | {"external_id"}, "user_data")
    for key in sorted(_HASHED & person.keys()):
        values = person[key] if isinstance(person[key], list) else [person[key]]
        # What Meta answers to data that are not hashed was not found out.
        _demand(9_900_030, key, _is_list(values, lambda one: _matches(one, "[0-9a-f]{64}")))
    for key in sorted(_PLAIN & person.keys()):
        _demand(9_900_031, key, isinstance(person[key], str) and person[key] != "")
    _demand(9_900_032, "client_ip_address", _is_ip(person.get("client_ip_address", "203.0.113.7")))
    external = person.get("external_id", ["-"])
    _demand(
        9_900_033,
        "external_id",
        _is_list(external, lambda one: isinstance(one, str) and one not in ("", "0")),
    )


def _check_source(event: dict[str, Any], _now: float) -> None:
    source = event.get("action_source")
    _demand(9_900_040, "action_source", isinstance(source, str) and source in _SOURCES)
    for key in ("event_source_url", "referrer_url"):
        _demand(9_900_041, key, _matches(event.get(key, "https://a.example"), r"https?://[^\s?#]+"))


def _check_processing(event: dict[str, Any], _now: float) -> None:
    options = event.get("data_processing_options", [])
    country, state = (event.get(f"data_processing_options_{part}") for part in ("country", "state"))
    _demand(9_900_050, "data_processing_options", options in ([], ["LDU"]))
    _demand(9_900_051, "data_processing_options_country", country in (None, 0, 1))
    _demand(9_900_052, "data_processing_options_state", (state is None) == (country is None))
    _demand(9_900_053, "data_processing_options_state", country is None or state in STATES[country])
    _demand(9_900_054, "opt_out", isinstance(event.get("opt_out", False), bool))


def _warnings(event: Mapping[str, Any]) -> list[str]:
    """Invented: Meta takes these events, and shows such things in its Events Manager later."""
    person = event["user_data"]
    found = [f"{key} has not the form of the cookie" for key in ("fbc", "fbp") if not _is_cookie(person, key)]
    if event["action_source"] == "website":
        named = {*person, *event}
        wanted = ("client_user_agent", "event_source_url")  # both are documented as required
        found += [f"{key} is missing for a website event" for key in wanted if key not in named]
    return found


def _identified(event: Mapping[str, Any]) -> tuple[str, str]:
    return event["event_name"], event["event_id"]


def _parameter(message: str, subcode: int, **more: Any) -> Refusal:
    return Refusal(json_reply(400, _error(100, message, subcode, **more)))


def _demand(subcode: int, name: str, fits: bool) -> None:
    if not fits:
        raise _parameter(f"(#100) {name} does not fit", subcode)


def _known_keys(found: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if unknown := found.keys() - known:  # Meta ignores them, and with them a slip of ours
        raise _parameter(f"{where} has unknown parameters: {sorted(unknown)}", 9_900_000)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(fits(one) for one in value)


def _matches(value: Any, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_cookie(person: Mapping[str, Any], key: str) -> bool:
    return key not in person or re.match(r"fb\.\d\.\d{13}\.", person[key], re.ASCII) is not None


def _is_ip(value: Any) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return isinstance(value, str)
