"""Hooks, events, deliveries, attempts, held accounts and the audit.

Revision: 0001, the first
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _id() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _partial(condition: str) -> Any:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("probe_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pauses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fingerprint", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_accounts"),
    )
    op.create_table(
        "shops",
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("connected_at", sa.BigInteger(), nullable=True),
        sa.Column("compared_from", sa.BigInteger(), nullable=True),
        sa.Column("compared_until", sa.BigInteger(), nullable=True),
        sa.Column("compared_at", sa.BigInteger(), nullable=True),
        sa.Column("slice_since", sa.BigInteger(), nullable=True),
        sa.Column("slice_until", sa.BigInteger(), nullable=True),
        sa.Column("slice_page", sa.Text(), server_default="", nullable=False),
        sa.Column("slice_at", sa.BigInteger(), nullable=True),
        sa.Column("busy_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("shop", name="pk_shops"),
    )
    op.create_table(
        "audit",
        sa.Column("id", _id(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", _id(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index(
        "ix_alerts_open", "alerts", ["cause", "subject"], unique=True, **_partial("cleared_at IS NULL")
    )
    op.create_table(
        "events",
        sa.Column("id", _id(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("order_name", sa.Text(), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), server_default="webhook", nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("ad_storage", sa.Text(), server_default="", nullable=False),
        sa.Column("ad_user_data", sa.Text(), server_default="", nullable=False),
        sa.Column("ad_personalization", sa.Text(), server_default="", nullable=False),
        sa.Column("consent_source", sa.Text(), server_default="", nullable=False),
        sa.Column("consent_at", sa.BigInteger(), nullable=True),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.Column("listed_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("shop", "event_name", "key", name="uq_events_shop_event_name_key"),
    )
    op.create_index("ix_events_received_at", "events", ["received_at"], unique=False)
    op.create_index(
        "ix_events_erased", "events", ["erased_at"], unique=False, **_partial("erased_at IS NOT NULL")
    )
    op.create_index("ix_events_shop_received_at", "events", ["shop", "received_at"], unique=False)
    op.create_index(
        "ix_events_kept", "events", ["received_at"], unique=False, **_partial("sealed IS NOT NULL")
    )
    op.create_index("ix_events_shop_order_id", "events", ["shop", "order_id"], unique=False)
    op.create_index("ix_events_shop_order_name", "events", ["shop", "order_name"], unique=False)
    op.create_table(
        "consents",
        sa.Column("id", _id(), nullable=False),
        sa.Column("event", _id(), nullable=False),
        sa.Column("learned_at", sa.BigInteger(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("ad_storage", sa.Text(), server_default="", nullable=False),
        sa.Column("ad_user_data", sa.Text(), server_default="", nullable=False),
        sa.Column("ad_personalization", sa.Text(), server_default="", nullable=False),
        sa.Column("consent_source", sa.Text(), server_default="", nullable=False),
        sa.Column("consent_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_consents_event"),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
    )
    op.create_index("ix_consents_event", "consents", ["event"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", _id(), nullable=False),
        sa.Column("event", _id(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=True),
        sa.Column("previous_batch", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ambiguous", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("first_sent_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("trace", sa.Text(), server_default="", nullable=False),
        sa.Column("confirm_at", sa.BigInteger(), nullable=True),
        sa.Column("confirmed", sa.Text(), server_default="", nullable=False),
        sa.Column("basis", sa.Text(), server_default="", nullable=False),
        sa.Column("restricted", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_deliveries_event"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("event", "account", name="uq_deliveries_event_account"),
    )
    op.create_index(
        "ix_deliveries_crashed",
        "deliveries",
        ["account", "state", "due_at"],
        unique=False,
        **_partial("state = 'due' AND crashes > 1"),
    )
    op.create_index(
        "ix_deliveries_due", "deliveries", ["account", "due_at"], unique=False, **_partial("state = 'due'")
    )
    op.create_index(
        "ix_deliveries_undone",
        "deliveries",
        ["state", "account", "id"],
        unique=False,
        **_partial("state <> 'delivered'"),
    )
    op.create_index(
        "ix_deliveries_unconfirmed",
        "deliveries",
        ["account", "trace", "confirm_at"],
        unique=False,
        **_partial("confirm_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_ambiguous",
        "deliveries",
        ["account"],
        unique=False,
        sqlite_where=sa.text("ambiguous = 1"),
        postgresql_where=sa.text("ambiguous"),
    )
    op.create_table(
        "hooks",
        sa.Column("id", _id(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("last_received_at", sa.BigInteger(), nullable=False),
        sa.Column("repeats", sa.Integer(), server_default="0", nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("event", _id(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("marks", sa.Text(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_hooks_event"),
        sa.PrimaryKeyConstraint("id", name="pk_hooks"),
        sa.UniqueConstraint("digest", name="uq_hooks_digest"),
    )
    op.create_index(
        "ix_hooks_incomplete", "hooks", ["due_at"], unique=False, **_partial("verdict = 'incomplete'")
    )
    op.create_index(
        "ix_hooks_marked",
        "hooks",
        ["shop", "received_at", "marks"],
        unique=False,
        **_partial("marks IS NOT NULL"),
    )
    op.create_index("ix_hooks_kept", "hooks", ["received_at"], unique=False, **_partial("sealed IS NOT NULL"))
    op.create_index(
        "ix_hooks_quarantined", "hooks", ["id"], unique=False, **_partial("verdict = 'quarantined'")
    )
    op.create_index("ix_hooks_received_at", "hooks", ["received_at"], unique=False)
    op.create_index("ix_hooks_shop_verdict", "hooks", ["shop", "verdict"], unique=False)
    op.create_index("ix_hooks_shop_order_id", "hooks", ["shop", "order_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", _id(), nullable=False),
        sa.Column("delivery", _id(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("trace", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name="fk_attempts_delivery"),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_batch", "attempts", ["batch"], unique=False)
    op.create_index("ix_attempts_delivery", "attempts", ["delivery"], unique=False)
    op.create_table(
        "twins",
        sa.Column("id", _id(), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("event", _id(), nullable=True),
        sa.Column("fit", sa.Text(), server_default="", nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_twins_event"),
        sa.PrimaryKeyConstraint("id", name="pk_twins"),
        sa.UniqueConstraint("shop", "digest", name="uq_twins_shop_digest"),
    )
    op.create_index("ix_twins_event", "twins", ["event"], unique=False)
    op.create_index("ix_twins_alone", "twins", ["shop", "id"], unique=False, **_partial("event IS NULL"))
    op.create_index("ix_twins_kept", "twins", ["received_at"], unique=False, **_partial("sealed IS NOT NULL"))
    op.create_table(
        "bridges",
        sa.Column("id", _id(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("event", _id(), nullable=True),
        sa.Column("twin", _id(), nullable=True),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_bridges_event"),
        sa.ForeignKeyConstraint(["twin"], ["twins.id"], name="fk_bridges_twin"),
        sa.PrimaryKeyConstraint("id", name="pk_bridges"),
    )
    op.create_index("ix_bridges_digest", "bridges", ["digest"], unique=False)
    op.create_index("ix_bridges_event", "bridges", ["event"], unique=False)
    op.create_index("ix_bridges_twin", "bridges", ["twin"], unique=False)
    op.create_table(
        "sightings",
        sa.Column("id", _id(), nullable=False),
        sa.Column("twin", _id(), nullable=False),
        sa.Column("event", _id(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), server_default="", nullable=False),
        sa.Column("own", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["twin"], ["twins.id"], name="fk_sightings_twin"),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_sightings_event"),
        sa.PrimaryKeyConstraint("id", name="pk_sightings"),
    )
    op.create_index("ix_sightings_event", "sightings", ["event"], unique=False)
    op.create_index("ix_sightings_account_digest", "sightings", ["account", "digest"], unique=False)
    op.create_index("ix_sightings_twin", "sightings", ["twin"], unique=False)
    op.create_table(
        "notices",
        sa.Column("alert", _id(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name="fk_notices_alert"),
        sa.PrimaryKeyConstraint("alert", "channel", name="pk_notices"),
    )
    op.create_table(
        "channels",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("channel", name="pk_channels"),
    )
    op.create_table(
        "keys",
        sa.Column("id", _id(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_table(
        "tombstones",
        sa.Column("id", _id(), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tombstones"),
        sa.UniqueConstraint("mark", name="uq_tombstones_mark"),
    )
    op.create_table(
        "wishes",
        sa.Column("id", _id(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("hook", _id(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("passes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("orders", sa.Integer(), server_default="0", nullable=False),
        sa.Column("records", sa.Integer(), server_default="0", nullable=False),
        sa.Column("suppressed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["hook"], ["hooks.id"], name="fk_wishes_hook"),
        sa.PrimaryKeyConstraint("id", name="pk_wishes"),
    )
    op.create_index("ix_wishes_undone", "wishes", ["due_at"], unique=False, **_partial("due_at IS NOT NULL"))
