"""What can go wrong with what riverd remembers. Every message says which file and what to do."""

# ruff: noqa: N818 - named for what happened, which the caller has to tell apart


class StorageError(Exception):
    """Something stored could not be written or read back."""


class UnsupportedUrl(StorageError):
    """The storage URL names a database that this riverd cannot use."""


class CannotOpen(StorageError):
    """The database file or its lock cannot be created or opened."""


class ReadOnly(StorageError):
    """The database can be read but not written."""


class DatabaseBusy(StorageError):
    """Another process kept the database locked for too long."""


class DiskFull(StorageError):
    """No space left; nothing was half written."""


class DiskFailed(StorageError):
    """The operating system reported an error while reading or writing."""


class DamagedDatabase(StorageError):
    """The file is damaged below the level of tables."""


class NotADatabase(DamagedDatabase):
    """The file holds something else."""


class NewerSchema(StorageError):
    """The tables, or a checkpoint in them, were written by a newer riverd."""


class LeaseHeld(StorageError):
    """Another process runs this model."""


class Fenced(StorageError):
    """This process no longer holds, or never took, the lease on the model."""


class DamagedBlob(StorageError):
    """Bytes that are not what was stored."""


class DamagedState(StorageError):
    """Checkpoints exist, but none of them is intact."""


class NoSuchSnapshot(StorageError):
    """A snapshot that was never taken, or was pruned."""


class NoSuchDeadLetter(StorageError):
    """A dead letter that never was, or was pruned, purged or replayed."""
