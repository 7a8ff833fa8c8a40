"""What the ledger shows that a person must look at: each condition says on whom it is true now.

Looked at every minute; each question is bounded, whatever the ledger has grown to. What is true is raised,
what is true no more is cleared.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, func, select

from webhooks.clock import DAY, HOUR, MINUTE, now_ms
from webhooks.relay import Relay
from webhooks.schema import DUE, UNDONE, accounts, attempts, deliveries, hooks

RESTING_LONG = 15 * MINUTE
WAITING_LONG = 15 * MINUTE
FEW = 20
"""So many deliveries must have ended within an hour before the share of refused ones says anything."""

REFUSED_SHARE = 0.2
QUARANTINED = 5
"""So many hooks of a shop put aside within an hour are no accident."""

NEWEST = 2_000
"""Rows that are looked at to judge the last hour."""

MANY = 10_000
"""Nobody needs to know how many more."""

Where = Mapping[str, int | None]
"""The subjects on which a condition is true, with how many orders or hooks it is about."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """``is_known``: whoever brought it about has told Sentry already."""

    cause: str
    sentence: str
    remedy: str
    look: Callable[[Relay, int], Where]
    is_known: bool = False


def look_around(relay: Relay, conditions: tuple[Condition, ...] | None = None) -> None:
    """One look at everything."""
    now = now_ms()
    open_ones = {(one.cause, one.subject) for one in relay.alerts.open()}
    for condition in CONDITIONS if conditions is None else conditions:
        where = condition.look(relay, now)
        for subject, count in where.items():
            relay.alerts.raise_(
                condition.cause,
                subject,
                condition.sentence,
                condition.remedy,
                count=1 if count is None else count,
                is_known=condition.is_known,
            )
        for cause, subject in open_ones:
            if cause == condition.cause and subject not in where:
                relay.alerts.clear(cause, subject)


# --- the conditions --------------------------------------------------------------------------------------


def _held(relay: Relay, _now: int) -> Where:
    return _stopped(relay, accounts.c.state == "held")


def _resting(relay: Relay, now: int) -> Where:
    return _stopped(relay, and_(accounts.c.state == "resting", accounts.c.since <= now - RESTING_LONG))


def _stopped(relay: Relay, which: ColumnElement[bool]) -> Where:
    slugs = [account.slug for account in relay.settings.accounts]
    with relay.database.read() as db:
        stopped = db.execute(select(accounts.c.account).where(which, accounts.c.account.in_(slugs))).scalars()
        return {slug: _number(db, _waiting(slug)) for slug in stopped.all()}


def _waiting(slug: str) -> ColumnElement[bool]:
    return and_(deliveries.c.account == slug, deliveries.c.state.in_(("due", "held")), UNDONE)


def _number(db: Any, which: ColumnElement[bool]) -> int:
    """How many, at least one and no more than `MANY`."""
    some = select(deliveries.c.id).where(which).limit(MANY).subquery()
    count: int = db.execute(select(func.count()).select_from(some)).scalar_one()
    return max(1, count)


def _nobody_sends(relay: Relay, now: int) -> Where:
    """Due for long although nothing stops the account: no worker, or one that hangs."""
    stopped = relay.holds.waiting().keys()
    found: dict[str, int | None] = {}
    with relay.database.read() as db:
        for account in relay.settings.accounts:
            late = and_(deliveries.c.account == account.slug, DUE, deliveries.c.due_at <= now - WAITING_LONG)
            if account.slug in stopped:
                continue
            if db.execute(select(deliveries.c.id).where(late).limit(1)).first() is not None:
                found[account.slug] = _number(db, late)
    return found


def _refused(relay: Relay, now: int) -> Where:
    newest = (
        select(attempts.c.delivery, attempts.c.outcome, attempts.c.closed_at)
        .order_by(attempts.c.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    lately = and_(newest.c.closed_at > now - HOUR, newest.c.outcome.in_(("delivered", "refused", "broken")))
    told = (
        select(deliveries.c.account, newest.c.outcome, func.count())
        .join_from(newest, deliveries, deliveries.c.id == newest.c.delivery)
        .where(lately)
        .group_by(deliveries.c.account, newest.c.outcome)
    )
    ended: dict[str, int] = {}
    bad: dict[str, int] = {}
    with relay.database.read() as db:
        for account, outcome, count in db.execute(told):
            ended[account] = ended.get(account, 0) + count
            if outcome != "delivered":
                bad[account] = bad.get(account, 0) + count
    return {
        slug: count
        for slug, count in bad.items()
        if ended[slug] >= FEW and count > REFUSED_SHARE * ended[slug]
    }


def _closing(relay: Relay, now: int) -> Where:
    return relay.ledger.closing_soon(now + DAY)


def _put_aside(relay: Relay, now: int) -> Where:
    newest = (
        select(hooks.c.shop, hooks.c.received_at)
        .where(hooks.c.verdict == "quarantined")
        .order_by(hooks.c.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    lately = newest.c.received_at > now - HOUR
    told = select(newest.c.shop, func.count()).where(lately).group_by(newest.c.shop)
    with relay.database.read() as db:
        return {shop: count for shop, count in db.execute(told) if count >= QUARANTINED}


def _redis(relay: Relay, _now: int) -> Where:
    return {"": None} if relay.wake.waiting() is None else {}


CONDITIONS = (
    Condition(
        cause="account_held",
        sentence="A destination refuses our credentials; its deliveries wait, none is lost",
        remedy="Renew what it refuses and restart; once it is mended there, `purchase-relay release ACCOUNT`",
        look=_held,
        is_known=True,
    ),
    Condition(
        cause="account_resting",
        sentence="A destination has been failing for a quarter of an hour; its deliveries wait",
        remedy="Look at its status page; `purchase-relay stats` tells what it answers",
        look=_resting,
    ),
    Condition(
        cause="nobody_sends",
        sentence="Deliveries have been due for a quarter of an hour, and nobody sends them",
        remedy="Look whether a worker runs: `purchase-relay worker`",
        look=_nobody_sends,
    ),
    Condition(
        cause="refused_often",
        sentence="A destination refuses more than a fifth of what it is sent",
        remedy="`purchase-relay deliveries list --state refused` tells why; then `purchase-relay replay`",
        look=_refused,
    ),
    Condition(
        cause="closing_soon",
        sentence="Deliveries that wait will be too old for their destination within a day",
        remedy="`purchase-relay stats` tells what they wait for",
        look=_closing,
        is_known=True,
    ),
    Condition(
        cause="quarantine_grows",
        sentence="Hooks of a shop are put aside one after the other: they cannot be used",
        remedy="`purchase-relay quarantine list` tells why; once mended, `purchase-relay quarantine retry`",
        look=_put_aside,
    ),
    Condition(
        cause="redis_away",
        sentence="Redis does not answer; the sweep delivers meanwhile, later than usual",
        remedy="Look whether it is up, and at REDIS_URL",
        look=_redis,
    ),
)
