"""A shop's own site that sells by Stripe: a form that begins a session, a payment link, a success page."""

import json
import time
from typing import Any

from flask import Flask, redirect, request
from werkzeug.test import Client
from werkzeug.wrappers import Response

from tests.contract import samples
from tests.storefront.shops import SECRET
from webhooks.sandbox import stripe_sender

SAMPLE = json.loads(
    (samples.FOLDER / "stripe/checkout_session_completed_paid_2026_DERIVED.json").read_bytes()
)
SESSION = SAMPLE["data"]["object"]["id"]

_CONSENT = """
    const answer = (document.cookie.match(/consent=(yes|no)/) || [])[1];
    const listeners = [];
    window.__tcfapi = (command, version, call) => {
      listeners.push(call);
      if (answer) say(answer === "yes");
    };
    window.say = (yes) => {
      document.cookie = `consent=${yes ? "yes" : "no"};path=/`;
      const purposes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
      const consents = Object.fromEntries(purposes.map((purpose) => [purpose, yes]));
      const told = {gdprApplies: true, eventStatus: "useractioncomplete", purpose: {consents}};
      listeners.forEach((call) => call(told, true));
    };
"""
"""As a consent banner of IAB's framework has it in the page."""


class Shop:
    """``session`` is the one that was paid, as its webhook tells of it."""

    def __init__(self, relay: Client, capture: str, pixel: str) -> None:
        self.relay, self.capture, self.pixel = relay, capture, pixel
        self.session: dict[str, Any] = {}
        self.app = Flask("stripe_shop")
        self.app.add_url_rule("/", view_func=self.page)
        self.app.add_url_rule("/checkout", view_func=self.begin, methods=["POST"])
        self.app.add_url_rule("/thanks", view_func=self.thanks)

    def page(self) -> str:
        """A page of the site with both ways to pay."""
        form = '<form method="post" action="/checkout" data-purchase-relay><button>Buy</button></form>'
        link = '<a href="https://buy.stripe.com/test_link?locale=de">Buy by link</a>'
        return f"<!doctype html><head>{self._head()}</head><body>{form}{link}</body>"

    def begin(self) -> Response:
        """Makes the session with what the form sent; Stripe's own page is left out."""
        fields = {name[9:-1]: value for name, value in request.form.items() if name.startswith("metadata[")}
        self.pay({**fields, "order_id": "ORD-7"}, client_reference_id=None)
        return redirect(f"/thanks?session_id={SESSION}")

    def pay(self, metadata: dict[str, str], client_reference_id: str | None) -> None:
        """The shopper pays, and Stripe tells the relay."""
        told = json.loads(json.dumps(SAMPLE))
        told["created"] = int(time.time())
        told["data"]["object"] |= {"metadata": metadata, "client_reference_id": client_reference_id}
        self.session = told["data"]["object"]
        raw = json.dumps(told).encode()
        headers = stripe_sender.sign(raw, SECRET, topic="", now=int(time.time()))
        assert self.relay.post("/webhooks/stripe", data=raw, headers=headers).status_code == 200

    def thanks(self) -> str:
        """The success page. It knows the order only after the form."""
        order = self.session["metadata"].get("order_id", "")
        known = f'data-order-id="{order}" data-value="54.00" data-currency="CAD"'
        pixel = self.pixel.replace('data-order-id="" data-value="" data-currency=""', known)
        assert known in pixel
        return f"<!doctype html><head>{self._head()}</head><body>Thank you{pixel}</body>"

    def _head(self) -> str:
        return f"<script>{_CONSENT}</script>{self.capture}"
