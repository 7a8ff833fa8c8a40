"""The command `purchase-relay`, which is also `python -m webhooks`."""

import sys

import click

from webhooks import reporting
from webhooks.commands import acting, destinations, looking, processes, reconcile, shops, storefront, upkeep
from webhooks.commands.alerts import alerts_group
from webhooks.commands.consent import consent_group
from webhooks.commands.dedup import dedup
from webhooks.commands.doctor import doctor
from webhooks.commands.frame import EXIT_CODES, Root
from webhooks.commands.privacy import privacy_group


@click.group(cls=Root, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="purchase-relay")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, as JSON lines on stderr.")
def main(verbose: bool) -> None:
    """Signed order webhooks in, deduplicated purchase events out.

    Settings come from the environment; `settings example` prints all of them.
    """
    reporting.configure_logs("info" if verbose else "error", sys.stderr)


for command in (
    *(processes.up, processes.demo, processes.web, processes.worker, processes.sweep),
    *(looking.orders, looking.deliveries, looking.quarantine, looking.stats, looking.ledger),
    *(acting.send_again, acting.release, dedup),
    *(shops.shops, reconcile.reconcile, storefront.snippet),
    *(destinations.destinations, destinations.events, doctor),
    *(upkeep.db, upkeep.settings_group, upkeep.vault, upkeep.retention),
    *(privacy_group, consent_group, alerts_group),
):
    main.add_command(command)
