"""Choose deliveries and send again, under the same event_id and with a retry budget of their own.

What arrived is never chosen by accident: neither what was delivered nor what may have been counted, unless
the order is asked for by name. What is forgotten, or too old for its destination, is never chosen.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Case, ColumnElement, case, literal, select, update

from webhooks.audit import Entry
from webhooks.clock import SECOND, now_ms, rfc3339
from webhooks.questions import STATES, of_order, told_by
from webhooks.relay import Relay
from webhooks.schema import UNDONE, deliveries, events
from webhooks.tombstones import ERASED

CHOSEN_BY_DEFAULT = ("due", "refused", "broken")
"""What has not arrived and may still: `due` skips its pause. What is held waits for `release`; expired and
suppressed ones ended for a reason that sending again does not change, so they must be named."""

CHUNK = 500
PAUSE = 2 * SECOND
"""So many deliveries in one transaction, each chunk due that much (milliseconds) after the one before: a
large replay trickles past the orders that come in meanwhile instead of standing in front of them."""

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


class BadQuestion(ValueError):
    """The question chooses too much or nothing that could be; the message says what to add."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries to send again. ``since``: of events received from then on, in milliseconds.

    ``delivered`` adds those that arrived, and needs an order.
    """

    shop: str = ""
    order: str = ""
    account: str = ""
    destination: str = ""
    states: tuple[str, ...] = ()
    since: int | None = None
    delivered: bool = False

    @property
    def by_name(self) -> bool:
        """Whether somebody has looked at this very order: then what may have been counted is sent, too."""
        return bool(self.order)

    @property
    def chosen_states(self) -> tuple[str, ...]:
        """The states to choose from."""
        named = tuple(one for one in self.states if one != "delivered") or CHOSEN_BY_DEFAULT
        return (*named, "delivered") if self.delivered else named

    def __str__(self) -> str:
        words = {
            **{name: getattr(self, name) for name in ("shop", "order", "account", "destination")},
            "states": ",".join(self.chosen_states),
            "since": rfc3339(self.since),
        }
        return " ".join(f"{name}={word}" for name, word in words.items() if word)


class Plan(msgspec.Struct, frozen=True):
    """What a question chooses: the ids, their number per state and per account, and how many were left
    out for which reason."""

    question: Question
    ids: list[int]
    states: dict[str, int]
    accounts: dict[str, int]
    left_out: dict[str, int]


def check(question: Question) -> None:
    """Raises `BadQuestion` for one that must not be answered."""
    narrow = (question.order, question.account, question.destination, question.states, question.shop)
    if not any(narrow) and question.since is None:
        raise BadQuestion("say what to send again: an order, an account, a destination, a state or a time")
    if question.order and not question.shop:
        raise BadQuestion("an order's number is only known within a shop: name the shop as well")
    if question.delivered and not question.by_name:
        raise BadQuestion("what was delivered is sent again only by name: give its order")
    if "delivered" in question.states and not question.delivered:
        raise BadQuestion("what was delivered would be sent twice: give its order and ask for it expressly")
    if unknown := sorted(set(question.states) - set(STATES)):
        raise BadQuestion(f"{unknown[0]!r} is not a state; there are {', '.join(STATES)}")


def plan(relay: Relay, question: Question) -> Plan:
    """Looks, and changes nothing. Raises `BadQuestion`."""
    check(question)
    ids: list[int] = []
    states: Counter[str] = Counter()
    of_accounts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    fate = _fate(question, now_ms()).label("fate")
    columns = (deliveries.c.id, deliveries.c.state, deliveries.c.account, fate)
    asked = select(*columns).join_from(deliveries, events).where(*_asked(question)).order_by(deliveries.c.id)
    with relay.database.read() as db:
        for number, state, account, why in db.execute(asked.execution_options(yield_per=CHUNK)):
            if why:
                left_out[why] += 1
                continue
            ids.append(number)
            states[state] += 1
            of_accounts[account] += 1
    return Plan(question, ids, dict(states), dict(of_accounts), dict(left_out))


def apply(relay: Relay, chosen: Plan, progress: Progress = lambda _done, _of: None) -> int:
    """Makes what was chosen due again; returns how many. What changed since the plan was made is skipped.

    Short transactions: cut off, it may simply be asked again.
    """
    entry, start, total = Entry("replay", str(chosen.question)), now_ms(), 0
    for first in range(0, len(chosen.ids), CHUNK):
        chunk = chosen.ids[first : first + CHUNK]
        due_at = start + first // CHUNK * PAUSE
        with relay.database.write() as db:
            changed = db.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(chunk), deliveries.c.batch.is_(None))
                .where(deliveries.c.state.in_(chosen.question.chosen_states))
                .values(_fresh(chosen.question, due_at))
            ).rowcount
            entry.add(db, changed)
        total += changed
        progress(first + len(chunk), len(chosen.ids))
    return total


def _fresh(question: Question, due_at: int) -> dict[str, Any]:
    """A new budget. `ambiguous` stays for whoever reads the story; by name it must not stop the delivery,
    so the time from which its destination's memory counts begins anew."""
    values: dict[str, Any] = {"state": "due", "due_at": due_at, "reason": "", "detail": ""}
    values |= {"attempts": 0, "crashes": 0, "previous_batch": None, "confirm_at": None, "confirmed": ""}
    return values | ({"first_sent_at": None} if question.by_name else {})


def _asked(question: Question) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if question.order:  # of these few every state is looked at, to say why something is left out
        named = of_order([events.c.id], question.shop, question.order).order_by(None)
        conditions.append(deliveries.c.event.in_(named))
    else:
        conditions += [deliveries.c.state.in_(question.chosen_states), UNDONE]
    for name in ("account", "destination"):
        if value := getattr(question, name):
            conditions.append(deliveries.c[name] == value)
    narrowed = told_by(question.shop, question.since)
    return conditions if narrowed is None else [*conditions, deliveries.c.event.in_(narrowed)]


def _fate(question: Question, now: int) -> Case[str]:
    """Why a delivery that was asked for is left out; empty if it is not."""
    doubtful = deliveries.c.reason == "uncertain"
    return case(
        (deliveries.c.state.not_in(question.chosen_states), deliveries.c.state),
        (deliveries.c.batch.is_not(None), "in_flight"),
        (events.c.erased_at.is_not(None), ERASED),
        (events.c.sealed.is_(None), "forgotten"),
        (deliveries.c.expires_at <= now, "too_old"),
        (doubtful & literal(not question.by_name), "may_have_been_counted"),
        else_="",
    )
