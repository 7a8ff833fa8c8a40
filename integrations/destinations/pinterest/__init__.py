"""Pinterest API v5, "Send conversions": the events of one ad account.

Sources: developers.pinterest.com/docs/api/v5/events-create (the published OpenAPI document 5.23),
.../docs/track-conversions, and the help centre's page on limited data processing. How old an event may be,
and for how long its id is remembered, is stated nowhere.
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
from integrations.destinations.pinterest.answer import verdicts
from integrations.destinations.pinterest.payload import EVENT_NAME, SOURCES, conversion, user_data
from integrations.event import DEFAULT_ITEM_ID, Event
from integrations.setting import Setting

DAY = 86_400
WINDOW = 7 * DAY  # not documented: what other destinations take. Pinterest judges each event alone


class Pinterest(Destination):
    """One ad account of Pinterest."""

    slug = "pinterest"
    label = "Pinterest"
    api_base = "https://api.pinterest.com"
    batch_limit = 1000
    clicks = ("epik",)
    public = ("tag_id", "item_id")
    guide = (
        "Ads Manager → Conversions → Conversions API → Generate token; the ad account's id stands in the "
        "address. The plugin Pinterest for WooCommerce calls a purchase checkout_<order id> since May 2026: "
        "beside it set WOOCOMMERCE_EVENT_ID_PINTEREST=checkout_{order_id}; older versions use a random id"
    )
    settings = (
        Setting(
            "ad_account_id",
            "The id of the ad account",
            required=True,
            pattern="[0-9]{5,18}",
            example="549755885175",
        ),
        Setting(
            "access_token",
            "The conversion token generated in Ads Manager",
            required=True,
            secret=True,
            pattern="[!-~]+",
        ),
        Setting(
            "tag_id",
            "The id of the Pinterest tag, for the pixel that the relay's snippet fires",
            pattern="[0-9]{5,20}",
            example="2612345678901",
        ),
        Setting("item_id", "Template of a line's id in your catalogue", "item_id", default=DEFAULT_ITEM_ID),
    )

    restricts = "anywhere"
    summary = Summary(
        dedup_key="event_name + event_id, time not stated (told over an hour late: perhaps not)",
        window="not stated; 7 days are kept to",
        refunds="none: a refund cannot be told",
        test_mode="?test=true, used by the check",
        consent="no personalisation: opt_out; US states: LDP",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        return WINDOW

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        if no := fit.unfit(event, now):
            return no
        known = user_data(event).keys()
        if "em" not in known and not {"client_ip_address", "client_user_agent"} <= known:
            return fit.refused("no_identifier", "the order names neither an e-mail address nor a browser")
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:  # noqa: ARG002
        return _request(account, [conversion(delivery, account) for delivery in deliveries])

    def read(self, count: int, response: Response) -> list[Outcome]:
        return verdicts(count, response)

    def check(self, account: Account, now: int) -> Request:
        """A made-up event that is looked at and not recorded."""
        return self.rehearse(invented(now), account, now)

    def rehearse(self, delivery: Delivery, account: Account, now: int) -> Request:  # noqa: ARG002
        request = _request(account, [conversion(delivery, account)])
        return msgspec.structs.replace(request, url=f"{request.url}?test=true")

    def read_check(self, response: Response) -> Outcome:
        return verdicts(1, response)[0]

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def browser_event(self, account: Account) -> str:  # noqa: ARG002
        return EVENT_NAME

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        return matching.explain(event, user_data(event).keys(), SOURCES)


def _request(account: Account, events: Sequence[Mapping[str, Any]]) -> Request:
    return Request(
        url=f"{account.api_base}/v5/ad_accounts/{account.text('ad_account_id')}/events",
        headers={
            "Authorization": f"Bearer {account.text('access_token')}",
            "Content-Type": "application/json",
        },
        body=msgspec.json.encode({"data": events}),
    )
