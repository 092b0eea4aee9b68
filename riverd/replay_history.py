"""Where a replay keeps what would have been: the history of metrics and the alerts, under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from riverd.config import Config
from riverd.database_url import database_url
from storage.alerts import write_alerts
from storage.history import Figures, prune_history, write_history
from storage.retention import AT_ONCE, delete_some
from storage.store import Store
from storage.tables import alerts, metric_history
from stream.records import MICROSECONDS, AlertChange

REPLAY, COMPARED = "replay", "compare"  # a model's name has no "@", so nobody runs under these
ENOUGH = 2_000  # documents that make a transaction


def stored_name(model: str, of: str = REPLAY) -> str:
    """The name under which a replay of a model stores: "late-flights@replay"."""
    return f"{model}@{of}"


class ReplayHistory:
    """Replaces the history of the last replay by that of this one, as it comes.

    It lies in the database that the config names, beside the model's own, which may be running: nothing of that is
    read, written or locked. Two replays of a model at once are refused.

    Parameters
    ----------
    config, config_path
        Name the model and the database.
    of
        What is appended to the model's name.

    Raises
    ------
    StorageError
        The database can't be written, or another replay of the model runs.
    """

    def __init__(self, config: Config, config_path: Path, *, of: str = REPLAY) -> None:
        url = database_url(config, config_path)
        name = stored_name(config.model.name, of)
        self._store = Store.open(url, name, lease_s=config.storage.lease / MICROSECONDS)
        self._place = self._store.database.place
        self._figures: list[Figures] = []
        self._changes: list[AlertChange] = []
        self._documents = 0
        self._cleared = False
        try:
            self._store.acquire()
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def add(self, figures: Sequence[Figures], changes: Sequence[AlertChange]) -> None:
        """Take what a step has brought."""
        self._figures += figures
        self._changes += changes
        if len(self._figures) + len(self._changes) >= ENOUGH:
            self._write()

    def finish(self) -> dict[str, Any]:
        """Write the rest, and say where all of it is."""
        self._write()
        return {"database": self._place, "model": self._store.model, "documents": self._documents}

    def _write(self) -> None:
        if not self._cleared:  # not before there is something to put in its place
            self._clear()
            self._cleared = True
        with self._store.writing() as connection:
            write_history(connection, self._store.model, self._figures)
            prune_history(connection, self._store.model, came_in=len(self._figures))
            write_alerts(connection, self._store.model, self._changes)
        self._documents += len(self._figures)
        self._figures.clear()
        self._changes.clear()

    def _clear(self) -> None:
        for table, age in ((metric_history, metric_history.c.at), (alerts, alerts.c.started_at)):
            deleted = AT_ONCE
            while deleted == AT_ONCE:  # a transaction for each batch, so that a daemon's checkpoint need not wait
                with self._store.writing() as connection:
                    mine = table.c.model == self._store.model
                    deleted = delete_some(connection, table, mine, oldest_first=age, limit=AT_ONCE)
