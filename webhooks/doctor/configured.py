"""The settings: what is broken, odd, or was meant for a test."""

from collections.abc import Iterator, Mapping

from integrations.destination import Account
from webhooks import settings_accounts
from webhooks.clock import SECOND, now_ms
from webhooks.doctor.findings import Finding, State, fault, note, warning
from webhooks.doctor.ground import Ground
from webhooks.settings import BadSettings
from webhooks.telling import moment, plain

LINK = "settings"

_ODD: Mapping[str, tuple[State, str]] = {
    "no shop ": (
        "fault",
        "set the WEBHOOK_SECRETS of a store, or name shops in RELAY_CONFIG (see .env.example)",
    ),
    "no account ": ("fault", "set the settings of a destination, or name accounts in RELAY_CONFIG"),
    "shop ": ("warning", "name accounts for it (destinations in RELAY_CONFIG), or take the shop out"),
    "RELAY_SECRET_KEYS ": ("warning", "set it, and keep a copy where the database's backups are not"),
}
"""By how a warning of the settings begins: how grave it is, and the remedy."""

_OTHERWISE: tuple[State, str] = (
    "warning",
    "correct it where it is set; `purchase-relay settings check` shows all",
)


def broken(error: BadSettings) -> Iterator[Finding]:
    """Why the relay does not start."""
    for problem in error.problems:
        yield fault(
            LINK, plain(problem), "correct it; .env.example explains every setting, nothing starts before"
        )


def unknown(shop: str) -> Finding:
    """Somebody asks for a shop that there is not."""
    return fault(LINK, f"there is no shop {plain(shop)}", "`purchase-relay shops list` names them")


def examine(ground: Ground) -> Iterator[Finding]:
    """What the settings themselves warn of, and what is on for a test."""
    for odd in ground.settings.warnings:
        if odd.startswith("shop ") and not ground.settings.accounts:
            continue  # nobody sends to anybody, which is said once
        known = next((known for start, known in _ODD.items() if odd.startswith(start)), _OTHERWISE)
        yield Finding(LINK, known[0], plain(odd), known[1])
    for account in ground.accounts:
        yield from _tests(ground, account)
    if not ground.settings.sentry_dsn:
        yield note(LINK, "errors are told to no Sentry", "set SENTRY_DSN to hear of them without looking")


def _tests(ground: Ground, account: Account) -> Iterator[Finding]:
    """A setting with an end is one for a test, like ``test_id`` beside ``test_id_until``."""
    for setting in ground.relay.destination(account).settings:
        base, _, rest = setting.name.rpartition("_until")
        until = account.time(setting.name)
        if setting.kind != "time" or not base or rest or not account.text(base):
            continue
        if until is not None and until * SECOND > now_ms() and ground.settings.env == "production":
            name = settings_accounts.variable(account.destination, base)
            yield warning(
                LINK,
                f"account {account.slug} sends {base} with every order until {moment(until * SECOND)}, "
                "in production",
                f"take {name} away when the test is over",
            )
