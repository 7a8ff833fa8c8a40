"""Sends hooks as Stripe does (docs.stripe.com/webhooks/signature)."""

from integrations.signing import digest


def sign(body: bytes, secret: str, *, topic: str, now: int) -> dict[str, str]:  # noqa: ARG001 - in the body
    """All headers that Stripe sends with this body; ``now`` is Unix seconds and part of what is signed."""
    signature = digest(secret.encode(), f"{now}.".encode() + body).hex()
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": f"t={now},v1={signature}",
    }
