"""Acme Ads, a destination that does not exist: everything that adding one takes, beside its samples."""

from collections.abc import Sequence

import msgspec

from integrations import answers, identity, matching, money
from integrations.destination import (
    Account,
    Delivery,
    Destination,
    MatchKey,
    Outcome,
    Request,
    Response,
    Summary,
)
from integrations.event import Event
from integrations.setting import Setting

RULES = identity.Rules(email="as_written", phone_plus=True)
SOURCES = {"email": ("email",), "phone": ("phone",), "click": ("acme_click",)}


class Acme(Destination):
    """One advertiser of Acme Ads."""

    slug = "acme"
    label = "Acme Ads"
    api_base = "https://ads.acme.example"
    batch_limit = 50
    guide = "Acme Ads → Settings → Server events"
    settings = (
        Setting("advertiser", "The advertiser's id", required=True, example="a-1"),
        Setting("key", "The key of server events", required=True, secret=True),
    )
    summary = Summary(
        dedup_key="id, 48 h", window="2 days", refunds="none", test_mode="none", consent="denied: not sent"
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        """Two days."""
        return 2 * 86_400

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        """Consent first; then at least one identifier, a value and a time that has come."""
        if "denied" in (event.consent.ad_user_data, event.consent.ad_storage):
            return Outcome("suppressed", "consent_denied", "the shopper declined advertising")
        if not event.value.is_finite() or event.value < 0 or event.event_time > now + 600:
            return Outcome("refused", "value_or_time", "the value is negative, or the time lies ahead")
        if not _person(event):
            return Outcome("refused", "nobody", "the order tells nothing of its buyer")
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:  # noqa: ARG002
        """A list of purchases."""
        purchases = [
            {
                "id": one.event_id,
                "at": one.event.event_time,
                "amount": money.plain(one.event.value),
                "currency": one.event.currency,
                "person": _person(one.event),
            }
            for one in deliveries
        ]
        return Request(
            url=f"{account.api_base}/v1/{account.text('advertiser')}/purchases",
            headers={
                "Authorization": f"Bearer {account.text('key')}",
                "Content-Type": "application/json",
            },
            body=msgspec.json.encode({"purchases": purchases}),
        )

    def read(self, count: int, response: Response) -> list[Outcome]:
        """``{"taken": n}``, or ``{"error": word}`` for the whole request."""
        return [_verdict(count, response)] * count

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        """Three, of which one is enough."""
        return matching.explain(event, _person(event).keys(), SOURCES)


def _person(event: Event) -> dict[str, str]:
    who = identity.person(event.buyer, RULES)
    known = {"email": who.email, "phone": who.phone, "click": event.captured("acme_click")}
    return {key: identity.sha256(value) for key, value in known.items() if value}


def _verdict(count: int, response: Response) -> Outcome:
    if silence := answers.unanswered(response):
        return silence
    answer = answers.document(response) or {}
    if response.status == 200 and answer.get("taken") == count:
        return Outcome("delivered")
    word = answer.get("error")
    if word == "key":
        return Outcome("held", "key", "Acme does not accept the key", spent=False)
    if isinstance(word, str) and response.status == 422:
        return Outcome("refused", "purchase", answers.sentence(word), whole=True)
    return answers.by_status(response)
