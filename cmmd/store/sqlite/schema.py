"""The schema of the embedded store: numbered SQL files, applied in order."""

import sqlite3
from pathlib import Path

from cmmd.store.interface import SchemaTooNew
from cmmd.store.schema_files import schema_files

__all__ = ["migrate", "missing_schemas", "schemas"]


def schemas() -> dict[int, str]:
    """The numbered SQL files, by number."""
    return schema_files("sqlite")


def missing_schemas(connection: sqlite3.Connection, path: Path) -> dict[int, str]:
    """The SQL files that the database has not seen.

    :raises SchemaTooNew: it has seen more than we have.
    """
    known = schemas()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = max(known)
    if version > newest:
        raise SchemaTooNew(f"{path}: its schema is version {version}, this cmmd knows up to {newest}; use a newer cmmd")
    return {number: script for number, script in known.items() if number > version}


def migrate(connection: sqlite3.Connection, missing: dict[int, str]) -> None:
    """Apply SQL files, each in a transaction of its own, except those that another process has applied."""
    for number, script in missing.items():
        try:
            connection.executescript(f"BEGIN EXCLUSIVE; {script}; PRAGMA user_version = {number}; COMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < number:
                raise
