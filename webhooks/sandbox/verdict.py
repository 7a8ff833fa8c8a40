"""What became of every order of the demo: from the relay's ledger, and from the destinations' own records."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import func, select

from webhooks.comparing import SOURCE
from webhooks.database import Database
from webhooks.sandbox.cast import Order
from webhooks.sandbox.stage import Actor, Stage
from webhooks.schema import attempts, deliveries, events, hooks

FINAL = frozenset({"delivered", "refused", "suppressed", "expired", "broken"})


class Fate(msgspec.Struct, frozen=True):
    """One order at one destination, as the ledger has it.

    ``tries`` are calls, ``spent`` those that count against its retry budget, ``interrupted`` those whose
    worker died. ``batch`` is the size of the largest request it travelled in.
    """

    event_id: str
    state: str
    reason: str
    tries: int
    spent: int
    interrupted: int
    batch: int


class Seen(msgspec.Struct, frozen=True):
    """The same, with what the destination itself recorded of it: lines in all, kept, and from browsers."""

    fate: Fate
    server: int
    browser: int
    kept: int
    money: str


class Claim(NamedTuple):
    """What the demo promises. ``but`` says what is wrong if it does not hold."""

    sentence: str
    holds: bool
    but: str = ""


Fates = dict[tuple[str, str], Fate]
"""By order id and destination."""


def fates(database: Database) -> Fates:
    """Everything that the ledger knows of deliveries."""
    tries, interrupted = func.count(attempts.c.id), func.sum(attempts.c.outcome == "interrupted")
    columns = (
        *(events.c.order_id, deliveries.c.destination, deliveries.c.event_id),
        *(deliveries.c.state, deliveries.c.reason, tries.label("tries"), deliveries.c.attempts),
        *(interrupted.label("interrupted"), func.max(attempts.c.size).label("batch")),
    )
    question = (
        select(*columns)
        .select_from(deliveries.join(events).outerjoin(attempts, attempts.c.delivery == deliveries.c.id))
        .where(events.c.event_name == "Purchase")
        .group_by(deliveries.c.id)
    )
    with database.read() as db:
        return {
            (row.order_id, row.destination): Fate(
                row.event_id,
                row.state,
                row.reason,
                tries=row.tries,
                spent=row.attempts,
                interrupted=row.interrupted or 0,
                batch=row.batch or 0,
            )
            for row in db.execute(question)
        }


def seen(stage: Stage, orders: Iterable[Order]) -> dict[tuple[str, str], Seen]:
    """Each order at each destination."""
    known = fates(stage.database)
    found = {}
    for actor in stage.actors:
        record = actor.record()
        for order in orders:
            if fate := known.get((order.id, actor.slug)):
                found[order.id, actor.slug] = _seen(fate, record)
    return found


def _seen(fate: Fate, record: Sequence[Mapping[str, Any]]) -> Seen:
    lines = [line for line in record if line["event_id"] == fate.event_id]
    told: Mapping[str, Any] = next((line["event"] for line in lines if line["event"]), {})
    return Seen(
        fate,
        server=sum(line["source"] == "server" for line in lines),
        browser=sum(line["source"] == "browser" for line in lines),
        kept=sum(line["kept"] for line in lines),
        money=_money(told.get("custom_data")),
    )


def _money(custom: Any) -> str:
    return f"{custom.get('value')} {custom.get('currency')}" if isinstance(custom, dict) else ""


# --- claims ----------------------------------------------------------------------------------------------


def claims(stage: Stage, orders: Sequence[Order], taken: int, forged: Sequence[str]) -> list[Claim]:
    """What is promised of every run. ``taken``: hooks that were acknowledged; ``forged``: false order ids."""
    known, found = fates(stage.database), seen(stage, orders)
    promised = [_of_destination(actor, orders, found) for actor in stage.actors]
    waiting = [f"{order} is {fate.state}" for (order, _), fate in known.items() if not done(fate)]
    promised.append(Claim("Nothing waits any more, and nothing broke", not waiting, ", ".join(waiting)))
    return [*promised, *_of_hooks(stage, taken, forged)]


def done(fate: Fate) -> bool:
    """Whether it ended as something may end in the demo."""
    return fate.state in FINAL - {"expired", "broken"}


def _of_destination(actor: Actor, orders: Sequence[Order], found: Mapping[tuple[str, str], Seen]) -> Claim:
    """By the destination's own record: each sale once, and not an event more."""
    here = [(order, found.get((order.id, actor.slug))) for order in orders]
    missing = [f"{order.name} is missing" for order, one in here if one is None]
    sold = [(order, one) for order, one in here if one and one.fate.state == "delivered"]
    wrong = [f"{order.name} {one.kept} times" for order, one in sold if one.kept != 1]
    kept = sum(line["kept"] for line in actor.record())
    extra = [f"{kept} events in all"] if kept != len(sold) else []
    why = ", ".join([*missing, *wrong, *extra])
    return Claim(
        f"{actor.label} counted {len(sold)} sales, each once, and nothing else", bool(sold) and not why, why
    )


def _of_hooks(stage: Stage, taken: int, forged: Sequence[str]) -> Iterable[Claim]:
    with stage.database.read() as db:
        kept = db.execute(select(func.count() + func.sum(hooks.c.repeats)).select_from(hooks)).scalar_one()
        # What was found in a shop's list is kept like a hook, and was none.
        kept -= db.execute(select(func.count()).where(events.c.source == SOURCE)).scalar_one()
        traces = db.execute(select(func.count()).where(hooks.c.order_id.in_(forged))).scalar_one()
    yield Claim(f"All {taken} acknowledged hooks stand in the ledger", kept == taken, f"it has {kept}")
    yield Claim("Forged hooks left no trace", traces == 0, f"{traces} are in the ledger")


def as_ordered(order: Order, one: Seen) -> bool:
    """Whether an order ended as it should where its story was told, with the money that its buyer paid."""
    if order.ending != "counted":
        return one.fate.state == order.ending and one.kept == one.server == 0
    amount, _, currency = one.money.partition(" ")
    paid = amount and Decimal(amount) == order.value and currency == order.currency
    return one.fate.state == "delivered" and bool(paid)
