"""The audit: is each purchase counted once? Compares what browsers fired with what the server sends.

From beacons and events, per shop and account: how many purchases have a twin in the browser, how many of
these a destination recognises as the same, and why not the others. Reads alone, but for the alerts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from integrations.destination import Account
from integrations.store import Shop
from webhooks.clock import MINUTE, SECOND, now_ms
from webhooks.mismatch import HARMLESS, KINDS
from webhooks.relay import Relay
from webhooks.schema import deliveries, events, sightings, twins

FIRST = 20
"""So many orders decide. Where the ids agree, one purchase in fifty may still be odd: of such shops one in a
thousand gets the alert. Where they disagree, they do so for nearly every purchase."""

FEW = 3
SHARE = 0.25
"""More than so many, and than this share of what browsers fired, is a fault of the shop and no oddity."""

SETTLED = MINUTE
"""So long after its order, in milliseconds, a beacon has come or will not come."""

MISMATCH = "dedup_mismatch"
SILENT = "dedup_silent"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A cause, and of how many purchases. ``shape`` and ``order`` are of the last of them."""

    kind: str
    count: int
    order: str
    shape: str
    sentence: str
    remedy: str


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """One account of a shop. Of its ``purchases`` of the web ``with_twin`` were fired by a browser, too, and
    ``matched`` of these are recognised as the same; of ``blocked`` ones only the beacon came, since the pixel
    was not called."""

    shop: str
    account: str
    destination: str
    purchases: int
    with_twin: int
    matched: int
    blocked: int
    faults: tuple[Fault, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was asked for. ``unproved``: per shop, of how many orders a beacon knew the number alone, so
    that it was not believed."""

    since: int
    overlaps: tuple[Overlap, ...]
    unproved: dict[str, int]


def report(relay: Relay, since: int, shop: str = "") -> Report:
    """Of the purchases received from then on (milliseconds), of one shop or of all that take beacons."""
    shops = [one for one in relay.settings.shops if one.slug == shop or (not shop and one.origins)]
    with relay.database.read() as db:
        overlaps = [_overlap(relay, db, one, account, since) for one in shops for account in _of(relay, one)]
        unproved = {one.slug: count for one in shops if (count := _unproved(db, one, since))}
    return Report(since=since, overlaps=tuple(overlaps), unproved=unproved)


def _of(relay: Relay, shop: Shop) -> list[Account]:
    return [account for slug in shop.accounts if (account := relay.settings.account(slug)) is not None]


def _overlap(relay: Relay, db: Connection, shop: Shop, account: Account, since: int) -> Overlap:
    asked = and_(_purchases(shop), events.c.received_at >= since)
    sent = select(func.count()).select_from(deliveries).join(events, deliveries.c.event == events.c.id)
    purchases = db.execute(sent.where(asked, deliveries.c.account == account.slug)).scalar_one()
    of_account = and_(asked, sightings.c.account == account.slug)
    late = _outside(relay.destination(account).dedup_seconds * SECOND)
    seen, faulty, blocked = (
        _orders(db, and_(of_account, which))
        for which in (
            sightings.c.kind != "blocked",
            or_(sightings.c.kind.not_in(HARMLESS), and_(sightings.c.kind == "", late)),
            sightings.c.kind == "blocked",
        )
    )
    return Overlap(
        shop=shop.slug,
        account=account.slug,
        destination=account.destination,
        purchases=purchases,
        with_twin=seen,
        matched=seen - faulty,
        blocked=blocked,
        faults=tuple(_faults(db, of_account, late, shop, account)),
    )


def _purchases(shop: Shop) -> ColumnElement[bool]:
    return and_(events.c.shop == shop.slug, events.c.event_name == "Purchase", events.c.origin == "web")


def _outside(window: int) -> ColumnElement[bool]:
    """The server told of it too long before or after the browser. What is still waiting is not late yet."""
    sent = func.coalesce(deliveries.c.first_sent_at, deliveries.c.delivered_at)
    return func.abs(sent - twins.c.received_at) > window


def _joined(*columns: Any) -> Any:
    same = and_(deliveries.c.event == sightings.c.event, deliveries.c.account == sightings.c.account)
    return (
        select(*columns)
        .select_from(sightings)
        .join(events, sightings.c.event == events.c.id)
        .join(twins, sightings.c.twin == twins.c.id)
        .join(deliveries, same)
    )


def _orders(db: Connection, which: ColumnElement[bool]) -> int:
    return int(db.execute(_joined(func.count(sightings.c.event.distinct())).where(which)).scalar_one())


def _faults(
    db: Connection, which: ColumnElement[bool], late: ColumnElement[bool], shop: Shop, account: Account
) -> Iterable[Fault]:
    """The most frequent first."""
    columns = (sightings.c.kind, func.count(sightings.c.event.distinct()), func.max(sightings.c.id))
    told = [
        (and_(which, sightings.c.kind.not_in(HARMLESS)), ""),
        (and_(which, sightings.c.kind == "", late), "outside_window"),
    ]
    rows = [
        (name or kind, count, last)
        for asked, name in told
        for kind, count, last in db.execute(_joined(*columns).where(asked).group_by(sightings.c.kind))
    ]
    for kind, count, last in sorted(rows, key=lambda row: (-row[1], row[0])):
        order, shape = db.execute(
            select(events.c.order_name, sightings.c.shape)
            .join(events, sightings.c.event == events.c.id)
            .where(sightings.c.id == last)
        ).one()
        said = KINDS[kind]
        remedy = said.remedy.format(shop=shop.slug, account=account.slug)
        yield Fault(kind=kind, count=count, order=order, shape=shape, sentence=said.sentence, remedy=remedy)


def _unproved(db: Connection, shop: Shop, since: int) -> int:
    named = (twins.c.shop == shop.slug, twins.c.fit == "named", twins.c.received_at >= since)
    return int(db.execute(select(func.count(twins.c.event.distinct())).where(*named)).scalar_one())


# --- the first twenty orders -------------------------------------------------------------------------------


def watch(relay: Relay) -> None:
    """Alerts when a shop's last twenty orders of the web do not match what browsers fired, and when they do
    again. A new shop is judged by its first twenty. May be called again and again."""
    for shop in relay.settings.shops:
        if shop.origins:
            _judge(relay, shop)


def _judge(relay: Relay, shop: Shop) -> None:
    with relay.database.read() as db:
        orders = _last(db, shop)
        kinds = _kinds(db, orders)
    if len(orders) < FIRST:
        return
    worst = max((_mismatched(of_account) for of_account in kinds.values()), default=0)
    if worst:
        relay.alerts.raise_(
            MISMATCH,
            shop.slug,
            "Browser and server tell of the same purchases under different ids: they are counted twice",
            "Run `purchase-relay dedup report`: it names the cause and what to do",
            count=worst,
        )
    else:
        relay.alerts.clear(MISMATCH, shop.slug)
    if not kinds:
        relay.alerts.raise_(
            SILENT,
            shop.slug,
            "No browser has told of any of the last twenty orders",
            "See whether the snippet is on the page after the payment, and whether ORIGINS names its site",
            count=len(orders),
        )
    else:
        relay.alerts.clear(SILENT, shop.slug)


def _last(db: Connection, shop: Shop) -> list[int]:
    settled = events.c.received_at <= now_ms() - SETTLED
    chosen = select(events.c.id).where(_purchases(shop), settled)
    return list(db.execute(chosen.order_by(events.c.received_at.desc()).limit(FIRST)).scalars())


def _kinds(db: Connection, orders: Sequence[int]) -> dict[str, dict[int, set[str]]]:
    """What was seen, by account and order."""
    found: dict[str, dict[int, set[str]]] = {}
    columns = (sightings.c.account, sightings.c.event, sightings.c.kind)
    for account, event, kind in db.execute(select(*columns).where(sightings.c.event.in_(orders))):
        found.setdefault(account, {}).setdefault(event, set()).add(kind)
    return found


def _mismatched(of_account: dict[int, set[str]]) -> int:
    """How many orders do not match; 0 if these are too few to mean anything."""
    fired = [kinds for kinds in of_account.values() if kinds - {"blocked"}]
    wrong = Counter(bool(kinds - {*HARMLESS}) for kinds in fired)[True]
    return wrong if wrong > FEW - 1 and wrong > SHARE * len(fired) else 0
