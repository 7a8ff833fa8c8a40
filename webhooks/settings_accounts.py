"""Shops and accounts, from the environment (one per store and destination) or a file (any number).

Both are first a `Draft`: texts with the names by which their owner knows them. Only then are they read,
so that a mistake is explained in the same words wherever it was made.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from integrations.destination import Account, Destination
from integrations.event import DEFAULT_EVENT_ID
from integrations.setting import Secret, Setting, Value
from integrations.store import ConsentPolicy, Shop, Store
from webhooks import filters
from webhooks import settings_values as values
from webhooks.settings_values import BadValue, Findings

WEBHOOK_SECRETS = Setting(
    name="webhook_secrets",
    required=True,
    secret=True,
    help="Secrets that sign this store's webhooks, separated by commas (new and old while you change "
    "them). Setting them turns the store on. Blanks around commas do not count; a single secret may "
    "itself hold commas or blanks. At least 8 characters in production.",
)
EVENT_ID = Setting(
    name="event_id",
    kind="event_id",
    example="{order_id}",
    help="Template of the event_id for every destination; the browser must use the same. Without it: "
    f"what the destination's plugin for this store is known to use, else {DEFAULT_EVENT_ID}.",
)
CONSENT = {
    "regime": Setting(
        name="consent_policy",
        kind="choice",
        choices=("region", "opt_in", "opt_out"),
        default="region",
        help="What an order without an answer about consent means. region: not sent for buyers in the EEA, "
        "the UK, Switzerland or nobody knows where, sent elsewhere; opt_in: sent nowhere; opt_out: sent "
        "everywhere. A no is a no under each of them",
    ),
    "opt_in_countries": Setting(
        name="consent_opt_in_countries",
        kind="list",
        pattern="[A-Z]{2}",
        help="Further countries (two-letter codes) in which region wants a yes",
        example="BR,ZA",
    ),
    "limited_use": Setting(
        name="consent_limited_use",
        kind="choice",
        choices=("states", "us", "off"),
        default="states",
        help="Whose orders without an answer are marked for limited data use, in each destination's own "
        "way. states: of buyers in those states of the US that have a law on it; us: in all of them; off: "
        "nobody's",
    ),
    "country": Setting(
        name="consent_country",
        pattern="[A-Z]{2}",
        help="Country of buyers whose order names none. Empty: treated as the EEA",
        example="US",
    ),
}
"""The settings that make a shop's `ConsentPolicy`, by its fields."""

SHOP_SETTINGS = (WEBHOOK_SECRETS, EVENT_ID, *CONSENT.values())

ORIGINS = Setting(
    name="origins",
    kind="list",
    pattern=r"https://[a-z0-9.-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?",
    example="https://shop.example.com",
    help="The shop's own sites, as a browser names them: scheme and host in small letters, nothing behind. "
    "Setting them turns the beacon on: /collect/<shop> then takes what these pages tell of an order.",
)
BEACON_WAIT = Setting(
    name="beacon_wait_seconds",
    kind="int",
    default="10",
    help="How long an order of the web that carries neither consent nor any click id or cookie waits for its "
    "beacon, up to 120; 0 waits for none. Without ORIGINS nothing waits.",
)
BEACON_SETTINGS = (ORIGINS, BEACON_WAIT)
LONGEST_BEACON_WAIT = 120


def api_base_setting(destination: Destination) -> Setting:
    """Where the destination's API is: overridden only to try the relay against a stand-in."""
    return Setting(
        name="api_base",
        default=destination.api_base,
        help="Address of the API, to try the relay against a stand-in. Refused in production.",
    )


def account_settings(destination: Destination) -> tuple[Setting, ...]:
    """Everything that can be set for an account of the destination."""
    return (*destination.settings, *filters.SETTINGS, api_base_setting(destination))


def shop_settings(store: Store) -> tuple[Setting, ...]:
    """Everything that can be set for a shop of the store, except its slug and where it sends."""
    return (*SHOP_SETTINGS, *BEACON_SETTINGS, *store.settings)


class Written(msgspec.Struct, frozen=True):
    """A text and the name by which its owner finds it again (a variable, or a place in the file).

    The text is empty when somebody has noted already what is wrong with it.
    """

    name: str
    text: str


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A shop or account as written. ``names`` spells every setting, also those that are not written.

    ``because`` explains why a required setting is asked for. ``accounts`` None means all; ``event_ids``
    are keyed by account.
    """

    adapter: str
    slug: str
    place: str
    because: str = ""
    names: Mapping[str, str]
    written: Mapping[str, Written]
    accounts: tuple[str, ...] | None = None
    event_ids: Mapping[str, Written] = {}


# --- drafts from the environment -------------------------------------------------------------------------


def variable(slug: str, name: str) -> str:
    """The variable of an adapter's setting: ``SHOPIFY_WEBHOOK_SECRETS``."""
    return f"{slug}_{name}".upper()


def environment_account(
    destination: Destination, environ: Mapping[str, str], named: frozenset[str]
) -> Draft | None:
    """The destination's one account, if a variable of it is set that the file has not ``named``."""
    settings = account_settings(destination)
    found = _written(destination.slug, [setting.name for setting in settings], environ)
    own = [entry.name for entry in found.values() if entry.name not in named]
    if not own:
        return None
    return Draft(
        adapter=destination.slug,
        slug=destination.slug,
        place=own[0],
        because=f", although {own[0]} is set",
        names={setting.name: variable(destination.slug, setting.name) for setting in settings},
        written=found,
    )


def environment_shop(
    store: Store,
    environ: Mapping[str, str],
    named: frozenset[str],
    accounts: Sequence[Account],
    destinations: Iterable[str],
) -> Draft | None:
    """The store's one shop, if a variable of it is set that the file has not ``named``."""
    settings = shop_settings(store)
    found = _written(store.slug, ["shop", *(setting.name for setting in settings)], environ)
    templates = _written(store.slug, [f"event_id_{slug}" for slug in destinations], environ)
    own = [entry.name for entry in (*found.values(), *templates.values()) if entry.name not in named]
    if not own:
        return None
    return Draft(
        adapter=store.slug,
        slug=found["shop"].text.strip() if "shop" in found else store.slug,
        place=variable(store.slug, "shop") if "shop" in found else own[0],
        because=f", although {own[0]} is set",
        names={setting.name: variable(store.slug, setting.name) for setting in settings},
        written={name: entry for name, entry in found.items() if name != "shop"},
        event_ids={
            account.slug: templates[f"event_id_{account.destination}"]
            for account in accounts
            if f"event_id_{account.destination}" in templates
        },
    )


def _written(slug: str, names: Iterable[str], environ: Mapping[str, str]) -> dict[str, Written]:
    found = {name: Written(variable(slug, name), environ.get(variable(slug, name), "")) for name in names}
    # Blanks are nothing, except as a secret: there they are a mistake that must be said.
    return {
        name: entry
        for name, entry in found.items()
        if entry.text.strip() or (entry.text and name == WEBHOOK_SECRETS.name)
    }


# --- from drafts to shops and accounts -------------------------------------------------------------------


class Reading:
    """Turns drafts into shops and accounts, and notes what is wrong with them."""

    def __init__(self, findings: Findings, *, production: bool) -> None:
        self.findings, self.production = findings, production
        self._slugs: dict[str, dict[str, str]] = {"shop": {}, "account": {}}

    def account(self, draft: Draft, destination: Destination) -> Account:
        """The account that the draft describes."""
        self._claim("account", draft)
        api_base = self._value(draft, api_base_setting(destination))
        return Account(
            destination=destination.slug,
            slug=draft.slug,
            api_base=api_base if isinstance(api_base, str) else destination.api_base,
            options=self._options(draft, (*destination.settings, *filters.SETTINGS)),
        )

    def shop(self, draft: Draft, store: Store, accounts: Sequence[Account]) -> Shop:
        """The shop that the draft describes, sending to all ``accounts`` or to those that it names."""
        self._claim("shop", draft)
        chosen = [account for account in accounts if draft.accounts is None or account.slug in draft.accounts]
        self._check_accounts(draft, [account.slug for account in accounts])
        return Shop(
            store=store.slug,
            slug=draft.slug,
            secrets=self._secrets(draft, store),
            options=self._options(draft, store.settings),
            accounts=tuple(account.slug for account in chosen),
            event_ids=self._event_ids(draft, store, chosen),
            **self._beacon(draft),
            consent=msgspec.convert(
                {field: self._value(draft, setting) for field, setting in CONSENT.items()}, ConsentPolicy
            ),
        )

    def _beacon(self, draft: Draft) -> dict[str, Any]:
        origins, wait = self._value(draft, ORIGINS), self._value(draft, BEACON_WAIT)
        if not isinstance(wait, int) or not 0 <= wait <= LONGEST_BEACON_WAIT:
            name = draft.names[BEACON_WAIT.name]
            self.findings.problems.append(
                f"{name} must be a number of seconds from 0 to {LONGEST_BEACON_WAIT}"
            )
        return {"origins": origins, "beacon_wait": wait if origins else 0}

    def _claim(self, kind: str, draft: Draft) -> None:
        try:
            values.slug(draft.slug)
        except BadValue as error:
            self.findings.problems.append(f"{draft.place} {error}")
            return
        taken = self._slugs[kind]
        if draft.slug in taken:
            self.findings.problems.append(
                f"{draft.place}: the {kind} {draft.slug} exists already ({taken[draft.slug]})"
            )
        taken.setdefault(draft.slug, draft.place)

    def _options(self, draft: Draft, settings: Iterable[Setting]) -> dict[str, Value]:
        return {setting.name: self._value(draft, setting) for setting in settings}

    def _value(self, draft: Draft, setting: Setting) -> Value:
        entry = draft.written.get(setting.name)
        if entry is None:
            self._require(draft, setting)
            return values.of_setting(setting, "")
        try:
            if setting.name == "api_base":
                return self._api_base(entry.text.strip())
            return values.of_setting(setting, entry.text)
        except BadValue as error:
            self.findings.problems.append(f"{entry.name} {error}")
            return values.of_setting(setting, "")

    def _require(self, draft: Draft, setting: Setting) -> None:
        if setting.required and not setting.default:
            self.findings.problems.append(f"{draft.names[setting.name]} is missing{draft.because}")

    def _api_base(self, written: str) -> str:
        if self.production:
            raise BadValue("must not be set in production: hooks and tokens would go to another address")
        return values.web_url(written, loopback_http=True)

    def _secrets(self, draft: Draft, store: Store) -> tuple[Secret, ...]:
        entry = draft.written.get(WEBHOOK_SECRETS.name)
        if entry is None and store.makes_secret:
            name = draft.names[WEBHOOK_SECRETS.name]
            self.findings.warnings.append(
                f"{name} is not set, so every hook is refused: `shops connect {draft.slug}` tells it"
            )
        elif entry is None:
            self._require(draft, WEBHOOK_SECRETS)
        if entry is None or not entry.text:
            return ()
        try:
            secrets = values.webhook_secrets(entry.text)
        except BadValue as error:
            self.findings.problems.append(f"{entry.name} {error}")
            return ()
        if any(len(secret) < values.SHORTEST_SECRET for secret in secrets):
            self.findings.judge(
                f"{entry.name} holds a secret shorter than {values.SHORTEST_SECRET} characters: choose a "
                "longer one, of letters and digits only",
                fatal=self.production,
            )
        return secrets

    def _check_accounts(self, draft: Draft, known: Sequence[str]) -> None:
        for name in sorted({*(draft.accounts or ()), *draft.event_ids} - {*known}):
            self.findings.problems.append(
                f"{draft.place}: there is no account {name}{values.hint(name, known)}"
            )

    def _event_ids(self, draft: Draft, store: Store, accounts: Iterable[Account]) -> dict[str, str]:
        general = self._template(draft.written.get(EVENT_ID.name))
        explicit = {slug: self._template(entry) for slug, entry in draft.event_ids.items()}
        templates = {
            account.slug: explicit.get(account.slug)
            or general
            or store.event_ids.get(account.destination, "")
            for account in accounts
        }
        return {slug: template for slug, template in templates.items() if template}

    def _template(self, entry: Written | None) -> str:
        if entry is None:
            return ""
        try:
            return str(values.of_setting(EVENT_ID, entry.text))
        except BadValue as error:
            self.findings.problems.append(f"{entry.name} {error}")
            return ""


# --- what an owner should know ----------------------------------------------------------------------------


def lax_consent(shops: Iterable[Shop]) -> list[str]:
    """One sentence per shop that sends more than the law of some of its buyers may allow."""
    lax = {"opt_out": "consent_policy is opt_out, so buyers who were not asked are told of everywhere"}
    unmarked = "consent_limited_use is off, so orders from US states with a law on privacy are not marked"
    found = [(shop, lax[shop.consent.regime]) for shop in shops if shop.consent.regime in lax]
    found += [(shop, unmarked) for shop in shops if shop.consent.limited_use == "off"]
    return [f"shop {shop.slug}: {sentence}" for shop, sentence in found]


# --- shops whose orders could be taken for one another ---------------------------------------------------


def shared_ids(shops: Sequence[Shop], accounts: Iterable[Account]) -> list[str]:
    """One sentence per account at which two shops could use the same event_id for different orders."""
    sentences = []
    for account in accounts:
        alike: dict[str, list[str]] = {}
        for shop in shops:
            if account.slug in shop.accounts:
                alike.setdefault(_literals(shop, account.slug), []).append(shop.slug)
        sentences += [
            f"account {account.slug}: orders of the shops {', '.join(slugs)} may get the same event_id and "
            f"be counted as one; set an event_id like {slugs[0]}-{{order_id}}, in the browser too"
            for slugs in alike.values()
            if len(slugs) > 1
        ]
    return sentences


def _literals(shop: Shop, account: str) -> str:
    """What of the shop's event_ids is the same for every order."""
    template = shop.event_ids.get(account, DEFAULT_EVENT_ID).replace("{shop}", shop.slug)
    return re.sub(r"\{[^{}]*\}", "{}", template)
