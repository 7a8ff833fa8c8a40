"""OpenAI Ads Conversions API: the events of one pixel (ads in ChatGPT).

Sources: developers.openai.com/ads/conversions-api and .../ads/supported-events as of autumn 2026, and
recorded answers: the documents say nothing of what is answered.
"""

from collections.abc import Mapping, Sequence
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
    invented,
)
from integrations.destinations.openai.answer import verdict
from integrations.destinations.openai.payload import SOURCES, TYPE, conversion, match_keys
from integrations.event import DEFAULT_ITEM_ID, Event
from integrations.setting import Setting

DAY = 86_400
MARGIN = 3_600  # one event past the limit takes the whole request with it


class OpenAI(Destination):
    """One pixel of OpenAI Ads."""

    slug = "openai"
    label = "OpenAI Ads"
    api_base = "https://bzr.openai.com"
    batch_limit = 1000
    clicks = ("oppref",)
    public = ("pixel_id", "item_id")
    guide = (
        "ads.openai.com → Conversions: the pixel's id, and a key from 'Conversion keys' (the keys under "
        "Settings, and those of platform.openai.com, look alike and are refused). Let the storefront hand on "
        "the cookies __oppref and __obref"
    )
    settings = (
        Setting(
            "pixel_id",
            "The id of the pixel (data source)",
            required=True,
            pattern="[A-Za-z0-9_-]{4,80}",
            example="RrQuExample0Pixel1Id2x",
        ),
        # Not "api_key": OPENAI_API_KEY is what a server keeps its key of another product in.
        Setting(
            "conversions_api_key",
            "A conversion key of the ad account",
            required=True,
            secret=True,
            pattern="[!-~]+",
        ),
        Setting("item_id", "Template of a line's id in your catalogue", "item_id", default=DEFAULT_ITEM_ID),
    )

    restricts = "anywhere"
    summary = Summary(
        dedup_key="type + id, time not stated (the first counts)",
        window="7 days",
        refunds="none: a refund cannot be told",
        test_mode="validate_only, used by the check",
        consent="no personalisation, US states: opt_out",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        """conversions-api#event-structure: timestamp_ms within the last 7 days."""
        return 7 * DAY - MARGIN

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        """Every match key is optional: an order that tells nothing of its buyer counts, unattributed."""
        return fit.unfit(event, now)

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:  # noqa: ARG002
        return _request(account, [conversion(delivery, account) for delivery in deliveries])

    def read(self, count: int, response: Response) -> list[Outcome]:
        """One failure fails all, so there is one verdict, for each of the events."""
        return [verdict(count, response)] * count

    def check(self, account: Account, now: int) -> Request:
        """A made-up event that is looked at and not saved."""
        return self.rehearse(invented(now), account, now)

    def rehearse(self, delivery: Delivery, account: Account, now: int) -> Request:  # noqa: ARG002
        return _request(account, [conversion(delivery, account)], validate_only=True)

    def read_check(self, response: Response) -> Outcome:
        return verdict(1, response)

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def browser_event(self, account: Account) -> str:  # noqa: ARG002
        return TYPE

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        return matching.explain(event, match_keys(event), SOURCES)


def _request(
    account: Account, events: Sequence[Mapping[str, Any]], *, validate_only: bool = False
) -> Request:
    return Request(
        url=f"{account.api_base}/v1/events?pid={account.text('pixel_id')}",
        headers={
            "Authorization": f"Bearer {account.text('conversions_api_key')}",
            "Content-Type": "application/json",
        },
        body=msgspec.json.encode({"validate_only": validate_only, "events": events}),
    )
