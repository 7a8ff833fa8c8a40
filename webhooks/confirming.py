"""Asks what became of what a destination accepted, where acceptance is not yet the end.

Such a destination takes a whole call at once, says "accepted", and processes it minutes to hours later. A
delivery stays `delivered` all the same: whether it should be sent again is for a person to judge. What is
learned stands beside it (``confirmed``) and is told: ``processed``, ``unknown``, or the destination's own
word for what went wrong.
"""

import threading
import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, func, select, update

from integrations.destination import Account, Destination, Outcome
from webhooks import reporting
from webhooks.clock import HOUR, MINUTE, now_ms
from webhooks.database import Database
from webhooks.leases import Settled
from webhooks.relay import Relay
from webhooks.schema import deliveries
from webhooks.tokens import Tokens

FIRST_LOOK = 15 * MINUTE
GIVE_UP = 50 * HOUR
"""The first question comes after a quarter of an hour, then after 1, 2, 4, 8, 16 and 32 hours; the last one
after fifty. Destinations process within two days, or never."""

CALLS = 20
SECONDS = 5.0
"""Questions of one round, and when to leave the rest to the next: a sweep has more to do."""


class Call(msgspec.Struct, frozen=True):
    """One accepted call. ``since``: when it was accepted."""

    account: str
    trace: str
    since: int
    count: int


def first_look(adapter: Destination, account: Account, settled: Sequence[Settled], now: int) -> int | None:
    """When to ask first what became of these deliveries; None where acceptance is the end."""
    traces = {one.outcome.trace for one in settled if one.state == "delivered" and one.outcome.trace}
    try:
        return now + FIRST_LOOK if any(adapter.confirm(trace, account) for trace in traces) else None
    except Exception as error:  # noqa: BLE001 - our bug must not undo what was delivered
        what = "preparing to ask what became of a call failed"
        reporting.alert("broken", what, error=error, account=account.slug)
        return None


def confirm_due(relay: Relay, tokens: Tokens, stopping: threading.Event | None = None) -> int:
    """Asks about every call that is due; returns how many were asked about."""
    until, asked = time.monotonic() + SECONDS, 0
    for call in _due(relay.database, now_ms()):
        if time.monotonic() > until or (stopping is not None and stopping.is_set()):
            break
        if _postpone(relay.database, call, now_ms()):
            _learn(relay, call, _ask(relay, tokens, call))
            asked += 1
    return asked


def _due(database: Database, now: int) -> list[Call]:
    """The calls to ask about, the longest waiting first: one question for all deliveries of a call."""
    columns = (deliveries.c.account, deliveries.c.trace)
    chosen = (
        select(*columns, func.min(deliveries.c.delivered_at), func.count())
        .where(deliveries.c.state == "delivered", deliveries.c.confirm_at <= now)
        .group_by(*columns)
        .order_by(func.min(deliveries.c.confirm_at))
        .limit(CALLS)
    )
    with database.read() as db:
        return [Call(*row) for row in db.execute(chosen)]


def _postpone(database: Database, call: Call, now: int) -> bool:
    """Sets the next question before this one is asked. False if somebody else is asking it."""
    after = min(max(HOUR, 2 * (now - call.since)), GIVE_UP)
    with database.write() as db:
        ours = update(deliveries).where(*_of(call), deliveries.c.confirm_at <= now)
        return db.execute(ours.values(confirm_at=max(call.since + after, now + MINUTE))).rowcount > 0


def _ask(relay: Relay, tokens: Tokens, call: Call) -> Outcome:
    account = relay.settings.account(call.account)
    if account is None:
        return Outcome("retry", "gone", "its account is no longer configured")
    adapter = relay.destination(account)
    try:
        request = adapter.confirm(call.trace, account)
        if request is None:
            return Outcome("retry", "gone", "the destination is no longer asked")
        answer = tokens.send(adapter, account, request)
        return answer.outcome or adapter.read_confirm(answer.response)
    except Exception as error:  # noqa: BLE001 - our bug must not stop the sweep
        what = "reading what became of a call failed"
        reporting.alert("broken", what, error=error, account=call.account)
        return Outcome("retry", type(error).__name__, what)


def _learn(relay: Relay, call: Call, outcome: Outcome) -> None:
    """Writes down what was learned. Whatever is no verdict (credentials, network) is asked again later."""
    match outcome.state:
        case "delivered":
            _write(relay.database, call, "processed", "")
        case "refused":
            _write(relay.database, call, outcome.reason, outcome.detail)
            reporting.alert(
                "not_processed",
                "A destination accepted events and then could not process them",
                account=call.account,
                reason=outcome.reason,
                count=call.count,
            )
        case _ if now_ms() >= call.since + GIVE_UP:
            _write(relay.database, call, "unknown", "the destination would not say what became of it")


def _write(database: Database, call: Call, confirmed: str, detail: str) -> None:
    values = {"confirmed": confirmed, "confirm_at": None} | ({"detail": detail} if detail else {})
    with database.write() as db:
        db.execute(update(deliveries).where(*_of(call)).values(values))


def _of(call: Call) -> tuple[ColumnElement[bool], ...]:
    return (
        deliveries.c.account == call.account,
        deliveries.c.trace == call.trace,
        deliveries.c.state == "delivered",
        deliveries.c.confirm_at.is_not(None),
    )
