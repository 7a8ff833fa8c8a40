"""Why each order was told of or not, as far as consent decides it: for whoever must prove it.

The proof stays when the person is forgotten: what they answered and when, in which region they were taken to
live, the rule that was applied, and what was sent after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select

from integrations.consent import PURPOSES
from webhooks import consenting
from webhooks.clock import rfc3339
from webhooks.consenting import DENIALS, Place
from webhooks.database import Database
from webhooks.schema import consents, deliveries, events

CHUNK = 1_000
"""Rows that are read at a time: each chunk is a transaction of its own and blocks nobody."""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a buyer's consent from a moment on. ``via``: what brought it. See `events`."""

    event: int
    learned_at: int
    via: str
    ad_storage: str
    ad_user_data: str
    ad_personalization: str
    consent_source: str
    consent_at: int | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Of which deliveries; what is empty does not narrow. ``since``: of events received from then on."""

    shop: str = ""
    destination: str = ""
    since: int | None = None


def answers_of(db: Connection, ids: Sequence[int]) -> dict[int, tuple[Answers, ...]]:
    """Every answer to each of these events, the first one first; none for those with only one."""
    columns = [consents.c[name] for name in Answers.__struct_fields__]
    rows = db.execute(select(*columns).where(consents.c.event.in_(ids)).order_by(consents.c.id)).mappings()
    told = [Answers(**row) for row in rows]
    return {number: tuple(one for one in told if one.event == number) for number in ids}


# --- the report ------------------------------------------------------------------------------------------

_FACTS = (
    events.c.shop,
    deliveries.c.destination,
    events.c.region,
    *(events.c[name] for name in PURPOSES),
    deliveries.c.state,
    deliveries.c.reason,
    deliveries.c.basis,
    deliveries.c.restricted,
)

COUNTED = ("shop", "destination", "region", "zone", *PURPOSES, "verdict", "why", "count")
"""The names of a count, in order."""


def counts(database: Database, wanted: Wanted) -> list[dict[str, Any]]:
    """How many deliveries are alike: shop, destination, region, answer and verdict."""
    alike = _narrowed(select(*_FACTS, func.count().label("count")), wanted).group_by(*_FACTS)
    totals: dict[tuple[str, ...], int] = {}
    with database.read() as db:
        for row in db.execute(alike).mappings():
            key = tuple(str(value) for value in _judged(row).values())
            totals[key] = totals.get(key, 0) + row["count"]
    names = COUNTED[:-1]
    return [dict(zip(names, key, strict=True)) | {"count": totals[key]} for key in sorted(totals)]


def rows(database: Database, wanted: Wanted) -> Iterator[list[dict[str, Any]]]:
    """Every delivery with its proof, in chunks, the oldest first."""
    columns = (
        deliveries.c.id,
        *_FACTS,
        *(events.c[name] for name in ("order_id", "order_name", "event_name")),
        *(events.c[name] for name in ("consent_source", "consent_at", "event_time", "received_at")),
        *(deliveries.c[name] for name in ("account", "event_id", "first_sent_at", "delivered_at")),
    )
    last = 0
    while True:
        chunk = _narrowed(select(*columns), wanted).where(deliveries.c.id > last)
        with database.read() as db:
            found = db.execute(chunk.order_by(deliveries.c.id).limit(CHUNK)).mappings().all()
        if not found:
            return
        yield [_told(row) for row in found]
        last = found[-1]["id"]


ROW = (
    *("delivery", "order_id", "order_name", "event_name", *COUNTED[:-1], "state", "consent_source"),
    *("consent_at", "event_time", "received_at", "account", "event_id", "first_sent_at", "delivered_at"),
)
"""The names of a row, in order."""


def _told(row: Mapping[Any, Any]) -> dict[str, Any]:
    facts = {**row, **_judged(row), "delivery": row["id"]}
    return {name: rfc3339(facts[name]) if _is_time(name) else facts[name] for name in ROW}


def _is_time(name: str) -> bool:
    return name.endswith("_at") or name == "event_time"


def _narrowed(statement: Select[Any], wanted: Wanted) -> Select[Any]:
    statement = statement.select_from(deliveries.join(events))
    if wanted.shop:
        statement = statement.where(events.c.shop == wanted.shop)
    if wanted.destination:
        statement = statement.where(deliveries.c.destination == wanted.destination)
    return statement if wanted.since is None else statement.where(events.c.received_at >= wanted.since)


def _judged(row: Mapping[Any, Any]) -> dict[str, str]:
    """The facts that are counted by. A verdict is about consent alone: what was allowed may have been refused
    by its destination, or waits."""
    verdict, why = _verdict(row)
    return {
        "shop": row["shop"],
        "destination": row["destination"],
        "region": row["region"],
        "zone": consenting.zone_of(row["region"]),
        **{name: row[name] or "unknown" for name in PURPOSES},
        "verdict": verdict,
        "why": why,
    }


def _verdict(row: Mapping[Any, Any]) -> tuple[str, str]:
    if row["state"] == "suppressed" and row["reason"] in DENIALS:
        return "suppressed", row["reason"]
    if not row["basis"]:
        return "not judged yet", ""
    return (f"allowed: {row['restricted']}" if row["restricted"] else "allowed"), row["basis"]


# --- in words --------------------------------------------------------------------------------------------

_WORDS = {"granted": "yes", "denied": "no", "": "not answered"}
_PURPOSE_WORDS = {
    "ad_storage": "storage for ads",
    "ad_user_data": "their data for ads",
    "ad_personalization": "personalised ads",
}


def spoken(told: Any) -> str:
    """The answers of an event, or of `Answers`: ``storage for ads yes, …, said shopify``."""
    states = {name: getattr(told, name) for name in PURPOSES}
    if not any(states.values()):
        return "nobody asked, or nobody handed the answer on"
    by = f", said {told.consent_source}" if told.consent_source else ""
    at = f" at {rfc3339(told.consent_at)}" if told.consent_at is not None else ""
    if len(set(states.values())) == 1:
        return f"{_WORDS[told.ad_storage]} to advertising{by}{at}"
    words = (f"{_PURPOSE_WORDS[name]} {_WORDS[state]}" for name, state in states.items())
    return f"{', '.join(words)}{by}{at}"


def lives(region: str) -> str:
    """Where a buyer was taken to live: ``DE, in the EEA``."""
    return consenting.describe(Place(region, consenting.zone_of(region)))
