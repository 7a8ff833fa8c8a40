"""The command that audits: is each purchase counted once?"""

import click
from rich.text import Text

from webhooks import telling
from webhooks.clock import DAY, now_ms
from webhooks.commands.frame import MOMENT, Failure, as_json, console, opened, print_json
from webhooks.dedup import Overlap, Report, report
from webhooks.questions import as_plain


@click.group()
def dedup() -> None:
    """Whether each purchase is counted once."""


@dedup.command("report")
@click.option("--shop", default="", help="Slug of a shop; all that take beacons without it.")
@click.option("--since", type=MOMENT, help="Orders received since: 3d, 12h, 2026-11-20 (UTC).  [default: 7d]")
@as_json
def report_command(shop: str, since: int | None, json: bool) -> None:
    """Compare browsers' event ids with the server's.

    Per shop and account: how many purchases have a twin in the browser, how many of these agree, and for
    those that do not the cause and the remedy. It needs the beacon: set the shop's ORIGINS.
    """
    with opened() as relay:
        known = {one.slug: one for one in relay.settings.shops}
        if shop and shop not in known:
            raise Failure(f"there is no shop {shop}; the settings have {', '.join(known) or 'none'}")
        if not any(one.origins for one in known.values() if shop in {"", one.slug}):
            raise Failure("no beacon is on: set the shop's ORIGINS and install its snippet")
        told = report(relay, now_ms() - 7 * DAY if since is None else since, shop)
    if json:
        print_json(as_plain(told))
    else:
        _tell(told)


def _tell(told: Report) -> None:
    page = console()
    heads = ["Shop", "Account", "purchases", "in the browser, too", "ids agree", "pixel blocked"]
    rows = [
        (one.shop, one.account, one.purchases, one.with_twin, one.matched, one.blocked)
        for one in told.overlaps
    ]
    page.print(telling.table(heads, rows, f"Since {telling.moment(told.since)}"))
    for one in told.overlaps:
        for text in _faults(one):
            page.print(text, soft_wrap=True)
    for shop, count in told.unproved.items():
        page.print(_unproved(shop, count), soft_wrap=True)
    if not any(one.faults for one in told.overlaps):
        page.print("What browsers fired is what the server sends.")


def _faults(one: Overlap) -> list[Text]:
    lines = []
    for fault in one.faults:
        fired = f", which fired {fault.shape}" if fault.shape else ""
        head = f"{one.shop}, {one.account}: {telling.counted(fault.count, 'purchase')}: {fault.sentence}"
        lines.append(
            telling.chapter(
                head,
                [
                    (f"cause: {fault.kind}; the last one is order {fault.order}{fired}", "refused"),
                    (fault.remedy, ""),
                ],
            )
        )
    return lines


def _unproved(shop: str, count: int) -> str:
    return telling.plain(
        f"{shop}: beacons of {telling.counted(count, 'order')} knew its number alone, which anybody can "
        "guess, and were not believed: install the shop's snippet as it is printed now"
    )
