"""The shape of a request to ``events:ingest``: names and types, as protobuf's JSON demands them.

Only what a purchase of a website may hold: Google knows more names, and also reads numbers written as text.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]
Consented = Literal["CONSENT_STATUS_UNSPECIFIED", "CONSENT_GRANTED", "CONSENT_DENIED"]


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Unknown names are refused; every name may be missing."""


class _ProductAccount(_Shape, frozen=True):
    account_type: Literal["GOOGLE_ADS", "GOOGLE_ANALYTICS_PROPERTY", "DATA_PARTNER"] = "GOOGLE_ADS"
    account_id: str = ""


class _Receiver(_Shape, frozen=True):
    reference: str = ""
    operating_account: _ProductAccount = _ProductAccount()
    login_account: _ProductAccount = _ProductAccount()
    linked_account: _ProductAccount = _ProductAccount()
    product_destination_id: str = ""


class _Address(_Shape, frozen=True):
    given_name: str = ""
    family_name: str = ""
    region_code: str = ""
    postal_code: str = ""


class _Identifier(_Shape, frozen=True):
    email_address: str = ""
    phone_number: str = ""
    address: _Address = _Address()


class _UserData(_Shape, frozen=True):
    user_identifiers: list[_Identifier] = []


class _AdIdentifiers(_Shape, frozen=True):
    session_attributes: str = ""
    gclid: str = ""
    gbraid: str = ""
    wbraid: str = ""
    dclid: str = ""


class _Device(_Shape, frozen=True):
    user_agent: str = ""
    ip_address: str = ""


class _Item(_Shape, frozen=True):
    merchant_product_id: str = ""
    item_id: str = ""
    quantity: int = 0
    unit_price: float = 0.0


class _Cart(_Shape, frozen=True):
    merchant_id: str = ""
    merchant_feed_label: str = ""
    merchant_feed_language_code: str = ""
    transaction_discount: float = 0.0
    items: list[_Item] = []
    coupon_codes: list[str] = []


class _Consent(_Shape, frozen=True):
    ad_user_data: Consented = "CONSENT_STATUS_UNSPECIFIED"
    ad_personalization: Consented = "CONSENT_STATUS_UNSPECIFIED"


class _Event(_Shape, frozen=True):
    transaction_id: str = ""
    event_timestamp: Time | None = None
    last_updated_timestamp: Time | None = None
    event_source: Literal["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"] = "WEB"
    currency: str = ""
    conversion_value: float = 0.0
    user_data: _UserData = _UserData()
    ad_identifiers: _AdIdentifiers = _AdIdentifiers()
    event_device_info: _Device = _Device()
    consent: _Consent = _Consent()
    cart_data: _Cart = _Cart()


class _IngestEvents(_Shape, frozen=True):
    destinations: list[_Receiver] = []
    events: list[_Event] = []
    consent: _Consent = _Consent()
    encoding: Literal["HEX", "BASE64"] = "HEX"
    validate_only: bool = False


def misshapen(body: Any) -> str | None:
    """The path of the first value that has not its type, or of the object with an unknown name in it."""
    try:
        msgspec.convert(body, _IngestEvents)
    except msgspec.ValidationError as error:
        found = re.search(r"`\$\.?([^`]*)`$", str(error))
        return found[1] if found else ""
    return None
