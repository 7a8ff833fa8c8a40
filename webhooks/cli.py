"""The command `purchase-relay`, which is also `python -m webhooks`."""

import sys

import click

from webhooks import reporting
from webhooks.commands.frame import EXIT_CODES, OnDemand, Root

COMMANDS = OnDemand(
    {
        "processes": {name: name for name in ("up", "demo", "web", "worker", "sweep")},
        "looking": {name: name for name in ("orders", "deliveries", "stats", "ledger")},
        "acting": {"replay": "send_again", "release": "release", "quarantine": "quarantine"},
        "dedup": {"dedup": "dedup"},
        "shops": {"shops": "shops"},
        "reconcile": {"reconcile": "reconcile"},
        "storefront": {"snippet": "snippet"},
        "destinations": {"destinations": "destinations", "events": "events"},
        "doctor": {"doctor": "doctor"},
        "upkeep": {"db": "db", "settings": "settings_group", "vault": "vault", "retention": "retention"},
        "privacy": {"privacy": "privacy_group"},
        "consent": {"consent": "consent_group"},
        "alerts": {"alerts": "alerts_group"},
    }
)
"""What each file in `webhooks/commands` has: the word for it, and its name there."""


@click.group(
    cls=Root, commands=COMMANDS, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="purchase-relay")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, as JSON lines on stderr.")
def main(verbose: bool) -> None:
    """Signed order webhooks in, deduplicated purchase events out.

    Settings come from the environment; `settings example` prints all of them.
    """
    reporting.configure_logs("info" if verbose else "error", sys.stderr)
