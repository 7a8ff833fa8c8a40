"""Stripe: a Checkout session, a payment intent or an invoice as a purchase.

One payment makes up to four events at Stripe (session, payment intent, charge, invoice), and an endpoint may
hear all of them: `admission` says which one is the sale, `sale` reads it. Thin events (since 2026-09-30) hold
no object: it is fetched, or the owner is told to choose snapshots.

Sources: docs.stripe.com/webhooks, docs.stripe.com/event-destinations, stripe-python 16.1.0.
"""

import re
from collections.abc import Sequence
from typing import Any

from integrations.access import Access
from integrations.destination import Request, Response
from integrations.event import Event
from integrations.hook import Hook
from integrations.setting import Secret, Setting
from integrations.signing import from_hex, matching
from integrations.store import Incomplete, Malformed, NotAnEvent, Shop, Store, Unverified
from integrations.stores.stripe.access import API_VERSION, StripeAccess, topics_of
from integrations.stores.stripe.admission import Kind, account, admit, check_source
from integrations.stores.stripe.refund import refunds
from integrations.stores.stripe.sale import order_id, read_sale
from integrations.untrusted import NotJson, load_json, record, text

TOLERANCE = 300  # seconds; Stripe's own library forgives times in the future, we do not

_ID = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)


class Stripe(Store):
    """Stripe's webhook endpoints and event destinations, with Connect too."""

    slug = "stripe"
    label = "Stripe"
    makes_secret = True
    page_names = frozenset({"order_id", "session_id", "payment_intent", "shop"})
    guide = (
        "Stripe dashboard, Workbench, Webhooks: add a destination with snapshot payload and the events "
        "checkout.session.completed and checkout.session.async_payment_succeeded.\n"
        "Copy its signing secret (whsec_...): every destination, mode and `stripe listen` has its own."
    )
    settings = (
        Setting(
            "flow",
            "Which events are the sale: checkout (Checkout, payment links), payment_intent (own payment form "
            "without Checkout; renewals count too) or invoice",
            kind="choice",
            choices=("checkout", "payment_intent", "invoice"),
            default="checkout",
        ),
        Setting(
            "livemode",
            "Which mode's events count: live, test (sandboxes too) or any",
            kind="choice",
            choices=("live", "test", "any"),
            default="live",
        ),
        Setting(
            "order_id_keys",
            "Where your order id stands, best first: client_reference_id (not if it holds a customer's "
            "or referral's id) and keys of metadata; else it is Stripe's own id of the payment",
            kind="list",
            default="client_reference_id,order_id,orderId,order,reference",
        ),
        Setting(
            "renewals",
            "Whether invoices that renew a subscription are sales too (flows checkout and invoice)",
            kind="choice",
            choices=("send", "skip"),
            default="skip",
        ),
        Setting(
            "zero_total",
            "Whether orders over nothing (full discount, free trial) are sent",
            kind="choice",
            choices=("send", "skip"),
            default="send",
        ),
        Setting(
            "refunds",
            "Refunds, to the destinations that take them; needs the event charge.refunded as a snapshot",
            kind="choice",
            choices=("skip", "send"),
            default="skip",
        ),
        Setting(
            "currency_side",
            "With adaptive pricing: the money that the buyer saw (presentment) or the shop's own (shop)",
            kind="choice",
            choices=("presentment", "shop"),
            default="presentment",
        ),
        Setting(
            "connect_accounts",
            "Connect: only sales of these connected accounts; empty for all that the endpoint hears of",
            kind="list",
            example="acct_1ExampleConnected",
        ),
        Setting(
            "api_key",
            "Restricted key: Webhook Endpoints write, Events and Checkout Sessions read. Only needed to "
            "register webhooks, for sales that no hook told of, and for the objects of thin events",
            secret=True,
        ),
        Setting(
            "api_base",
            "Address of Stripe's API, to try the relay against a stand-in",
            default="https://api.stripe.com",
            pattern=r"https?://[^\s/?#@]+",
        ),
    )

    def topics_of(self, shop: Shop) -> tuple[str, ...]:
        return topics_of(shop)

    def access(self, shop: Shop, token: Secret, seconds: float) -> Access:  # noqa: ARG002 - the key lasts
        return StripeAccess(shop, seconds)

    def verify(self, hook: Hook, secrets: Sequence[Secret]) -> int:
        """See `Store.verify`. The time is signed too and must be within `TOLERANCE` of ``received_at``."""
        stamp, signatures = _signed(hook.header("stripe-signature"))
        if not stamp:
            raise Unverified("the Stripe-Signature header is missing or says no time")
        keys = [secret.encode("utf-8", "surrogateescape") for secret in secrets]
        index = matching(keys, stamp.encode() + b"." + hook.body, signatures)
        if index is None:
            raise Unverified("no configured secret signed this body (each destination and mode has its own)")
        if abs(hook.received_at - int(stamp)) > TOLERANCE:
            raise Unverified(f"rightly signed, but not within {TOLERANCE} seconds of this server's clock")
        return index

    def topic(self, hook: Hook) -> str:
        """The event's type, which Stripe says in the body only."""
        try:
            return text(record(load_json(hook.body)).get("type"), 100)
        except NotJson:
            return ""

    def map(self, hook: Hook, body: dict[str, Any], shop: Shop) -> Event:  # noqa: ARG002 - all is in the body
        """See `Store.map`. Raises `Incomplete` for thin events."""
        thin = body.get("object") == "v2.core.event"
        if not thin and body.get("object") != "event":
            raise Malformed("the body is not a Stripe event")
        found = record(record(body.get("data")).get("object"))
        kind = admit(body, shop, order_id=order_id(found, shop), thin=thin)
        if thin:
            raise Incomplete("the event is thin: its object must be fetched", _fetch(body, kind, shop))
        return read_sale(body, found, kind, shop)

    def refunds(self, hook: Hook, body: dict[str, Any], shop: Shop) -> tuple[Event, ...]:  # noqa: ARG002
        """See `Store.refunds`. A thin event does not hold what was refunded before it."""
        topic = text(body.get("type"), 100)
        if topic not in {"charge.refunded", "v1.charge.refunded"}:
            return ()
        try:
            check_source(body, shop)
        except NotAnEvent:
            return ()
        if topic.startswith("v1."):
            raise Malformed("the refund's event is thin: choose the snapshot payload for charge.refunded")
        return refunds(body, shop)

    def complete(self, hook: Hook, response: Response, shop: Shop) -> Event:
        """The event of a thin one. Raises `Incomplete` again when a later try may help.

        404 is an alarm like 401: Stripe forgets no object, so the key is of another account or mode.
        """
        try:
            body = record(load_json(hook.body))
            kind = admit(body, shop, thin=True)
            request = _fetch(body, kind, shop)
            _judge(response, request)
            found = record(load_json(response.body))
        except NotJson as error:
            raise Malformed(str(error)) from error
        if found.get("id") != _related_id(body, kind):
            raise Malformed("Stripe answered with another object than asked for")
        return read_sale(body, found, kind, shop)


def _signed(header: str) -> tuple[str, list[bytes]]:
    """The time (digits, or ``""``) and every v1 signature, of which two come while a secret is rolled."""
    items = [item.strip().partition("=") for item in header.split(",")]
    stamp = next((value for name, _, value in items if name == "t"), "")
    signatures = [from_hex(value) for name, _, value in items if name == "v1"]
    return stamp if re.fullmatch(r"[0-9]{1,12}", stamp, re.ASCII) else "", signatures


def _fetch(body: dict[str, Any], kind: Kind, shop: Shop) -> Request:
    """Asks for the object by its id. The address in the event is not used: it might name any host."""
    key = shop.options.get("api_key")
    if not key:
        advice = "choose the snapshot payload for this destination at Stripe, or set STRIPE_API_KEY"
        raise Malformed(f"the event is thin and holds no order: {advice}", alarm=True)
    headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
    if connected := account(body):
        headers["Stripe-Account"] = connected
    path = kind.path.format(_related_id(body, kind))
    return Request(f"{shop.options.get('api_base')}{path}", headers=headers, method="GET")


def _related_id(body: dict[str, Any], kind: Kind) -> str:
    related = record(body.get("related_object"))
    written = related.get("id")
    if related.get("type") != kind.object or not isinstance(written, str) or not _ID.fullmatch(written):
        raise Malformed(f"the thin event names no {kind.object}")
    return written


def _judge(response: Response, request: Request) -> None:
    if response.status in {400, 401, 403, 404}:
        said = f"Stripe answered {response.status} when asked for the object of a thin event"
        raise Malformed(f"{said}: check the rights, account and mode of STRIPE_API_KEY", alarm=True)
    if response.status != 200:
        raise Incomplete("the object of a thin event could not be fetched yet", request)
