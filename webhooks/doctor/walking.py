"""Walks the chain and never stops at a broken link: what stands on it is skipped, and said so."""

from collections.abc import Iterator
from functools import partial

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from webhooks import discretion, settings
from webhooks.doctor import address, configured, ledger, queue, receiving, rehearsal, selling
from webhooks.doctor.findings import Finding, Link, fault, skipped, warning
from webhooks.doctor.ground import Ground, opened
from webhooks.settings import BadSettings

ALERTS = "alerts"


def examine(*, shop: str = "", is_quick: bool = False) -> Iterator[Finding]:
    """Everything that is found, in the chain's order; of one shop alone if it is named. ``is_quick`` asks
    nobody outside. Raises nothing for whatever is broken, and changes nothing."""
    try:
        configuration = settings.load()
    except BadSettings as error:
        yield from configured.broken(error)
        return
    try:
        with opened(configuration, shop, is_quick=is_quick) as ground:
            if shop and not ground.shops:
                yield configured.unknown(shop)
            for link in chain(ground):
                yield from _walk(ground, link)
    except OSError as error:
        yield fault(
            ledger.KEYS,
            f"the folder of the keys cannot be used ({discretion.describe(error)})",
            "let the relay's user write RELAY_DATA_DIR, or set RELAY_SECRET_KEYS",
        )


def chain(ground: Ground) -> Iterator[Link]:
    """Every link, each after those that it needs. A new one is a line here and a function in a room."""
    database, redis, public = ledger.LINK, queue.LINK, address.LINK
    rooms = (
        (configured.LINK, "in order", configured.examine, ()),
        (database, "answers, is up to date and keeps what it is told", ledger.examine, ()),
        (ledger.KEYS, "open what is kept", ledger.examine_keys, (database,)),
        (redis, "answers and keeps its wake-up calls", queue.examine, ()),
        (queue.PROCESSES, "worker and sweep are at work", queue.examine_processes, (database, redis)),
        (public, "leads here", address.examine, ()),
        (address.HOOKS, "lead here, and what is unsigned is refused", address.examine_hooks, (public,)),
        (address.CLOCK, "agrees with the others", address.examine_clock, ()),
    )
    for name, well, function, needs in rooms:
        yield Link(name=name, well=well, examine=partial(function, ground), needs=needs)
    yield from _of_shops_and_accounts(ground)
    yield Link(name=ALERTS, well="none is open", examine=partial(_alerts, ground), needs=(database,))


def _of_shops_and_accounts(ground: Ground) -> Iterator[Link]:
    for shop in ground.shops:
        look = partial(selling.examine, ground, shop)
        well = "its hooks can be used, and its store sends them all"
        yield Link(name=selling.link(shop), well=well, examine=look, needs=(ledger.LINK,))
    for account in ground.accounts:
        ask = partial(receiving.examine, ground, account)
        well = "its destination takes our credentials, and its deliveries go out"
        yield Link(name=receiving.link(account), well=well, examine=ask)
    for shop in ground.shops:
        rehearse = partial(rehearsal.examine, ground, shop)
        well = "an invented one is verified, mapped and taken"
        yield Link(name=rehearsal.link(shop), well=well, examine=rehearse)


def _walk(ground: Ground, link: Link) -> Iterator[Finding]:
    missing = [one for one in link.needs if one in ground.broken]
    if missing:
        yield skipped(link.name, f"not examined, since it stands on {' and '.join(missing)}")
        return
    is_well = True
    for finding in _found(link):
        is_well = is_well and finding.state == "note"
        if finding.is_trouble:
            ground.troubled.add(link.name)
        if finding.ends:
            ground.broken.add(link.name)
        yield finding
    if is_well:
        yield Finding(link.name, "ok", link.well)


def _found(link: Link) -> Iterator[Finding]:
    """What a link says, also if what it stands on breaks meanwhile."""
    try:
        yield from link.examine()
    except (SQLAlchemyError, RedisError) as error:
        yield fault(
            link.name,
            f"could not be examined ({discretion.describe(error)})",
            "see that database and Redis stay up, and run the doctor again",
        )
    except Exception as error:  # noqa: BLE001 - our bug must not hide what the other links say
        yield fault(
            link.name,
            f"could not be examined, by a mistake of the relay's own ({discretion.describe(error)})",
            "upgrade the relay; if it stays, report it with this line",
        )


def _alerts(ground: Ground) -> Iterator[Finding]:
    """What is open and not said yet: the walk itself sees more of it, and what holds now."""
    said = {name.partition(" ")[2] for name in ground.troubled if " " in name}
    known = {"", *(one.slug for one in ground.shops), *(one.slug for one in ground.accounts)}
    for alert in ground.relay.alerts.open():
        if alert.subject in known - said:
            about = f"{alert.subject}: " if alert.subject else ""
            yield warning(ALERTS, f"{about}{alert.sentence.rstrip('.')}", alert.remedy)
