"""A stand-in of Google Analytics' Measurement Protocol.

``/mp/collect`` answers 204 and nothing else, to rubbish too: what is not valid, not of a known stream or
older than 72 hours is silently not counted. ``/debug/mp/collect`` tells what is wrong, counts nothing, and
looks at neither measurement id nor secret. Its codes are Google's, the sentences are invented; the checks
are stricter than Google's, which ignores what it does not know.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, ClassVar

from webhooks.sandbox.shapes import faults, is_integer, is_list, is_number, is_text, matches
from webhooks.sandbox.standin import Counted, Hit, Reply, StandIn, json_reply, strict_json

HOUR = 3_600
MAX_EVENTS, MAX_BODY, MAX_ITEMS = 25, 130_000, 200

_CODES = {"missing": "VALUE_REQUIRED", "unknown": "NAME_INVALID", "unfit": "VALUE_INVALID"}


def _is_consent(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in ("ad_user_data", "ad_personalization") and said in ("GRANTED", "DENIED")
        for name, said in value.items()
    )


def _is_item(value: Any) -> bool:
    return not list(faults(value, _ITEM)) and bool(value.keys() & {"item_id", "item_name"})


_ITEM = {
    "item_id": lambda value: is_text(value) and len(value) <= 100,
    "item_name": lambda value: is_text(value) and len(value) <= 100,
    "price": is_number,
    "quantity": lambda value: is_integer(value) and value > 0,
}
_PARAMS = {
    "transaction_id": is_text,  # an empty one joins all orders that have it
    "value": lambda value: is_number(value) and value >= 0,
    "currency": lambda value: matches(value, "[A-Z]{3}"),
    "coupon": lambda value: is_text(value) and len(value) <= 100,
    "session_id": lambda value: matches(value, "[0-9]+"),
    "engagement_time_msec": is_integer,
    "items": lambda value: is_list(value, _is_item) and 0 < len(value) <= MAX_ITEMS,
}
_EVENT = {
    "name": lambda value: value in ("purchase", "refund"),
    "params": lambda value: isinstance(value, dict),
}
_BODY = {
    "client_id": lambda value: matches(value, r"[0-9]+\.[0-9]+"),
    "timestamp_micros": is_integer,
    "consent": _is_consent,
    "events": lambda value: isinstance(value, list) and 0 < len(value) <= MAX_EVENTS,
}


class Ga4(StandIn):
    """Knows streams by ``measurement_id`` and ``api_secret``."""

    slug = "ga4"
    demo: ClassVar[Mapping[str, str]] = {
        "measurement_id": "G-STANDIN123",
        "api_secret": "stand-in-secret-of-nobody",
    }
    dedup_seconds = 10**9

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """Nothing but 204 for events, a list of messages from the debug endpoint."""
        if hit.method != "POST" or hit.path not in ("/mp/collect", "/debug/mp/collect"):
            return Reply(404, b"<html>Error 404 (Not Found)</html>", {"Content-Type": "text/html"}), []
        body = strict_json(hit.body)
        messages = [_message(field, code) for field, code in _violations(hit, body)]
        if hit.path == "/debug/mp/collect":
            return json_reply(200, {"validationMessages": messages}), []
        if messages or not self._is_known(hit) or not self._is_recent(body):
            return Reply(204), []
        return Reply(204), [_counted(hit, body, event) for event in body["events"]]

    def dedup_keys(self, counted: Counted) -> dict[Hashable, int]:
        """Purchases of a stream with the same transaction id are one; of refunds nothing is known."""
        if counted.event_name != "purchase":
            return {}
        return super().dedup_keys(counted)

    def _is_known(self, hit: Hit) -> bool:
        names = ("measurement_id", "api_secret")
        return any(all(hit.query.get(name) == one[name] for name in names) for one in self.accounts)

    def _is_recent(self, body: Mapping[str, Any]) -> bool:
        at: float = body.get("timestamp_micros", self.now() * 1e6) / 1e6
        return self.now() - 72 * HOUR <= at <= self.now() + 600


def _counted(hit: Hit, body: Mapping[str, Any], event: Mapping[str, Any]) -> Counted:
    note = {"client_id": body["client_id"], "consent": body.get("consent", {})}
    return Counted(
        hit.query["measurement_id"], event["name"], event["params"]["transaction_id"], dict(event), note
    )


def _violations(hit: Hit, body: Any) -> Iterator[tuple[str, str]]:
    if len(hit.body) > MAX_BODY or not isinstance(body, dict):
        yield "", "VALUE_INVALID"
        return
    found = [(name, _CODES[why]) for name, why in faults(body, _BODY, ("client_id", "events"))]
    yield from found
    if any(name == "events" for name, _ in found):
        return
    for index, event in enumerate(body["events"]):
        yield from _of_event(event, f"events[{index}]")


def _of_event(event: Any, path: str) -> Iterator[tuple[str, str]]:
    found = [(f"{path}.{name}", _CODES[why]) for name, why in faults(event, _EVENT, ("name", "params"))]
    yield from found
    if not found:
        needed = ("transaction_id", "value", "currency")
        for name, why in faults(event["params"], _PARAMS, needed):
            yield f"{path}.params.{name}", _CODES[why]


def _message(field: str, code: str) -> dict[str, str]:
    return {
        "fieldPath": field,
        "description": f"{field or 'the body'} is not accepted",
        "validationCode": code,
    }
