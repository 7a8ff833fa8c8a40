"""Numbers with their country code go a short way, which must lead where the long one does."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.phones import _as_written, _read, e164

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
FORMATS = (phonenumbers.PhoneNumberFormat.E164, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
KINDS = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)

codes = st.sampled_from(CODES).map(str) | st.text("0123456789", min_size=1, max_size=3)
own = st.text("0123456789", min_size=1, max_size=15)
signs = st.text("0123456789 ().-", min_size=1, max_size=20)
beginnings = st.sampled_from(["0", "1", "8", "9", "06", "15", "00", "(0)", " (0) ", "555", "11111"])
numbers = st.builds("+{}{}{}".format, codes, beginnings | st.just(""), own | signs)
countries = st.sampled_from(["", "US", "CA", "DE", "IT", "AR", "MX", "BR", "RU", "CI"])


@settings(max_examples=300, deadline=None)  # a country's plan is read when it is first asked for
@given(numbers, countries)
def test_any_number_is_read_alike(number: str, country: str) -> None:
    assert e164(number, country) == _read(number, country)


@settings(deadline=None)
@given(st.text("+0123456789 ().-x/#;,", max_size=20), countries)
def test_any_signs_are_read_alike(number: str, country: str) -> None:
    assert e164(number, country) == _read(number, country)


@pytest.mark.parametrize("code", CODES)
def test_every_length_behind_every_country_code_is_read_alike(code: int) -> None:
    """Each first digit too: of what may stand before a number, most is one digit."""
    wrong = [
        number
        for length in range(3, 14)
        for first in "0123456789"
        if e164(number := f"+{code}{first}{'2345678901234'[: length - 1]}", "US") != _read(number, "US")
    ]
    assert wrong == []


def test_nearly_every_country_goes_the_short_way() -> None:
    """Not those in whose numbers anything might be a prefix."""
    examples = [
        phonenumbers.format_number(number, style)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in KINDS
        if (number := phonenumbers.example_number_for_type(region, kind))
        for style in FORMATS
    ]
    short = [number for number in examples if _as_written(number)]
    assert len(short) > 0.9 * len(examples) > 800
    assert [number for number in examples if e164(number, "") != _read(number, "")] == []


@pytest.mark.parametrize(
    "number", ["+1 111 111 1111", "+49 123456789", "+1", "+", "+1 -- ()", "+999 1234567"]
)
def test_what_may_be_none_goes_the_long_way(number: str) -> None:
    assert _as_written(number) == ""
