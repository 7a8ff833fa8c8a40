"""What the browser makes of those who ask for consent, one by one and together."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page

from integrations.consent import PURPOSES, SOURCES
from webhooks.storefront import scripts

pytestmark = pytest.mark.browser

YES, NO = "granted", "denied"


def cookiebot(*, answered: bool, marketing: bool) -> str:
    banner = {"hasResponse": answered, "consent": {"marketing": marketing}}
    return f"window.Cookiebot = {json.dumps(banner)};"


def mode(*calls: Any) -> str:
    return f"window.dataLayer = {json.dumps([['consent', *call] for call in calls])};"


def tcf(*purposes: int, status: str = "tcloaded", applies: bool = True) -> str:
    told = {
        "gdprApplies": applies,
        "eventStatus": status,
        "purpose": {"consents": {str(purpose): True for purpose in purposes}},
    }
    return f"window.__tcfapi = (command, version, call) => call({json.dumps(told)}, true);"


def shopify(*, marketing: bool, sale: bool = True) -> str:
    calls = f"marketingAllowed: () => {json.dumps(marketing)}, saleOfDataAllowed: () => {json.dumps(sale)}"
    return f"window.Shopify = {{customerPrivacy: {{{calls}}}}};"


def wordpress(*, has: bool, kind: str = "optin") -> str:
    return f"window.wp_consent_type = {json.dumps(kind)}; window.wp_has_consent = () => {json.dumps(has)};"


NOBODY = ("", "", "", "", False)
PENDING = ("", "", "", "", True)

ANSWERS = {
    "nobody asks": ("", NOBODY),
    "shopify, yes": (shopify(marketing=True), (YES, YES, YES, "shopify", False)),
    "shopify, no": (shopify(marketing=False), (NO, NO, NO, "shopify", False)),
    "shopify, not sold": (shopify(marketing=True, sale=False), (YES, YES, NO, "shopify", False)),
    "shopify, not loaded": ("window.Shopify = {customerPrivacy: {}};", NOBODY),
    "tcf, all": (tcf(1, 2, 3, 4, 7), (YES, YES, YES, "tcf", False)),
    "tcf, no measurement": (tcf(1, 3, 4), (YES, NO, YES, "tcf", False)),
    "tcf, not personalised": (tcf(1, 7), (YES, YES, NO, "tcf", False)),
    "tcf, nothing stored": (tcf(3, 4, 7), (NO, NO, NO, "tcf", False)),
    "tcf, none": (tcf(), (NO, NO, NO, "tcf", False)),
    "tcf, later": (tcf(1, 3, 4, 7, status="useractioncomplete"), (YES, YES, YES, "tcf", False)),
    "tcf, banner is up": (tcf(1, 3, 4, 7, status="cmpuishown"), PENDING),
    "tcf, says nothing": ("window.__tcfapi = () => {};", PENDING),
    "tcf, no such law": (tcf(applies=False), NOBODY),
    "cookiebot, yes": (cookiebot(answered=True, marketing=True), (YES, YES, YES, "cookiebot", False)),
    "cookiebot, no": (cookiebot(answered=True, marketing=False), (NO, NO, NO, "cookiebot", False)),
    "cookiebot, unanswered": (cookiebot(answered=False, marketing=False), PENDING),
    "cookiebot, not asked": (cookiebot(answered=False, marketing=True), NOBODY),
    "wordpress, yes": (wordpress(has=True), (YES, YES, YES, "wp_consent_api", False)),
    "wordpress, no": (wordpress(has=False), (NO, NO, NO, "wp_consent_api", False)),
    "wordpress, not set up": (wordpress(has=True, kind=""), NOBODY),
    "google, granted by default": (mode(["default", {"ad_storage": YES}]), NOBODY),
    "google, denied by default": (
        mode(["default", {"ad_storage": NO, "ad_user_data": NO, "ad_personalization": NO}]),
        (NO, NO, NO, "google_consent_mode", False),
    ),
    "google, updated": (
        mode(
            ["default", {"ad_storage": NO, "ad_user_data": NO}],
            ["update", {"ad_storage": YES, "ad_user_data": YES}],
        ),
        (YES, YES, "", "google_consent_mode", False),
    ),
    "google, default of some region": (mode(["default", {"ad_storage": NO, "region": ["DE"]}]), NOBODY),
    "google, odd calls": ("window.dataLayer = [null, 7, [], ['consent'], {event: 'x'}];", NOBODY),
    "two agree": (
        shopify(marketing=True) + cookiebot(answered=True, marketing=True),
        (YES, YES, YES, "shopify", False),
    ),
    "a no is a no": (
        shopify(marketing=True) + cookiebot(answered=True, marketing=False),
        (NO, NO, NO, "cookiebot", False),
    ),
    "one of two has no answer": (
        mode(["update", {"ad_storage": YES}]) + cookiebot(answered=False, marketing=False),
        (YES, "", "", "google_consent_mode", True),
    ),
}

READ = """() => {
    const state = consentOf(window, () => {})();
    return [state.ad_storage, state.ad_user_data, state.ad_personalization, state.source, state.pending];
}"""


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer(bench: Page, case: str) -> None:
    before, expected = ANSWERS[case]
    bench.add_script_tag(content=before + scripts.common("consent.js"))
    assert tuple(bench.evaluate(READ)) == expected


# --- the rows of which the server is asked too -----------------------------------------------------------

ROWS = json.loads((Path(__file__).parents[1] / "data/consent/sources.json").read_bytes())

# What the page did, by the letter that Google's tag tells of it.
LETTERS = {
    "p": [("default", NO)],
    "q": [("default", NO), ("update", NO)],
    "r": [("default", NO), ("update", YES)],
    "t": [("default", YES)],
    "u": [("default", YES), ("update", NO)],
    "l": [],
}


def of_shopify(written: str) -> str:
    told = json.loads(written)
    return "".join(
        f"window.Shopify = window.Shopify || {{customerPrivacy: {{}}}};"
        f"Shopify.customerPrivacy.{name} = () => {json.dumps(value)};"
        for name, value in told.items()
    )


def of_tcf(written: str) -> str:
    """The banner's own reading of its string: purposes are bits 152 and on."""
    core = base64.urlsafe_b64decode(written.partition(".")[0][:32])
    bits = f"{int.from_bytes(core, 'big'):0192b}"
    return tcf(*(number for number in range(1, 25) if bits[151 + number] == "1"))


def of_cookiebot(written: str) -> str:
    method = re.search(r"method:'(\w+)'", unquote(written))
    consent = {"marketing": "marketing:true" in unquote(written), "method": method and method[1]}
    return f"window.Cookiebot = {{hasResponse: true, consent: {json.dumps(consent)}}};"


def of_gcd(written: str) -> str:
    purposes = zip(("ad_storage", "", "ad_user_data", "ad_personalization"), written[2::2], strict=False)
    calls = [(how, {name: word}) for name, letter in purposes if name for how, word in LETTERS[letter]]
    return mode(*sorted(calls, key=lambda call: call[0]))


SURROUNDINGS: dict[str, Callable[[str], str]] = {
    "customer_privacy": of_shopify,
    "euconsent-v2": of_tcf,
    "tcf": of_tcf,
    "tc_string": of_tcf,
    "CookieConsent": of_cookiebot,
    "OptanonConsent": lambda written: f"document.cookie = {json.dumps(f'OptanonConsent={written}')};",
    "OptanonAlertBoxClosed": lambda written: f"document.cookie = 'OptanonAlertBoxClosed={written}';",
    "wp_consent_marketing": lambda written: wordpress(has=written == "allow"),
    "consent_mode": lambda written: mode(["update", json.loads(written)]),
    "gcd": of_gcd,
}
"""How a page stands that would have left this value."""

NOT_OF_A_PAGE = re.compile(r"no such alphabet|cut off|version 1|not asked|outside|gcs|as a query")
"""Values that no banner of a page stands for."""


def surroundings(row: dict[str, Any]) -> list[str] | None:
    known = [(SURROUNDINGS.get(name.removeprefix("_")), written) for name, written in row["raw"].items()]
    if not known or NOT_OF_A_PAGE.search(row["id"]) or not all(make for make, _ in known):
        return None
    return [make(written) for make, written in known if make]


BROWSERS = [row for row in ROWS if surroundings(row)]


def test_most_of_the_rows_are_a_browsers() -> None:
    assert {row["source"] for row in BROWSERS} >= set(SOURCES) - {"attribute"}
    assert len(BROWSERS) > 25


@pytest.mark.parametrize("row", BROWSERS, ids=lambda row: row["id"])
def test_browser_and_server_read_alike(bench: Page, row: dict[str, Any]) -> None:
    bench.add_script_tag(content=scripts.common("consent.js"))
    bench.evaluate(f"() => {{ {''.join(surroundings(row) or [])} }}")
    *states, source, _ = bench.evaluate(READ)
    assert dict(zip(PURPOSES, states, strict=True)) == row["expect"]
    assert source == row["source"]


# --- changes ---------------------------------------------------------------------------------------------


CHANGES = {
    "Cookiebot": "dispatchEvent(new Event('CookiebotOnDecline'))",
    "OneTrust": "dispatchEvent(new Event('OneTrustGroupsUpdated'))",
    "Shopify": "document.dispatchEvent(new Event('visitorConsentCollected'))",
    "WordPress": "document.dispatchEvent(new Event('wp_listen_for_consent_change'))",
    "Google": "dataLayer.push(['consent', 'update', {ad_storage: 'granted'}])",
    "TCF": "tell({eventStatus: 'useractioncomplete', purpose: {consents: {}}}, true)",
}


@pytest.mark.parametrize("who", CHANGES)
def test_a_change_is_heard(bench: Page, who: str) -> None:
    before = "window.__tcfapi = (command, version, call) => { window.tell = call; };"
    bench.add_script_tag(content=before + scripts.common("consent.js"))
    asked = (
        f"() => {{ let heard = 0; consentOf(window, () => (heard += 1))(); {CHANGES[who]}; return heard; }}"
    )
    assert bench.evaluate(asked) == 1


def test_other_calls_of_the_data_layer_are_left_alone(bench: Page) -> None:
    bench.add_script_tag(content="window.dataLayer = [];" + scripts.common("consent.js"))
    asked = """() => {
        let heard = 0;
        consentOf(window, () => (heard += 1))();
        return [dataLayer.push({event: "a"}, {event: "b"}), dataLayer.length, heard];
    }"""
    assert bench.evaluate(asked) == [2, 2, 0]


def test_what_was_said_last_is_read_from_its_text(bench: Page) -> None:
    bench.add_script_tag(content=scripts.common("consent.js"))
    asked = """() => {
        const unknown = {...same(""), source: "", pending: false};
        const said = {...unknown, ad_storage: "granted", ad_user_data: "denied", source: "tcf"};
        const text = consentText(said, 7);
        const forged = "ad_storage=yes;ad_user_data=<b>;source=";
        return [text, withMemory(unknown, text), withMemory(unknown, forged), withMemory(unknown, "")];
    }"""
    text, remembered, forged, nothing = bench.evaluate(asked)
    assert text == "ad_storage=granted;ad_user_data=denied;ad_personalization=;source=tcf;at=7"
    assert (remembered["ad_storage"], remembered["ad_user_data"], remembered["source"]) == (YES, NO, "tcf")
    assert forged == nothing
    assert not any(nothing.values())
