"""Alembic's folder; shipped with the package, because riverd migrates a database when it opens it."""
