"""TikTok Events API 2.0: the events of one website's pixel.

Sources: business-api.tiktok.com/portal/docs, "Report web, app, offline or CRM events" and "Return codes",
as vendors' connectors and TikTok's help center tell them (the portal shows itself to browsers only), and
recorded answers. What they leave open stands below as a constant.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from integrations import fit, matching
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
from integrations.destinations.tiktok.answer import verdicts
from integrations.destinations.tiktok.payload import IDENTIFIERS, SOURCES, user, web_event
from integrations.event import DEFAULT_ITEM_ID, Event
from integrations.payload import PAGE_URL, filled, page_url
from integrations.setting import Setting

DAY = 86_400
WINDOW = 7 * DAY  # nowhere stated: what other senders keep to
MARGIN = 3_600  # one event past the limit may take the whole request with it
PATH = "/open_api/v1.3/event/track/"


class TikTok(Destination):
    """One pixel of TikTok."""

    slug = "tiktok"
    label = "TikTok"
    api_base = "https://business-api.tiktok.com"
    batch_limit = 1000
    clicks = ("ttclid",)
    public = ("pixel_id", "event_name", "content_type", "item_id")
    guide = "TikTok Ads Manager → Tools → Events → your pixel → Settings → Events API → Generate access token"
    settings = (
        Setting(
            "pixel_id",
            "The id of the pixel (its code)",
            required=True,
            pattern="[A-Z0-9]{10,40}",
            example="C4A1B2C3D4E5F6G7H8I9",
        ),
        Setting(
            "access_token",
            "The token generated for the Events API",
            required=True,
            secret=True,
            pattern="[!-~]+",
        ),
        Setting(
            "event_name",
            "What your pixel calls a purchase (older ones: CompletePayment); they must agree",
            default="Purchase",
            pattern="[A-Za-z][A-Za-z0-9_]{1,49}",
        ),
        PAGE_URL,
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
            "Shows the events under Test events",
            pattern="[A-Za-z0-9]*",
            example="TEST12345",
        ),
        Setting(
            "test_event_code_until",
            "When to stop sending the test code; without a time it is never sent",
            "time",
            example="2026-01-31T00:00:00Z",
        ),
    )

    restricts = "us_states"
    summary = Summary(
        dedup_key="event + event_id, 48 h",
        window="7 days",
        refunds="none: a refund cannot be told",
        test_mode="test_event_code",
        consent="US states: limited_data_use; elsewhere no personalisation: not sent",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        return WINDOW - MARGIN

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:
        if no := fit.unfit(event, now):
            return no
        if event.origin == "pos":  # an offline event set is another account, with events of its own
            return Outcome("suppressed", "at_a_till", "a pixel takes no sale at a till", spent=False)
        if not page_url(event, account):
            return fit.refused(
                "no_page", "the order names no page: set page_url, or send web orders only (only_origins)"
            )
        known = user(event).keys()
        if known.isdisjoint(IDENTIFIERS) and not {"ip", "user_agent"} <= known:
            return fit.refused("no_identifier", "the order tells too little of its buyer to match")
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:
        body: dict[str, Any] = {
            "event_source": "web",
            "event_source_id": account.text("pixel_id"),
            "data": [web_event(delivery, account) for delivery in deliveries],
        }
        if (until := account.time("test_event_code_until")) and now < until:
            body["test_event_code"] = account.text("test_event_code")
        return Request(
            url=account.api_base + PATH,
            headers={"Access-Token": str(account.text("access_token")), "Content-Type": "application/json"},
            body=msgspec.json.encode(filled(body)),
        )

    def read(self, count: int, response: Response) -> list[Outcome]:
        return verdicts(count, response)

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def browser_event(self, account: Account) -> str:
        return account.text("event_name")

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        return matching.explain(event, user(event).keys(), SOURCES)
