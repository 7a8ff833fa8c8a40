"""Figures of the ledger: how many deliveries stand where, what each account waits for, what shops sent.

Counted over indexes alone, whatever the ledger has grown to; nothing is kept twice, so the figures agree
with `ledger export` to the row.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, ScalarSelect, func, select

from webhooks import dedup
from webhooks.clock import HOUR, now_ms
from webhooks.relay import Relay
from webhooks.schema import UNDONE, accounts, attempts, deliveries, events, hooks


class Waiting(msgspec.Struct, frozen=True):
    """The delivery that has waited longest: since when, and when its destination will refuse it."""

    delivery: int
    created_at: int
    expires_at: int


class AccountFigures(msgspec.Struct, kw_only=True):
    """One account. ``state`` is open, held or resting; ``deliveries`` counts per state, without zeros.
    ``is_set_up``: the settings name it; what waits for another one waits for good."""

    account: str
    destination: str = ""
    is_set_up: bool = False
    state: str = "open"
    reason: str = ""
    detail: str = ""
    since: int | None = None
    probe_at: int | None = None
    deliveries: dict[str, int] = {}
    ambiguous: int = 0
    attempts_last_hour: int = 0
    longest_waiting: Waiting | None = None


class ShopFigures(msgspec.Struct, kw_only=True):
    """One shop. ``without_delivery``: events that no account received; ``hooks`` counts per verdict;
    ``browser``: what is wrong with what its shoppers' browsers tell, if anything is."""

    shop: str
    store: str = ""
    is_set_up: bool = False
    events: int = 0
    without_delivery: int = 0
    hooks: dict[str, int] = {}
    browser: str = ""


class Figures(msgspec.Struct, frozen=True):
    """Everything at one moment. ``calls_waiting``: wake-up calls in the queue; None if Redis is away."""

    at: int
    accounts: list[AccountFigures]
    shops: list[ShopFigures]
    calls_waiting: int | None


def figures(relay: Relay) -> Figures:
    """Counts."""
    now = now_ms()
    with relay.database.read() as db:
        of_accounts = _accounts(relay, db, now)
        of_shops = _shops(relay, db)
    return Figures(now, of_accounts, of_shops, relay.wake.waiting())


# --- accounts --------------------------------------------------------------------------------------------


def _accounts(relay: Relay, db: Connection, now: int) -> list[AccountFigures]:
    found = {
        one.slug: AccountFigures(account=one.slug, destination=one.destination, is_set_up=True)
        for one in relay.settings.accounts
    }
    for row in db.execute(select(accounts)).mappings():
        _told(found, row["account"], destination=row["destination"], state=row["state"])
        if row["state"] != "open":
            facts = {name: row[name] for name in ("reason", "detail", "since", "probe_at")}
            _told(found, row["account"], **facts)
    _count_deliveries(db, found)
    for account, count in _ambiguous(db):
        _told(found, account, ambiguous=count)
    for account, count in _attempts_since(db, now - HOUR):
        _told(found, account, attempts_last_hour=count)
    return [found[slug] for slug in sorted(found)]


def _told(found: dict[str, AccountFigures], slug: str, **facts: Any) -> None:
    one = found.setdefault(slug, AccountFigures(account=slug))
    for name, value in facts.items():
        setattr(one, name, value)


def _count_deliveries(db: Connection, found: dict[str, AccountFigures]) -> None:
    """What is delivered is what remains: only the others stand in an index by their state."""
    undone = (
        select(deliveries.c.account, deliveries.c.state, func.count(), func.min(deliveries.c.id))
        .where(UNDONE)
        .group_by(deliveries.c.state, deliveries.c.account)
    )
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, int] = {}
    for account, state, count, first in db.execute(undone):
        counts.setdefault(account, {})[state] = count
        if state in {"due", "held"}:
            oldest[account] = min(first, oldest.get(account, first))
    total = select(deliveries.c.account, func.count()).group_by(deliveries.c.account)
    for account, count in db.execute(total):
        states = counts.get(account, {})
        if delivered := count - sum(states.values()):
            states = states | {"delivered": delivered}
        _told(found, account, deliveries=states)
    for account, waiting in _waiting(db, oldest):
        _told(found, account, longest_waiting=waiting)


def _waiting(db: Connection, oldest: dict[str, int]) -> Iterable[tuple[str, Waiting]]:
    columns = (deliveries.c.account, deliveries.c.id, deliveries.c.created_at, deliveries.c.expires_at)
    for account, *facts in db.execute(select(*columns).where(deliveries.c.id.in_(oldest.values()))):
        yield account, Waiting(*facts)


def _ambiguous(db: Connection) -> Iterable[tuple[str, int]]:
    doubtful = (
        select(deliveries.c.account, func.count())
        .where(deliveries.c.ambiguous)
        .group_by(deliveries.c.account)
    )
    return [(account, count) for account, count in db.execute(doubtful)]


def _attempts_since(db: Connection, since: int) -> Iterable[tuple[str, int]]:
    """Attempts are numbered as they are opened: the walk back from the newest ends at the first older one."""
    before: ScalarSelect[Any] = (
        select(attempts.c.id)
        .where(attempts.c.opened_at < since)
        .order_by(attempts.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    lately = (
        select(deliveries.c.account, func.count())
        .join_from(attempts, deliveries)
        .where(attempts.c.id > func.coalesce(before, 0))
        .group_by(deliveries.c.account)
    )
    return [(account, count) for account, count in db.execute(lately)]


# --- shops -----------------------------------------------------------------------------------------------


def _shops(relay: Relay, db: Connection) -> list[ShopFigures]:
    found = {
        one.slug: ShopFigures(shop=one.slug, store=one.store, is_set_up=True) for one in relay.settings.shops
    }

    def of(slug: str) -> ShopFigures:
        return found.setdefault(slug, ShopFigures(shop=slug))

    for slug, count in db.execute(select(events.c.shop, func.count()).group_by(events.c.shop)):
        of(slug).events = count
    sent = select(deliveries.c.id).where(deliveries.c.event == events.c.id).exists()
    nowhere = select(events.c.shop, func.count()).where(~sent).group_by(events.c.shop)
    for slug, count in db.execute(nowhere):
        of(slug).without_delivery = count
    judged = select(hooks.c.shop, hooks.c.verdict, func.count()).group_by(hooks.c.shop, hooks.c.verdict)
    for slug, verdict, count in db.execute(judged):
        of(slug).hooks = of(slug).hooks | {verdict: count}
    for cause in (dedup.MISMATCH, dedup.SILENT):
        for alert in relay.alerts.open(cause):
            of(alert.subject).browser = f"{alert.sentence}. {alert.remedy}"
    return [found[slug] for slug in sorted(found)]
