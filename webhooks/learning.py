"""What is learned of an event after it was recorded: above all, that its buyer has answered about consent.

`write` is the one sentence that changes a recorded event. Within its transaction the new answer is kept
beside the old ones, what was suppressed and may go out now is due again under the same event_id, and what has
not gone out and must not is suppressed. What is on the wire at that moment has gone out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select, update

from integrations import consent
from integrations import event as events_of
from integrations.destination import Outcome
from integrations.event import Consent, Event
from webhooks import filters, judging, reporting
from webhooks.entries import answers
from webhooks.relay import Relay
from webhooks.schema import attempts, consents, deliveries, events
from webhooks.vault import Sealed

log = reporting.logger(__name__)

_ANSWERS = tuple(answers(Consent()))
_MOVABLE = ("due", "held", "suppressed")
_BY_SETTINGS = frozenset({"event_not_taken", *(setting.name for setting in filters.SETTINGS)})
"""What was suppressed for these was not for want of knowledge."""


_NO_LEASE = {"batch": None, "previous_batch": None}


def hear(relay: Relay, number: int, told: Event, at: int, now: int, via: str = "webhook") -> bool:
    """A later hook, heard ``at`` (milliseconds), tells of a known event: takes its answer over if it counts
    more than the known one, with what the storefront attached besides. True if deliveries became due."""
    if told.consent == Consent() or not _differs(relay, number, told.consent):
        return False
    with relay.database.write() as db:
        row = _locked(db, number)
        known = _opened(relay, row)
        if row is None or known is None:
            return False
        merged = consent.later(known.consent, row["received_at"], told.consent, at)
        if merged == known.consent:
            return False
        attributes = {**told.attributes, **known.attributes}
        changed = msgspec.structs.replace(known, consent=merged, attributes=attributes)
        is_due = write(relay, db, number, changed, via, now)
    return _pass_on(relay, changed, via, now) or is_due


def write(relay: Relay, db: Connection, number: int, event: Event, via: str, now: int) -> bool:
    """Writes down what an event is now, in the transaction that has locked it, and moves its deliveries
    accordingly. ``via``: who brought the news. True if deliveries became due."""
    row = db.execute(select(events).where(events.c.id == number)).mappings().one()
    if (event.consent.at or 0) > now:  # by a browser's clock, which must not have the last word for ever
        event = msgspec.structs.replace(event, consent=msgspec.structs.replace(event.consent, at=now))
    told = answers(event.consent)
    sealed = relay.vault.seal(events_of.encode(event))
    db.execute(update(events).where(events.c.id == number).values(sealed=sealed, **told))
    if any(told[name] != row[name] for name in _ANSWERS):
        _remember(db, row, told, via, now)
    return _move(relay, db, number, event, now)


def pass_on(relay: Relay, number: int, via: str, now: int) -> bool:
    """Tells the refunds of a purchase what was learned of it; to be called after the transaction."""
    with relay.database.read() as db:
        row = db.execute(select(events).where(events.c.id == number)).mappings().first()
    known = _opened(relay, row)
    return known is not None and _pass_on(relay, known, via, now)


def _pass_on(relay: Relay, purchase: Event, via: str, now: int) -> bool:
    """Each refund in a transaction of its own: a worker may hold it together with its purchase."""
    of_order = (
        events.c.shop == purchase.shop,
        events.c.order_id == purchase.order_id,
        events.c.event_name != purchase.event_name,
        events.c.key.startswith(f"{purchase.key}:", autoescape=True),
    )
    with relay.database.read() as db:
        ids = db.execute(select(events.c.id).where(*of_order)).scalars().all()
    is_due = False
    for one in ids:
        with relay.database.write() as db:
            known = _opened(relay, _locked(db, one))
            if known is not None and known.consent != purchase.consent:
                attributes = {**purchase.attributes, **known.attributes}
                changed = msgspec.structs.replace(known, consent=purchase.consent, attributes=attributes)
                is_due |= write(relay, db, one, changed, via, now)
    return is_due


# --- the event -------------------------------------------------------------------------------------------


def _differs(relay: Relay, number: int, told: Consent) -> bool:
    """Whether an answer is another one than the known: most hooks of an order repeat it."""
    columns = [events.c[name] for name in consent.PURPOSES]
    with relay.database.glance() as db:
        known = db.execute(select(*columns).where(events.c.id == number)).first()
    wanted = (getattr(told, name) for name in consent.PURPOSES)
    return known is not None and any(new and new != old for new, old in zip(wanted, known, strict=True))


def _locked(db: Connection, number: int) -> RowMapping | None:
    return db.execute(select(events).where(events.c.id == number).with_for_update()).mappings().first()


def _opened(relay: Relay, row: RowMapping | None) -> Event | None:
    """None if it was forgotten meanwhile, or cannot be read: then it will not be sent either."""
    if row is None or row["sealed"] is None:
        return None
    try:
        return events_of.decode(relay.vault.open(row["sealed"]))
    except (Sealed, msgspec.MsgspecError) as error:
        log.warning("an event whose buyer has answered cannot be read", error=error, shop=row["shop"])
        return None


def _remember(db: Connection, row: RowMapping, told: Mapping[str, Any], via: str, now: int) -> None:
    """Keeps the new answer, and the very first one with it: the event's own columns hold the last alone."""
    known = select(consents.c.id).where(consents.c.event == row["id"]).limit(1)
    rows = [{"event": row["id"], "learned_at": now, "via": via, **told}]
    if db.execute(known).first() is None:
        first = {name: row[name] for name in _ANSWERS}
        rows.insert(0, {"event": row["id"], "learned_at": row["received_at"], "via": row["source"], **first})
    db.execute(insert(consents), rows)


# --- its deliveries --------------------------------------------------------------------------------------


def _move(relay: Relay, db: Connection, number: int, event: Event, now: int) -> bool:
    movable = (deliveries.c.event == number, deliveries.c.state.in_(_MOVABLE))
    chosen = select(deliveries).where(*movable).order_by(deliveries.c.id).with_for_update()
    rows = db.execute(chosen).mappings().all()
    on_wire = _on_wire(db, rows)
    is_due = False
    for row in rows:
        values = _judged(relay, row, event, now) if row["id"] not in on_wire else {}
        if values:
            db.execute(update(deliveries).where(deliveries.c.id == row["id"]).values(values))
            is_due |= values.get("state") == "due"
    return is_due


def _on_wire(db: Connection, rows: Sequence[RowMapping]) -> set[int]:
    """Those that a worker has begun to send."""
    leased = {row["id"]: row["batch"] for row in rows if row["batch"] is not None}
    if not leased:
        return set()
    begun = select(attempts.c.delivery, attempts.c.batch).where(
        attempts.c.delivery.in_(leased), attempts.c.closed_at.is_(None)
    )
    return {delivery for delivery, batch in db.execute(begun) if leased[delivery] == batch}


def _judged(relay: Relay, row: RowMapping, event: Event, now: int) -> dict[str, Any]:
    """What becomes of a delivery; nothing if all stays as it is."""
    account = relay.settings.account(row["account"])
    if account is None:
        return {}
    decision, no = judging.decide(relay, account, event, now)
    if row["state"] == "suppressed" and row["reason"] not in _BY_SETTINGS:
        if no is None and row["expires_at"] > now:
            return {"state": "due", "due_at": now, "reason": "", "detail": ""}
        return _suppressed(no, decision.basis) if no and no.reason != row["reason"] else {}
    if row["state"] == "suppressed":
        return {}
    if decision.outcome:  # of what waits only consent is judged again: all else is the worker's to find out
        return _suppressed(decision.outcome, decision.basis)
    # Whoever holds it has read what was known before: they find their lease gone.
    return {**_NO_LEASE, "state": "due", "due_at": now} if row["batch"] is not None else {}


def _suppressed(no: Outcome, basis: str) -> dict[str, Any]:
    why = {"state": "suppressed", "reason": no.reason, "detail": no.detail, "basis": basis}
    return why | _NO_LEASE
