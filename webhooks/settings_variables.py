"""Every variable of the environment, with the words that explain it: `.env.example` is made from here."""

import textwrap

import msgspec

from integrations import discovery
from integrations.destination import Destination
from integrations.setting import Setting
from integrations.store import Store
from webhooks import settings_accounts as accounts

RELAY = "The relay"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One variable of the environment, as `.env.example` shows it. ``field`` is where `Settings` has it."""

    name: str
    help: str
    group: str = RELAY
    default: str = ""
    example: str = ""
    field: str = ""
    secret: bool = False


COMMON = (
    Variable(
        name="RELAY_ENV",
        field="env",
        default="development",
        help="development or production. Production refuses weak secrets, addresses of stand-ins, and "
        "(see RELAY_EMBEDDED) embedded stores.",
    ),
    Variable(
        name="RELAY_DATA_DIR",
        field="data_dir",
        default="./.relay",
        help="Directory of everything embedded: ledger, queue and keys. It must outlive a restart.",
    ),
    Variable(
        name="RELAY_EMBEDDED",
        default="no",
        help="yes allows production on a single machine whose disk persists: DATABASE_URL, REDIS_URL and "
        "RELAY_SECRET_KEYS may then be left out, and what they would name is kept in RELAY_DATA_DIR.",
    ),
    Variable(
        name="DATABASE_URL",
        field="database_url",
        example="postgresql://user:password@host/name",
        help="The ledger: PostgreSQL, or sqlite:///file. Empty: SQLite in RELAY_DATA_DIR. In production TLS "
        "is demanded of a server on the network (sslmode=require) unless the address says otherwise.",
    ),
    Variable(
        name="REDIS_URL",
        field="redis_url",
        example="rediss://:password@host:6379",
        help="Redis or Valkey, for waking workers. Empty: an embedded one.",
    ),
    Variable(
        name="RELAY_REDIS_VERIFY",
        default="yes",
        help="no takes any certificate of a rediss:// server: encrypted, but no proof whom you talk to. "
        "Heroku's are self-signed and need it.",
    ),
    Variable(
        name="RELAY_SECRET_KEYS",
        field="secret_keys",
        secret=True,
        help="Keys that encrypt personal data, separated by commas, newest first: Fernet keys or random "
        "texts of at least 32 characters. Empty: a key made in RELAY_DATA_DIR. Without the keys stored "
        "orders cannot be read: keep a copy.",
    ),
    Variable(
        name="RELAY_PROXIES",
        field="proxies",
        default="0",
        help="How many proxies stand before the relay, each of which adds the address it hears from to "
        "X-Forwarded-For (Heroku and Render: 1; with a CDN before them: 2). Only beacons need it.",
    ),
    Variable(name="PORT", field="port", default="8000", help="Port of the web process."),
    Variable(
        name="RELAY_PUBLIC_URL",
        field="public_url",
        example="https://relay.example.com",
        help="Where stores reach the relay; shown with the path to register. https:// in production.",
    ),
    Variable(
        name="SENTRY_DSN",
        field="sentry_dsn",
        secret=True,
        help="Sentry project for errors. Empty: none are sent.",
    ),
    Variable(
        name="ALERT_WEBHOOK_URL",
        field="alert_webhook",
        secret=True,
        example="https://hooks.slack.com/services/T000/B000/XXXX",
        help="Address that alerts are posted to as Slack takes them. Empty: none.",
    ),
    Variable(
        name="ALERT_EMAIL_TO",
        field="alert_email_to",
        example="ops@example.com,owner@example.com",
        help="Addresses that alerts are mailed to, separated by commas. Needs SMTP_URL.",
    ),
    Variable(
        name="ALERT_EMAIL_FROM",
        field="alert_email_from",
        example="relay@example.com",
        help="Address that alerts are mailed from. Empty: the first of ALERT_EMAIL_TO.",
    ),
    Variable(
        name="SMTP_URL",
        field="smtp_url",
        secret=True,
        example="smtp://user:password@smtp.example.com:587",
        help="Server that takes the mail: smtp:// begins TLS by itself (except on this machine), smtps:// is "
        "TLS from the first byte. In a password, write @ as %40, / as %2F.",
    ),
    Variable(
        name="RELAY_CONFIG",
        example="relay.toml",
        help="TOML file of several shops or accounts, without secrets. It adds to those set here; a variable "
        "that it names belongs to its shop or account.",
    ),
    Variable(
        name="RELAY_RETRY_SCHEDULE",
        field="retry_schedule",
        default="30,120,600,1800,3600,7200,14400,28800,43200",
        help="Seconds between the tries of a delivery, separated by commas; the last one repeats.",
    ),
    Variable(
        name="RELAY_LEASE_SECONDS",
        field="lease_seconds",
        default="60",
        help="How long a worker may hold a delivery before another one takes it over.",
    ),
    Variable(
        name="RELAY_SWEEP_SECONDS",
        field="sweep_seconds",
        default="10",
        help="How often the sweeper looks for what is due, stuck or forgotten.",
    ),
    Variable(
        name="RELAY_WATCH_SECONDS",
        field="watch_seconds",
        default="300",
        help="How often each shop is asked whether it still sends its hooks here (see `shops connect`).",
    ),
    Variable(
        name="RELAY_RECONCILE_SECONDS",
        field="reconcile_seconds",
        default="900",
        help="How often each shop's own list of orders is compared with the ledger.",
    ),
    Variable(
        name="RELAY_RECONCILE_DELAY",
        field="reconcile_delay",
        default="600",
        help="So many seconds an order's hook is waited for, before the order is taken from the list: "
        "a hook tells more of the buyer's browser.",
    ),
    Variable(
        name="RELAY_RECONCILE_ALERT",
        field="reconcile_alert",
        default="15",
        help="Percentage of a shop's sales without a hook from which on an alert is raised.",
    ),
    Variable(
        name="RELAY_RETENTION_DAYS",
        field="retention_days",
        default="30",
        help="Days after which personal data of a finished order is forgotten.",
    ),
    Variable(
        name="RELAY_MAX_BODY_BYTES",
        field="max_body_bytes",
        default=str(2 * 1024 * 1024),
        help="Largest webhook body that is read.",
    ),
    Variable(name="WEB_CONCURRENCY", field="web_workers", default="2", help="Web processes."),
    Variable(name="RELAY_WEB_THREADS", field="web_threads", default="64", help="Threads of each of them."),
    Variable(name="RELAY_WORKERS", field="worker_processes", default="1", help="Worker processes."),
)


def variables() -> list[Variable]:
    """Every variable there is: the common ones, then those of each store and destination."""
    found = list(COMMON)
    for store in discovery.stores().values():
        found += _of_store(store)
    for destination in discovery.destinations().values():
        found += [_variable(destination, setting) for setting in accounts.account_settings(destination)]
    return found


def env_example() -> str:
    """The text of `.env.example`."""
    lines = ["# Every setting of purchase-relay. An empty line counts as not set. Made by:", f"#   {COMMAND}"]
    everything = variables()
    for group in dict.fromkeys(variable.group for variable in everything):
        lines += ["", f"# --- {group} ".ljust(98, "-"), *_wrapped(_guides().get(group, ""))]
        for variable in everything:
            if variable.group == group:
                lines += ["", *_wrapped(_explained(variable)), f"{variable.name}="]
    return "\n".join(lines) + "\n"


COMMAND = """python -c "import webhooks.settings as s; print(s.env_example(), end='')" > .env.example"""


def _of_store(store: Store) -> list[Variable]:
    shop = Setting(
        name="shop",
        default=store.slug,
        help=f"Slug of the shop: the webhook's address is /webhooks/{store.slug}/<slug>.",
    )
    secrets, event_id, *others = accounts.shop_settings(store)
    per_destination = [
        Setting(
            name=f"event_id_{destination.slug}",
            default=store.event_ids.get(destination.slug, ""),
            help=f"Template of the event_id for {destination.label} alone.",
        )
        for destination in discovery.destinations().values()
    ]
    return [_variable(store, setting) for setting in (secrets, shop, *others, event_id, *per_destination)]


def _variable(adapter: Store | Destination, setting: Setting) -> Variable:
    required = f" Required for {adapter.label}." if setting.required and not setting.default else ""
    choices = ", ".join(filter(None, setting.choices))
    return Variable(
        name=accounts.variable(adapter.slug, setting.name),
        help=f"{setting.help.rstrip('.')}.{required}{f' One of: {choices}.' if choices else ''}",
        group=adapter.label,
        default=setting.default,
        example=setting.example,
        secret=setting.secret,
    )


def _guides() -> dict[str, str]:
    stores, destinations = discovery.stores().values(), discovery.destinations().values()
    return {one.label: one.guide for one in stores} | {one.label: one.guide for one in destinations}


def _explained(variable: Variable) -> str:
    default = f" Default: {variable.default}" if variable.default else ""
    example = f" Example: {variable.example}" if variable.example and not variable.default else ""
    return f"{variable.help}{default}{example}"


def _wrapped(words: str) -> list[str]:
    return textwrap.wrap(
        words, 98, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )
