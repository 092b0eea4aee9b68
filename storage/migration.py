"""Brings the tables up to date with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def migrate(connection: Connection, *, to: str = "head") -> None:
    """Migrate within the connection's transaction: Alembic neither begins nor commits one of its own."""
    scripts = ScriptDirectory(str(Path(__file__).with_name("migrations")))

    def steps(current: Any, _: object) -> Any:
        return scripts._upgrade_revs(to, current)  # what its own upgrade command calls

    context = MigrationContext.configure(connection=connection, opts={"fn": steps})
    with Operations.context(context):
        context.run_migrations()
