"""Questions to the ledger: what became of an order, which deliveries wait and why, what stands in it.

Reads alone, in short transactions and through indexes, so that they may be asked while everything runs.
Nothing here opens what is sealed: no answer holds a secret or anything personal. Figures: `figures.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, select, union

from integrations.consent import PURPOSES
from webhooks import proof
from webhooks.clock import rfc3339
from webhooks.database import Database
from webhooks.proof import Answers
from webhooks.schema import UNDONE, accounts, attempts, deliveries, events, hooks

STATES = ("due", "held", "delivered", "refused", "expired", "suppressed", "broken")
"""Every state of a delivery in the ledger, the unfinished first."""

PAGE = 500
"""Rows of one page at most."""

CHUNK = 1_000
"""Rows that an export reads at a time: each chunk is a transaction of its own and blocks nobody."""

_HOOKS_OF_AN_ORDER = 200
_EVENTS_OF_AN_ORDER = 20


class HookTold(msgspec.Struct, frozen=True, kw_only=True):
    """A hook as it may be shown. ``kept``: its sealed content is still there."""

    id: int
    store: str
    shop: str
    order_id: str
    topic: str
    received_at: int
    last_received_at: int
    repeats: int
    verdict: str
    reason: str
    event: int | None
    tries: int
    due_at: int | None
    kept: bool


class AttemptTold(msgspec.Struct, frozen=True, kw_only=True):
    """One try. Without ``closed_at`` it is on the wire, or its worker died."""

    delivery: int
    size: int
    opened_at: int
    closed_at: int | None
    outcome: str
    reason: str
    detail: str
    http_status: int | None
    trace: str


class DeliveryTold(msgspec.Struct, frozen=True, kw_only=True):
    """An event's share of one account, with every attempt, the first one first. ``confirm_at``: it was only
    accepted yet, and this is when its destination is asked next what became of it."""

    id: int
    event: int
    account: str
    destination: str
    event_id: str
    state: str
    reason: str
    detail: str
    due_at: int
    in_flight: bool
    attempts: int
    crashes: int
    ambiguous: bool
    created_at: int
    expires_at: int
    delivered_at: int | None
    trace: str
    confirm_at: int | None
    confirmed: str
    basis: str
    restricted: str
    tries: tuple[AttemptTold, ...] = ()


class EventTold(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its deliveries. ``kept``: its content is still there, so that it can be sent;
    ``erased_at``: somebody wanted it to go. ``answers`` are all that its buyer gave about consent, if there
    were several."""

    id: int
    store: str
    shop: str
    event_name: str
    order_id: str
    order_name: str
    event_time: int
    value: str
    currency: str
    origin: str
    source: str
    received_at: int
    erased_at: int | None
    ad_storage: str
    ad_user_data: str
    ad_personalization: str
    consent_source: str
    consent_at: int | None
    region: str
    kept: bool
    deliveries: tuple[DeliveryTold, ...] = ()
    answers: tuple[Answers, ...] = ()


class Story(msgspec.Struct, frozen=True):
    """Everything the ledger knows of one order. Hooks that named it but are no event belong to it."""

    events: tuple[EventTold, ...]
    hooks: tuple[HookTold, ...]

    def __bool__(self) -> bool:
        return bool(self.events or self.hooks)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An account that takes nothing now: held (its credentials were refused) or resting (it fails a lot).
    At ``probe_at`` one delivery tries again."""

    account: str
    destination: str
    state: str
    reason: str
    detail: str
    since: int
    probe_at: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries to list; what is empty does not narrow. ``since``: of events received from then on.
    ``before``: only deliveries with a smaller id, which is the next page."""

    states: tuple[str, ...] = ()
    account: str = ""
    destination: str = ""
    shop: str = ""
    since: int | None = None
    before: int | None = None
    limit: int = 50


class Questions:
    """The sentences of an operator who looks."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # --- one order ---------------------------------------------------------------------------------------

    def story(self, shop: str, order: str) -> Story:
        """Everything about an order, found by its id or its name, with or without ``#``."""
        with self.database.read() as db:
            found = db.execute(of_order(_EVENT, shop, order).limit(_EVENTS_OF_AN_ORDER)).mappings().all()
            ids = {row["order_id"] for row in found} | set(spellings(order))
            named = (
                select(*_HOOK)
                .where(hooks.c.shop == shop, hooks.c.order_id.in_(ids))
                .order_by(hooks.c.received_at, hooks.c.id)
                .limit(_HOOKS_OF_AN_ORDER)
            )
            heard = [_hook(row) for row in db.execute(named).mappings()]
            numbers = [row["id"] for row in found]
            sent, told = _deliveries_of(db, numbers), proof.answers_of(db, numbers)
        events_told = [EventTold(**row, deliveries=sent[row["id"]], answers=told[row["id"]]) for row in found]
        return Story(tuple(events_told), tuple(heard))

    def standings(self) -> dict[str, Standing]:
        """The accounts that are not open, by their slug."""
        columns = [accounts.c[name] for name in Standing.__struct_fields__]
        with self.database.read() as db:
            rows = db.execute(select(*columns).where(accounts.c.state != "open")).mappings()
            return {row["account"]: Standing(**row) for row in rows}

    # --- many deliveries ---------------------------------------------------------------------------------

    def deliveries(self, wanted: Wanted) -> list[dict[str, Any]]:
        """One page of deliveries, the newest first, as `export` tells them."""
        page = listing(wanted).subquery()
        chosen = _export(deliveries.c.id.in_(select(page.c.id))).order_by(deliveries.c.id.desc())
        with self.database.read() as db:
            return [told(row) for row in db.execute(chosen).mappings()]

    def export(self) -> Iterator[list[dict[str, Any]]]:
        """Every delivery with the facts of its event, in chunks, the oldest first."""
        last = 0
        while rows := self._chunk(_export(deliveries.c.id > last).order_by(deliveries.c.id)):
            yield [told(row) for row in rows]
            last = rows[-1]["delivery"]

    def export_hooks(self) -> Iterator[list[dict[str, Any]]]:
        """Every hook, in chunks, the oldest first."""
        last = 0
        while rows := self._chunk(select(*_HOOK).where(hooks.c.id > last).order_by(hooks.c.id)):
            yield [as_plain(_hook(row)) for row in rows]
            last = rows[-1]["id"]

    def _chunk(self, statement: Select[Any]) -> Sequence[RowMapping]:
        with self.database.read() as db:
            return db.execute(statement.limit(CHUNK)).mappings().all()

    # --- hooks that were put aside -----------------------------------------------------------------------

    def quarantine(self, *, shop: str = "", before: int | None = None, limit: int = 50) -> list[HookTold]:
        """One page of quarantined hooks, the newest first."""
        aside = select(*_HOOK).where(hooks.c.verdict == "quarantined").order_by(hooks.c.id.desc())
        if shop:
            aside = aside.where(hooks.c.shop == shop)
        if before is not None:
            aside = aside.where(hooks.c.id < before)
        with self.database.read() as db:
            return [_hook(row) for row in db.execute(aside.limit(min(limit, PAGE))).mappings()]

    def hook(self, number: int) -> HookTold | None:
        """One hook by the ledger's id."""
        with self.database.read() as db:
            row = db.execute(select(*_HOOK).where(hooks.c.id == number)).mappings().first()
        return None if row is None else _hook(row)


def spellings(order: str) -> tuple[str, ...]:
    """How an order that somebody typed may stand in the ledger: as it is, and with or without ``#``."""
    given = order.strip()
    bare = given.removeprefix("#")
    return tuple(dict.fromkeys((given, bare, f"#{bare}"))) if bare else ()


def of_order(columns: Iterable[Any], shop: str, order: str) -> Select[Any]:
    """The events of an order, the first one first. An OR would use only one of the two indexes."""
    names, of_shop = spellings(order), select(events.c.id).where(events.c.shop == shop)
    same = union(of_shop.where(events.c.order_id.in_(names)), of_shop.where(events.c.order_name.in_(names)))
    return select(*columns).where(events.c.id.in_(same)).order_by(events.c.id)


def listing(wanted: Wanted) -> Select[Any]:
    """The ids of a page. Narrowing by facts of the event is a question of its own, for its indexes' sake."""
    page = select(deliveries.c.id).order_by(deliveries.c.id.desc()).limit(min(wanted.limit, PAGE))
    if wanted.states:
        page = page.where(deliveries.c.state.in_(wanted.states))
        if "delivered" not in wanted.states:
            page = page.where(UNDONE)
    for name in ("account", "destination"):
        if value := getattr(wanted, name):
            page = page.where(deliveries.c[name] == value)
    if wanted.before is not None:
        page = page.where(deliveries.c.id < wanted.before)
    narrowed = told_by(wanted.shop, wanted.since)
    return page if narrowed is None else page.where(deliveries.c.event.in_(narrowed))


def told_by(shop: str, since: int | None) -> Select[Any] | None:
    """The ids of a shop's events received from a time on; None when neither narrows."""
    conditions = []
    if shop:
        conditions.append(events.c.shop == shop)
    if since is not None:
        conditions.append(events.c.received_at >= since)
    return select(events.c.id).where(*conditions) if conditions else None


# --- rows ------------------------------------------------------------------------------------------------

_HOOK = (
    *(hooks.c[name] for name in HookTold.__struct_fields__ if name != "kept"),
    hooks.c.sealed.is_not(None).label("kept"),
)
_EVENT = (
    *(events.c[name] for name in EventTold.__struct_fields__ if name in events.c),
    events.c.sealed.is_not(None).label("kept"),
)
_DELIVERY = (
    *(deliveries.c[name] for name in DeliveryTold.__struct_fields__ if name not in {"in_flight", "tries"}),
    deliveries.c.batch.is_not(None).label("in_flight"),
)
_ATTEMPT = tuple(attempts.c[name] for name in AttemptTold.__struct_fields__)


_TIMES = ("event_time", "received_at", "delivered_at", "expires_at", "consent_at")


def _export(condition: Any) -> Select[Any]:
    columns = (
        deliveries.c.id.label("delivery"),
        *(events.c[name] for name in ("store", "shop", "order_id", "order_name", "event_name")),
        *(deliveries.c[name] for name in ("event_id", "destination", "account", "state", "reason", "detail")),
        *(deliveries.c[name] for name in ("attempts", "crashes", "ambiguous", "trace", "confirmed")),
        *(events.c[name] for name in ("value", "currency", "origin", "source")),
        *(events.c[name] for name in (*PURPOSES, "consent_source", "region")),
        *(deliveries.c[name] for name in ("basis", "restricted")),
        *((events if name in events.c else deliveries).c[name] for name in _TIMES),
        deliveries.c.due_at,
        deliveries.c.batch.is_not(None).label("in_flight"),
    )
    return select(*columns).join_from(deliveries, events).where(condition)


def told(row: RowMapping) -> dict[str, Any]:
    """A row of an export for JSON. ``next_attempt_at`` is there while the delivery is due; with
    ``in_flight`` it is when the lease of whoever sends it now would run out."""
    facts: dict[str, Any] = {**row}
    for name in _TIMES:
        facts[name] = rfc3339(facts[name])
    due_at = facts.pop("due_at")
    return facts | {"next_attempt_at": rfc3339(due_at) if facts["state"] == "due" else None}


def as_plain(answer: Any) -> Any:
    """An answer made of what JSON knows, its times as RFC 3339 in UTC."""
    if isinstance(answer, msgspec.Struct):
        answer = msgspec.structs.asdict(answer)
    if isinstance(answer, Mapping):
        return {name: _moment(name, value) for name, value in answer.items()}
    return [as_plain(one) for one in answer] if isinstance(answer, list | tuple) else answer


def _moment(name: object, value: Any) -> Any:
    is_time = str(name).endswith("_at") or name in {"at", "event_time", "since"}
    return rfc3339(value) if is_time and isinstance(value, int) else as_plain(value)


def _hook(row: RowMapping) -> HookTold:
    return HookTold(**row)


def _deliveries_of(db: Connection, ids: Sequence[int]) -> dict[int, tuple[DeliveryTold, ...]]:
    """The deliveries of each of these events."""
    rows = db.execute(select(*_DELIVERY).where(deliveries.c.event.in_(ids)).order_by(deliveries.c.id))
    found = [dict(row) for row in rows.mappings()]
    of_these = attempts.c.delivery.in_([row["id"] for row in found])
    rows = db.execute(select(*_ATTEMPT).where(of_these).order_by(attempts.c.id))
    tries = [AttemptTold(**row) for row in rows.mappings()]
    sent = [
        DeliveryTold(**row, tries=tuple(one for one in tries if one.delivery == row["id"])) for row in found
    ]
    return {number: tuple(one for one in sent if one.event == number) for number in ids}
