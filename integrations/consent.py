"""What the shopper allowed, read from what the storefront attached to the order.

An order carries no consent for advertising of its own: e-mail marketing ticks are about e-mail. Only an
explicit answer that the storefront handed on counts; everything else stays unknown.
"""

from collections.abc import Mapping

from integrations.event import Consent, ConsentState

NAMES = ("marketing_consent", "_marketing_consent", "ad_consent", "_ad_consent")
"""Under which the storefront hands it on, the first that is an answer counts."""

_WORDS: Mapping[str, ConsentState] = {
    **dict.fromkeys(("granted", "yes", "true", "1", "on", "allow", "allowed"), "granted"),
    **dict.fromkeys(("accept", "accepted"), "granted"),
    **dict.fromkeys(("denied", "no", "false", "0", "off", "deny", "disallowed"), "denied"),
    **dict.fromkeys(
        ("decline", "declined", "reject", "rejected", "refused", "revoked", "withdrawn"), "denied"
    ),
}


def from_attributes(attributes: Mapping[str, str]) -> Consent:
    """The explicit answer among the storefront's attributes; unknown when there is none."""
    for name in NAMES:
        if state := _WORDS.get(attributes.get(name, "").lower(), ""):
            return Consent(
                ad_storage=state,
                ad_user_data=state,
                ad_personalization=state,
                source=f"order attribute {name}",
            )
    return Consent()
