"""Where the store is: the config's URL, made whole by the config's folder and the environment."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import URL

from riverd.config import Config, resolve_path
from storage.database import parse_url

PASSWORD = "RIVERD_DATABASE_PASSWORD"


def database_url(config: Config, config_path: Path) -> URL:
    """The URL to open: a relative SQLite file lies beside the config, a password may come from the environment.

    PostgreSQL's own ways to give a password, PGPASSWORD and ~/.pgpass, work too; this one goes first.

    Raises
    ------
    UnsupportedUrl
        It is no URL.
    """
    url = parse_url(config.storage.url)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            return url.set(database=str(resolve_path(config_path, url.database)))
        return url
    password = os.environ.get(PASSWORD)
    return url.set(password=password) if password else url


def holds_password(config: Config) -> bool:
    """Whether whoever reads the config learns a password."""
    url = parse_url(config.storage.url)
    return url.password is not None or "password" in url.query
