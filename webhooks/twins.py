"""Beacons in the ledger, until their order is there and after: the few sentences about twins.

An order and its beacon come in any order, within milliseconds or days. Each side first commits what it has,
then looks for the other: whoever is second finds both. `joining.py` says what then happens.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from webhooks.database import Database
from webhooks.schema import bridges, deliveries, events, sightings, twins
from webhooks.together import Together

OF_AN_ORDER = 6
"""Beacons of one order that are kept. A page that is reloaded tells the same again, which counts once."""

DENIALS = 6
"""So many more if they decline: a no must be heard, however often the page has said yes."""

ALONE = 5_000
"""Beacons of a shop that are kept although no order of theirs is here: an order of today's is paid tomorrow,
and anybody can make some up. The oldest go first."""

PRUNE_EVERY = 100

AWAITS = "awaits_browser"
"""The reason of a delivery that waits for its order's beacon."""


class Expected(msgspec.Struct, frozen=True):
    """What a new order has to do with browsers: ``bridges`` by which a beacon finds it, and for how many
    milliseconds its deliveries wait for one."""

    bridges: Sequence[bytes] = ()
    wait: int = 0


NOTHING_EXPECTED = Expected()


class NewTwin(msgspec.Struct, frozen=True):
    """A beacon to write down. ``bridges``: by which its order finds it, the one that is hardest to guess
    first."""

    shop: str
    digest: bytes
    bridges: Sequence[bytes]
    denies: bool
    received_at: int
    sealed: bytes


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser fired at an account's pixel; see the table."""

    account: str
    kind: str
    shape: str
    own: bool
    digest: bytes


def expect(db: Connection, event: int, found: Expected) -> None:
    """Lets beacons find an order, within the transaction that records it."""
    if found.bridges:
        db.execute(_NEW_BRIDGE, [{"digest": digest, "event": event} for digest in found.bridges])


class Twins:
    """The sentences of the beacon."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._new = database.insert(twins).on_conflict_do_nothing().returning(twins.c.id)
        self._together: Together[NewTwin, bool] = Together(database, self._record_all, lambda new: new.digest)
        self._until_pruned = PRUNE_EVERY

    def record(self, new: NewTwin) -> bool:
        """Writes it down; False if it adds nothing: it was told before, or its order has enough of them."""
        return self._together(new)

    def _record_all(self, db: Connection, several: Sequence[NewTwin]) -> list[bool]:
        return [self._record(db, new) for new in several]

    def _record(self, db: Connection, new: NewTwin) -> bool:
        most = OF_AN_ORDER + (DENIALS if new.denies else 0)
        known = select(func.count()).where(bridges.c.digest == new.bridges[0], bridges.c.twin.is_not(None))
        if db.execute(known).scalar_one() >= most:
            return False
        row = {name: getattr(new, name) for name in ("shop", "digest", "received_at", "sealed")}
        twin = db.execute(self._new, row).scalar()
        if twin is None:
            return False
        db.execute(insert(bridges), [{"digest": one, "twin": twin} for one in new.bridges])
        self._until_pruned -= 1
        if self._until_pruned <= 0:
            self._until_pruned = PRUNE_EVERY
            self._prune(db, new.shop)
        return True

    def _prune(self, db: Connection, shop: str) -> None:
        """Forgets the oldest of those that no order has come for."""
        alone = (twins.c.shop == shop, twins.c.event.is_(None))
        last = select(twins.c.id).where(*alone).order_by(twins.c.id.desc()).offset(ALONE).limit(1)
        newest = db.execute(last).scalar()
        if newest is not None:
            some = select(twins.c.id).where(*alone, twins.c.id <= newest).order_by(twins.c.id)
            _remove(db, list(db.execute(some.limit(10 * PRUNE_EVERY)).scalars()))

    def any_alone(self, found: Sequence[bytes]) -> bool:
        """Whether a beacon is here that no order has come for, and that has one of these bridges."""
        with self.database.glance() as db:
            return db.execute(_alone(found, twins.c.id).limit(1)).first() is not None

    def orders(self, shop: str, found: Sequence[bytes]) -> list[int]:
        """The purchases of the shop that have one of these bridges, the last one first. Test orders may have
        the same name, so there can be several."""
        named = select(bridges.c.event).where(bridges.c.digest.in_(found), bridges.c.event.is_not(None))
        of_shop = select(events.c.id).where(events.c.id.in_(named), events.c.shop == shop)
        with self.database.read() as db:
            return list(db.execute(of_shop.order_by(events.c.id.desc()).limit(5)).scalars())

    # --- within the transaction of a join -----------------------------------------------------------------

    def order(self, db: Connection, event: int) -> bytes | None:
        """The sealed order, locked; None if it was forgotten."""
        known = select(events.c.sealed).where(events.c.id == event).with_for_update()
        return db.execute(known).scalar()

    def alone(self, db: Connection, found: Sequence[bytes]) -> list[dict[str, Any]]:
        """The beacons that have one of these bridges and no order yet, the first one first."""
        columns = (twins.c.id, twins.c.sealed)
        rows = db.execute(_alone(found, *columns).order_by(twins.c.id).limit(20)).mappings()
        return [dict(row) for row in rows]

    def empty(self, db: Connection, found: Sequence[bytes], event: int) -> None:
        """Forgets what browsers tell of an order that was forgotten."""
        late = _alone(found, twins.c.id)
        db.execute(update(twins).where(twins.c.id.in_(late)).values(event=event, sealed=None))

    def give(self, db: Connection, twin: int, event: int, fit: str) -> None:
        """Says which order a beacon is about."""
        db.execute(update(twins).where(twins.c.id == twin).values(event=event, fit=fit))

    def ids(self, db: Connection, event: int) -> dict[str, str]:
        """The event_id of each account's delivery."""
        sent = select(deliveries.c.account, deliveries.c.event_id).where(deliveries.c.event == event)
        return {row.account: row.event_id for row in db.execute(sent)}

    def fired_before(self, db: Connection, event: int, account: str) -> set[bytes]:
        """The ids (hashed) under which the shop's own snippet has fired this order."""
        of_order = (sightings.c.event == event, sightings.c.account == account, sightings.c.own)
        return set(db.execute(select(sightings.c.digest).where(*of_order)).scalars())

    def fired_for_another(self, db: Connection, event: int, account: str, digest: bytes) -> bool:
        """Whether another order was fired under this id."""
        same = (sightings.c.account == account, sightings.c.digest == digest, sightings.c.event != event)
        return db.execute(select(sightings.c.id).where(*same).limit(1)).first() is not None

    def note(self, db: Connection, twin: int, event: int, seen: Sequence[Sighting]) -> None:
        """Writes down what the browser fired."""
        rows = [{"twin": twin, "event": event, **msgspec.structs.asdict(one)} for one in seen]
        if rows:
            db.execute(insert(sightings), rows)

    def release(self, db: Connection, event: int, now: int) -> bool:
        """Ends the wait for the order's beacon: its deliveries are due. True if one of them did wait."""
        waits = (deliveries.c.event == event, deliveries.c.state == "due", deliveries.c.reason == AWAITS)
        free = update(deliveries).where(*waits, deliveries.c.batch.is_(None)).values(due_at=now, reason="")
        return bool(db.execute(free.returning(deliveries.c.id)).all())


def _remove(db: Connection, ids: Sequence[int]) -> None:
    if ids:
        db.execute(delete(bridges).where(bridges.c.twin.in_(ids)))
        db.execute(delete(sightings).where(sightings.c.twin.in_(ids)))
        db.execute(delete(twins).where(twins.c.id.in_(ids)))


_NEW_BRIDGE = insert(bridges)


def _alone(found: Sequence[bytes], *columns: Any) -> Any:
    named = select(bridges.c.twin).where(bridges.c.digest.in_(found), bridges.c.twin.is_not(None))
    return select(*columns).where(twins.c.id.in_(named), twins.c.event.is_(None), twins.c.sealed.is_not(None))
