"""The only reader of the environment: every setting, and every problem with one, at once.

The environment is enough for one shop per store and one account per destination. ``RELAY_CONFIG`` names a
file for more of them (`webhooks/settings_file.py`). What a store or a destination can be told is declared
by its own file in `integrations`; nothing here knows any of them by name.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from integrations import discovery
from integrations.destination import Account
from integrations.setting import Secret, Value
from integrations.store import Shop
from webhooks import settings_accounts as accounts
from webhooks import settings_file
from webhooks import settings_values as values
from webhooks.settings_values import BadValue, Findings
from webhooks.settings_variables import COMMON, Variable, env_example, variables

__all__ = [
    "BadSettings",
    "Settings",
    "Variable",
    "describe",
    "env_example",
    "ephemeral_host",
    "load",
    "variables",
]

T = TypeVar("T")


class BadSettings(Exception):
    """The relay cannot start. ``problems`` are sentences that name the variable and never its value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, parsed. Made by `load` alone.

    ``database_url`` is for SQLAlchemy and ``redis_url`` for redis-py (``""``: embedded); as they may hold a
    password they are `Secret` at run time. ``secret_keys`` are Fernet keys, newest first; none means that
    the vault keeps its own in ``data_dir``. Of ``retry_schedule`` (seconds) the last wait repeats.
    """

    env: Literal["development", "production"]
    data_dir: Path
    database_url: str
    database_is_embedded: bool
    redis_url: str
    port: int
    public_url: str
    sentry_dsn: Secret
    alert_webhook: Secret
    alert_email_to: tuple[str, ...]
    alert_email_from: str
    smtp_url: Secret
    secret_keys: tuple[Secret, ...]
    retry_schedule: tuple[float, ...]
    lease_seconds: float
    sweep_seconds: float
    watch_seconds: float
    reconcile_seconds: float
    reconcile_delay: float
    reconcile_alert: int
    retention_days: int
    max_body_bytes: int
    proxies: int
    web_workers: int
    web_threads: int
    worker_processes: int
    shops: tuple[Shop, ...]
    accounts: tuple[Account, ...]
    warnings: tuple[str, ...]

    def shop(self, store: str, slug: str | None) -> Shop | None:
        """The shop of that store; without a slug, the one shop that the store has."""
        of_store = [shop for shop in self.shops if shop.store == store]
        if slug is None:
            return of_store[0] if len(of_store) == 1 else None
        return next((shop for shop in of_store if shop.slug == slug), None)

    def hook_address(self, shop: Shop) -> str:
        """Where the shop's hooks arrive, as seen from outside; the path alone without ``public_url``."""
        return f"{self.public_url}/webhooks/{shop.store}/{shop.slug}"

    def account(self, slug: str) -> Account | None:
        """The account with that slug."""
        return next((account for account in self.accounts if account.slug == slug), None)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; raises `BadSettings` with all problems at once."""
    if environ is None:
        environ = os.environ  # noqa: TID251 - the one place that may
    reader = _Reader(environ)
    env = reader.read("RELAY_ENV", _environment)
    production = env == "production"
    file = settings_file.read(reader.text("RELAY_CONFIG"), environ, reader.findings)
    reading = accounts.Reading(reader.findings, production=production)
    found_accounts = _accounts(environ, file, reading)
    settings = _settings(reader, env, found_accounts, _shops(environ, file, reading, found_accounts))
    if not reader.read("RELAY_EMBEDDED", values.boolean) and production:
        reader.findings.problems += _embedded_in_production(reader)
    unknown = _unknown(environ, file.variables)
    if reader.findings.problems:
        # What is missing is often there under a misspelled name.
        raise BadSettings(_lines([*reader.findings.problems, *unknown]))
    warnings = _lines([*reader.findings.warnings, *_oddities(settings), *unknown])
    return msgspec.structs.replace(settings, warnings=warnings)


_EPHEMERAL = {"DYNO": "a dyno", "K_SERVICE": "Cloud Run"}
"""The variable by which a host is known that gives every process a new disk, and what it is called there."""


def ephemeral_host() -> str:
    """What this process runs on, if its disk does not outlive it for certain; else ``""``."""
    return next((name for variable, name in _EPHEMERAL.items() if variable in os.environ), "")  # noqa: TID251


def describe(settings: Settings) -> list[tuple[str, str]]:
    """Name and value of every setting, for people; of secrets only "set" or "not set"."""
    common = [(variable.name, _common(settings, variable)) for variable in COMMON if variable.field]
    shops = [(f"shop {shop.slug}", _shop(settings, shop)) for shop in settings.shops]
    destinations = [
        (f"account {account.slug}", f"{account.destination} at {account.api_base}{_options(account.options)}")
        for account in settings.accounts
    ]
    return common + shops + destinations


def _shop(settings: Settings, shop: Shop) -> str:
    receivers = ", ".join(shop.accounts) or "nobody"
    address = settings.hook_address(shop)
    templates = "".join(f", event_id for {slug}: {text}" for slug, text in shop.event_ids.items())
    secrets = "set" if shop.secrets else "not set"
    chosen = {setting.name: getattr(shop.consent, field) for field, setting in accounts.CONSENT.items()}
    options = f"{_options(chosen)}{_options(shop.options)}"
    return f"{address}, sends to {receivers}{templates}, webhook_secrets={secrets}{options}"


def _common(settings: Settings, variable: Variable) -> str:
    value = getattr(settings, variable.field)
    if variable.secret:
        return "set" if value else "not set"
    if variable.name in {"DATABASE_URL", "REDIS_URL"}:
        return values.without_credentials(value) if value else "embedded"
    return _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, Secret):
        return "set" if value else "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(_shown(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _options(options: Mapping[str, Value]) -> str:
    shown = {name: _shown(value) for name, value in options.items()}
    return "".join(f", {name}={text}" for name, text in shown.items() if text)


# --- reading ---------------------------------------------------------------------------------------------


class _Reader:
    """Reads the common variables, noting what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ, self.findings = environ, Findings()

    def text(self, name: str) -> str:
        """The variable's text, ``""`` when it is not set."""
        return self.environ.get(name, "").strip()

    def read(self, name: str, parse: Callable[[str], T]) -> T:
        """The parsed variable; its default when it is not set, or is wrong (which is noted)."""
        if written := self.text(name):
            try:
                return parse(written)
            except BadValue as error:
                self.findings.problems.append(f"{name} {error}")
        return parse(_DEFAULTS[name])

    def integer(self, name: str, low: int, high: int) -> int:
        """A bounded whole number."""
        return self.read(name, partial(values.integer, low=low, high=high))

    def seconds(self, name: str, low: float, high: float) -> float:
        """A bounded number of seconds."""
        return self.read(name, partial(values.seconds, low=low, high=high))


_DEFAULTS = {variable.name: variable.default for variable in COMMON}


def _environment(written: str) -> Literal["development", "production"]:
    chosen = values.choice(written, ("development", "production"))
    return "production" if chosen == "production" else "development"


def _settings(
    reader: _Reader,
    env: Literal["development", "production"],
    found_accounts: tuple[Account, ...],
    shops: tuple[Shop, ...],
) -> Settings:
    data_dir = reader.read("RELAY_DATA_DIR", values.directory)
    ledger = partial(values.database_url, production=env == "production", embedded=data_dir / "ledger.db")
    database_url = reader.read("DATABASE_URL", ledger)
    return Settings(
        env=env,
        data_dir=data_dir,
        database_url=database_url,
        database_is_embedded=database_url.startswith("sqlite:"),
        redis_url=reader.read(
            "REDIS_URL", partial(values.redis_url, verify=reader.read("RELAY_REDIS_VERIFY", values.boolean))
        ),
        port=reader.integer("PORT", 1, 65_535),
        public_url=reader.read(
            "RELAY_PUBLIC_URL", partial(values.web_url, loopback_http=env == "development")
        ),
        sentry_dsn=reader.read("SENTRY_DSN", values.sentry_dsn),
        **_alerts(reader),
        secret_keys=reader.read("RELAY_SECRET_KEYS", values.fernet_keys),
        retry_schedule=reader.read("RELAY_RETRY_SCHEDULE", values.schedule),
        lease_seconds=reader.seconds("RELAY_LEASE_SECONDS", 0.5, 3_600),
        sweep_seconds=reader.seconds("RELAY_SWEEP_SECONDS", 0.1, 3_600),
        **_rounds(reader),
        retention_days=reader.integer("RELAY_RETENTION_DAYS", 1, 3_650),
        max_body_bytes=reader.integer("RELAY_MAX_BODY_BYTES", 1_024, 64 * 1024 * 1024),
        proxies=reader.integer("RELAY_PROXIES", 0, 10),
        web_workers=reader.integer("WEB_CONCURRENCY", 1, 256),
        web_threads=reader.integer("RELAY_WEB_THREADS", 1, 1_024),
        worker_processes=reader.integer("RELAY_WORKERS", 1, 64),
        shops=shops,
        accounts=found_accounts,
        warnings=(),
    )


def _rounds(reader: _Reader) -> dict[str, Any]:
    return {
        "watch_seconds": reader.seconds("RELAY_WATCH_SECONDS", 0.1, 86_400),
        "reconcile_seconds": reader.seconds("RELAY_RECONCILE_SECONDS", 0.1, 86_400),
        "reconcile_delay": reader.seconds("RELAY_RECONCILE_DELAY", 0, 86_400),
        "reconcile_alert": reader.integer("RELAY_RECONCILE_ALERT", 1, 100),
    }


def _alerts(reader: _Reader) -> dict[str, Any]:
    recipients = reader.read("ALERT_EMAIL_TO", values.mail_addresses)
    server = reader.read("SMTP_URL", values.smtp_url)
    if recipients and not server and not reader.text("SMTP_URL"):
        reader.findings.problems.append("ALERT_EMAIL_TO needs SMTP_URL, the server that takes the mail")
    return {
        "alert_webhook": reader.read("ALERT_WEBHOOK_URL", values.alert_webhook),
        "alert_email_to": recipients,
        "alert_email_from": reader.read("ALERT_EMAIL_FROM", values.mail_address) or "".join(recipients[:1]),
        "smtp_url": server,
    }


def _accounts(
    environ: Mapping[str, str], file: settings_file.Drafts, reading: accounts.Reading
) -> tuple[Account, ...]:
    destinations = discovery.destinations()
    drafts = [
        accounts.environment_account(destination, environ, file.variables)
        for destination in destinations.values()
    ]
    return tuple(
        reading.account(draft, destinations[draft.adapter]) for draft in (*drafts, *file.accounts) if draft
    )


def _shops(
    environ: Mapping[str, str],
    file: settings_file.Drafts,
    reading: accounts.Reading,
    found: tuple[Account, ...],
) -> tuple[Shop, ...]:
    stores = discovery.stores()
    drafts = [
        accounts.environment_shop(store, environ, file.variables, found, discovery.destinations())
        for store in stores.values()
    ]
    return tuple(
        reading.shop(draft, stores[draft.adapter], found) for draft in (*drafts, *file.shops) if draft
    )


# --- what fits together ----------------------------------------------------------------------------------


def _embedded_in_production(reader: _Reader) -> list[str]:
    return [
        f"{name} must be set in production and outlive this machine; on a single machine with a disk that "
        "persists, set RELAY_EMBEDDED=yes instead"
        for name in ("DATABASE_URL", "REDIS_URL", "RELAY_SECRET_KEYS")
        if not reader.text(name) or reader.text(name).startswith("sqlite:")
    ]


def _oddities(settings: Settings) -> list[str]:
    found = accounts.shared_ids(settings.shops, settings.accounts) + accounts.lax_consent(settings.shops)
    found += [f"shop {shop.slug} sends to nobody" for shop in settings.shops if not shop.accounts]
    if not settings.shops:
        found.append("no shop is set up: nothing to receive (see .env.example)")
    if not settings.accounts:
        found.append("no account of a destination is set up: nothing to send to (see .env.example)")
    if not settings.database_is_embedded and not settings.secret_keys:
        found.append(
            "RELAY_SECRET_KEYS is not set: what DATABASE_URL stores can only be read with the keys in "
            "RELAY_DATA_DIR"
        )
    return found


def _lines(sentences: Iterable[str]) -> tuple[str, ...]:
    """Each sentence once and on one line: names may be a file's keys, with anything in them."""
    return tuple(
        dict.fromkeys("".join(c if c.isprintable() else "?" for c in sentence) for sentence in sentences)
    )


def _unknown(environ: Mapping[str, str], named: frozenset[str]) -> list[str]:
    """Variables that look like ours and are not: most likely misspelled."""
    known = {variable.name for variable in variables()} | named
    prefixes = tuple(f"{slug}_".upper() for slug in ("relay", *discovery.stores(), *discovery.destinations()))
    return [
        f"{name} is not a setting{values.hint(name, known)}"
        for name in sorted(environ)
        if environ[name] and name.startswith(prefixes) and name not in known
    ]
