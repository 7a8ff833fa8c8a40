"""The ledger's tables. Times are milliseconds since 1970 UTC (`webhooks/clock.py`), ids are the ledger's own.

Columns named ``sealed`` hold what is personal, encrypted; everything else is readable fact. The migrations
in `webhooks/migrations` make these tables; a test holds the two together.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# SQLite counts up by itself only for INTEGER, and its INTEGER is 64 bits wide.
_Id = BigInteger().with_variant(Integer(), "sqlite")


def _where(condition: str) -> dict[str, Any]:
    """Of a partial index."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _answers() -> tuple[Column[Any], ...]:
    purposes = ("ad_storage", "ad_user_data", "ad_personalization", "consent_source")
    columns = [Column(name, Text, nullable=False, server_default="") for name in purposes]
    return (*columns, Column("consent_at", BigInteger))


events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("store", Text, nullable=False),
    Column("shop", Text, nullable=False),
    Column("event_name", Text, nullable=False),
    # What makes two hooks tell of the same sale: the order's identity, never a delivery id of the store.
    Column("key", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("order_name", Text, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("source", Text, nullable=False, server_default="webhook"),
    Column("received_at", BigInteger, nullable=False),
    # What the buyer allowed, as far as it is known now (granted, denied, or empty: not known), who said so
    # and when; and where they were taken to live: DE, US-CA, or empty. It is the proof of why something
    # was sent, so it stays when the rest is forgotten.
    *_answers(),
    Column("region", Text, nullable=False, server_default=""),
    Column("erased_at", BigInteger),  # by somebody's wish; retention leaves it NULL
    Column("listed_at", BigInteger),  # when the store's own list of orders was first seen to have it
    Column("sealed", LargeBinary),  # the whole Event; NULL once retention or erasure took it
    UniqueConstraint("shop", "event_name", "key"),
    Index("ix_events_shop_order_id", "shop", "order_id"),
    Index("ix_events_shop_order_name", "shop", "order_name"),
    Index("ix_events_received_at", "received_at"),
    Index("ix_events_erased", "erased_at", **_where("erased_at IS NOT NULL")),
    Index("ix_events_shop_received_at", "shop", "received_at"),
    Index("ix_events_kept", "received_at", **_where("sealed IS NOT NULL")),
)

hooks = Table(
    "hooks",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("store", Text, nullable=False),
    Column("shop", Text, nullable=False),
    # SHA-256 over shop, topic and body: a store that repeats itself adds to `repeats`, not a row.
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("topic", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("last_received_at", BigInteger, nullable=False),
    Column("repeats", Integer, nullable=False, server_default="0"),
    Column("order_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("event", _Id, ForeignKey("events.id")),
    Column("tries", Integer, nullable=False, server_default="0"),  # of fetching what the hook only names
    Column("due_at", BigInteger),
    # Whom it names, as keyed hashes with spaces between them; goes with `sealed`. See `marks.py`.
    Column("marks", Text),
    Column("sealed", LargeBinary),  # headers and raw body; NULL once retention or erasure took it
    Index("ix_hooks_shop_order_id", "shop", "order_id"),
    Index("ix_hooks_received_at", "received_at"),
    Index("ix_hooks_shop_verdict", "shop", "verdict"),
    # Grows at its end, unlike an index by mark. Erasing reads a shop's part of it, and happens seldom.
    Index("ix_hooks_marked", "shop", "received_at", "marks", **_where("marks IS NOT NULL")),
    Index("ix_hooks_incomplete", "due_at", **_where("verdict = 'incomplete'")),
    Index("ix_hooks_kept", "received_at", **_where("sealed IS NOT NULL")),
    Index("ix_hooks_quarantined", "id", **_where("verdict = 'quarantined'")),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("event", _Id, ForeignKey("events.id"), nullable=False),
    Column("account", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("event_id", Text, nullable=False),  # made once at intake; every attempt and replay uses it
    # due | delivered | held | refused | expired | suppressed | broken
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    # While due: when to try next. A lease is nothing but a later `due_at` plus the batch that holds it,
    # so whatever a dead worker held comes back by itself.
    Column("due_at", BigInteger, nullable=False),
    Column("batch", Text),
    Column("previous_batch", Text),  # the lease that ran out before this one: what it sent is uncertain
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("ambiguous", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),  # from then on the destination would refuse it
    Column("first_sent_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("trace", Text, nullable=False, server_default=""),
    # Where delivered means accepted only: when to ask what became of it, and the answer: processed,
    # unknown (nobody would say), or the destination's word for what went wrong. See `confirming.py`.
    Column("confirm_at", BigInteger),
    Column("confirmed", Text, nullable=False, server_default=""),
    # Why it was allowed or not, and for what use, when it was last judged: see `consenting.py`.
    Column("basis", Text, nullable=False, server_default=""),
    Column("restricted", Text, nullable=False, server_default=""),
    UniqueConstraint("event", "account"),
    Index("ix_deliveries_due", "account", "due_at", **_where("state = 'due'")),
    # With the state, or SQLite sees no difference between the two, and reads all that is due instead.
    Index("ix_deliveries_crashed", "account", "state", "due_at", **_where("state = 'due' AND crashes > 1")),
    Index("ix_deliveries_undone", "state", "account", "id", **_where("state <> 'delivered'")),
    Index("ix_deliveries_unconfirmed", "account", "trace", "confirm_at", **_where("confirm_at IS NOT NULL")),
    Index(
        "ix_deliveries_ambiguous",
        "account",
        sqlite_where=text("ambiguous = 1"),
        postgresql_where=text("ambiguous"),
    ),
)

# Every answer about consent that an event ever had, once there was a second one.
consents = Table(
    "consents",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("event", _Id, ForeignKey("events.id"), nullable=False),
    Column("learned_at", BigInteger, nullable=False),
    Column("via", Text, nullable=False),  # webhook, or whatever else brought it
    *_answers(),
    Index("ix_consents_event", "event"),
)

DUE = deliveries.c.state == literal_column("'due'")
UNDONE = deliveries.c.state != literal_column("'delivered'")
CRASHED = deliveries.c.crashes > literal_column("1")
INCOMPLETE = hooks.c.verdict == literal_column("'incomplete'")
"""Spelled like the partial indexes: SQLite uses those for nothing else, and not for a bound value."""

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("delivery", _Id, ForeignKey("deliveries.id"), nullable=False),
    Column("batch", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("opened_at", BigInteger, nullable=False),  # committed before the first byte goes out
    Column("closed_at", BigInteger),
    Column("outcome", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("http_status", Integer),
    Column("trace", Text, nullable=False, server_default=""),
    Index("ix_attempts_delivery", "delivery"),
    Index("ix_attempts_batch", "batch"),
)

# What a shopper's browser told of an order. `event` is that order's, once both are here.
twins = Table(
    "twins",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("shop", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # of what it says: told again, it adds nothing
    Column("event", _Id, ForeignKey("events.id")),
    # named (it knows the order's number alone) | proved (it knows what only its browser can know)
    Column("fit", Text, nullable=False, server_default=""),
    Column("received_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary),  # the beacon; NULL once retention or erasure took it
    UniqueConstraint("shop", "digest"),
    Index("ix_twins_event", "event"),
    Index("ix_twins_alone", "shop", "id", **_where("event IS NULL")),
    Index("ix_twins_kept", "received_at", **_where("sealed IS NOT NULL")),
)

# By which an order and a beacon find each other: hashes of the names that both may know.
bridges = Table(
    "bridges",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("event", _Id, ForeignKey("events.id")),
    Column("twin", _Id, ForeignKey("twins.id")),
    Index("ix_bridges_digest", "digest"),
    Index("ix_bridges_event", "event"),
    Index("ix_bridges_twin", "twin"),
)

# What a browser fired at an account's pixel, and what is wrong with it: see `mismatch.py`.
sightings = Table(
    "sightings",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("twin", _Id, ForeignKey("twins.id"), nullable=False),
    Column("event", _Id, ForeignKey("events.id"), nullable=False),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("shape", Text, nullable=False, server_default=""),  # how its id is made; never the id itself
    Column("own", Boolean, nullable=False),  # by the shop's snippet, not by other code of the page
    Column("digest", LargeBinary, nullable=False),  # of the id
    Index("ix_sightings_event", "event"),
    Index("ix_sightings_account_digest", "account", "digest"),
    Index("ix_sightings_twin", "twin"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("destination", Text, nullable=False),
    # open | held (credentials: waits for its owner) | resting (the circuit breaker is open)
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("since", BigInteger, nullable=False),
    Column("probe_at", BigInteger, nullable=False, server_default="0"),  # when one call may try again
    Column("pauses", Integer, nullable=False, server_default="0"),  # in a row; each doubles the next pause
    Column("fingerprint", Text, nullable=False, server_default=""),  # of the settings that were held
)

shops = Table(
    "shops",
    metadata,
    Column("shop", Text, primary_key=True),
    Column("connected_at", BigInteger),  # since when we look after its subscriptions; NULL: we do not
    # Its own list of orders was compared with the ledger from `compared_from` on, up to `compared_until`.
    Column("compared_from", BigInteger),
    Column("compared_until", BigInteger),
    Column("compared_at", BigInteger),
    # A slice of the list that was begun, and the page to go on from.
    Column("slice_since", BigInteger),
    Column("slice_until", BigInteger),
    Column("slice_page", Text, nullable=False, server_default=""),
    Column("slice_at", BigInteger),
    Column("busy_until", BigInteger, nullable=False, server_default="0"),  # a lease: one compares at a time
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("count", Integer, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("cause", Text, nullable=False),
    Column("subject", Text, nullable=False),  # a slug, or empty: the whole relay
    Column("sentence", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("told_at", BigInteger),
    Column("cleared_at", BigInteger),
    Index("ix_alerts_open", "cause", "subject", unique=True, **_where("cleared_at IS NULL")),
)

# Which channel was told of an alert, and that it is over.
notices = Table(
    "notices",
    metadata,
    Column("alert", _Id, ForeignKey("alerts.id"), primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("raised_at", BigInteger, nullable=False),
    Column("cleared_at", BigInteger),
)

channels = Table(
    "channels",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("due_at", BigInteger, nullable=False),  # not before; also the lease of whoever uses it now
    Column("failures", Integer, nullable=False),  # in a row
)

keys = Table(
    "keys",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("made_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # a key for marks; nothing personal
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("shop", Text, nullable=False),
    Column("mark", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("until", BigInteger),  # NULL: for good; else for what was ordered until then
)

wishes = Table(
    "wishes",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("store", Text, nullable=False),
    Column("shop", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("origin", Text, nullable=False),  # the hook's topic, or the command
    Column("hook", _Id, ForeignKey("hooks.id")),
    Column("received_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # open | waiting (an export for its reader) | done
    Column("due_at", BigInteger),  # when to work at it next, or to remove its file
    Column("passes", Integer, nullable=False, server_default="0"),
    Column("orders", Integer, nullable=False, server_default="0"),
    Column("records", Integer, nullable=False, server_default="0"),
    Column("suppressed", Integer, nullable=False, server_default="0"),
    Column("done_at", BigInteger),
    Column("sealed", LargeBinary),  # who asks, and for what; NULL once it is done
    Index("ix_wishes_undone", "due_at", **_where("due_at IS NOT NULL")),
)


def sealed_tables() -> list[Table]:
    """Every table with a column `sealed`: whoever forgets, erases or rotates must reach them all."""
    return [table for table in metadata.sorted_tables if "sealed" in table.c]
