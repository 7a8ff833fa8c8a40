"""Phone numbers, as shoppers and stores write them, in E.164.

Most stores hand them on with their country code. Such a number needs no reading, only the question whether
its country has numbers of that length: a tenth of the work (`_as_written`). A test holds the two together.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import phonenumbers

from integrations import places


def e164(written: str, order_country: str) -> str:
    """Country code and number without the plus; a national number is read as one of the order's country.

    ``""`` for what is no number, for one whose length is impossible, and for a placeholder.
    """
    return _as_written(written) or _read(written, order_country)


def ascii_digits(text: str) -> str:
    """The text with the decimal digits of any script as those of ASCII."""
    return text if text.isascii() else "".join(str(unicodedata.decimal(sign, sign)) for sign in text)


# --- with its country code -------------------------------------------------------------------------------

_WITH_CODE = re.compile(r"\+[1-9][0-9 ().-]{6,30}", re.ASCII)
_PUNCTUATION = str.maketrans("", "", "+ ().-")


class _Plan(NamedTuple):
    """What is known of the numbers behind a country code: how long the code is, how long they may be, and
    what may stand before them that is not theirs."""

    code: int
    lengths: frozenset[int]
    prefix: re.Pattern[str]


def _as_written(written: str) -> str:
    """The number's own digits; ``""`` if it must be read first, as any must that might be a placeholder."""
    if not _WITH_CODE.fullmatch(written) or "(0)" in written:
        return ""
    digits = written[1:] if written[1:].isdigit() else written.translate(_PUNCTUATION)
    plan = _plan(digits[:3])
    if plan is None:
        return ""
    own = digits[plan.code :]
    is_plain = len(own) in plan.lengths and own[0] != "0" and not plan.prefix.match(own)
    return digits if is_plain and own.strip(own[0]) and own not in _ROW else ""


@cache  # there are less than a thousand beginnings
def _plan(beginning: str) -> _Plan | None:
    """That of the numbers which begin so; None if no country has them."""
    for length in range(1, len(beginning) + 1):
        code = int(beginning[:length])
        if regions := phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code):
            return _plan_of(code, length, regions[0])
    return None


def _plan_of(code: int, length: int, region: str) -> _Plan | None:
    known = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if known is None or known.general_desc is None:
        return None
    prefix = known.national_prefix_for_parsing or r"(?!)"  # which nothing begins with
    return _Plan(length, frozenset(known.general_desc.possible_length), re.compile(prefix))


# --- in any other way ------------------------------------------------------------------------------------

_ROW = "1234567890"


def _read(number: str, order_country: str) -> str:
    parsed = _parsed(number, order_country)
    if parsed is None or _is_placeholder(parsed):
        return ""
    return f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"


def _parsed(number: str, order_country: str) -> phonenumbers.PhoneNumber | None:
    """The number if its length is possible; of several readings the first that its country's plan has."""
    region = places.country(order_country) or None
    readings = [found for one in _readings(number, region) if (found := _possible(one, region))]
    if len(readings) > 1:
        return next(filter(phonenumbers.is_valid_number, readings), readings[0])
    return readings[0] if readings else None


def _readings(number: str, region: str | None) -> Iterator[str]:
    """The number in the ways that it may be meant, the likeliest first.

    00 is a plus even where one dials otherwise abroad. Where national numbers begin with 0, one that begins
    with the country's own code lacks its plus. A 0 in brackets goes when the number is dialled from abroad.
    """
    if number.startswith("+"):
        yield number
        if "(0)" in number:
            yield number.replace("(0)", "")
        return
    digits = ascii_digits(number)
    if digits.startswith("00"):
        yield f"+{digits[2:]}"
    elif region and _lacks_plus(digits, region):
        yield f"+{digits}"
    yield number


def _lacks_plus(digits: str, region: str) -> bool:
    code = phonenumbers.country_code_for_region(region)
    return digits.startswith(str(code)) and phonenumbers.ndd_prefix_for_region(region, True) == "0"


def _possible(number: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    return parsed if reason == phonenumbers.ValidationResult.IS_POSSIBLE else None


def _is_placeholder(parsed: phonenumbers.PhoneNumber) -> bool:
    """0000000000, 1111111111, 123456789: typed to get past a form."""
    digits = phonenumbers.national_significant_number(parsed)
    is_row = digits in _ROW and not phonenumbers.is_valid_number(parsed)  # 01 23 45 67 89 is Paris
    return is_row or len(set(digits)) == 1
