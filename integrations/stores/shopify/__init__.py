"""Shopify: order webhooks of an app, or made by hand in the shop's admin.

Sources: shopify.dev, "Webhooks" (delivery structure, verification, mandatory compliance webhooks).
Shopify waits 5 seconds for an answer, tries 8 more times within 4 hours, then gives up and may delete the
subscription. Topics come in any order and more than once.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from integrations import signing
from integrations.access import Access
from integrations.destination import Request, Response, Token
from integrations.event import Event
from integrations.hook import Hook
from integrations.money import NotMoney
from integrations.privacy import REASON, Wish
from integrations.setting import Secret, Setting
from integrations.store import Malformed, NotAnEvent, Shop, Store, Unverified
from integrations.stores.shopify import grant, order, refund
from integrations.stores.shopify import privacy as duties
from integrations.stores.shopify.access import ShopifyAccess
from integrations.stores.shopify.shape import ORDER
from integrations.untrusted import NotJson, first, load_json, record, text

# What these carry is an Order. The header is not signed, so an order without it is read all the same.
_ORDER_TOPICS = frozenset({"", "orders/create", "orders/paid", "orders/updated"})

# Topics that are no sale, by name or by what stands before the slash: reason and sentence.
_NO_SALE = {
    "orders/cancelled": ("cancelled", "the order was cancelled"),
    "orders/edited": ("order_edited", "an edited order is no second sale"),
    "orders/delete": ("order_deleted", "the order was deleted"),
    "refunds": ("refund", "a refund is no sale"),
    "order_transactions": ("transaction", "the order itself tells of its payment"),
    "checkouts": ("checkout", "a checkout is not yet an order"),
    "app/uninstalled": ("app_uninstalled", "the app was removed from the shop"),
    "customers/data_request": (REASON, "a customer asks for their data"),
    "customers/redact": (REASON, "a customer's data must be erased"),
    "shop/redact": (REASON, "the shop's data must be erased"),
    "customers": ("customer", "a customer record is no sale"),
}
_UNKNOWN = ("unknown_topic", "the topic tells of no order")


def _choice(name: str, words: str, *choices: str) -> Setting:
    return Setting(name, words, kind="choice", default=choices[0], choices=choices)


class Shopify(Store):
    """Paid (or placed) orders, whichever of the order topics tells of them first."""

    slug = "shopify"
    label = "Shopify"
    shape = ORDER
    framed_pixel = True  # a custom pixel runs in a sandboxed frame
    # The id of a web pixel event, which Shopify's own channels are said to report purchases under; no order
    # carries it (@shopify/web-pixels-extension, PixelEventsCheckoutCompleted).
    native_ids = r"sh-[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{4,60}"
    page_names = frozenset({"order_id", "checkout_token", "shop", "meta"})
    guide = (
        "Shopify admin > Settings > Notifications > Webhooks: create 'Order payment' and 'Order creation', "
        "format JSON; the signing secret is shown on that page.\n"
        "Webhooks made by an app are signed with the app's client secret, which is a different one."
    )
    settings = (
        _choice(
            "trigger", "When an order counts: paid, or placed (cash on delivery at once)", "paid", "placed"
        ),
        _choice(
            "currency_side",
            "Amounts as the buyer paid them (presentment, what the pixel reports) or in the shop's currency",
            "presentment",
            "shop",
        ),
        Setting(
            "domain",
            "The shop's own name.myshopify.com; hooks that name another shop are then quarantined",
            pattern=r"[a-z0-9][a-z0-9-]*\.myshopify\.com",
            example="example-store.myshopify.com",
        ),
        Setting("test_orders", "Count orders of the payment test mode", kind="bool", default="false"),
        _choice("pos", "Point of sale orders: send or skip", "send", "skip"),
        _choice("drafts", "Draft orders and others made by staff: send or skip", "send", "skip"),
        _choice("renewals", "Orders that a subscription makes by itself: skip or send", "skip", "send"),
        Setting(
            "api_apps",
            "Apps whose orders count though no browser placed them: app ids or source names",
            kind="list",
            example="16818700281,marketplace",
        ),
        Setting(
            "web_apps",
            "Apps that are your own storefronts, such as a headless shop: app ids or source names",
            kind="list",
            example="12875497473",
        ),
        _choice("zero_total", "Orders with nothing to pay: send or skip", "send", "skip"),
        _choice(
            "gift_cards",
            "Gift cards sold: include in the value, or exclude since what they pay for counts later",
            "include",
            "exclude",
        ),
        _choice(
            "refunds",
            "Refunds, to the destinations that take them: skip, or send what the topic refunds/create tells",
            "skip",
            "send",
        ),
        Setting(
            "client_id",
            "Client ID of the app that registers webhooks and lists orders: Dev Dashboard > Apps > Settings",
            secret=True,
        ),
        Setting(
            "client_secret",
            "Client secret of that app. It signs what the app registers: name it in the webhook secrets, too",
            secret=True,
        ),
        Setting(
            "access_token",
            "Instead of the two: the token (shpat_...) of an app made in the Shopify admin before 2026",
            secret=True,
        ),
        Setting(
            "api_base",
            "Address of the Admin API, to try the relay against a stand-in. Refused in production.",
        ),
    )

    def verify(self, hook: Hook, secrets: Sequence[Secret]) -> int:
        written = _header(hook, "hmac-sha256")
        keys = (secret.encode("utf-8", "surrogateescape") for secret in secrets)
        index = signing.matching(keys, hook.body, [signing.from_base64(written)])
        if index is not None:
            return index
        if not any(secrets):
            raise Unverified("no secret is configured")
        if not written:
            raise Unverified("the X-Shopify-Hmac-Sha256 header is missing")
        # The most frequent cause by far, so the log names it.
        raise Unverified("no secret fits; webhooks made in the admin have another one than the app's")

    def topic(self, hook: Hook) -> str:
        return text(_header(hook, "topic"), 100).lower()

    def map(self, hook: Hook, body: dict[str, Any], shop: Shop) -> Event:
        topic = self.topic(hook)
        if topic not in _ORDER_TOPICS:
            raise _no_sale(topic, body)
        order_id = order.identify(body)
        _check_shop(hook, shop, order_id)
        origin = order.origin_of(body, shop)
        order.check_sale(topic, body, shop, order_id, origin)
        try:
            return order.purchase(topic, body, shop, order_id, origin)
        except NotMoney as error:
            raise Malformed(str(error), order_id=order_id) from error

    def refunds(self, hook: Hook, body: dict[str, Any], shop: Shop) -> tuple[Event, ...]:
        """See `Store.refunds`. An order lists its refunds too, but an order is told of for any reason."""
        if self.topic(hook) != "refunds/create":
            return ()
        order_id, refund_id = refund.identify(body)
        _check_shop(hook, shop, order_id)
        return refund.refunds(body, shop, order_id, refund_id)

    def meant(self, hook: Hook, shops: Sequence[Shop]) -> Shop | None:
        """See `Store.meant`. Privacy topics of all shops of an app come to one address, and may lack the
        header; what the body says is signed."""
        return duties.meant(_signed_domain(hook) or _domain(hook), shops)

    def wish(self, hook: Hook, body: dict[str, Any]) -> Wish:
        return duties.wish(self.topic(hook), body)

    def supported_until(self, api_version: str) -> int | None:
        """A quarter's version is supported for a year, at least (shopify.dev, "API versioning")."""
        found = re.fullmatch(r"(20[0-9]{2})-(01|04|07|10)", api_version)
        return int(datetime(int(found[1]) + 1, int(found[2]), 1, tzinfo=UTC).timestamp()) if found else None

    def topics_of(self, shop: Shop) -> tuple[str, ...]:
        """See `Store.topics_of`. Both tell of an order that is paid at once: whichever arrives."""
        refunds = ("refunds/create",) if shop.options["refunds"] == "send" else ()
        return ("orders/create", "orders/paid", *refunds)

    def exchange(self, shop: Shop, now: int) -> Request | None:  # noqa: ARG002
        return grant.request(shop)

    def read_exchange(self, response: Response) -> Token:
        return grant.token(response)

    def access(self, shop: Shop, token: Secret, seconds: float) -> Access:
        return ShopifyAccess(shop, token, seconds)


def _header(hook: Hook, name: str) -> str:
    # Shopify's newer product "Events" sends the same headers without X-.
    return hook.header(f"x-shopify-{name}") or hook.header(f"shopify-{name}")


def _domain(hook: Hook) -> str:
    return _header(hook, "shop-domain").strip().lower()


def _signed_domain(hook: Hook) -> str:
    try:
        return text(record(load_json(hook.body)).get("shop_domain"), 100).lower()
    except NotJson:
        return ""


def _no_sale(topic: str, body: dict[str, Any]) -> NotAnEvent:
    family = topic.partition("/")[0]
    reason, detail = _NO_SALE.get(topic) or _NO_SALE.get(family, _UNKNOWN)
    own = body.get("id") if family == "orders" else ""
    edited = record(body.get("order_edit")).get("order_id")
    return NotAnEvent(reason, detail, order_id=first(body.get("order_id"), edited, own, limit=30))


def _check_shop(hook: Hook, shop: Shop, order_id: str) -> None:
    # Shops that share one app share its secret, so the signature cannot tell them apart.
    domain = shop.options["domain"]
    if domain and (named := _domain(hook)) and named != domain:
        raise Malformed("the hook names another shop than the configured domain", order_id=order_id)
