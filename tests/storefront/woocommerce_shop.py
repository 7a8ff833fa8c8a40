"""A shop on WooCommerce, as far as a purchase goes, with the plugin that `snippet` prints running in PHP."""

import json
import time
from typing import Any

from flask import Flask, redirect, request
from werkzeug.test import Client
from werkzeug.wrappers import Response

from tests.contract import samples
from tests.storefront.shops import SECRET
from tests.storefront.wordpress import WordPress
from webhooks.sandbox import woocommerce_sender

SAMPLE = json.loads((samples.FOLDER / "woocommerce/order_created_processing_727_docs.json").read_bytes())
CLASSIC = "woocommerce_checkout_create_order"
BLOCK = "woocommerce_store_api_checkout_update_order_from_request"

_CONSENT = """
    window.wp_consent_type = "optin";
    window.wp_has_consent = () => document.cookie.includes("wp_consent_marketing=allow");
    window.wp_set_consent = (category, value) => {
      document.cookie = `wp_consent_${category}=${value};path=/`;
      document.dispatchEvent(new CustomEvent("wp_listen_for_consent_change", {detail: {[category]: value}}));
    };
"""
"""As the plugin WP Consent API has it in the page."""


class Shop:
    """``checkout`` says which of the two checkouts makes the order; ``others`` are the meta fields that other
    plugins give it."""

    def __init__(self, relay: Client, wordpress: WordPress) -> None:
        self.relay, self.wordpress, self.checkout = relay, wordpress, BLOCK
        self.others: dict[str, str] = {}
        self.order: dict[str, Any] = {}
        self.app = Flask("woocommerce_shop")
        self.app.add_url_rule("/", view_func=self.page, endpoint="home")
        self.app.add_url_rule("/product/mug/", view_func=self.page, endpoint="product")
        self.app.add_url_rule("/checkout/", view_func=self.place, methods=["POST"])
        self.app.add_url_rule("/checkout/order-received/<number>/", view_func=self.thanks)

    def page(self) -> str:
        """A page with what plugins put into its head."""
        form = '<form method="post" action="/checkout/"><button>Buy</button></form>'
        return f"<!doctype html><head>{self._head()}</head><body>{form}</body>"

    def place(self) -> Response:
        """Makes the order, as the plugins want it, and tells the relay."""
        line = {"product_id": 93, "variation_id": 0, "sku": "", "name": "Mug", "quantity": 2}
        self.order = {
            "id": 727,
            "order_number": "727",
            "order_key": "wc_order_58d2d042d1d",
            "status": "processing",
            "total": "29.35",
            "currency": "USD",
            "meta": dict(self.others),
            "items": [{**line, "total": 6.0, "total_tax": 0.45}],
        }
        self.wordpress.play(self.checkout, self.order, dict(request.cookies))
        raw = json.dumps(self._told()).encode()
        headers = woocommerce_sender.sign(raw, SECRET, topic="order.created", now=int(time.time()))
        assert self.relay.post("/webhooks/woocommerce", data=raw, headers=headers).status_code == 200
        return redirect("/checkout/order-received/727/?key=wc_order_58d2d042d1d")

    def thanks(self, number: str) -> str:
        """The page that confirms the order."""
        assert int(number) == self.order["id"]
        printed = self.wordpress.play("woocommerce_thankyou", self.order).html
        return f"<!doctype html><head>{self._head()}</head><body>Thank you{printed}</body>"

    def _head(self) -> str:
        scripts = self.wordpress.play("wp_enqueue_scripts", {"id": 0, "meta": {}}).scripts
        tags = "".join(f'<script async src="{address}"></script>' for address in scripts.values())
        return f"<script>{_CONSENT}</script>{tags}"

    def _told(self) -> dict[str, Any]:
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        meta = [
            {"id": n, "key": key, "value": value} for n, (key, value) in enumerate(self.order["meta"].items())
        ]
        times = dict.fromkeys(("date_created_gmt", "date_paid_gmt", "date_modified_gmt"), now)
        return {
            **SAMPLE,
            **times,
            "created_via": "store-api",
            "meta_data": meta,
            "order_key": self.order["order_key"],
        }
