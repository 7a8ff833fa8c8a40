"""Identity against vectors: our reading of each destination's documents beside what its own programs do."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations import identity, places
from integrations.destinations.google.payload import RULES as GOOGLE
from integrations.event import Buyer
from integrations.identity import Rules

FOLDER = Path(__file__).parent.parent / "data" / "destinations"

META = Rules(email="as_written", phone_plus=False, names="letters", places="letters")
EVERY_RULES = [META, GOOGLE, Rules(email="every_domain", genders="fmn")]

Field = Callable[[str, str, Rules], str]

FIELDS: dict[str, Field] = {
    "em": lambda text, _, rules: identity.email(text, rules),
    "ph": identity.phone,
    "fn": lambda text, _, rules: identity.name(text, rules),
    "ln": lambda text, _, rules: identity.name(text, rules),
    "ct": lambda text, _, rules: identity.city(text, rules),
    "st": identity.region,
    "zp": identity.postcode,
    "country": lambda text, _, rules: identity.country(text, rules),
    "db": lambda text, *_: identity.birth_date(text),
    "ge": lambda text, _, rules: identity.gender(text, rules),
    "external_id": lambda text, _, rules: identity.external_id(text, rules),
}
GOOGLE_FIELDS = {
    "emailAddress": "em",
    "phoneNumber": "ph",
    "givenName": "fn",
    "familyName": "ln",
    "postalCode": "zp",
    "regionCode": "country",
    "city": "ct",
    "administrativeArea": "st",
}
# Where Google's utility is not followed. It leaves checking to its caller.
GOOGLE_STRICTER = {"gs-emailAddress-08": ""}  # a domain without a dot is nobody's address
GOOGLE_WIDER = {"gs-regionCode-03": "US"}  # an alpha-3 code is still a country


def _rows(path: str) -> list[Any]:
    rows = json.loads((FOLDER / path).read_text(encoding="utf-8"))["rows"]
    return [pytest.param(row, id=row["id"]) for row in rows]


def _hashed(normalised: str) -> str | None:
    return identity.sha256(normalised) if normalised else None


def _hash(expected: dict[str, Any] | None) -> str | None:
    return expected["sha256"] if expected else None


# --- Meta ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", _rows("meta/meta_user_data.json"))
def test_meta(row: dict[str, Any]) -> None:
    normalised = FIELDS[row["field"]](row["input"], row["country"] or "", META)
    allowed = [row["expected"], *row.get("also_accept", [])]
    if row["basis"] == "doc" and not row.get("also_accept"):
        assert _hashed(normalised) == _hash(row["expected"])
        if row["expected"]:
            assert normalised == row["expected"]["normalized"]
    assert _hashed(normalised) in [_hash(one) for one in allowed]


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in _rows("meta/meta_user_data.json")
        if row.values[0]["sdk_agrees"] and row.values[0]["expected"]
    ],
)
def test_metas_own_program_agrees(row: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' deprecations are not ours
        from facebook_business.adobjects.serverside.normalize import Normalize
    theirs = Normalize.normalize_field(row["field"], row["input"])
    ours = FIELDS[row["field"]](row["input"], row["country"] or "", META)
    assert _hashed(ours) == theirs


# --- Google ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [row for row in _rows("google/google_user_data.json") if row.values[0]["field"] in GOOGLE_FIELDS]
)
def test_google(row: dict[str, Any]) -> None:
    theirs = row["google_ads_datamanager_util_0_4_0"]
    if "expected" in row:
        theirs = row["expected"] or {}
    expected = {**GOOGLE_STRICTER, **GOOGLE_WIDER}.get(row["id"], theirs.get("normalized", ""))
    normalised = FIELDS[GOOGLE_FIELDS[row["field"]]](row["input"], row.get("country", ""), GOOGLE)
    assert normalised == expected
    if row["field"] in {"emailAddress", "phoneNumber", "givenName", "familyName"} and expected:
        assert identity.sha256(normalised) == theirs["sent"]


def test_one_buyer_has_another_hash_at_each_destination() -> None:
    buyer = Buyer(email="J.Doe+shop@gmail.com", phone="(650) 555-1212", country="US")
    meta, google = identity.person(buyer, META), identity.person(buyer, GOOGLE)
    assert (meta.email, google.email) == ("j.doe+shop@gmail.com", "jdoe@gmail.com")
    assert (meta.phone, google.phone) == ("16505551212", "+16505551212")


def test_tags_can_be_removed_for_every_domain() -> None:
    assert identity.email("J.Doe+Shop@Example.com", Rules(email="every_domain")) == "jdoe@example.com"


# --- what the vectors do not ask -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "written", "country", "expected"),
    [
        ("em", "jane@example.com, joe@example.com", "", ""),
        ("em", "Jane <jane@example.com>", "", ""),
        ("em", "jane@@example.com", "", ""),
        ("em", "jane@example..com", "", ""),
        ("em", "\u200bjane@example.com\u200e", "", "jane@example.com"),
        ("em", "jane@" + "a" * 300 + ".com", "", ""),
        ("ph", "555-1212", "US", ""),  # without an area code
        ("ph", "(650) 555-1212", "", ""),  # whose country is unknown
        ("ph", "+16505551212", "", "16505551212"),
        ("ph", "0044 7911 123456", "US", "447911123456"),
        ("ph", "1111111111", "US", ""),
        ("ph", "1234567890", "US", ""),
        ("ph", "06-12345678", "Netherlands", "31612345678"),
        ("ph", "+" * 300, "US", ""),
        ("ph", "4915112345678", "DE", "4915112345678"),  # its plus got lost
        ("ph", "62 812 345 678", "ID", "62812345678"),
        ("ph", "0049 151 12345678", "AT", "4915112345678"),
        ("ph", "0061 412 345 678", "AU", "61412345678"),  # whose own way abroad is 0011
        ("ph", "0011 61 412 345 678", "AU", "61412345678"),
        ("ph", "0081-90-1234-5678", "JP", "819012345678"),
        ("ph", "001 65 9123 4567", "SG", "6591234567"),
        ("ph", "+57 (0)321 1234567", "CO", "573211234567"),
        ("ph", "+39 (0)6 1234 5678", "IT", "390612345678"),  # here the zero is dialled from abroad, too
        ("ph", "01 23 45 67 89", "FR", "33123456789"),  # a row, and a number in Paris
        ("ph", "0123456789", "DE", ""),
        ("fn", "Anna ❤️", "", "anna"),
        ("fn", "❤️", "", ""),
        ("fn", "-", "", ""),
        ("fn", "N/A", "", ""),
        ("fn", "\u202bמשה\u202c", "", "משה"),
        ("fn", "मीरा", "", "मीरा"),  # vowel signs are no punctuation
        ("ct", "12345", "", ""),
        ("ct", "St. John's", "CA", "stjohns"),
        ("st", "US-CA", "US", "ca"),
        ("st", "Puerto Rico", "US", "pr"),
        ("st", "Nowhere", "US", ""),
        ("st", "GB-ENG", "GB", "eng"),
        ("zp", "2108", "US", ""),  # a spreadsheet ate the zero
        ("zp", "941**", "US", ""),  # redacted
        ("zp", "00000", "US", ""),
        ("zp", "00901-1234", "PR", "00901"),
        ("zp", "〒１００－０００１", "JP", "1000001"),
        ("zp", "N/A", "GB", ""),
        ("country", "Côte d’Ivoire", "", "ci"),
        ("country", "Atlantis", "", ""),
        ("country", "n/a", "", ""),  # not Namibia
        ("country", "NA", "", "na"),
        ("country", "Österreich", "", "at"),
        ("db", "03/04/1997", "", ""),  # March or April
        ("db", "16/02/1997", "", "19970216"),
        ("db", "02/16/1997", "", "19970216"),
        ("db", "5/5/1997", "", "19970505"),
        ("db", "30.02.1997", "", ""),
        ("db", "１９９７-02-16", "", "19970216"),
        ("db", "1997-02-16junk", "", ""),
        ("external_id", "0", "", ""),  # a guest
        ("external_id", "null", "", ""),
    ],
)
def test_edges(field: str, written: str, country: str, expected: str) -> None:
    assert FIELDS[field](written, country, META) == expected


_KINDS = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
_FORMATS = phonenumbers.PhoneNumberFormat


@pytest.mark.parametrize("region", sorted(filter(places.country, phonenumbers.SUPPORTED_REGIONS)))
def test_a_number_of_every_country_in_every_way_of_writing_it(region: str) -> None:
    for number in filter(None, (phonenumbers.example_number_for_type(region, kind) for kind in _KINDS)):
        abroad = phonenumbers.format_number(number, _FORMATS.E164)
        ways = [
            phonenumbers.format_number(number, form) for form in (_FORMATS.NATIONAL, _FORMATS.INTERNATIONAL)
        ]
        ways += [abroad, abroad[1:], f"00{abroad[1:]}"]
        assert {way: identity.phone(way, region, GOOGLE) for way in ways} == dict.fromkeys(ways, abroad)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 2001:0DB8:0::7 ", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:10.0.0.1", ""),
        *((private, "") for private in ("10.1.2.3", "192.168.0.9", "172.31.255.1", "100.64.0.1")),
        *((own, "") for own in ("127.0.0.1", "::1", "::", "0.0.0.0", "fe80::1", "fd00::1", "fe80::1%eth0")),
        *((odd, "") for odd in ("", "unknown", "203.0.113.7:443", "203.0.113.7, 10.0.0.1", "1" * 5000)),
    ],
)
def test_only_public_addresses_are_told(written: str, expected: str) -> None:
    assert identity.public_ip(written) == expected


@given(st.lists(st.integers(0, 260).map(str) | st.text("0123456789", max_size=3), min_size=3, max_size=5))
def test_a_plain_address_is_judged_as_any_other(numbers: list[str]) -> None:
    """What has a space before it goes the long way."""
    address = ".".join(numbers)
    assert identity.public_ip(address) == identity.public_ip(f" {address}")


@pytest.mark.parametrize("octet", range(256))
def test_every_first_number_of_a_plain_address_is_judged_as_any_other(octet: int) -> None:
    for rest in ("0.0.0", "16.0.1", "64.0.1", "168.1.2", "254.9.9", "255.255.255"):
        assert identity.public_ip(f"{octet}.{rest}") == identity.public_ip(f" {octet}.{rest}")


def test_a_person_is_not_shown() -> None:
    assert "jane" not in repr(identity.person(Buyer(email="jane@example.com"), META))


@pytest.mark.parametrize("rules", EVERY_RULES, ids=["meta", "google", "strictest"])
@pytest.mark.parametrize("field", FIELDS)
@settings(deadline=None, max_examples=50)  # the first number read loads the metadata of its country
@given(text=st.text(max_size=60), country=st.sampled_from(["US", "GB", "SA", "", "zz", "\u0000"]))
def test_no_text_raises_and_twice_is_once(field: str, rules: Rules, text: str, country: str) -> None:
    once = FIELDS[field](text, country, rules)
    identity.sha256(once)
    if field != "ph" or rules.phone_plus:  # without its plus a number is a national one again
        assert FIELDS[field](once, country, rules) == once
