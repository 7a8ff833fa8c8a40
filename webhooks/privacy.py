"""Privacy duties: what people ask for is written down with the hook that brings it, and done by the sweep.

An erasure goes over the ledger at least twice, some minutes apart: what was arriving or on the wire at the
first time is there at the second. It is done when nothing is left, in the database's files neither. A copy
of somebody's data is a file for the shop's owner, which is removed by itself.
"""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import and_, select, update

from integrations.privacy import Wish
from webhooks import copying, erasure, reporting
from webhooks.audit import Entry
from webhooks.clock import DAY, MINUTE, milliseconds, now_ms
from webhooks.entries import NewWish
from webhooks.erasure import Erased, Found
from webhooks.ledger import insert_wish
from webhooks.relay import Relay
from webhooks.schema import wishes
from webhooks.vault import Sealed

log = reporting.logger(__name__)

COMMAND = "command"
"""The origin of a wish that was told by command, for stores that send none."""

KEEP_COPY = 14 * DAY
"""So long a copy waits for the shop's owner."""

BUDGET_SECONDS = 10.0
"""For one round: a sweep has more to do."""

SOONEST = 2 * MINUTE
"""Until the second look: longer than any transaction of an intake takes."""

_EXPORT_WAITS = "privacy_export_waits"
_STUCK = "privacy_stuck"


class WishTold(msgspec.Struct, frozen=True, kw_only=True):
    """A wish as it may be shown: nobody's name."""

    id: int
    store: str
    shop: str
    action: str
    origin: str
    received_at: int
    state: str
    due_at: int | None
    passes: int
    orders: int
    records: int
    suppressed: int
    done_at: int | None


class Done(msgspec.Struct, frozen=True):
    """What one look came to."""

    wish: int
    found: Found
    erased: Erased
    file: Path | None = None


def listed(relay: Relay, limit: int = 200) -> list[WishTold]:
    """The wishes, the newest first."""
    columns = [wishes.c[name] for name in WishTold.__struct_fields__]
    with relay.database.read() as db:
        rows = db.execute(select(*columns).order_by(wishes.c.id.desc()).limit(limit)).mappings()
        return [WishTold(**row) for row in rows]


def take(relay: Relay, store: str, shop: str, wish: Wish) -> int:
    """Writes down what was told by command, for the sweep or `work`; returns its number."""
    new = NewWish(shop, wish.action, relay.vault.seal(msgspec.msgpack.encode(wish)))
    entry = Entry(f"privacy {wish.action}", f"shop={shop} wish={wish!r}")
    with relay.database.write() as db:
        entry.add(db, 1)
        return insert_wish(db, new, store=store, origin=COMMAND, at=now_ms())


def work_due(relay: Relay, stopping: threading.Event) -> int:
    """Does what is due, for a while; returns how many looks were taken."""
    until, count = time.monotonic() + BUDGET_SECONDS, 0
    while time.monotonic() < until and not stopping.is_set():
        row = _take_due(relay)
        if row is None:
            break
        count += 1
        try:
            _look(relay, row, stopping)
        except Sealed as error:
            reporting.alert("broken", "A privacy request cannot be opened", error=error, shop=row["shop"])
    copying.remove_others(relay, _wanted_files(relay))
    return count


def work(relay: Relay, number: int) -> Done | None:
    """Looks at one wish now; None if it is done already."""
    row = _take_due(relay, number)
    return None if row is None else _look(relay, row, threading.Event())


def waiting(relay: Relay, number: int) -> tuple[str, Wish] | None:
    """The shop and the wish of a copy that waits for its reader; None if there is none."""
    which = and_(wishes.c.id == number, wishes.c.state == "waiting")
    with relay.database.read() as db:
        row = db.execute(select(wishes.c.shop, wishes.c.sealed).where(which)).first()
    if row is None:
        return None
    return row.shop, msgspec.msgpack.decode(relay.vault.open(row.sealed), type=Wish)


def handed_over(relay: Relay, number: int) -> bool:
    """Ends the waiting of a copy that its reader has; False if there is none. The sweep removes the file."""
    with relay.database.write() as db:
        waiting = and_(wishes.c.id == number, wishes.c.state == "waiting")
        shop = db.execute(select(wishes.c.shop).where(waiting)).scalar()
        if shop is not None:
            _finish(db, number)
    if shop is not None:
        _tell_of_copies(relay, shop)
    return shop is not None


# --- one look ----------------------------------------------------------------------------------------------


def _take_due(relay: Relay, number: int | None = None) -> Mapping[Any, Any] | None:
    """Takes a wish that is due; whoever else comes finds it later, if we die over it."""
    now = now_ms()
    which = (
        wishes.c.due_at <= now if number is None else and_(wishes.c.id == number, wishes.c.state == "open")
    )
    chosen = select(wishes.c.id).where(which).order_by(wishes.c.due_at).limit(1)
    due = chosen.with_for_update(skip_locked=True).cte("due")
    take = (
        update(wishes)
        .where(wishes.c.id.in_(select(due.c.id)))
        .values(due_at=now + SOONEST, passes=wishes.c.passes + 1)
        .returning(wishes)
    )
    with relay.database.write() as db:
        return db.execute(take).mappings().first()


def _look(relay: Relay, row: Mapping[Any, Any], stopping: threading.Event) -> Done:
    if row["state"] == "waiting":  # nobody has come for the copy
        with relay.database.write() as db:
            _finish(db, row["id"])
        _tell_of_copies(relay, row["shop"])
        return Done(row["id"], Found(), Erased())
    wish = msgspec.msgpack.decode(relay.vault.open(row["sealed"]), type=Wish)
    _tell_if_stuck(relay, row)
    return _copy(relay, row, wish) if wish.action == "export" else _erase(relay, row, wish, stopping)


def _copy(relay: Relay, row: Mapping[Any, Any], wish: Wish) -> Done:
    found = erasure.find(relay, row["shop"], wish)
    file = copying.write(relay, row["id"], row["passes"], row["shop"], found)
    count = len(found.events) + len(found.hooks)
    values = {"state": "waiting", "due_at": now_ms() + KEEP_COPY, "orders": len(found.orders)}
    values |= {"records": count}
    with relay.database.write() as db:
        db.execute(update(wishes).where(wishes.c.id == row["id"]).values(values))
    _tell_of_copies(relay, row["shop"])
    log.info("a copy of a customer's data was made", shop=row["shop"], count=count)
    return Done(row["id"], found, Erased(), file)


def _erase(relay: Relay, row: Mapping[Any, Any], wish: Wish, stopping: threading.Event) -> Done:
    found, why = erasure.find(relay, row["shop"], wish), row["origin"]
    orders = found.orders | erasure.names(relay, found)
    _remember(relay, row, msgspec.structs.replace(wish, orders=tuple(sorted(orders))))
    erasure.bury(relay, row["shop"], wish, found, row["received_at"], why)
    erased = erasure.erase(relay, row["shop"], found)
    for part in erasure.everything(relay, row["shop"]) if wish.everything else ():
        if stopping.is_set():
            break
        erasure.bury(relay, row["shop"], wish, part, row["received_at"], why)
        _add(erased, erasure.erase(relay, row["shop"], part))
        found.orders |= part.orders
    _withdraw_copies(relay, row["shop"])
    is_left = bool(erased.records or erased.suppressed or erased.in_flight or stopping.is_set())
    is_gone = relay.database.wipe()
    with relay.database.write() as db:
        again = _another_look(relay) if row["passes"] < 2 or is_left or not is_gone else None
        _note(db, row, found, erased, again)
        if again is None:
            _end(relay, db, row)
    log.info("a privacy request was worked at", shop=row["shop"], count=erased.records)
    return Done(row["id"], found, erased)


def _remember(relay: Relay, row: Mapping[Any, Any], wish: Wish) -> None:
    """Before anything is erased: the next look would find nothing more by the customer's name."""
    sealed = relay.vault.seal(msgspec.msgpack.encode(wish))
    with relay.database.write() as db:
        db.execute(update(wishes).where(wishes.c.id == row["id"]).values(sealed=sealed))


def _note(db: Any, row: Mapping[Any, Any], found: Found, erased: Erased, due_at: int | None) -> None:
    counted = {
        "orders": max(row["orders"], len(found.orders)),
        "records": row["records"] + erased.records,
        "suppressed": row["suppressed"] + erased.suppressed,
    }
    db.execute(update(wishes).where(wishes.c.id == row["id"]).values(**counted, due_at=due_at))


def _end(relay: Relay, db: Any, row: Mapping[Any, Any]) -> None:
    """The request itself names its customer, too."""
    if row["hook"] is not None:
        erasure.erase_hooks(relay, db, [row["hook"]], Erased())
    _finish(db, row["id"])


def _finish(db: Any, number: int) -> None:
    values = {"state": "done", "due_at": None, "done_at": now_ms(), "sealed": None}
    db.execute(update(wishes).where(wishes.c.id == number).values(values))


def _add(total: Erased, more: Erased) -> None:
    total.records += more.records
    total.suppressed += more.suppressed
    total.in_flight += more.in_flight


def _another_look(relay: Relay) -> int:
    """When what is on the wire now has landed, or its lease has run out."""
    return now_ms() + max(SOONEST, 2 * milliseconds(relay.settings.lease_seconds))


# --- copies ------------------------------------------------------------------------------------------------


def _withdraw_copies(relay: Relay, shop: str) -> None:
    """Copies that wait are made anew after an erasure: what was taken away must not stand in them."""
    waiting = and_(wishes.c.shop == shop, wishes.c.state == "waiting")
    again = {"state": "open", "due_at": now_ms(), "passes": wishes.c.passes + 1}
    with relay.database.write() as db:
        db.execute(update(wishes).where(waiting).values(again))
    copying.remove_others(relay, _wanted_files(relay))


def _wanted_files(relay: Relay) -> list[tuple[int, int]]:
    """Of wishes that are worked at, too: the file is there before the ledger says so."""
    copies = and_(wishes.c.action == "export", wishes.c.due_at.is_not(None))
    with relay.database.read() as db:
        return [tuple(row) for row in db.execute(select(wishes.c.id, wishes.c.passes).where(copies))]


def _tell_of_copies(relay: Relay, shop: str) -> None:
    waiting = and_(wishes.c.shop == shop, wishes.c.state == "waiting")
    with relay.database.read() as db:
        count = len(db.execute(select(wishes.c.id).where(waiting)).all())
    if not count:
        relay.alerts.clear(_EXPORT_WAITS, shop)
        return
    relay.alerts.raise_(
        _EXPORT_WAITS,
        shop,
        "A customer asked for their data; the copy waits for the shop's owner",
        "`purchase-relay privacy list` names it; hand it over, then say `purchase-relay privacy handed-over`",
        count=count,
    )


def _tell_if_stuck(relay: Relay, row: Mapping[Any, Any]) -> None:
    """The law gives a month; something that is in the way must be noticed before."""
    if now_ms() - row["received_at"] > 7 * DAY:
        relay.alerts.raise_(
            _STUCK,
            row["shop"],
            "A privacy request is not done after a week",
            "`purchase-relay privacy list` shows it; the worker's log says what is in the way",
        )
    else:
        relay.alerts.clear(_STUCK, row["shop"])
