"""Which of Stripe's events is a sale of this shop (docs.stripe.com/api/events/types)."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from integrations.store import Malformed, NotAnEvent, Shop
from integrations.untrusted import text


class Kind(NamedTuple):
    """A family of events: the flow whose sale it is, its object, and where that is fetched."""

    flow: str
    object: str
    path: str


_CHECKOUT = Kind("checkout", "checkout.session", "/v1/checkout/sessions/{}?expand%5B%5D=line_items")
_INTENT = Kind("payment_intent", "payment_intent", "/v1/payment_intents/{}?expand%5B%5D=latest_charge")
_INVOICE = Kind("invoice", "invoice", "/v1/invoices/{}")

SALES: Mapping[str, Kind] = {
    "checkout.session.completed": _CHECKOUT,
    "checkout.session.async_payment_succeeded": _CHECKOUT,
    "payment_intent.succeeded": _INTENT,
    "invoice.paid": _INVOICE,
}

# Known to be no sale in any flow: reason and sentence.
_FAILED = ("payment_failed", "the payment failed")
_NOT_YET = ("not_paid", "the money is not there yet")
_REFUND = ("refund", "a refund is no sale")
_DISPUTE = ("dispute", "a dispute is no sale")
_CHARGE = ("other_flow", "charges never count: STRIPE_FLOW says which event tells of the same money")
_NO_SALE: Mapping[str, tuple[str, str]] = {
    "checkout.session.async_payment_failed": _FAILED,
    "checkout.session.expired": ("expired", "the shopper left Checkout without paying"),
    "payment_intent.amount_capturable_updated": ("not_paid", "the money is authorised, not captured yet"),
    "payment_intent.canceled": ("cancelled", "the payment was cancelled"),
    "payment_intent.payment_failed": _FAILED,
    "payment_intent.processing": _NOT_YET,
    "charge.captured": _CHARGE,
    "charge.succeeded": _CHARGE,
    "charge.updated": _CHARGE,
    "charge.failed": _FAILED,
    "charge.pending": _NOT_YET,
    "charge.refunded": _REFUND,
    "charge.refund.updated": _REFUND,
    "charge.dispute.closed": _DISPUTE,
    "charge.dispute.created": _DISPUTE,
    "charge.dispute.funds_reinstated": _DISPUTE,
    "charge.dispute.funds_withdrawn": _DISPUTE,
    "charge.dispute.updated": _DISPUTE,
    "invoice.payment_failed": _FAILED,
    "invoice.payment_succeeded": ("other_flow", "invoice.paid tells of the same invoice"),
    "refund.created": _REFUND,
    "refund.failed": _REFUND,
    "refund.updated": _REFUND,
}

_ACCOUNT = re.compile(r"(?:.*/)?(acct_[A-Za-z0-9]{1,100})", re.ASCII)


def admit(body: dict[str, Any], shop: Shop, *, order_id: str = "", thin: bool) -> Kind:
    """What the event is about, if it may be a sale of this shop. Raises `Malformed` or `NotAnEvent`."""
    check_source(body, shop, order_id)
    topic = text(body.get("type"), 100).removeprefix("v1." if thin else "")
    if topic in _NO_SALE:
        raise NotAnEvent(*_NO_SALE[topic], order_id=order_id)
    if topic not in SALES:
        raise NotAnEvent("unknown_topic", "no other event of Stripe tells of a sale", order_id=order_id)
    kind = SALES[topic]
    if kind.flow != shop.options.get("flow") and not _may_renew(kind, shop, thin=thin):
        raise other_flow(shop, order_id)
    return kind


def check_source(body: dict[str, Any], shop: Shop, order_id: str = "") -> None:
    """Raises `NotAnEvent` for another mode or account than this shop's, `Malformed` if no mode is told."""
    _check_mode(body.get("livemode"), shop, order_id)
    wanted = shop.options.get("connect_accounts")
    if isinstance(wanted, tuple) and wanted and account(body) not in wanted:
        detail = "STRIPE_CONNECT_ACCOUNTS does not name this account"
        raise NotAnEvent("other_account", detail, order_id=order_id)


def account(body: dict[str, Any]) -> str:
    """The connected account that the event is of, ``""`` for the endpoint's own account."""
    written = text(body.get("account"), 200) or text(body.get("context"), 200)
    match = _ACCOUNT.fullmatch(written)
    return match[1] if match else ""


def other_flow(shop: Shop, order_id: str) -> NotAnEvent:
    """The answer to events whose payment is told of by another one."""
    detail = f"STRIPE_FLOW is {shop.options.get('flow')}: another event tells of this payment"
    return NotAnEvent("other_flow", detail, order_id=order_id)


def _check_mode(live: object, shop: Shop, order_id: str) -> None:
    if not isinstance(live, bool):
        raise Malformed("the event does not say whether it is live", order_id=order_id)
    mode = "live" if live else "test"
    if shop.options.get("livemode") not in {mode, "any"}:
        detail = f"STRIPE_LIVEMODE does not let events of {mode} mode count"
        raise NotAnEvent(f"{mode}_mode", detail, order_id=order_id)


def _may_renew(kind: Kind, shop: Shop, *, thin: bool) -> bool:
    """Beside sessions invoices pass too: they alone tell of renewals, and only the invoice says that it is
    one. A thin event does not hold it, so it is fetched only if renewals are wanted."""
    if kind is not _INVOICE or shop.options.get("flow") != _CHECKOUT.flow:
        return False
    return not thin or shop.options.get("renewals") == "send"
