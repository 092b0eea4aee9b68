"""When a lease lapses; and bytes that are stored as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("leases", sa.Column("expires_at", sa.BigInteger()))
    if op.get_bind().dialect.name == "postgresql":
        # riverd compresses where it pays; when the server tries too, 64 MB of weights take up to three times as long
        for table, column in (("checkpoints", "state"), ("blocks", "data"), ("snapshots", "data")):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
