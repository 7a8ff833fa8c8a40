"""What the shopper allowed, read from what the storefront attached to the order.

An order carries no consent for advertising of its own: e-mail marketing ticks are about e-mail. What counts
is, in this order of trust: an explicit answer (`NAMES`); the state that our own script read in the browser
(`STATE`); what the shop's consent banner left in its cookies, as it is. Of several banners a no of any is
a no. A default that nobody answered is no answer.

webhooks/storefront/consent.js has the same rules for what a browser reads; tests/data/consent asks both.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from integrations.event import Consent, ConsentState
from integrations.untrusted import NotJson, load_json, moment, record

NAMES = ("marketing_consent", "_marketing_consent", "ad_consent", "_ad_consent")
"""Under which the storefront hands an explicit answer on."""

STATE = ("_consent_state", "consent_state")
"""``ad_storage=granted;ad_user_data=denied;ad_personalization=;source=shopify;at=1763800000000``."""

SOURCES = ("shopify", "google_consent_mode", "tcf", "cookiebot", "onetrust", "wp_consent_api", "attribute")
"""Who may be named in it. The name is shown and kept: any other is ``attribute``."""

PURPOSES = ("ad_storage", "ad_user_data", "ad_personalization")

_EXPLICIT = "order attribute "

_WORDS: Mapping[str, ConsentState] = {
    **dict.fromkeys(("granted", "yes", "true", "1", "on", "allow", "allowed"), "granted"),
    **dict.fromkeys(("accept", "accepted"), "granted"),
    **dict.fromkeys(("denied", "no", "false", "0", "off", "deny", "disallowed"), "denied"),
    **dict.fromkeys(
        ("decline", "declined", "reject", "rejected", "refused", "revoked", "withdrawn"), "denied"
    ),
}
_BOOLS: Mapping[bool, ConsentState] = {True: "granted", False: "denied"}


class Answer(NamedTuple):
    """What one source says, and when it was told so (Unix milliseconds)."""

    ad_storage: ConsentState = ""
    ad_user_data: ConsentState = ""
    ad_personalization: ConsentState = ""
    at: int | None = None


_NONE = Answer()


def from_attributes(attributes: Mapping[str, str]) -> Consent:
    """What the most trusted of the attributes says; unknown when none says anything. Never raises."""
    if found := _explicit(attributes):
        return found
    for name in STATE:
        if (text := attributes.get(name)) and (found := _state(text)):
            return found
    return _combined(attributes)


def later(known: Consent, known_at: int, told: Consent, told_at: int) -> Consent:
    """The one state that two answers to the same question make; the times (milliseconds) are when they were
    heard, for answers without one.

    A newer answer takes the place of an older one, if it is as trusted or a no. An older one, and a less
    trusted yes, only fill what nobody has answered. No answer is newer than when it was heard.
    """
    known_at, told_at = known.at or known_at, min(told.at or told_at, told_at)
    is_newer, is_trusted = told_at >= known_at, _trust(told) >= _trust(known)

    def merged(old: ConsentState, new: ConsentState) -> ConsentState:
        takes = not old or (is_newer and (is_trusted or new == "denied"))
        return new if new and takes else old

    states = {name: merged(getattr(known, name), getattr(told, name)) for name in PURPOSES}
    if states == {name: getattr(known, name) for name in PURPOSES}:
        return known
    return Consent(**states, source=told.source, at=max(told_at, known_at) if is_newer else told_at)


def _trust(consent: Consent) -> bool:
    return consent.source.startswith(_EXPLICIT)


# --- our own attributes ----------------------------------------------------------------------------------


def _explicit(attributes: Mapping[str, str]) -> Consent | None:
    """Of several answers a no counts."""
    answers: dict[ConsentState, str] = {}  # who gave each first
    for name in NAMES:
        if (word := attributes.get(name)) and (answer := _WORDS.get(word.lower(), "")):
            answers.setdefault(answer, name)
    if not answers:
        return None
    state: ConsentState = "denied" if "denied" in answers else "granted"
    name = answers[state]
    return Consent(
        ad_storage=state, ad_user_data=state, ad_personalization=state, source=f"{_EXPLICIT}{name}"
    )


def _state(text: str) -> Consent | None:
    """`STATE`; None if it holds no answer."""
    fields = dict(part.partition("=")[::2] for part in text.split(";")[:20])
    states = {name: _WORDS.get(fields.get(name, "").strip(), "") for name in PURPOSES}
    if not any(states.values()):
        return None
    source = fields.get("source", "").strip()
    source = source if source in SOURCES else "attribute"
    return Consent(**states, source=source, at=_milliseconds(fields.get("at", "")))


def _milliseconds(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{13}", text.strip(), re.ASCII) else None


# --- what banners leave ----------------------------------------------------------------------------------


def _combined(attributes: Mapping[str, str]) -> Consent:
    """All banners together."""
    found = Consent()
    for source, names, read in _BANNERS:
        written = next(filter(None, map(attributes.get, names)), "")
        answer = read(unquote(written), attributes) if written else _NONE
        found = _stricter(found, source, answer)
    return _stricter(found, "google_consent_mode", _explicit_purposes(attributes))


def _stricter(found: Consent, source: str, answer: Answer) -> Consent:
    """With one more source: it is named if it brings the first answer, or a no that nobody has said."""
    states = dict(zip(PURPOSES, answer, strict=False))
    if not any(states.values()):
        return found
    before = {name: getattr(found, name) for name in PURPOSES}
    is_new = any(state == "denied" and before[name] != "denied" for name, state in states.items())
    named = (source, answer.at) if is_new or not found.source else (found.source, found.at)
    merged = {
        name: "denied" if "denied" in (state, before[name]) else state or before[name]
        for name, state in states.items()
    }
    return msgspec.convert({**merged, "source": named[0], "at": named[1]}, Consent)


def _same(state: ConsentState, at: int | None = None) -> Answer:
    return Answer(state, state, state, at)


def _shopify(text: str, _: Mapping[str, str]) -> Answer:
    """shopify.dev, Customer Privacy API: what its methods return, as JSON; or its cookie, where ``m`` is
    marketing and ``s`` the sale of data, each "1", "0" or not answered. What may not be sold is not for
    personalised ads."""
    told = _json(text)
    choices = record(record(told.get("con")).get("CMP"))
    marketing = _bool(told.get("marketingAllowed")) or _WORDS.get(str(choices.get("m", "")), "")
    sale = _bool(told.get("saleOfDataAllowed")) or _WORDS.get(str(choices.get("s", "")), "")
    answer = _same(marketing)
    return answer._replace(ad_personalization="denied") if sale == "denied" else answer


def _tcf(text: str, _: Mapping[str, str]) -> Answer:
    """IAB TCF 2.2, "Consent string and vendor list formats": the core segment's fields have fixed places.

    Purposes 1 (store on the device), 7 (measure ads), 3 and 4 (personalised ads). Which vendors stand in the
    banner is for its owner to see to.
    """
    core = text.partition(".")[0]
    if not re.fullmatch(r"[\w-]{32,}", core, re.ASCII):
        return _NONE
    bits = int.from_bytes(base64.urlsafe_b64decode(core[:32]), "big")  # the first 192 of them

    def field(start: int, width: int) -> int:
        return bits >> (192 - start - width) & ((1 << width) - 1)

    if field(0, 6) != 2:
        return _NONE
    purposes = {number for number in range(1, 25) if field(151 + number, 1)}
    storage, user_data, personal = ({1} <= purposes, {1, 7} <= purposes, {1, 3, 4} <= purposes)
    return Answer(_BOOLS[storage], _BOOLS[user_data], _BOOLS[personal], at=field(42, 36) * 100)


def _cookiebot(text: str, _: Mapping[str, str]) -> Answer:
    """cookiebot.com, "Cookie Consent API": ``{marketing:true,method:'explicit',utc:1763800000000}``. An
    implied yes is nobody's answer."""
    marketing = re.search(r"\bmarketing:(true|false)\b", text)
    if not marketing or (marketing[1] == "true" and re.search(r"\bmethod:'implied'", text)):
        return _NONE
    at = re.search(r"\butc:([0-9]{13})\b", text, re.ASCII)
    return _same(_WORDS[marketing[1]], int(at[1]) if at else None)


def _onetrust(text: str, attributes: Mapping[str, str]) -> Answer:
    """my.onetrust.com, "OneTrust cookies": ``groups=C0001:1,C0004:0&interactionCount=1``. C0004 is targeting;
    without an interaction it is a default, except that a browser's own objection (GPC) is one."""
    fields = dict(parse_qsl(text, max_num_fields=None)) if text.count("&") < 100 else {}
    groups = dict(group.partition(":")[::2] for group in fields.get("groups", "").split(",")[:100])
    at = moment(unquote(attributes.get("OptanonAlertBoxClosed", "")))
    is_answered = fields.get("interactionCount", "1") != "0" or at is not None
    answer = _same(_WORDS.get(groups.get("C0004", ""), ""), at and at * 1_000) if is_answered else _NONE
    return answer._replace(ad_personalization="denied") if fields.get("isGpcEnabled") == "1" else answer


def _wp_consent_api(text: str, _: Mapping[str, str]) -> Answer:
    """wordpress.org/plugins/wp-consent-api: a cookie per category, ``allow`` or ``deny``."""
    return _same(_WORDS.get(text.lower(), ""))


_GCS: Mapping[str, ConsentState] = {"1": "granted", "0": "denied"}
# Denied by default (p), in the end (q, m, u); granted in the end (r, n, v). By default alone (t): not asked.
_GCD: Mapping[str, ConsentState] = {**dict.fromkeys("pqmu", "denied"), **dict.fromkeys("rnv", "granted")}


def _gcs(text: str, _: Mapping[str, str]) -> Answer:
    """Google Consent Mode, the tag's ``gcs=G1<ad storage><analytics>``: of user data it says nothing."""
    found = re.fullmatch(r"G1([01-])[01-]", text)
    return Answer(ad_storage=_GCS.get(found[1], "")) if found else _NONE


def _gcd(text: str, _: Mapping[str, str]) -> Answer:
    """Google Consent Mode v2, the tag's ``gcd=13r3r3r3r5``: a letter each for ad storage, analytics, user
    data and personalisation."""
    found = re.fullmatch(r"1[0-9]([a-z])[0-9][a-z][0-9]([a-z])[0-9]([a-z])[0-9a-z]{0,4}", text)
    if not found:
        return _NONE
    storage, user_data, personal = (_GCD.get(letter, "") for letter in found.groups())
    return Answer(storage, user_data, personal)


_PAIR = re.compile(r"\b(ad_storage|ad_user_data|ad_personalization)\W{1,4}(granted|denied)\b", re.ASCII)


def _consent_mode(text: str, _: Mapping[str, str]) -> Answer:
    """The arguments of ``gtag("consent", …)`` in any spelling: JSON, a query, pairs. The last one counts."""
    told = dict(_PAIR.findall(text))
    return _each(told)


def _explicit_purposes(attributes: Mapping[str, str]) -> Answer:
    """The same, an attribute each."""
    return _each(attributes)


def _each(words: Mapping[str, str]) -> Answer:
    storage, user_data, personal = (_WORDS.get(words.get(name, "").lower(), "") for name in PURPOSES)
    return Answer(storage, user_data, personal)


_Reader = Callable[[str, Mapping[str, str]], Answer]

_BANNERS: tuple[tuple[str, tuple[str, ...], _Reader], ...] = (
    ("shopify", ("_tracking_consent", "customer_privacy", "_customer_privacy"), _shopify),
    ("tcf", ("euconsent-v2", "tcf", "_tcf", "tc_string"), _tcf),
    ("cookiebot", ("CookieConsent", "_CookieConsent"), _cookiebot),
    ("onetrust", ("OptanonConsent", "_OptanonConsent"), _onetrust),
    ("wp_consent_api", ("wp_consent_marketing", "_wp_consent_marketing"), _wp_consent_api),
    ("google_consent_mode", ("consent_mode", "_consent_mode"), _consent_mode),
    ("google_consent_mode", ("gcd", "_gcd"), _gcd),
    ("google_consent_mode", ("gcs", "_gcs"), _gcs),
)
"""Each source, under which names its raw value may be attached, and how it is read."""


def names() -> Iterator[str]:
    """Every attribute that is read here."""
    yield from (*NAMES, *STATE, *PURPOSES, "OptanonAlertBoxClosed")
    for _, spellings, _ in _BANNERS:
        yield from spellings


def _bool(value: object) -> ConsentState:
    return _BOOLS[value] if isinstance(value, bool) else ""


def _json(text: str) -> dict[str, Any]:
    try:
        return record(load_json(text.encode("utf-8", "replace")))
    except NotJson:
        return {}
