"""Sends hooks as Shopify does (shopify.dev, webhooks: delivery structure and verification)."""

import base64
import uuid
from datetime import UTC, datetime

from integrations.signing import digest

SHOP_DOMAIN = "example-store.myshopify.com"
API_VERSION = "2026-07"


def sign(body: bytes, secret: str, *, topic: str, now: int) -> dict[str, str]:
    """All headers that Shopify sends with this body; ``now`` is Unix seconds.

    The ids are made from body and topic, so that the same hook comes again with the same ids.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Shopify-Captain-Hook",
        "X-Shopify-Hmac-Sha256": base64.b64encode(digest(secret.encode(), body)).decode(),
        "X-Shopify-Shop-Domain": SHOP_DOMAIN,
        "X-Shopify-API-Version": API_VERSION,
        "X-Shopify-Webhook-Id": _id(topic.encode() + b"\n" + body),
        "X-Shopify-Event-Id": _id(body),
        "X-Shopify-Triggered-At": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.395212977Z"),
    }
    return {**headers, "X-Shopify-Topic": topic} if topic else headers


def _id(content: bytes) -> str:
    return str(uuid.UUID(bytes=digest(b"purchase-relay sandbox", content)[:16], version=4))
