"""Google Analytics 4, through the Measurement Protocol: purchases and refunds of a web stream.

Sources: developers.google.com/analytics/devguides/collection/protocol/ga4 (reference, reference/events,
validating-events) and support.google.com/analytics/answer/12313109 on transaction ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from integrations import answers, fit, matching, money
from integrations.destination import (
    Account,
    Delivery,
    Destination,
    MatchKey,
    Outcome,
    Request,
    Response,
    Summary,
    invented,
)
from integrations.event import DEFAULT_ITEM_ID, ConsentState, Event, Line, item_id
from integrations.payload import filled
from integrations.setting import Setting
from integrations.untrusted import records

HOUR = 3_600
MARGIN = HOUR
API_BASE = "https://www.google-analytics.com"
EUROPE = "https://region1.google-analytics.com"
MAX_ITEMS, MAX_TEXT = 200, 100  # reference/events, and the limits of the protocol

# The cookie is GA1.<depth of its domain>.<client id>; only the client id is wanted.
_GA = re.compile(r"GA1\.[0-9]{1,2}(?:-[0-9]{1,2})?\.(?P<id>[0-9]{1,20}\.[0-9]{9,11})", re.ASCII)
_CLIENT_ID = re.compile(r"(?P<id>[0-9]{1,20}\.[0-9]{9,11})", re.ASCII)
# The session's cookie: GS1.1.<session id>.<count>..., since 2025 GS2.1.s<session id>$o<count>$...
_SESSION = re.compile(r"GS(?:1\.[0-9]{1,2}\.|2\.[0-9]{1,2}\.s)(?P<id>[0-9]{9,11})(?:[.$].{0,200})?", re.ASCII)

_NAMES: Mapping[str, str] = {"Purchase": "purchase", "Refund": "refund"}
_CONSENT: Mapping[ConsentState, str] = {"granted": "GRANTED", "denied": "DENIED", "": ""}


class Ga4(Destination):
    """One web stream of Google Analytics."""

    slug = "ga4"
    label = "Google Analytics 4"
    api_base = API_BASE
    batch_limit = 1  # 25 events go into a request, but of one client alone
    dedup_seconds = 72 * HOUR
    event_names = frozenset(_NAMES)
    secret_in_url = "the Measurement Protocol takes api_secret nowhere but in the query"  # noqa: S105
    public = ("measurement_id", "item_id")
    guide = (
        "Google Analytics → Admin → Data streams → your web stream: the measurement id, and a secret under "
        "Measurement Protocol API secrets. Orders need the shopper's _ga cookie as an attribute"
    )
    settings = (
        Setting(
            "measurement_id",
            "The web stream's measurement id",
            required=True,
            pattern="G-[A-Z0-9]{4,20}",
            example="G-A1B2C3D4E5",
        ),
        Setting(
            "api_secret",
            "The secret made for the Measurement Protocol",
            required=True,
            secret=True,
            pattern=r"[\w-]{10,100}",
        ),
        Setting(
            "region",
            "eu sends to Google's servers in the European Union; empty for any",
            "choice",
            choices=("", "eu"),
        ),
        Setting("item_id", "Template of a line's id in your reports", "item_id", default=DEFAULT_ITEM_ID),
    )

    restricts = "anywhere"
    summary = Summary(
        dedup_key="transaction_id of a purchase (Google does not say for how long)",
        window="72 hours",
        refunds="refund, with what was given back; nothing recognises a repetition of it",
        test_mode="the debug endpoint, used by the check; it looks at neither measurement id nor secret",
        consent="told with every event; no personalisation, US states: ad_personalization denied",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        return 72 * HOUR - MARGIN

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        """A made-up client id would be a new visitor from nowhere: without the real one, nothing is sent."""
        if no := fit.unfit(event, now):
            return no
        if not _client_id(event):
            why = "the storefront handed on no _ga cookie, so Analytics could not tell whose purchase it was"
            return Outcome("suppressed", "no_client_id", why, spent=False)
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:  # noqa: ARG002
        """``POST /mp/collect``, with one event."""
        [delivery] = deliveries
        return _post("/mp/collect", _body(delivery, account), account)

    def read(self, count: int, response: Response) -> list[Outcome]:
        """Analytics answers 2xx to whatever it gets, also to what it then drops: that is no verdict."""
        if silence := answers.unanswered(response):
            return [silence] * count
        if response.status // 100 == 2 and not response.body.lstrip().startswith(b"<"):
            return [Outcome("delivered", detail="accepted without a verdict: Analytics gives none")] * count
        return [answers.by_status(response)] * count

    def check(self, account: Account, now: int) -> Request:
        """An invented purchase at the debug endpoint, which records nothing."""
        return self.rehearse(invented(now), account, now)

    def rehearse(self, delivery: Delivery, account: Account, now: int) -> Request:  # noqa: ARG002
        return _post("/debug/mp/collect", _body(delivery, account), account)

    def read_check(self, response: Response) -> Outcome:
        """validating-events: an empty list of messages is a yes."""
        if silence := answers.unanswered(response):
            return silence
        messages = (answers.document(response) or {}).get("validationMessages")
        if response.status != 200 or not isinstance(messages, list):
            return answers.by_status(response)
        if messages:
            first = next(iter(records(messages)), {})
            word = answers.trace(first.get("validationCode")) or "invalid"
            return Outcome("refused", word, answers.sentence(first.get("description")))
        return Outcome("delivered", detail="the event is valid; whether id and secret are right is not told")

    def captures(self, account: Account) -> tuple[str, ...]:
        return matching.captured_names(_sources(account))

    def browser_event(self, account: Account) -> str:  # noqa: ARG002
        return _NAMES["Purchase"]

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:
        sent = filled({"client_id": _client_id(event), "session_id": _session_id(event, account)})
        return matching.explain(event, sent.keys(), _sources(account))


def _post(path: str, body: dict[str, Any], account: Account) -> Request:
    """The only place where a secret enters an address. Nothing of ours logs, stores or tells an address."""
    base = EUROPE if account.api_base == API_BASE and account.text("region") == "eu" else account.api_base
    query = {"measurement_id": account.text("measurement_id"), "api_secret": account.text("api_secret")}
    return Request(
        url=f"{base}{path}?{urlencode(query)}",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode(body),
    )


def _body(delivery: Delivery, account: Account) -> dict[str, Any]:
    event = delivery.event
    consent = {
        "ad_user_data": _CONSENT[event.consent.ad_user_data],
        "ad_personalization": _CONSENT["denied" if delivery.restricted else event.consent.ad_personalization],
    }
    return filled(
        {
            "client_id": _client_id(event),
            "timestamp_micros": event.event_time * 1_000_000,
            "consent": filled(consent),
            "events": [{"name": _NAMES[event.event_name], "params": _params(delivery, account)}],
        }
    )


def _params(delivery: Delivery, account: Account) -> dict[str, Any]:
    """A refund has the event_id of its purchase. An empty one would join all such orders in one."""
    event = delivery.event
    session = _session_id(event, account)
    return filled(
        {
            "transaction_id": delivery.event_id or event.order_id or event.key,
            "value": money.number(event.value),
            "currency": event.currency,
            "coupon": next((code[:MAX_TEXT] for code in event.discount_codes), ""),
            "session_id": session,
            "engagement_time_msec": 1 if session else None,  # without it the session is not shown
            "items": list(_items(event, account))[:MAX_ITEMS],
        }
    )


def _items(event: Event, account: Account) -> Iterator[dict[str, Any]]:
    for line in event.lines:
        if line.quantity > 0 and (item := _item(line, event, account)):
            yield item


def _item(line: Line, event: Event, account: Account) -> dict[str, Any]:
    """An item has an id or a name."""
    named = {
        "item_id": item_id(line, account.text("item_id"), country=event.buyer.country)[:MAX_TEXT],
        "item_name": line.title[:MAX_TEXT],
    }
    price = None if line.unit_price is None else money.number(line.unit_price)
    return filled({**named, "price": price, "quantity": line.quantity}) if any(named.values()) else {}


def _client_id(event: Event) -> str:
    """The shopper's own, as Google's tag made it: from its cookie, or as the tag told the storefront."""
    for form, name in ((_GA, "ga"), (_CLIENT_ID, "ga_client_id"), (_CLIENT_ID, "ga")):
        if found := form.fullmatch(event.captured(name)):
            return found["id"]
    return ""


def _session_id(event: Event, account: Account) -> str:
    """The visit's, from the cookie of this very stream."""
    if found := _SESSION.fullmatch(event.captured(_session_cookie(account))):
        return found["id"]
    bare = event.captured("ga_session_id")
    return bare if re.fullmatch("[0-9]{9,11}", bare) else ""


def _sources(account: Account) -> Mapping[str, tuple[str, ...]]:
    return {"client_id": ("ga", "ga_client_id"), "session_id": (_session_cookie(account), "ga_session_id")}


def _session_cookie(account: Account) -> str:
    return f"ga_{account.text('measurement_id').removeprefix('G-')}"
