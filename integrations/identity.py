"""Identity: what a store wrote about a buyer, made comparable to what a destination knows of its people.

Every function returns ``""`` for what must be left out: nothing, a placeholder (``.``, ``n/a``), or text
that is not what the field asks for. A wrong hash is worse than none: it counts as a match key and never
matches. Destinations differ, so each declares a `Rules` table; the functions are the same for all.
"""

import hashlib
import ipaddress
import re
import unicodedata
from datetime import date
from typing import Literal

import msgspec

from integrations import phones, places
from integrations.event import Buyer
from integrations.phones import ascii_digits


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How one destination wants identity written before it is hashed.

    ``email``: ``as_written`` (lower case only), ``gmail`` (dots and +tag removed at Google's own domains),
    ``every_domain`` (removed everywhere). ``phone_plus``: E.164 with its plus, or the digits alone.
    ``names``: ``letters`` (no punctuation, no spaces) or ``as_written`` (lower case only).
    ``places``: ``letters`` or ``words`` (spaces between words stay), where digits and punctuation go; or
    ``as_written`` (lower case only; a US state stays a name if it was one).
    ``postcode``: ``compact`` (lower case, no spaces or dashes, five digits in the US) or ``as_written``.
    ``country``: the case of the two-letter code. ``genders``: the letters taken, of f, m and n (neither).
    ``external_id``: ``lower`` or ``as_written``.
    """

    email: Literal["as_written", "gmail", "every_domain"] = "as_written"
    phone_plus: bool = False
    names: Literal["letters", "as_written"] = "letters"
    places: Literal["letters", "words", "as_written"] = "letters"
    postcode: Literal["compact", "as_written"] = "compact"
    country: Literal["lower", "upper"] = "lower"
    genders: str = "fm"
    external_id: Literal["lower", "as_written"] = "lower"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer under one destination's rules: not hashed yet. Its `repr` shows nothing of it."""

    email: str = ""
    phone: str = ""
    first_name: str = ""
    last_name: str = ""
    city: str = ""
    region: str = ""
    postcode: str = ""
    country: str = ""
    birth_date: str = ""
    gender: str = ""
    external_id: str = ""
    ip: str = ""
    user_agent: str = ""

    def __repr__(self) -> str:
        return "Person(***)"


def person(buyer: Buyer, rules: Rules) -> Person:
    """Everything the order tells of its buyer, each field normalised or empty."""
    return Person(
        email=email(buyer.email, rules),
        phone=phone(buyer.phone, buyer.country, rules),
        first_name=name(buyer.first_name, rules),
        last_name=name(buyer.last_name, rules),
        city=city(buyer.city, rules),
        region=region(buyer.region, buyer.country, rules),
        postcode=postcode(buyer.postcode, buyer.country, rules),
        country=country(buyer.country, rules),
        birth_date=birth_date(buyer.birth_date),
        gender=gender(buyer.gender, rules),
        external_id=external_id(buyer.customer_id, rules),
        ip=public_ip(buyer.ip),
        user_agent=_tidy(buyer.user_agent),
    )


def sha256(normalised: str) -> str:
    """Lower-case hexadecimal SHA-256 of the UTF-8 bytes; a text that is such a hash already is kept."""
    if len(normalised) == 64 and _is_digest(normalised):
        return normalised
    return hashlib.sha256(normalised.encode("utf-8", "ignore")).hexdigest()


# --- one function per field ------------------------------------------------------------------------------


def email(written: str, rules: Rules) -> str:
    """One address with a dotted domain, in lower case. A SHA-256 of one passes through."""
    address = _tidy(written).lower()
    if _is_digest(address):
        return address
    if len(address) > _MAX_EMAIL or not _EMAIL.fullmatch(address):
        return ""
    local, _, domain = address.rpartition("@")
    if rules.email == "every_domain" or (rules.email == "gmail" and domain in _GOOGLE_DOMAINS):
        local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else ""


def phone(written: str, order_country: str, rules: Rules) -> str:
    """The number with its country code; a national number is read as one of the order's country.

    Only the length is checked, not whether the number is in service: numbering plans grow faster than any
    list. Extensions are dropped. A SHA-256 of a number passes through.
    """
    number = _tidy(written)
    if _is_digest(lower := number.lower()):
        return lower
    digits = phones.e164(number, order_country)
    return f"+{digits}" if rules.phone_plus and digits else digits


def name(written: str, rules: Rules) -> str:
    """A first or last name in lower case; needs at least one letter or digit."""
    lower = _tidy(written).lower()
    bare = _kept(lower, "LNM")
    if not bare or lower in _NO_NAME:
        return ""
    return bare if rules.names == "letters" else lower


def city(written: str, rules: Rules) -> str:
    """A town in lower case, without punctuation or digits ("Paris 16" is Paris)."""
    lower = _tidy(written).lower()
    if lower in _NO_NAME:
        return ""
    if rules.places == "as_written":
        return lower if _kept(lower, "LM") else ""
    if rules.places == "words":
        return " ".join(word for part in lower.split() if (word := _kept(part, "LM")))
    return _kept(lower, "LM")


def region(written: str, order_country: str, rules: Rules) -> str:
    """In the US the two-letter code of a state, else a code or name in lower case without punctuation."""
    code = places.country(order_country)
    tidy = _tidy(written)
    local = tidy[len(code) + 1 :] if code and tidy.upper().startswith(f"{code}-") else tidy  # ISO 3166-2
    lower = local.lower()
    if rules.places == "as_written":
        return lower if _kept(lower, "LNM") and lower not in _NO_NAME else ""
    if code == "US":
        return places.us_state(local).lower()
    if lower in _NO_NAME:
        return ""
    if rules.places == "words":
        return " ".join(word for part in lower.split() if (word := _kept(part, "LNM")))
    return _kept(lower, "LNM")


def postcode(written: str, order_country: str, rules: Rules) -> str:
    """A postal code. Leading zeros stay; five digits in the US unless it is wanted as written."""
    tidy = ascii_digits(_tidy(unicodedata.normalize("NFKC", written)))
    compact = _NOT_ALPHANUMERIC.sub("", tidy.lower())
    if not compact.strip("0") or compact.isalpha():
        return ""
    if rules.postcode == "as_written":
        return tidy
    if places.country(order_country) not in _ZIP_CODES:
        return compact
    return compact[:5] if re.match(r"[0-9]{5}", compact) else ""


def country(written: str, rules: Rules) -> str:
    """The two-letter code of ISO 3166-1, from a code or a usual name."""
    code = "" if _tidy(written).lower() in _NO_NAME else places.country(written)  # n/a is not Namibia
    return code.lower() if rules.country == "lower" else code


def birth_date(written: str) -> str:
    """YYYYMMDD of a date between 1900 and 2100; a date that could be read two ways is left out."""
    if not written:
        return ""
    tidy = ascii_digits(_tidy(written))
    for pattern in _DATES:
        if match := pattern.match(tidy):
            return _calendar_day(int(match["y"]), int(match["m"]), int(match["d"]))
    return ""


def gender(written: str, rules: Rules) -> str:
    """``f``, ``m`` or ``n`` where the destination takes it."""
    letter = _GENDERS.get(_tidy(written).lower(), "")
    return letter if letter in rules.genders else ""


def external_id(written: str, rules: Rules) -> str:
    """The shop's own id of the buyer. Stores write 0 for a guest: that would join all guests in one."""
    tidy = _tidy(written)
    if tidy.lower() in _NO_ID:
        return ""
    return tidy.lower() if rules.external_id == "lower" else tidy


def public_ip(written: str) -> str:
    """An address of the public internet in its canonical form; IPv4 in IPv6's clothes is undressed."""
    plain = _IPV4.fullmatch(written)
    if plain and plain[1] in _PUBLIC_BEGINNINGS:
        return written  # most addresses
    try:
        address = ipaddress.ip_address(written.strip())
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return ""
        address = address.ipv4_mapped or address
    number = int(address)
    if any(number & mask == network for network, mask in _NOT_PUBLIC[address.version]):
        return ""
    return str(address)


# --- tables ----------------------------------------------------------------------------------------------

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_EMAIL = 254
_EMAIL = re.compile(r"""[^\s@,;:<>()"\[\]\\]+@(?:[^\s@,;:<>()"\[\]\\.]+\.)+[^\s@,;:<>()"\[\]\\.]{2,}""")
_GOOGLE_DOMAINS = frozenset({"gmail.com", "googlemail.com"})
_ZIP_CODES = frozenset({"US", "AS", "FM", "GU", "MH", "MP", "PR", "PW", "VI"})  # whom the USPS serves
_NO_NAME = frozenset({"n/a", "undefined", "null", "none"})
_NO_ID = frozenset({"", "0", "-", ".", "n/a", "undefined", "null", "none", "nan"})
_GENDERS = {
    "f": "f", "female": "f", "woman": "f",
    "m": "m", "male": "m", "man": "m",
    "n": "n", "non-binary": "n", "nonbinary": "n",
}  # fmt: skip

_DATES = (
    re.compile(r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)$", re.ASCII),
    re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?:$|[T ])", re.ASCII),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})$", re.ASCII),  # dots: day first everywhere
    re.compile(r"(?P<m>0?[1-9]|1[0-2])[/-](?P<d>1[3-9]|2\d|3[01])[/-](?P<y>\d{4})$", re.ASCII),
    re.compile(r"(?P<d>1[3-9]|2\d|3[01])[/-](?P<m>0?[1-9]|1[0-2])[/-](?P<y>\d{4})$", re.ASCII),
    re.compile(r"(?P<d>0?\d|1[0-2])[/-](?P<m>(?P=d))[/-](?P<y>\d{4})$", re.ASCII),  # 5/5/1990 is one day
)

# RFC 6890 without the documentation networks, which no proxy writes and examples need.
_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
]
_NOT_PUBLIC = {
    version: [(int(one.network_address), int(one.netmask)) for one in _NETWORKS if one.version == version]
    for version in (4, 6)
}
"""By version of the protocol: each network's address and mask, as numbers."""

_OCTET = "25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]"
_IPV4 = re.compile(rf"({_OCTET})(?:\.(?:{_OCTET})){{3}}")
_PUBLIC_BEGINNINGS = frozenset(
    str(octet)
    for octet in range(256)
    if not any(
        ipaddress.ip_network(f"{octet}.0.0.0/8").overlaps(one) for one in _NETWORKS if one.version == 4
    )
)
"""The first numbers of which no network that is not public has an address."""

_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]+")
_NOT_ALPHABETIC = re.compile(r"[^A-Za-z]+")

# --- reading ---------------------------------------------------------------------------------------------


def _tidy(written: str) -> str:
    """Composed (NFC) text without outer space and without invisible signs (direction, zero width)."""
    if written.isascii() and written.isprintable():
        return written.strip()  # most text; nothing in it could be composed or invisible
    composed = unicodedata.normalize("NFC", written)
    if composed.isprintable():
        return composed.strip()
    visible = (
        " " if sign in "\t\r\n" else sign
        for sign in composed
        if sign in "\t\r\n" or unicodedata.category(sign) not in {"Cf", "Cc", "Cs"}
    )
    return "".join(visible).strip()


def _kept(text: str, kinds: str) -> str:
    """Only signs of these Unicode kinds (Letter, Number, Mark), and nothing unless one is no mark.

    Marks are the vowels of many scripts. Variation selectors are marks too, but belong to emoji.
    """
    if text.isascii():
        if text.isalpha():
            return text
        return (_NOT_ALPHANUMERIC if "N" in kinds else _NOT_ALPHABETIC).sub("", text)
    if text.isalpha():
        return unicodedata.normalize("NFC", text)
    kept = [
        sign
        for sign in text
        if unicodedata.category(sign)[0] in kinds and not "\ufe00" <= sign <= "\ufe0f" and sign != "\u20e3"
    ]
    if all(unicodedata.category(sign)[0] == "M" for sign in kept):
        return ""
    return unicodedata.normalize("NFC", "".join(kept))  # what stood between a letter and its accent is gone


def _is_digest(text: str) -> bool:
    return len(text) == 64 and _DIGEST.fullmatch(text) is not None


def _calendar_day(year: int, month: int, day: int) -> str:
    try:
        born = date(year, month, day)
    except ValueError:
        return ""
    return f"{born:%Y%m%d}" if 1900 <= year < 2100 else ""
