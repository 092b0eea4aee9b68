"""What can go wrong with what riverd remembers. Every message says which database and what to do."""

# ruff: noqa: N818 - named for what happened, which the caller has to tell apart


class StorageError(Exception):
    """Something stored could not be written or read back."""


class UnsupportedUrl(StorageError):
    """The storage URL names a database that this riverd cannot use."""


class CannotOpen(StorageError):
    """The database file or its lock cannot be created or opened."""


class Unreachable(CannotOpen):
    """No server answers where the database should be, or it takes nobody in for now."""


class AccessDenied(CannotOpen):
    """The server does not let this user in, or not do what riverd has to."""


class ConnectionLost(StorageError):
    """The connection went in the middle; if that was a commit, its outcome is not known."""


class TooLarge(StorageError):
    """A value is larger than the database takes."""


class ReadOnly(StorageError):
    """The database can be read but not written."""


class DatabaseBusy(StorageError):
    """Others kept the database from answering in time; tried again it may work."""


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


class LeaseLost(Fenced):
    """This process could not renew its lease in time, so that another may take the model over."""


class DamagedBlob(StorageError):
    """Bytes that are not what was stored."""


class DamagedState(StorageError):
    """Checkpoints exist, but none of them is intact."""


class NoSuchSnapshot(StorageError):
    """A snapshot that was never taken, or was pruned."""


class NoSuchDeadLetter(StorageError):
    """A dead letter that never was, or was pruned, purged or replayed."""
