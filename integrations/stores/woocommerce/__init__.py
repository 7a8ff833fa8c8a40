"""WooCommerce: the webhooks `order.created` and `order.updated`, with the order of its REST API v3.

Sources: WooCommerce's `class-wc-webhook.php`, WordPress' `wp_specialchars_decode`, and what running shops
(10.5.2 and 9.9.5) were seen to send. What shapes this file:

- Both topics carry the whole order as it is when the hook leaves, so only the order's status tells a sale,
  and many hooks tell of the same one: the order id is the key.
- X-WC-Webhook-Delivery-ID is a hash of webhook and second: different orders share it. It is never used.
- A hook is sent once. Unless it is answered with 200 to 302 it is lost, and the seventh failure in a row
  disables the webhook.
"""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from integrations.access import Access
from integrations.event import Event
from integrations.hook import Hook
from integrations.setting import Secret, Setting
from integrations.signing import from_base64, matching
from integrations.store import Malformed, NotAnEvent, Shop, Store, Unverified
from integrations.stores.woocommerce.access import WooCommerceAccess
from integrations.stores.woocommerce.order import listed, purchase, refunds
from integrations.stores.woocommerce.shape import ORDER
from integrations.untrusted import integer, moment, records, text

# An order that comes back from the trash carries itself; if its sale is known, it has the same key.
_ORDER_TOPICS = frozenset({"order.created", "order.updated", "order.restored"})
_OTHER_TOPICS = {
    "order.deleted": ("order_deleted", "the order went to the trash; a sale that was sent stays sent"),
}

# WooCommerce docs, "Order statuses". REST leaves out the prefix wc- that they have in the database. A sale
# by default, if the setting does not say otherwise:
_SALE = frozenset({"processing", "completed"})
_NO_SALE = {
    "checkout-draft": ("draft", "the shopper has opened the checkout and has not ordered yet"),
    "auto-draft": ("draft", "somebody in the shop has begun this order and has not saved it yet"),
    "pending": ("not_paid", "the order waits for its payment"),
    "on-hold": ("not_paid", "the order waits for its money; add on-hold to WOOCOMMERCE_STATUSES to count it"),
    "failed": ("not_paid", "the payment failed"),
    # Cancelled or refunded before the first hook that would have told the sale: the money is gone again,
    # even where date_paid_gmt is set, and a destination that counted it could not be told so.
    "cancelled": ("cancelled", "the order was cancelled"),
    "refunded": ("refunded", "the whole order was refunded"),
    "trash": ("trashed", "the order was in the trash when the hook left"),
}

# What wp_specialchars_decode(ENT_QUOTES) turns back, in one pass: these spellings and no other entity.
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|#0{0,9}(?:34|38|39|60|62)|#[xX]0{0,9}(?:22|26|27));")


# Basic authentication would show the key to anybody on the way; a sandbox on this machine has no TLS.
_URL = r"(?:https://[^\s/?#@]+|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?)(?:/[^\s?#@]*)?"


def signing_secret(secret: str) -> str:
    """The secret with which WooCommerce signs: of a stored ``a&amp;b`` it uses ``a&b``."""
    return _ENTITY.sub(lambda match: html.unescape(match[0]), secret)


def _choice(name: str, default: str, about: str) -> Setting:
    return Setting(name, about, kind="choice", default=default, choices=("send", "skip"))


class WooCommerce(Store):
    """A shop on WooCommerce."""

    slug = "woocommerce"
    shape = ORDER
    label = "WooCommerce"
    resends = False
    # The plugin "Meta for WooCommerce" gives its own browser and server events a random id, kept in this
    # meta field. Sent under the order id, the same sale would be counted once more.
    event_ids: ClassVar[Mapping[str, str]] = {"meta": "{meta:_meta_event_id|order_id}"}
    page_names = frozenset({"order_id", "order_name", "order_number", "shop", "meta"})
    guide = (
        "WooCommerce > Settings > Advanced > Webhooks: add two, topics 'Order created' and 'Order updated', "
        "API version 'WP REST API Integration v3', both with the same secret of letters and digits.\n"
        "The delivery URL must not redirect: WooCommerce counts a redirect as success and the order is lost."
    )
    topics = ("order.created", "order.updated")
    settings = (
        Setting(
            "statuses",
            "Order statuses that count as a sale; add on-hold to count bank transfers before they arrive. "
            "A plugin's own status counts unlisted once the order is paid",
            kind="list",
            default="processing,completed",
            example="processing,completed,on-hold",
        ),
        Setting(
            "web_sources",
            "Values of created_via that mean the shopper's own browser; add the one of your checkout plugin",
            kind="list",
            default="checkout,store-api",
        ),
        _choice("api_orders", "send", "Orders that no browser placed: by REST, imports, marketplaces"),
        _choice("renewals", "skip", "Automatic renewals of subscriptions"),
        _choice("sub_orders", "skip", "Parts of an order that a marketplace plugin splits among vendors"),
        _choice("test_orders", "skip", "Orders paid in the test mode of WooPayments"),
        _choice("zero_total", "send", "Orders with a total of 0: free samples, coupons for everything"),
        _choice("refunds", "skip", "Refunds, to the destinations that take them; 'Order updated' tells them"),
        Setting(
            "url",
            "Address of the shop's WordPress, with its folder if it has one; only needed, like the key, for "
            "registering webhooks and asking for orders that no hook told of",
            pattern=_URL,
            example="https://shop.example.com",
        ),
        Setting(
            "consumer_key",
            "Key made under WooCommerce > Settings > Advanced > REST API: permission Read/Write, user an "
            "administrator or shop manager",
            secret=True,
        ),
        Setting("consumer_secret", "The secret that is shown beside that key, once", secret=True),
    )

    def verify(self, hook: Hook, secrets: Sequence[Secret]) -> int:
        if not any(secrets):
            raise Unverified("no secret is configured for this shop")
        spellings = [spelling for secret in secrets for spelling in (secret, signing_secret(secret))]
        found = matching(
            [spelling.encode("utf-8", "surrogatepass") for spelling in spellings],
            hook.body,
            [from_base64(hook.header("x-wc-webhook-signature"))],
        )
        if found is None:
            raise Unverified("no configured secret made X-WC-Webhook-Signature from this body")
        return found // 2

    def topic(self, hook: Hook) -> str:
        return text(hook.header("x-wc-webhook-topic"), 200)

    def is_ping(self, hook: Hook) -> bool:
        """The form ``webhook_id=27``, sent when a webhook is made.

        It wants exactly 200: any other answer keeps the webhook from being saved in the admin, and makes
        one that was registered by REST ping again after every hook.
        """
        kind = hook.header("content-type").partition(";")[0].strip().lower()
        return (
            kind == "application/x-www-form-urlencoded"
            and not {"x-wc-webhook-topic", "x-wc-webhook-signature"} & hook.headers.keys()
            and len(hook.body) < 64
            and re.fullmatch(rb"webhook_id=[0-9]+", hook.body) is not None
        )

    def map(self, hook: Hook, body: dict[str, Any], shop: Shop) -> Event:
        _refuse_other_topics(self.topic(hook), body)
        order_id = _order_id(body)
        _refuse_unsold(body, order_id, shop)
        event = purchase(body, order_id, shop)
        _refuse_unwanted(body, event, shop)
        return event

    def access(self, shop: Shop, token: Secret, seconds: float) -> Access:  # noqa: ARG002 - the key lasts
        return WooCommerceAccess(shop, seconds)

    def refunds(self, hook: Hook, body: dict[str, Any], shop: Shop) -> tuple[Event, ...]:
        """See `Store.refunds`. No topic is about refunds: the order lists all that it has had so far."""
        topic = self.topic(hook)
        if (topic and topic not in _ORDER_TOPICS) or not records(body.get("refunds")):
            return ()
        return refunds(body, _order_id(body), shop)


def _refuse_other_topics(topic: str, body: Mapping[str, Any]) -> None:
    # Nobody signed the header, so it may refuse but not vouch. Without it the body decides.
    if not topic or topic in _ORDER_TOPICS:
        return
    if topic in _OTHER_TOPICS:
        reason, sentence = _OTHER_TOPICS[topic]
        raise NotAnEvent(reason, sentence, order_id=text(body.get("id"), 20))
    if topic.startswith("action."):
        sentence = "an action carries only a number and would need a REST call"
        raise NotAnEvent("action_topic", f"{sentence}: register order.created and order.updated instead")
    raise NotAnEvent("other_topic", "only order.created and order.updated tell of sales")


def _order_id(body: Mapping[str, Any]) -> str:
    written = text(body.get("id"), 20)
    if re.fullmatch(r"[1-9][0-9]*", written, re.ASCII):
        return written
    if "code" in body:
        raise _signed_error(text(body.get("code"), 100))
    remedy = "choose the API version 'WP REST API Integration v3' in the webhook's settings"
    raise Malformed(f"the order has no id: {remedy}", alarm=True)


def _signed_error(code: str) -> Malformed:
    """What WooCommerce signs and sends when the webhook's own user cannot read the order."""
    if code == "woocommerce_rest_shop_order_invalid_id":
        return Malformed(
            "the order was deleted before the hook left. If every order comes like this, the webhook was "
            "made through wc/v1: make it again with the API version 'WP REST API Integration v3'"
        )
    shown = code if re.fullmatch(r"[a-z0-9_]+", code, re.ASCII) else "without a known code"
    return Malformed(
        f"WooCommerce sent an error instead of the order ({shown}), and will do so for every order: the user "
        "who made the webhook was deleted or has lost rights. Recreate the webhook with an administrator",
        alarm=True,
    )


def _refuse_unsold(order: Mapping[str, Any], order_id: str, shop: Shop) -> None:
    status = text(order.get("status"), 100)
    if not status:
        raise Malformed("the order has no status", order_id=order_id)
    if status in {name.removeprefix("wc-") for name in listed(shop, "statuses")}:
        return
    # A plugin's own: some give it to every order at once when the money arrives, in processing's place.
    is_a_plugins = status not in _SALE and status not in _NO_SALE
    if is_a_plugins and moment(order.get("date_paid_gmt"), assume_utc=True):
        return
    remedy = "add it to WOOCOMMERCE_STATUSES if it counts as a sale"
    reason, sentence = _NO_SALE.get(status, ("other_status", f"the order's status is {status}: {remedy}"))
    raise NotAnEvent(reason, sentence, order_id=order_id)


def _refuse_unwanted(order: Mapping[str, Any], event: Event, shop: Shop) -> None:
    kinds = (
        # The parent order has the whole sum: its parts beside it would double the sale.
        ("sub_orders", integer(order.get("parent_id")) != 0, "sub_order", "a part of another order"),
        ("test_orders", event.attributes.get("_wcpay_mode") == "test", "test_order", "paid in test mode"),
        ("renewals", event.origin == "renewal", "renewal", "the renewal of a subscription"),
        ("api_orders", event.origin == "api", "api_order", "placed by a program"),
        ("zero_total", event.value == 0, "zero_total", "an order that costs nothing"),
    )
    for option, applies, reason, what in kinds:
        if applies and shop.options.get(option) != "send":
            sentence = f"{what}; WOOCOMMERCE_{option.upper()}=send would count it"
            raise NotAnEvent(reason, sentence, order_id=event.order_id)
