"""The tables: what riverd remembers, each keyed by the model's name. Times are microseconds since the epoch."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# The migrations in order; the last one makes the tables below.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")

metadata = MetaData()

leases = Table(
    "leases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # rises with every holder; an old one is fenced
    Column("holder", Text, nullable=False),
    Column("acquired_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),  # by the server's clock; NULL: given back, or held by a lock of the kernel's
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("format", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),  # of the state
    Column("blocks_sha256", String(64), nullable=False),  # of the list of blocks: a missing one is noticed
    Column("state", LargeBinary, nullable=False),
)

# Here and below the bytes come last: SQLite walks through a long value to reach what follows it.
blocks = Table(
    "blocks",
    metadata,
    Column("model", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("checkpoint", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", String(64)),
    Column("data", LargeBinary),  # NULL: a tombstone, from this checkpoint on the block does not exist
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", BigInteger, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("watermark", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("lineage", Text, nullable=False),  # JSON
    Column("sha256", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("promoted_at", BigInteger),  # wall clock; NULL: it never was
    Column("line", Text),  # of which model, as "retrain 3"; NULL: of the one that serves
)

alerts = Table(
    "alerts",
    metadata,
    Column("model", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("resolved_at", BigInteger),
    Column("metric", Text, nullable=False),
    Column("window", Text, nullable=False),
    Column("value", Double),  # NULL is NaN, which SQLite does not keep
    Column("bound", Double),
    Column("severity", Text, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    # SQLite numbers rows by itself only in a column declared INTEGER
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("model", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    UniqueConstraint("model", "topic", "partition", "position", name="uq_dead_letters_place"),
    Index("ix_dead_letters_newest", "model", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("id", String(32), nullable=False),
    Column("model", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),  # event time
    Column("state", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("began_at", BigInteger, nullable=False),  # created_at of the alert's firing
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Column("last_error", Text),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("id", name="uq_outbox_id"),
    Index("ix_outbox_channel", "model", "channel", "delivered_at", "number"),
)

metric_history = Table(
    "metric_history",
    metadata,
    Column("model", Text, primary_key=True),
    Column("window", Text, primary_key=True),
    Column("end", Text, primary_key=True),  # "final"
    Column("kind", Text, primary_key=True),  # "outcomes" | "traffic"
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # event time: the end of the window
    Column("values", Text, nullable=False),  # JSON: by metric, "null_rate[temp]" where it is of a field
    Index("ix_metric_history_newest", "model", "at"),
)

outgoing = Table(
    "outgoing",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("model", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),  # in it
    Column("data", LargeBinary, nullable=False),
    Index("ix_outgoing_topic", "model", "topic", "number"),
)

# What somebody asked of the daemon: it is done with the checkpoint that holds its effect, or still open.
requests = Table(
    "requests",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("model", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("what", Text, nullable=False),  # "retrain" | "promote" | "rollback"
    Column("arguments", Text, nullable=False),  # JSON
    Column("key", Text),  # who asks twice under the same one has asked once
    Column("done_at", BigInteger),
    Column("outcome", Text),
    UniqueConstraint("model", "key", name="uq_requests_key"),
    Index("ix_requests_open", "model", "done_at", "number"),
)

# Every decision about retraining, and why; written once, never changed.
retrains = Table(
    "retrains",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("model", Text, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("retrain", BigInteger),  # the one decided about; NULL: none
    Column("created_at", BigInteger, nullable=False),
    Column("at", BigInteger),  # event time; NULL: before the first record
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON
    Index("ix_retrains_newest", "model", "number"),
)
