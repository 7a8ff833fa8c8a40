"""Money: exact decimals from untrusted text, and currencies with their minor units."""

import re
from decimal import ROUND_HALF_UP, Decimal

import msgspec

# ISO 4217: every currency has two decimals, except these.
_NO_DECIMALS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"}
    | {"VND", "VUV", "XAF", "XOF", "XPF"}
)
_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,20})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)


class NotMoney(ValueError):
    """The text is not an amount or a currency. The message never repeats it."""


def amount(value: object) -> Decimal:
    """An exact amount in major units from a JSON string or number.

    Refused: exponents, NaN, underscores, other digits than ASCII's, booleans, more than 15 digits. Zero has
    no sign, however it is written.
    """
    if isinstance(value, str):
        written = value.strip()
    else:
        written = str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
    if len(written) > 40 or not _AMOUNT.fullmatch(written):
        raise NotMoney("an amount of the order is not a number")
    found = Decimal(written)
    return found or found.copy_abs()


def currency(value: object) -> str:
    """An ISO 4217 code in upper case."""
    written = value.strip() if isinstance(value, str) else ""
    if not _CURRENCY.fullmatch(written):
        raise NotMoney("the currency of the order is not a three-letter code")
    return written.upper()


def decimals(code: str) -> int:
    """How many decimals the currency has in life (a payment provider may count otherwise)."""
    return 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2


def rounded(value: Decimal, code: str) -> Decimal:
    """The amount with the currency's own number of decimals, halves away from zero."""
    return value.quantize(Decimal(1).scaleb(-decimals(code)), ROUND_HALF_UP)


def plain(value: Decimal) -> str:
    """The amount as text without exponent: ``"142.52"``."""
    return f"{value:f}"


def exact(value: Decimal, places: int = 6) -> str:
    """The amount as text, without exponent or trailing zeros: ``1.230`` is ``"1.23"``.

    A price per piece may come from a division; beyond ``places`` decimals it is rounded.
    """
    written = f"{value:f}"
    whole, point, fraction = written.partition(".")
    if len(fraction) > places:
        return exact(value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP), places)
    if point:
        fraction = fraction.rstrip("0")
        written = f"{whole}.{fraction}" if fraction else whole
    return "0" if written == "-0" else written


def number(value: Decimal, places: int = 6) -> msgspec.Raw:
    """The amount as a JSON number, written as `exact` does."""
    return msgspec.Raw(exact(value, places).encode())


def minor(value: Decimal, code: str) -> int:
    """The amount in the currency's smallest unit: 12.34 USD is 1234, 1.23 KWD is 1230, 5 JPY is 5."""
    return int(rounded(value, code).scaleb(decimals(code)))
