"""Requests, decisions about retraining; which snapshots were promoted, and of which model each is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("snapshots", sa.Column("promoted_at", sa.BigInteger()))
    op.add_column("snapshots", sa.Column("line", sa.Text()))
    op.create_table(
        "requests",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("outcome", sa.Text()),
        sa.UniqueConstraint("model", "key", name="uq_requests_key"),
    )
    op.create_index("ix_requests_open", "requests", ["model", "done_at", "number"])
    op.create_table(
        "retrains",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.BigInteger(), nullable=False),
        sa.Column("retrain", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger()),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
    )
    op.create_index("ix_retrains_newest", "retrains", ["model", "number"])
