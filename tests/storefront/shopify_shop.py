"""A shop on Shopify, as far as a purchase goes: theme, cart, checkout, order webhook, thank-you page."""

import json
import time
from pathlib import Path
from typing import Any

from flask import Flask, Response, redirect, request
from werkzeug.test import Client
from werkzeug.wrappers import Response as Answer

from tests.contract import samples
from tests.storefront.shops import SECRET
from webhooks.sandbox import shopify_sender

_HERE = Path(__file__).parent
SAMPLE = json.loads((samples.FOLDER / "shopify/orders_create_web_full_pii_2024-04.json").read_bytes())


class Shop:
    """``theme`` and ``pixel`` are the snippets, pasted where they say. ``gid`` is how the pixel is told the
    order's id. ``orders`` are those that were placed, as their webhooks tell of them."""

    def __init__(self, relay: Client, theme: str, pixel: str) -> None:
        self.relay, self.theme, self.pixel = relay, theme, pixel
        self.gid = False
        self.country = "US"
        self.carts: dict[str, dict[str, str]] = {}
        self.orders: list[dict[str, Any]] = []
        self.app = Flask("shopify_shop")
        self.app.add_url_rule("/", view_func=self.page, endpoint="home")
        self.app.add_url_rule("/products/mug", view_func=self.page, endpoint="product")
        self.app.add_url_rule("/cart.js", view_func=self.cart)
        self.app.add_url_rule("/cart/update.js", view_func=self.update, methods=["POST"])
        self.app.add_url_rule("/checkout", view_func=self.checkout, methods=["POST"])
        self.app.add_url_rule("/buy_now", view_func=self.buy_now, methods=["POST"])
        self.app.add_url_rule("/checkouts/cn/<token>/thank-you", view_func=self.thanks)

    def page(self) -> str:
        """A page of the theme, which is Liquid without its comment."""
        snippet = self.theme.partition("endcomment -%}")[2]
        imitation = (_HERE / "shopify_theme.js").read_text()
        form = '<form method="post" action="/checkout"><button>Buy</button></form>'
        now = '<form method="post" action="/buy_now"><button id="now">Buy it now</button></form>'
        return f"<!doctype html><head>{snippet}<script>{imitation}</script></head><body>{form}{now}</body>"

    def cart(self) -> dict[str, Any]:
        """The cart, by the cookie of that name."""
        return {"token": self._token(), "attributes": self.carts.get(self._token(), {})}

    def update(self) -> Response:
        """Writes attributes; an empty one is removed."""
        token = self._token() or f"cart{len(self.carts) + 1}"
        attributes = {**self.carts.get(token, {}), **(request.get_json() or {})["attributes"]}
        self.carts[token] = {name: value for name, value in attributes.items() if value}
        answer = Response(json.dumps({"token": token}), mimetype="application/json")
        answer.set_cookie("cart", token)
        return answer

    def checkout(self) -> Answer:
        """Orders what is in the cart, which is gone then."""
        answer = self._order(self.carts.pop(self._token(), {}))
        answer.delete_cookie("cart")
        return answer

    def buy_now(self) -> Answer:
        """Orders by a cart of its own, as the button does that skips the shop's."""
        return self._order({})

    def _order(self, attributes: dict[str, str]) -> Answer:
        """Places the order, tells the relay, and shows the page after the payment."""
        number = 5512345678901 + len(self.orders)
        token = f"cb0ec7ab63b58403383c534c64c3{number % 10_000}"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        order = {
            **SAMPLE,
            **dict.fromkeys(("created_at", "processed_at", "updated_at"), now),
            "id": number,
            "name": f"#{len(self.orders) + 1042}",
            "order_number": len(self.orders) + 1042,
            "financial_status": "paid",
            "checkout_token": token,
            "landing_site": "/",
            "note_attributes": [{"name": name, "value": value} for name, value in attributes.items()],
        }
        self.orders.append(order)
        raw = json.dumps(order).encode()
        headers = shopify_sender.sign(raw, SECRET, topic="orders/paid", now=int(time.time()))
        assert self.relay.post("/webhooks/shopify", data=raw, headers=headers).status_code == 200
        return redirect(f"/checkouts/cn/{token}/thank-you")

    def thanks(self, token: str) -> str:
        """The page after the payment: of the theme nothing, of the pixels those that may run."""
        order = next(one for one in self.orders if one["checkout_token"] == token)
        if request.cookies.get("consent") != "yes":
            return "<!doctype html><body>Thank you</body>"
        imitation = (_HERE / "shopify_sandbox.js").read_text()
        privacy = {"marketingAllowed": True, "saleOfDataAllowed": True, "analyticsProcessingAllowed": True}
        init = {"context": {"document": {"location": {"href": request.url}}}, "customerPrivacy": privacy}
        given = ", ".join(_as_script(one) for one in (self.pixel, init, self._completed(order)))
        return f"<!doctype html><body>Thank you<script>{imitation} startPixels({given});</script></body>"

    def _completed(self, order: dict[str, Any]) -> dict[str, Any]:
        number = str(order["id"])
        attributes = [{"key": pair["name"], "value": pair["value"]} for pair in order["note_attributes"]]
        return {
            "name": "checkout_completed",
            "id": "sh-0b8f7c1e-2d3a-4b5c-8d9e-0f1a2b3c4d5e",
            "data": {
                "checkout": {
                    "token": order["checkout_token"],
                    "order": {"id": f"gid://shopify/OrderIdentity/{number}" if self.gid else number},
                    "totalPrice": {"amount": 56.44, "currencyCode": "USD"},
                    "attributes": attributes,
                    "lineItems": [],
                }
            },
        }

    @staticmethod
    def _token() -> str:
        return request.cookies.get("cart", "")


def _as_script(value: Any) -> str:
    """A value as it may stand in a script of a page."""
    return json.dumps(value).replace("<", "\\u003c")
