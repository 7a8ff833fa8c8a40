"""Whether an event may be sent, by what the buyer allowed, where they live, and the shop's policy. Pure.

Three questions, each a small table. May anything be sent at all: that needs a yes to storage for ads
(cookies, click ids) and to user data for ads (hashed identity), or no answer where the law takes silence for
no objection. May it be used for personalised advertising too: if not, the request is marked so in the
destination's own way. Can the destination be told: if not, nothing is sent.

A no is a no under every policy.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from integrations import places
from integrations.destination import Outcome, Restriction
from integrations.event import Buyer, Consent, ConsentState, Event
from integrations.store import ConsentPolicy

Zone = Literal["EEA", "UK", "CH", "US law", "US", "unknown", "elsewhere"]
"""``US law``: a state whose law gives its people a say, or an order of the US that names no state."""

Regime = Literal["opt_in", "opt_out"]

Basis = Literal["granted", "not_asked", "consent_denied", "no_consent", "cannot_restrict"]
"""Why a delivery may go out, or must not. The last three are also the reasons of what is suppressed."""

DENIALS: tuple[Basis, ...] = ("consent_denied", "no_consent", "cannot_restrict")

Reach = Literal["", "us_states", "anywhere"]
"""`Destination.restricts`."""

# --- places ----------------------------------------------------------------------------------------------

# The EEA with those parts of its members overseas that have a code of their own and where its law holds.
_EEA = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT"}
    | {"LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "IS", "LI", "NO"}
    | {"AX", "GF", "GP", "MF", "MQ", "RE", "YT"}
)
# The UK with Gibraltar and the islands in personal union, whose law on the matter is the same.
_UK = frozenset({"GB", "GG", "GI", "IM", "JE"})
_ZONES: Mapping[str, Zone] = {
    **dict.fromkeys(_EEA, "EEA"),
    **dict.fromkeys(_UK, "UK"),
    "CH": "CH",
    "US": "US",
    "": "unknown",
}

US_STATES = frozenset(  # in force in 2026
    {"CA", "CO", "CT", "DE", "FL", "IA", "IN", "KY", "MD", "MN", "MT", "NE", "NH", "NJ", "OR", "RI"}
    | {"TN", "TX", "UT", "VA"}
)
"""States of the US with a general law on privacy that lets people object to targeted advertising."""

_OPT_IN: frozenset[Zone] = frozenset({"EEA", "UK", "CH", "unknown"})


class Place(msgspec.Struct, frozen=True):
    """Where the buyer lives, as far as it matters. ``code`` is a country, ``US-CA``, or empty."""

    code: str
    zone: Zone


def place(buyer: Buyer, policy: ConsentPolicy) -> Place:
    """The strictest of all countries that the order names for its buyer: one parcel to Berlin is enough.

    A buyer whose order names none lives in the policy's ``country``; without one, nobody knows, and that is
    as strict as the EEA.
    """
    home = places.country(buyer.country)
    known = [home, *filter(None, map(places.country, buyer.countries))] if home else _further(buyer)
    known = known or [places.country(policy.country)]
    code = next((one for one in known if is_strict(one, policy)), "")
    code = code or ("US" if "US" in known else known[0])
    if code != "US":
        return Place(code, _ZONES.get(code, "elsewhere"))
    state = places.us_state(buyer.region.removeprefix("US-")) if home == "US" else ""
    return Place(f"US-{state}" if state else "US", "US law" if not state or state in US_STATES else "US")


def _further(buyer: Buyer) -> list[str]:
    return [code for one in buyer.countries if (code := places.country(one))]


def is_strict(country: str, policy: ConsentPolicy) -> bool:
    """Whether silence is a no in this country."""
    return _ZONES.get(country, "elsewhere") in _OPT_IN or country in policy.opt_in_countries


# --- the tables ------------------------------------------------------------------------------------------

_BASES: Mapping[tuple[ConsentState, Regime], Basis] = {
    ("denied", "opt_in"): "consent_denied",
    ("denied", "opt_out"): "consent_denied",
    ("", "opt_in"): "no_consent",
    ("", "opt_out"): "not_asked",
    ("granted", "opt_in"): "granted",
    ("granted", "opt_out"): "granted",
}
"""By the answer to what any sending needs, and by what silence means."""

_PERSONAL: Mapping[tuple[ConsentState, Regime], Restriction] = {
    ("denied", "opt_in"): "measurement",
    ("denied", "opt_out"): "measurement",
    ("", "opt_in"): "measurement",
    ("", "opt_out"): "",
    ("granted", "opt_in"): "",
    ("granted", "opt_out"): "",
}
"""By the answer to personalised advertising."""

_REACHES: frozenset[tuple[Reach, Restriction, bool]] = frozenset(
    {
        ("anywhere", "measurement", False),
        ("anywhere", "measurement", True),
        ("anywhere", "limited_use", False),
        ("anywhere", "limited_use", True),
        ("us_states", "measurement", True),
        ("us_states", "limited_use", False),
        ("us_states", "limited_use", True),
    }
)
"""Which restrictions a destination can be told: by its reach, and whether the buyer's state has a law."""

_WORDS: Mapping[Basis, str] = {
    "granted": "the buyer agreed",
    "not_asked": "the buyer did not object, and need not have been asked",
    "consent_denied": "the buyer declined advertising",
    "no_consent": "the buyer was not heard to agree, and must be asked",
    "cannot_restrict": "personalised advertising was not agreed to, and the destination cannot be told so",
}


class Decision(msgspec.Struct, frozen=True):
    """What is decided of one event at one destination, and where the buyer was taken to live."""

    basis: Basis
    place: Place
    restricted: Restriction = ""

    @property
    def outcome(self) -> Outcome | None:
        """Why nothing is sent, None if it may be."""
        if self.basis not in DENIALS:
            return None
        where = f" ({describe(self.place)})" if self.basis == "no_consent" else ""
        return Outcome("suppressed", self.basis, f"{_WORDS[self.basis]}{where}", spent=False)


def decide(event: Event, reach: Reach, policy: ConsentPolicy) -> Decision:
    """What may be done with the event at a destination that can be told of restrictions within ``reach``."""
    where = place(event.buyer, policy)
    regime = _regime(where, policy)
    basis = _BASES[_both(event.consent), regime]
    if basis in DENIALS:
        return Decision(basis, where)
    restricted = _PERSONAL[event.consent.ad_personalization, regime]
    if not restricted and event.consent.ad_personalization != "granted" and _is_limited(where, policy):
        restricted = "limited_use"
    if restricted and (reach, restricted, where.zone == "US law") not in _REACHES:
        return Decision("cannot_restrict", where)
    return Decision(basis, where, restricted)


def _both(consent: Consent) -> ConsentState:
    """The answer to what any sending needs: one no is a no, and half a yes is none."""
    answers = {consent.ad_storage, consent.ad_user_data}
    if "denied" in answers:
        return "denied"
    return "granted" if answers == {"granted"} else ""


def _regime(where: Place, policy: ConsentPolicy) -> Regime:
    if policy.regime != "region":
        return policy.regime
    return "opt_in" if is_strict(where.code, policy) else "opt_out"


def _is_limited(where: Place, policy: ConsentPolicy) -> bool:
    zones: Mapping[str, frozenset[Zone]] = {
        "states": frozenset({"US law"}),
        "us": frozenset({"US law", "US"}),
        "off": frozenset(),
    }
    return where.zone in zones[policy.limited_use]


# --- words -----------------------------------------------------------------------------------------------

_ZONE_WORDS: Mapping[Zone, str] = {
    "EEA": "{}, in the EEA",
    "UK": "{}, under the law of the UK",
    "CH": "Switzerland",
    "US law": "{}, where a law on privacy is in force",
    "US": "{}, without such a law",
    "unknown": "the order names no country",
    "elsewhere": "{}",
}
_RESTRICTIONS: Mapping[Restriction, str] = {
    "": "",
    "limited_use": "marked for limited data use, as the law of their state wants it",
    "measurement": "marked as not for personalised advertising",
}


def zone_of(code: str) -> Zone:
    """The zone of a `Place.code` as the ledger keeps it."""
    country, _, state = code.partition("-")
    if country == "US":
        return "US law" if not state or state in US_STATES else "US"
    return _ZONES.get(country, "elsewhere")


def describe(where: Place) -> str:
    """``DE, in the EEA``."""
    return _ZONE_WORDS[where.zone].format(where.code)


def explain(basis: str, restricted: str) -> str:
    """A basis as the ledger keeps it, in words for people; empty if it is none."""
    parts: Iterable[str] = (_WORDS.get(basis, ""), _RESTRICTIONS.get(restricted, ""))  # type: ignore[call-overload]
    return "; ".join(filter(None, parts))
