"""Reddit Conversions API v3: the events of one pixel.

Sources: ads-api.reddit.com/docs/v3 ("Direct Integration", "Conversions API migration", "Error handling"),
which shows itself to browsers only and was read as the makers of two connectors (Segment, RudderStack) wrote
it down, and answers that they recorded. What these leave open stands in one constant each.
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
from integrations.destinations.reddit.answer import verdicts
from integrations.destinations.reddit.payload import SOURCES, conversion, match_data
from integrations.event import DEFAULT_ITEM_ID, Event
from integrations.payload import filled
from integrations.setting import Setting

WINDOW = 168 * 3_600  # "event_at timestamp must be less than 168h0m0s old"
MARGIN = 3_600  # one event past the limit takes the whole request with it
AHEAD = 300
WRAPPER = "data"  # one connector sends the events without it; Reddit's own pages have it


class Reddit(Destination):
    """One pixel of Reddit."""

    slug = "reddit"
    label = "Reddit"
    api_base = "https://ads-api.reddit.com"
    batch_limit = 1000
    clicks = ("rdt_cid",)
    public = ("pixel_id", "item_id")
    guide = "Reddit Ads → Events Manager → your pixel's id; Conversions API → Generate access token"
    settings = (
        Setting(
            "pixel_id",
            "The id of the pixel",
            required=True,
            pattern="[A-Za-z0-9_]{3,40}",
            example="a2_abcdefghijkl",
        ),
        Setting(
            "access_token",
            "The conversion access token of the ad account",
            required=True,
            secret=True,
            pattern="[!-~]+",
        ),
        Setting("item_id", "Template of a line's id in your catalogue", "item_id", default=DEFAULT_ITEM_ID),
        Setting(
            "test_id",
            "Shows the events under Event Testing, and no batches there: 10 events a second",
            pattern="[A-Za-z0-9_-]*",
            example="t2_example",
        ),
        Setting(
            "test_id_until",
            "When to stop sending the test id; without a time it is never sent",
            "time",
            example="2026-01-31T00:00:00Z",
        ),
    )

    restricts = "anywhere"
    summary = Summary(
        dedup_key="tracking_type + conversion_id within one action_source, 48 h",
        window="7 days",
        refunds="none: a refund cannot be told",
        test_mode="test_id",
        consent="no personalisation, US states: LDU",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        return WINDOW - MARGIN

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        if no := fit.unfit(event, now):
            return no
        if event.event_time > now + AHEAD:
            return fit.refused("time_ahead", "the order's time lies in the future: check the shop's clock")
        if not match_data(event):
            return fit.refused("no_identifier", "the order tells nothing by which to know its buyer")
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:
        body: dict[str, Any] = {"events": [conversion(delivery, account) for delivery in deliveries]}
        if (until := account.time("test_id_until")) and now < until:
            body["test_id"] = account.text("test_id")
        return Request(
            url=f"{account.api_base}/api/v3/pixels/{account.text('pixel_id')}/conversion_events",
            headers={
                "Authorization": f"Bearer {account.text('access_token')}",
                "Content-Type": "application/json",
            },
            body=msgspec.json.encode({WRAPPER: filled(body)}),
        )

    def read(self, count: int, response: Response) -> list[Outcome]:
        return verdicts(count, response)

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        return matching.explain(event, match_data(event).keys(), SOURCES)
