"""Looking at a store in PostgreSQL from outside."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

from cmmd.store.corruption import CorruptRow
from cmmd.store.interface import SchemaTooNew, StoreError, StoreUnavailable
from cmmd.store.postgres.address import Address
from cmmd.store.postgres.errors import as_store_error
from cmmd.store.postgres.opening import check_server, connect
from cmmd.store.postgres.schema import migrate, missing_schemas, schemas, version
from cmmd.store.postgres.sessions import WHO_HOLDS_IT, held
from cmmd.store.postgres.tables import ALARMS, COMMANDS, DEVICES, LAST_UPLOADS
from cmmd.store.tools.stats import FEWEST, Check, Counts, Partition, StoreStats, first_and_more, whole

__all__ = ["PostgresInspector"]

T = TypeVar("T")

MOST_COUNTED = 64_000_000
"""Bytes of a table without its indexes, above which its rows are estimated and not counted."""

_LOOK_AGAIN_S = 0.25

_TABLES = {
    "devices": "device",
    "profiles": "profile",
    "uploads": "last_upload",
    "alarms": "alarm",
    "events": "event",
    "commands": "command",
}
"""By the field of Counts; readings are in parts."""

# Readings stand in the partitions that cmmd makes, or in another kind of table that an operator has made of theirs.
_SIZES = """
SELECT oid::regclass::text, coalesce(is_part, false), relpages, reltuples, pg_relation_size(oid),
    pg_total_relation_size(oid)
FROM pg_class LEFT JOIN (
    SELECT inhrelid AS oid, true AS is_part FROM pg_inherits WHERE inhparent = 'reading'::regclass
    UNION ALL
    SELECT 'reading'::regclass, true WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'reading'::regclass)
) AS parts USING (oid)
WHERE relkind = 'r' AND (
    is_part
    OR oid = ANY (ARRAY[
        to_regclass('device'), to_regclass('profile'), to_regclass('point'), to_regclass('last_upload'),
        to_regclass('alarm'), to_regclass('event'), to_regclass('command'),
        to_regclass('store'), to_regclass('counter'), to_regclass('schema_version')
    ])
)
ORDER BY relname
"""

_SPAN = """
SELECT floor(extract(epoch FROM min(at)) * 1000)::bigint, floor(extract(epoch FROM max(at)) * 1000)::bigint
FROM reading WHERE isfinite(at)
"""

_MISSING_RIGHTS = """
SELECT 'CREATE on schema ' || current_schema()
WHERE NOT has_schema_privilege(current_schema(), 'CREATE')
UNION ALL
SELECT concat_ws(', ',
    CASE WHEN NOT has_table_privilege(oid, 'SELECT') THEN 'SELECT' END,
    CASE WHEN NOT has_table_privilege(oid, 'INSERT') THEN 'INSERT' END,
    CASE WHEN NOT has_table_privilege(oid, 'UPDATE') THEN 'UPDATE' END,
    CASE WHEN NOT has_table_privilege(oid, 'DELETE') THEN 'DELETE' END
) || ' on ' || relname
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (ARRAY[
    'device', 'profile', 'point', 'reading', 'last_upload', 'alarm', 'event', 'command', 'store', 'counter'
]) AND NOT (
    has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
    AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')
)
UNION ALL
SELECT 'ownership of reading, for its partitions' FROM pg_class
WHERE oid = to_regclass('reading') AND NOT pg_has_role(relowner, 'USAGE')
"""

_MISSING_PARTITIONS = """
SELECT name FROM (
    SELECT 'reading_' || to_char(month, 'YYYYMM') AS name
    FROM generate_series(
        date_trunc('month', now() AT TIME ZONE 'UTC'),
        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month',
        interval '1 month'
    ) AS month
) AS wanted, pg_class
WHERE to_regclass(name) IS NULL AND oid = 'reading'::regclass AND relkind = 'p'
"""

_IN_READINGS = "SELECT profile, max(number) FROM reading GROUP BY profile ORDER BY profile"


class PostgresInspector:
    """Looks at a database. See :class:`~cmmd.store.tools.stats.Inspector`.

    :param url: see Address; :param password_file: the same.
    :ivar shown: see Inspector. :ivar folder: the same.
    :raises ValueError: see Address.
    """

    def __init__(self, url: str, password_file: Path | None) -> None:
        self._address = Address(url, password_file)
        self.folder: Path | None = None
        self.shown = self._address.name

    def reach(self) -> None:
        with self._session() as session:
            missing_schemas(session.connection, self.shown)

    def is_empty(self) -> bool:
        with self._session() as session:
            return version(session.connection) == 0

    def facts(self) -> StoreStats:
        """Collect statistics; the rows of a large table are PostgreSQL's estimate."""
        with self._session() as session:
            missing_schemas(session.connection, self.shown)
            has = version(session.connection)
            if not has:
                raise StoreUnavailable(f"{self.shown}: there is no store of cmmd in it yet")
            tables = _tables(session)
            partitions = [one for one in tables.values() if one.is_partition]
            readings = sum(one.rows for one in partitions)
            about = {kind for kind, table in _TABLES.items() if not tables[table].is_exact}
            if not all(one.is_exact for one in partitions):
                about.add("readings")
            identity, writer = _one_of([*session.ask("SELECT identity, writer FROM store"), (None, None)])
            oldest, newest = _one_of(session.ask(_SPAN))
            return StoreStats(
                store=self.shown,
                server=_server(session),
                schema=has,
                newest_schema=max(schemas()),
                identity=identity,
                writer=writer,
                counts=Counts(readings=readings, **{kind: tables[table].rows for kind, table in _TABLES.items()}),
                approximate=sorted(about),
                oldest_reading_at=oldest,
                newest_reading_at=newest,
                size=sum(one.size for one in tables.values()),
                reading_size=sum(one.size for one in partitions) / readings if readings >= FEWEST else None,
                partitions=[Partition(name=one.name, rows=one.rows, size=one.size) for one in partitions],
            )

    def damage(self) -> list[str]:
        with self._session() as session:
            return _damaged(session)

    def checks(self) -> Iterator[Check]:
        try:
            with self._session() as session:
                check_server(session.connection, self.shown)
                yield Check(name="reached", ok=True, text=f"{self.shown}, {_server(session)}")
                schema = self._schema(session)
                yield schema
                yield first_and_more("rights", [f"not granted: {right}" for (right,) in session.ask(_MISSING_RIGHTS)])
                yield Check(name="in use", ok=True, text=_holder(session) or "by no process")
                if schema.ok:
                    yield from _contents(session)
        except StoreError as error:
            yield Check(name="reached", ok=False, text=str(error))

    def migrate(self) -> tuple[int, int]:
        """Check the database step by step; in an empty one the tables are made."""
        with self._session(may_write=True) as session:
            before = version(session.connection)
            session.carry_out(lambda: migrate(session.connection, self.shown))
            return before, version(session.connection)

    def holder(self, patience_s: float = 0.0) -> str | None:
        with self._session() as session:
            give_up = time.monotonic() + patience_s
            while (found := _holder(session)) and time.monotonic() < give_up:
                time.sleep(_LOOK_AGAIN_S)
            return found

    @contextmanager
    def _session(self, *, may_write: bool = False) -> Iterator["_Session"]:
        connection = connect(self._address)
        try:
            with closing(connection), ThreadPoolExecutor(1) as thread:
                session = _Session(connection, thread)
                if not may_write:
                    session.ask("SET default_transaction_read_only = on")
                yield session
        except psycopg2.Error as error:
            raise as_store_error(error, self.shown) from None

    def _schema(self, session: "_Session") -> Check:
        has = version(session.connection)
        try:
            missing = missing_schemas(session.connection, self.shown)
        except SchemaTooNew as error:
            return Check(name="schema", ok=False, text=str(error))
        if missing:
            there = f"version {has}" if has else "none yet"
            text = f"{there}, version {max(missing)} is wanted: `cmmctl store migrate`, or start cmmd"
            return Check(name="schema", ok=False, text=text)
        return Check(name="schema", ok=True, text=f"version {has}")


class _Session:
    """A connection, and the thread that waits for it: so that a Ctrl-C comes through, and ends what is asked.

    :ivar connection: of psycopg2.
    """

    def __init__(self, connection: Any, thread: ThreadPoolExecutor) -> None:
        self.connection = connection
        self._thread = thread

    def carry_out(self, work: Callable[[], T]) -> T:
        running = self._thread.submit(work)
        try:
            return running.result()
        except KeyboardInterrupt:
            self.connection.cancel()
            raise

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that a statement finds; none where it is no query."""

        def asked() -> list[tuple[Any, ...]]:
            with self.connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall()) if cursor.description else []

        return self.carry_out(asked)


def _server(session: _Session) -> str:
    ((found,),) = session.ask("SHOW server_version")
    return f"PostgreSQL {found}"


def _one_of(rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return rows[0]


def _holder(session: _Session) -> str | None:
    """Find the holder of the writer's lock."""
    holders = session.ask(WHO_HOLDS_IT)
    return held(holders) if holders else None


# --- how much there is -----------------------------------------------------------------------------------------------


class _Table:
    """The size of a table.

    :ivar is_exact: whether its rows were counted; ``rows``: about so many, else.
    """

    def __init__(self, session: _Session, row: tuple[Any, ...]) -> None:
        self.name, self.is_partition, pages, rows, heap, self.size = row
        self.is_exact = heap <= MOST_COUNTED or rows < 0 or not pages
        if self.is_exact:
            ((self.rows,),) = session.ask(f"SELECT count(*) FROM {self.name}")  # noqa: S608 - PostgreSQL has quoted it
        else:
            ((block,),) = session.ask("SELECT current_setting('block_size')::bigint")
            self.rows = round(rows / pages * heap / block)


def _tables(session: _Session) -> dict[str, _Table]:
    found = [_Table(session, row) for row in session.ask(_SIZES)]
    return {one.name.rpartition(".")[2]: one for one in found}


# --- what is in it ---------------------------------------------------------------------------------------------------


def _contents(session: _Session) -> Iterator[Check]:
    missing = [f"{name} is not there: start cmmd, which makes it" for (name,) in session.ask(_MISSING_PARTITIONS)]
    yield first_and_more("partitions", missing)
    yield first_and_more("records", _damaged(session))
    used = dict(session.ask(_IN_READINGS))
    there = {number for (number,) in session.ask("SELECT number FROM profile")}
    strange = [f"readings have profile {number}, which is not there" for number in used if number not in there]
    yield first_and_more("profiles", strange)
    yield first_and_more("numbers", _low_numbers(session, max(used.values(), default=None)))
    yield whole([writer for (writer,) in session.ask("SELECT writer FROM store")])


def _damaged(session: _Session) -> list[str]:
    """Rows that a store leaves out when it is opened, because no cmmd has written them."""
    found: list[Any] = []
    for table, rest in (
        *((DEVICES, ""), (LAST_UPLOADS, "")),
        *((ALARMS, "WHERE cleared_at IS NULL"), (COMMANDS, "WHERE outcome IS NULL")),
    ):
        found += table.records(session.ask(table.select(rest)))
    return [str(one) for one in found if isinstance(one, CorruptRow)]


def _low_numbers(session: _Session, highest_reading: int | None) -> list[str]:
    counters = dict(session.ask("SELECT kind, highest FROM counter"))
    low = []
    for table in ("device", "reading", "alarm", "event", "command"):
        highest = highest_reading
        if table != "reading":
            ((highest,),) = session.ask(f"SELECT max(number) FROM {table}")  # noqa: S608 - our own names
        noted = counters.get(table, 0)
        if highest is not None and highest > noted:
            low.append(f"{table} has number {highest}, and {noted} is noted as the highest one")
    return low
