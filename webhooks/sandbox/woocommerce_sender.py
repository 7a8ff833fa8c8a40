"""Sends hooks as WooCommerce does (its `class-wc-webhook.php`, and requests of version 10.5.2)."""

import base64
import hashlib

from integrations.signing import digest
from integrations.stores.woocommerce import signing_secret

SOURCE = "https://shop.example.com/"
WEBHOOK_ID = 27


def sign(body: bytes, secret: str, *, topic: str, now: int) -> dict[str, str]:
    """All headers that WooCommerce sends with this body; ``now`` is Unix seconds.

    The delivery id is made of webhook and second, as WooCommerce makes it: hooks of two orders that leave
    in the same second share it.
    """
    resource, _, event = topic.partition(".")
    seed = f"{WEBHOOK_ID}{now}".encode()
    headers = {
        "User-Agent": "WooCommerce/10.5.2 Hookshot (WordPress/6.9.1)",
        "Content-Type": "application/json",
        "X-WC-Webhook-Source": SOURCE,
        "X-WC-Webhook-Resource": resource,
        "X-WC-Webhook-Event": event,
        "X-WC-Webhook-Signature": base64.b64encode(digest(signing_secret(secret).encode(), body)).decode(),
        "X-WC-Webhook-ID": str(WEBHOOK_ID),
        "X-WC-Webhook-Delivery-ID": hashlib.md5(seed, usedforsecurity=False).hexdigest(),
    }
    return {**headers, "X-WC-Webhook-Topic": topic} if topic else headers
