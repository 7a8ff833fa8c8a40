"""Meta Conversions API.

Sources: developers.facebook.com/docs/marketing-api/conversions-api (parameters, using-the-api,
deduplication, data processing options), Graph API error handling, and recorded answers of the endpoint.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from integrations import fit, identity, matching
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
from integrations.destinations.meta.answer import verdict
from integrations.destinations.meta.payload import RULES, SOURCES, TOO_BROAD, server_event, user_data
from integrations.event import DEFAULT_ITEM_ID, Event
from integrations.payload import PAGE_URL, filled
from integrations.setting import Setting

DAY = 86_400
MARGIN = 3_600  # one event past the limit takes the whole request with it


class Meta(Destination):
    """One pixel (dataset) of Meta."""

    slug = "meta"
    label = "Meta"
    api_base = "https://graph.facebook.com"
    batch_limit = 1000
    clicks = ("fbclid",)
    public = ("pixel_id", "content_type", "item_id")
    guide = "Events Manager → your dataset → Settings → Conversions API → Generate access token"
    settings = (
        Setting(
            "pixel_id",
            "The id of the dataset (pixel)",
            required=True,
            pattern="[0-9]{5,20}",
            example="1234567890",
        ),
        Setting(
            "access_token",
            "The token generated in Events Manager",
            required=True,
            secret=True,
            pattern="[!-~]+",
        ),
        Setting(
            "api_version",
            "Version of the Graph API",
            default="v26.0",
            pattern=r"v[0-9]{1,3}\.[0-9]",
            example="v26.0",
        ),
        Setting("app_secret", "The app's secret, if the app demands a proof with every call", secret=True),
        msgspec.structs.replace(
            PAGE_URL,
            help="Your shop's address, on a domain verified at Meta: the page of web orders that name none",
        ),
        Setting("item_id", "Template of a line's id in your catalogue", "item_id", default=DEFAULT_ITEM_ID),
        Setting(
            "content_type",
            "What these ids name in your catalogue",
            "choice",
            default="product",
            choices=("product", "product_group"),
        ),
        Setting(
            "test_event_code",
            "Shows the events under Test events as well; they still count",
            pattern="[A-Za-z0-9]*",
            example="TEST12345",
        ),
        Setting(
            "test_event_code_until",
            "When to stop sending the test code; without a time it is never sent",
            "time",
            example="2026-01-31T00:00:00Z",
        ),
        Setting(
            "partner_agent",
            "The name that Meta is told of the sender",
            default="purchase-relay",
            pattern=r"(?=.*[A-Za-z].*[A-Za-z])[\w.-]{2,22}",
        ),
    )

    restricts = "anywhere"
    summary = Summary(
        dedup_key="event_name + event_id, 48 h",
        window="7 days (62 in a physical store)",
        refunds="none: a refund cannot be told",
        test_mode="test_event_code (its events count all the same)",
        consent="no personalisation: opt_out; US states: LDU",
    )

    def window(self, event: Event) -> int:
        """server-event#event-time: 7 days, in a physical store 62."""
        return (62 if event.origin == "pos" else 7) * DAY - MARGIN

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        if no := fit.unfit(event, now):
            return no
        if identity.email(event.buyer.email, RULES):
            return None  # enough by itself; most orders have one, and need not be hashed twice
        keys = user_data(event).keys()
        if any(keys <= broad for broad in TOO_BROAD):
            return fit.refused("100/2804050", "the order tells too little of its buyer for Meta to match")
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:
        """``POST /{version}/{pixel}/events``; the token stands in the header alone."""
        token = account.text("access_token")
        body: dict[str, Any] = {
            "data": [server_event(delivery, account) for delivery in deliveries],
            "partner_agent": account.text("partner_agent"),
        }
        if (until := account.time("test_event_code_until")) and now < until:
            body["test_event_code"] = account.text("test_event_code")
        if secret := account.text("app_secret"):
            body["appsecret_proof"] = hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return Request(
            url=f"{account.api_base}/{account.text('api_version')}/{account.text('pixel_id')}/events",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            body=msgspec.json.encode(filled(body)),
        )

    def read(self, count: int, response: Response) -> list[Outcome]:
        """Meta answers for the whole request: one verdict, for each of its events."""
        return [verdict(count, response)] * count

    def check(self, account: Account, now: int) -> Request | None:
        """A request without events: Meta looks at token, version and dataset before it misses them."""
        return self.build([], account, now)

    def read_check(self, response: Response) -> Outcome:
        """That only the events are missing means that everything else is in order."""
        outcome = verdict(0, response)
        if outcome.state == "refused" and outcome.reason.partition("/")[0] == "100":
            return Outcome("delivered", detail="token and dataset are accepted", trace=outcome.trace)
        return outcome

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        """customer-information-parameters, in the order in which Meta lists them."""
        return matching.explain(event, user_data(event).keys(), SOURCES)
