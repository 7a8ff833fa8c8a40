"""Hooks that are written in one transaction: each gets what it would have got alone."""

import msgspec
from sqlalchemy import select

from tests.contract.deliveries import EVENTS
from webhooks.clock import now_ms
from webhooks.entries import Arrival, NewDelivery, NewEvent
from webhooks.ledger import Recorded, _Told
from webhooks.relay import Relay
from webhooks.schema import deliveries, hooks
from webhooks.tombstones import Traces, lay


def told(key: str, body: str, *, mark: str = "") -> _Told:
    """A hook of the order ``key``."""
    event = msgspec.structs.replace(EVENTS["web_full"], key=key, order_id=key)
    arrival = Arrival(
        store="shopify",
        shop="shopify",
        digest=body.encode(),
        topic="orders/paid",
        received_at=now_ms(),
        sealed=b"sealed",
        verdict="event",
        order_id=key,
    )
    share = NewDelivery("meta", "meta", key, arrival.received_at + 1_000_000)
    traces = Traces(marks="", orders=(mark,), people=(), ordered_at=0, digest=f"erased {body}".encode())
    return _Told(arrival, NewEvent(event, b"sealed", [share]), (), "webhook", traces, None)


def test_each_hook_of_a_batch_has_its_own_answer(relay: Relay) -> None:
    with relay.database.write() as db:
        lay(relay.database, db, "shopify", ["gone"], now_ms(), "erasure", None)
    batch = [
        told("1001", "a"),
        told("1001", "a"),  # sent twice at once
        told("1001", "b"),  # told by another topic
        told("1002", "z", mark="gone"),
        told("1003", "c"),
    ]
    with relay.database.write() as db:
        first, again, other, erased, last = relay.ledger._record(db, batch)
    assert (first.is_new, again.is_new, other.is_new, last.is_new) == (True, False, False, True)
    assert first.event == again.event == other.event != last.event
    assert (first.hook == again.hook, first.hook == other.hook) == (True, False)
    assert erased == Recorded(erased.hook, None, False, is_erased=True, heard_at=erased.heard_at)
    assert [one.is_erased for one in (first, again, other, last)] == [False] * 4
    with relay.database.read() as db:
        columns = (hooks.c.digest, hooks.c.verdict, hooks.c.repeats, hooks.c.sealed)
        written = {bytes(row[0]): tuple(row[1:]) for row in db.execute(select(*columns))}
        shares = db.execute(select(deliveries.c.event_id).order_by(deliveries.c.event_id)).scalars().all()
    assert written == {
        b"a": ("event", 1, b"sealed"),
        b"b": ("duplicate", 0, b"sealed"),
        b"c": ("event", 0, b"sealed"),
        b"erased z": ("not_an_event", 0, None),
    }
    assert shares == ["1001", "1003"]


def test_many_marks_are_all_looked_for(relay: Relay) -> None:
    with relay.database.write() as db:
        lay(relay.database, db, "shopify", ["mark 7", "mark 150"], now_ms(), "erasure", None)
    several = [told(str(number), "any", mark=f"mark {number}").traces for number in range(200)]
    with relay.database.read() as db:
        covered = relay.ledger._tombstones.cover(db, several)
    assert [number for number, is_covered in enumerate(covered) if is_covered] == [7, 150]
