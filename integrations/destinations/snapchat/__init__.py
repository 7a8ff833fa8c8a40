"""Snapchat Conversions API, version 3.

Sources: developers.snap.com/api/marketing-api/Conversions-API (Parameters, UsingTheAPI, Deduplication,
VerifySetUp) and the OpenAPI document of Snap's own SDK (github.com/Snapchat/business-sdk-v3-java,
api/openapi.yaml).
"""

from collections.abc import Sequence

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
from integrations.destinations.snapchat.answer import verdicts
from integrations.destinations.snapchat.payload import SOURCES, conversion, user_data
from integrations.event import DEFAULT_EVENT_ID, DEFAULT_ITEM_ID, Event
from integrations.payload import PAGE_URL, page_url
from integrations.setting import Setting

DAY = 86_400
WINDOW = 37 * DAY  # Introduction: "maximum 37 days back"
MARGIN = 3_600  # one event past the limit may take the whole request with it


class Snapchat(Destination):
    """One pixel of Snapchat."""

    slug = "snapchat"
    label = "Snapchat"
    api_base = "https://tr.snapchat.com"
    batch_limit = 2000
    dedup_seconds = 30 * DAY  # by order_id; by event_id alone it would be 48 hours
    clicks = ("ScCid",)
    public = ("pixel_id", "order_id", "item_id")
    guide = "Snap Ads Manager → Events Manager → your pixel → Conversions API → Generate token"
    settings = (
        Setting(
            "pixel_id",
            "The id of the pixel",
            required=True,
            pattern="[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            example="6a1f0b2c-3d4e-4f50-8a6b-7c8d9e0f1a2b",
        ),
        Setting(
            "access_token",
            "The long-lived token generated for the Conversions API",
            required=True,
            secret=True,
            pattern="[!-~]+",
        ),
        Setting(
            "order_id",
            "Template of what your pixel sends as transaction_id; repetitions are known by it for 30 days",
            "event_id",
            default=DEFAULT_EVENT_ID,
        ),
        PAGE_URL,
        Setting("item_id", "Template of a line's id in your catalogue", "item_id", default=DEFAULT_ITEM_ID),
    )

    restricts = "us_states"
    summary = Summary(
        dedup_key="event_id, 48 h; order_id, 30 days",
        window="37 days",
        refunds="none: a refund cannot be told",
        test_mode="a check that records nothing",
        consent="US states: LDU; elsewhere no personalisation: not sent",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        return WINDOW - MARGIN

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:
        if no := fit.unfit(event, now):
            return no
        if event.origin == "web" and not page_url(event, account):
            return fit.refused("no_page", "the order names no page: set page_url")
        known = user_data(event).keys()
        if known.isdisjoint({"em", "ph"}) and not {"client_ip_address", "client_user_agent"} <= known:
            return fit.refused(
                "no_identifier", "the order tells too little of its buyer for Snapchat to match"
            )
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:  # noqa: ARG002
        return _request(deliveries, account, "events")

    def read(self, count: int, response: Response) -> list[Outcome]:
        return verdicts(count, response)

    def check(self, account: Account, now: int) -> Request:
        """VerifySetUp: the same request elsewhere, which is judged and not recorded. Nobody's order."""
        return self.rehearse(invented(now), account, now)

    def rehearse(self, delivery: Delivery, account: Account, now: int) -> Request:  # noqa: ARG002
        return _request([delivery], account, "events/validate")

    def read_check(self, response: Response) -> Outcome:
        [outcome] = verdicts(1, response)
        if outcome.state != "delivered":
            return outcome
        return msgspec.structs.replace(outcome, detail="token and pixel are accepted")

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def browser_event(self, account: Account) -> str:  # noqa: ARG002
        return "PURCHASE"

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        return matching.explain(event, user_data(event).keys(), SOURCES)


def _request(deliveries: Sequence[Delivery], account: Account, path: str) -> Request:
    """The token is documented as a query parameter; the header does as well, and no log shows it."""
    return Request(
        url=f"{account.api_base}/v3/{account.text('pixel_id')}/{path}",
        headers={
            "Authorization": f"Bearer {account.text('access_token')}",
            "Content-Type": "application/json",
        },
        body=msgspec.json.encode({"data": [conversion(delivery, account) for delivery in deliveries]}),
    )
