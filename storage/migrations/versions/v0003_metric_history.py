"""How metrics went."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "metric_history",
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("window", sa.Text(), primary_key=True),
        sa.Column("end", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("at", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("values", sa.Text(), nullable=False),
    )
    op.create_index("ix_metric_history_newest", "metric_history", ["model", "at"])
