"""The schema in PostgreSQL: numbered SQL files, applied in order.

These work on a connection of psycopg2 in autocommit mode, and block.
"""

from typing import Any

import psycopg2

from cmmd.store.interface import SchemaTooNew
from cmmd.store.schema_files import schema_files

__all__ = ["LOCKS", "migrate", "missing_schemas", "newest_schema", "schemas", "version"]

LOCKS = 0x636D6D64
"""The first number of our advisory locks; by the second one the schemas of one database differ, 0 is for migrations."""


# Not to_regclass: within a transaction that may still say what was so before a lock was waited for.
_HAS_ANY = """
SELECT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = 'schema_version' AND nspname = ANY (current_schemas(false))
)
"""


def schemas() -> dict[int, str]:
    """The numbered SQL files, by number."""
    return schema_files("postgres")


def newest_schema() -> int:
    """The version that this cmmd knows."""
    return max(schemas())


def version(connection: Any) -> int:
    """The version of the schema that a database has; 0: none."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_ANY)
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT coalesce(max(number), 0) FROM schema_version")
        return int(cursor.fetchone()[0])


def missing_schemas(connection: Any, name: str) -> dict[int, str]:
    """The SQL files that a database has not seen.

    :param name: of the database.
    :raises SchemaTooNew: it has seen more than we have.
    """
    known = schemas()
    has, newest = version(connection), max(known)
    if has > newest:
        raise SchemaTooNew(f"{name}: its schema is version {has}, this cmmd knows up to {newest}; use a newer cmmd")
    return {number: script for number, script in known.items() if number > has}


def migrate(connection: Any, name: str) -> list[int]:
    """Apply the SQL files that are missing, each in a transaction of its own. Any number of programs may do so at once.

    :return: the numbers of those that were applied, here and now.
    :raises SchemaTooNew: see there.
    """
    applied = []
    while missing_schemas(connection, name):
        number = _apply_next(connection, name)
        if number is not None:
            applied.append(number)
    return applied


def _apply_next(connection: Any, name: str) -> int | None:
    """None: another program has applied it meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCKS])
            missing = missing_schemas(connection, name)
            number = min(missing, default=None)
            if number is not None:
                cursor.execute(missing[number])
                cursor.execute("INSERT INTO schema_version (number) VALUES (%s)", [number])
            cursor.execute("COMMIT")
        except psycopg2.Error:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
    return number
