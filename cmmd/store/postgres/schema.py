"""Readings stand in partitions, one a month (UTC): statements that make them, and find those that are old."""

from collections.abc import Iterable
from typing import Any

import psycopg2

from cmmd.store.interface import SchemaTooNew
from cmmd.store.postgres.tables import moment
from cmmd.store.schema_files import schema_files

__all__ = [
    "COMING_MONTHS",
    "LOCKS",
    "bite",
    "drop",
    "migrate",
    "missing_schemas",
    "newest_schema",
    "older",
    "partitions_ahead",
    "partitions_for",
    "schemas",
    "version",
]


COMING_MONTHS = 3
"""Partitions for so many months after this one are made ahead."""

_DAY_MS = 86_400_000

# Made beside readings and attached: to create it as a partition would wait for all who read readings. Nothing is made
# where an operator has made another kind of table of it (docs/storage.md).
_MAKE = """
SELECT format(
    'CREATE TABLE %1$s (LIKE reading INCLUDING ALL);'
    ' ALTER TABLE reading ATTACH PARTITION %1$s FOR VALUES FROM (%2$L) TO (%3$L)',
    name, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
)
FROM (
    SELECT month, format('%I.%I', nspname, 'reading_' || to_char(month, 'YYYYMM')) AS name
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, ({months}) AS months
    WHERE pg_class.oid = 'reading'::regclass AND relkind = 'p'
) AS wanted
WHERE to_regclass(name) IS NULL
ORDER BY month
"""
_THIS_MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC')"
_OLDER = f"""
SELECT name, coalesce(upper <= least({{before}}, {_THIS_MONTH} AT TIME ZONE 'UTC'), false)
FROM (
    SELECT inhrelid::regclass::text AS name,
        substring(pg_get_expr(relpartbound, inhrelid) FROM 'FROM \\(''([^'']*)''\\)')::timestamptz AS lower,
        substring(pg_get_expr(relpartbound, inhrelid) FROM 'TO \\(''([^'']*)''\\)')::timestamptz AS upper
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'reading'::regclass AND relkind = 'r'
) AS partitions
WHERE lower IS NULL OR lower < {{before}}
ORDER BY lower NULLS FIRST
"""  # noqa: S608 - our own names


def partitions_ahead() -> str:
    """Finds the statements that make the partitions of this month and the coming ones, where they are missing."""
    last = f"{_THIS_MONTH} + interval '{COMING_MONTHS} months'"
    return _MAKE.replace("{months}", f"SELECT generate_series({_THIS_MONTH}, {last}, interval '1 month') AS month")


def partitions_for(times: Iterable[int]) -> str:
    """The same for the months of times, each in milliseconds."""
    values = ", ".join(f"({moment(day * _DAY_MS)})" for day in sorted({at // _DAY_MS for at in times}))
    months = f"SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC') AS month FROM (VALUES {values}) AS times(at)"  # noqa: S608
    return _MAKE.replace("{months}", f"{months} WHERE isfinite(at)")


def older(before: str) -> str:
    """Finds the partitions with anything older than a moment, the oldest first, and whether they may go as a whole.

    That of this month may not, whatever the moment is.
    """
    return _OLDER.format(before=before)


def drop(partition: str, lock_timeout_s: float) -> str:
    """Seconds after which removing a partition gives up because readings are being read."""
    return f"SET LOCAL lock_timeout = '{int(lock_timeout_s * 1000)}ms'; DROP TABLE {partition}"


def bite(partition: str, before: str, limit: int) -> str:
    """Deletes the oldest readings of a partition, and counts them."""
    oldest = f"SELECT ctid FROM {partition} WHERE at < {before} ORDER BY at, number LIMIT {limit}"  # noqa: S608
    return (
        f"WITH gone AS (DELETE FROM {partition} WHERE ctid = ANY (ARRAY({oldest})) RETURNING 1)"  # noqa: S608
        " SELECT count(*) FROM gone"
    )


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
    :raises SchemaTooNew: a newer cmmd has written to the store.
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
