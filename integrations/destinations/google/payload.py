"""What Google is told of one event: the `Event` of the Data Manager API."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from integrations import identity, money
from integrations.destination import Account, Delivery
from integrations.event import ConsentState, Event, Line
from integrations.payload import captured, catalogued, filled

# devguides/concepts/formatting, and what Google's own utility does: e-mail without dots and tag at Google's
# domains, phone in E.164 with its plus, names trimmed and lower-cased, postal and region code plain.
RULES = identity.Rules(
    email="gmail",
    phone_plus=True,
    names="as_written",
    places="words",
    postcode="as_written",
    country="upper",
    external_id="as_written",
)

SOURCES: Mapping[str, tuple[str, ...]] = {
    "emailAddress": ("email",),
    "phoneNumber": ("phone",),
    "address": ("first_name", "last_name", "postcode", "country"),
    "gclid": ("gclid", "gcl_aw"),
    "gbraid": ("gbraid",),
    "wbraid": ("wbraid",),
    "ipAddress": ("ip",),
    "userAgent": ("user_agent",),
}
"""Google's match keys and where an order has them."""

_CLICK = re.compile(r"[\w-]{10,500}", re.ASCII)
_GCL_AW = re.compile(r"GCL\.[0-9]{1,13}\.(?P<click>[\w-]{10,500})", re.ASCII)

_CONSENT: Mapping[ConsentState, str] = {"granted": "CONSENT_GRANTED", "denied": "CONSENT_DENIED", "": ""}


def ingested_event(delivery: Delivery, account: Account) -> dict[str, Any]:
    """One element of the request's ``events``. Empty text is an error: what is unknown is left out."""
    event, person = delivery.event, buyer(delivery.event)
    return filled(
        {
            "transactionId": delivery.event_id,
            "eventTimestamp": datetime.fromtimestamp(event.event_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventSource": "WEB",  # the conversion action is a website's, whoever typed the order
            "currency": event.currency,
            "conversionValue": money.number(event.value),
            "userData": filled({"userIdentifiers": list(user_identifiers(person))}),
            "adIdentifiers": ad_identifiers(event),
            "eventDeviceInfo": _device(person),
            "consent": _consent(delivery),
            "cartData": _cart(event, account),
        }
    )


def known(event: Event) -> frozenset[str]:
    """The match keys that the event carries."""
    person = buyer(event)
    kinds = (key for identifier in user_identifiers(person) for key in identifier)
    return frozenset((*kinds, *ad_identifiers(event), *_device(person)))


def buyer(event: Event) -> identity.Person:
    """The buyer under Google's rules."""
    return identity.person(event.buyer, RULES)


def user_identifiers(person: identity.Person) -> Iterator[dict[str, Any]]:
    """What is known of the buyer, one kind each. An address needs all of its four parts."""
    if person.email:
        yield {"emailAddress": identity.sha256(person.email)}
    if person.phone:
        yield {"phoneNumber": identity.sha256(person.phone)}
    if person.first_name and person.last_name and person.postcode and person.country:
        yield {
            "address": {
                "givenName": identity.sha256(person.first_name),
                "familyName": identity.sha256(person.last_name),
                "regionCode": person.country,
                "postalCode": person.postcode,
            }
        }


def ad_identifiers(event: Event) -> dict[str, Any]:
    """The click that brought the visit: one id, the most exact first.

    ``dclid`` is left out: it belongs to Campaign Manager, and an Ads account refuses what is not its own.
    """
    cookie = _GCL_AW.fullmatch(event.captured("gcl_aw"))
    gclid = captured(event, _CLICK, "gclid") or (cookie["click"] if cookie else "")
    if gclid:
        return {"gclid": gclid}
    for name in ("gbraid", "wbraid"):
        if click := captured(event, _CLICK, name):
            return {name: click}
    return {}


def _device(person: identity.Person) -> dict[str, Any]:
    return filled({"userAgent": person.user_agent, "ipAddress": person.ip})


def _consent(delivery: Delivery) -> dict[str, Any]:
    """What the shopper said; nothing at all where nobody asked. What must not be used for personalised
    advertising is denied to it, whoever wants it so."""
    consent = delivery.event.consent
    return filled(
        {
            "adUserData": _CONSENT[consent.ad_user_data],
            "adPersonalization": _CONSENT["denied" if delivery.restricted else consent.ad_personalization],
        }
    )


def _cart(event: Event, account: Account) -> dict[str, Any]:
    """Conversions with cart data: only for a shop with products in Merchant Center."""
    merchant = account.text("merchant_id")
    items = [_item(product, line) for product, line in catalogued(event, account)]
    if not merchant or not items:
        return {}
    return filled(
        {
            "merchantId": merchant,
            "merchantFeedLabel": account.text("merchant_feed_label"),
            "merchantFeedLanguageCode": account.text("merchant_feed_language"),
            "items": items,
        }
    )


def _item(product: str, line: Line) -> dict[str, Any]:
    price = None if line.unit_price is None else money.number(line.unit_price)
    return filled({"merchantProductId": product, "quantity": line.quantity, "unitPrice": price})
