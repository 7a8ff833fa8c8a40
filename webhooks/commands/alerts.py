"""The commands about alerts: what is open, and whether anybody would hear of it."""

import click

from webhooks import channels, telling
from webhooks.channels import NotTold
from webhooks.commands.frame import Failure, as_json, console, opened, print_json
from webhooks.questions import as_plain
from webhooks.transport import Transport

TEST = ("purchase-relay: a test", "This is a test of `purchase-relay alerts test`. Nothing is wrong.\n")


@click.group("alerts")
def alerts_group() -> None:
    """What a person must look at, and who is told."""


@alerts_group.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what is over.")
@as_json
def list_alerts(everything: bool, json: bool) -> None:
    """List what is wrong now, the longest lasting first."""
    with opened() as relay:
        told = relay.alerts.listed() if everything else relay.alerts.open()
    if json:
        print_json(as_plain(told))
        return
    if not told:
        click.echo("Nothing is wrong.")
        return
    page = console()
    for one in told:
        about = f" [{one.subject}]" if one.subject else ""
        count = f" ({one.count})" if one.count > 1 else ""
        over = f" to {telling.moment(one.cleared_at)}" if one.cleared_at else ""
        lines = [(f"since {telling.moment(one.since)}{over}", ""), (one.remedy, "duplicate")]
        page.print(telling.chapter(f"{one.cause}{about}: {one.sentence}{count}", lines), soft_wrap=True)


@alerts_group.command()
@as_json
def test(json: bool) -> None:
    """Send a test by every channel.

    ALERT_WEBHOOK_URL, and ALERT_EMAIL_TO by SMTP_URL. Sentry is not among them.
    """
    with opened() as relay:
        transport = Transport(connections=1)
        try:
            found = {one.name: _try(one) for one in channels.configured(relay.settings, transport)}
        finally:
            transport.close()
    if not found:
        raise Failure("no channel is set up: ALERT_WEBHOOK_URL, or SMTP_URL and ALERT_EMAIL_TO")
    if json:
        print_json(found)
    else:
        for name, problem in found.items():
            click.echo(f"{name}: {problem or 'sent'}")
    if any(found.values()):
        raise Failure("not every channel works")


def _try(channel: channels.Channel) -> str:
    try:
        channel.tell(*TEST)
    except NotTold as error:
        return str(error)
    return ""
