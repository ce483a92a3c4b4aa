"""The schema of the embedded store: numbered SQL files, applied in order."""

import sqlite3
from pathlib import Path

from cmmd.store.interface import SchemaTooNew
from cmmd.store.schema_files import schema_files

__all__ = ["migrate", "missing_schemas", "quick_check", "schemas"]


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


def quick_check(connection: sqlite3.Connection) -> list[str]:
    """Look at all pages of a database.

    :return: a line for each thing that is wrong.
    """
    try:
        lines = [line for (line,) in connection.execute("PRAGMA quick_check")]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:  # so much is wrong that it cannot even be said where
        return [str(error)]
    return [] if lines == ["ok"] else [" ".join(line.split()) for line in lines]
