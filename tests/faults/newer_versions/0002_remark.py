"""A column that no version has: what the next migration may be like.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column that may be empty, and an index over it."""
    op.add_column("deliveries", sa.Column("remark", sa.Text(), nullable=True))
    op.create_index("ix_deliveries_remark", "deliveries", ["remark"])
    op.execute("UPDATE deliveries SET remark = 'seen' WHERE remark IS NULL")
