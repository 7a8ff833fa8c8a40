"""Google Ads, through the Data Manager API: purchases as a further source of a website's conversion action.

Sources: developers.google.com/data-manager/api (devguides/events, reference/rest/v1, release notes up to
1.8), and the message classes of Google's own client, google-ads-datamanager 0.9.4.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

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
    Token,
    invented,
)
from integrations.destinations.google.answer import checked, confirmed, verdicts
from integrations.destinations.google.credentials import API_BASE, read_token, token_request
from integrations.destinations.google.payload import (
    SOURCES,
    ad_identifiers,
    buyer,
    ingested_event,
    known,
    user_identifiers,
)
from integrations.event import DEFAULT_ITEM_ID, Event
from integrations.payload import filled
from integrations.setting import Setting

DAY = 86_400
WINDOW = 54 * DAY  # nowhere stated for a website's action: the age up to which Google Ads adjusts one
CUSTOMER = r"[0-9]{3}-?[0-9]{3}-?[0-9]{4}"


class Google(Destination):
    """One conversion action of Google Ads: the one that the website's tag feeds."""

    slug = "google"
    label = "Google Ads"
    api_base = API_BASE
    batch_limit = 2000
    dedup_seconds = WINDOW
    clicks = ("gclid", "gbraid", "wbraid")
    public = ("tag_label",)
    guide = (
        "Google Ads → Goals → Conversions → the website's purchase action: ctId in the browser's address is "
        "the conversion_action_id. Google Cloud → enable the Data Manager API → create a service account and "
        "a key; then Google Ads → Admin → Access: invite the service account's e-mail address"
    )
    settings = (
        Setting(
            "customer_id",
            "The Ads account that owns the conversion action",
            required=True,
            pattern=CUSTOMER,
            example="123-456-7890",
        ),
        Setting(
            "conversion_action_id",
            "The conversion action that your website's tag feeds (ctId in its address)",
            required=True,
            pattern="[0-9]{1,20}",
            example="987654321",
        ),
        Setting(
            "tag_label",
            "What your website's tag sends conversions to (send_to), for the pixel that the relay's snippet "
            "fires",
            pattern="AW-[0-9]{6,20}/[A-Za-z0-9_-]{4,80}",
            example="AW-123456789/AbC-D_efGhIjK1lMnOp",
        ),
        Setting(
            "service_account",
            "The JSON key of a service account, on one line or in base64; without it, the three below",
            secret=True,
        ),
        Setting("client_id", "The OAuth client, in place of a service account", pattern="[!-~]+"),
        Setting("client_secret", "The OAuth client's secret", secret=True, pattern="[!-~]+"),
        Setting(
            "refresh_token",
            "A user's refresh token for the scope datamanager",
            secret=True,
            pattern="[!-~]+",
        ),
        Setting(
            "login_customer_id",
            "The manager account through which these credentials reach the Ads account",
            pattern=CUSTOMER,
            example="123-456-7890",
        ),
        Setting(
            "quota_project",
            "The Cloud project whose quota counts (OAuth clients only)",
            pattern="[a-z0-9.:-]{6,60}",
        ),
        Setting("item_id", "Template of a line's id in Merchant Center", "item_id", default=DEFAULT_ITEM_ID),
        Setting(
            "merchant_id",
            "The Merchant Center account: conversions then carry the cart",
            pattern="[0-9]{1,20}",
        ),
        Setting(
            "merchant_feed_label",
            "Label of the feed in Merchant Center",
            pattern="[A-Za-z0-9_-]{1,20}",
            example="US",
        ),
        Setting(
            "merchant_feed_language",
            "Language of the feed in Merchant Center",
            pattern="[a-z]{2}",
            example="en",
        ),
    )

    restricts = "anywhere"
    summary = Summary(
        dedup_key="transactionId in the conversion action, for good",
        window="54 days (Google says none)",
        refunds="none: restating an order that Google does not know would add a conversion",
        test_mode="validateOnly: checks everything, counts nothing",
        consent="told with every event; no personalisation, US states: adPersonalization denied",
    )

    def window(self, event: Event) -> int:  # noqa: ARG002
        return WINDOW

    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:  # noqa: ARG002
        if no := fit.unfit(event, now):
            return no
        if event.origin == "pos":
            why = "a website's conversion action takes no sale at a till"
            return Outcome("suppressed", "at_a_till", why, spent=False)
        if not ad_identifiers(event) and not any(user_identifiers(buyer(event))):
            why = "the order tells too little of its buyer for Google to match"
            return fit.refused("NO_IDENTIFIERS_PROVIDED", why)
        return None

    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:  # noqa: ARG002
        """``POST /v1/events:ingest``; the access token is added where it is kept."""
        return _ingest([ingested_event(delivery, account) for delivery in deliveries], account)

    def read(self, count: int, response: Response) -> list[Outcome]:
        """Accepted for processing: `confirm` asks for the rest."""
        return verdicts(count, response)

    def exchange(self, account: Account, now: int) -> Request | Outcome:
        return token_request(account, now)

    def read_exchange(self, response: Response) -> Token | Outcome:
        return read_token(response)

    def check(self, account: Account, now: int) -> Request:
        """An invented order that Google checks in full and does not count."""
        return self.rehearse(invented(now), account, now)

    def rehearse(self, delivery: Delivery, account: Account, now: int) -> Request:  # noqa: ARG002
        return _ingest([ingested_event(delivery, account)], account, validateOnly=True)

    def read_check(self, response: Response) -> Outcome:
        return checked(response)

    def confirm(self, trace: str, account: Account) -> Request | None:
        """``GET /v1/requestStatus:retrieve``, answered for about 50 days."""
        if not trace:
            return None
        query = urlencode({"requestId": trace})
        url = f"{account.api_base}/v1/requestStatus:retrieve?{query}"
        return Request(url, method="GET", headers=_quota(account))

    def read_confirm(self, response: Response) -> Outcome:
        return confirmed(response)

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return matching.captured_names(SOURCES)

    def browser_event(self, account: Account) -> str:  # noqa: ARG002
        return "conversion"

    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:  # noqa: ARG002
        return matching.explain(event, known(event), SOURCES)


def _ingest(events: list[dict[str, Any]], account: Account, **more: Any) -> Request:
    login = account.text("login_customer_id")
    receiver = {
        "operatingAccount": _customer(account.text("customer_id")),
        "loginAccount": _customer(login) if login else None,
        "productDestinationId": account.text("conversion_action_id"),
    }
    body = {"destinations": [filled(receiver)], "encoding": "HEX", "events": events, **more}
    return Request(
        url=f"{account.api_base}/v1/events:ingest",
        headers={"Content-Type": "application/json", **_quota(account)},
        body=msgspec.json.encode(body),
    )


def _customer(number: str) -> dict[str, Any]:
    return {"accountType": "GOOGLE_ADS", "accountId": number.replace("-", "")}


def _quota(account: Account) -> dict[str, str]:
    return filled({"x-goog-user-project": account.text("quota_project")})
