"""Looking at an embedded store from outside."""

import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cmmd.store.corruption import CorruptRow
from cmmd.store.interface import SchemaTooNew, StoreUnavailable
from cmmd.store.sqlite.rows import read_profiles
from cmmd.store.sqlite.schema import migrate, missing_schemas, quick_check, schemas
from cmmd.store.sqlite.store_file import FLOCK, HELD_BYTES, wal_of
from cmmd.store.sqlite.tables import ALARMS, COMMANDS, DEVICES, LAST_UPLOADS
from cmmd.store.tools.stats import FEWEST, Check, Counts, StoreStats, first_and_more, whole

__all__ = ["SQLiteInspector", "named"]

_PATIENCE_S = 30.0
"""Seconds that a migration waits for other writers."""

_STEPS_BETWEEN_LOOKS = 100_000
"""Steps of SQLite's machine, some milliseconds, after which Python may look at a Ctrl-C."""

_TABLES = {
    "devices": "device",
    "profiles": "profile",
    "uploads": "last_upload",
    "readings": "reading",
    "alarms": "alarm",
    "events": "event",
    "commands": "command",
}
"""By the field of Counts."""

_NUMBERED = ("reading", "alarm", "event", "command")


class SQLiteInspector:
    """Looks at a SQLite file. See :class:`~cmmd.store.tools.stats.Inspector`.

    :param path: the file.
    :ivar path: the same. :ivar shown: see Inspector. :ivar folder: the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: Path | None = path.absolute().parent
        self.shown = f"sqlite:{path}"

    def reach(self) -> None:
        with self.reading() as connection:
            missing_schemas(connection, self.path)

    def is_empty(self) -> bool:
        with self._errors():
            if not self.path.exists() or not self.path.stat().st_size:
                return True
        with self.reading():
            return False

    def facts(self) -> StoreStats:
        """Collect statistics; ``reading_size`` is the used part of the file by the number of readings."""
        with self.reading() as connection:
            missing_schemas(connection, self.path)
            tables = _tables(connection)
            counts = _counts(connection, tables)
            identity, writer = _one(connection, "SELECT identity, writer FROM store", "store" in tables)
            oldest, newest = _one(connection, "SELECT min(at), max(at) FROM reading", "reading" in tables)
            return StoreStats(
                store=self.shown,
                server=f"SQLite {sqlite3.sqlite_version}",
                schema=_version(connection),
                newest_schema=max(schemas()),
                identity=identity,
                writer=writer,
                counts=counts,
                oldest_reading_at=oldest,
                newest_reading_at=newest,
                size=sum(path.stat().st_size for path in (self.path, self._wal) if path.exists()),
                reading_size=_used(connection) / counts.readings if counts.readings >= FEWEST else None,
            )

    def damage(self) -> list[str]:
        with self.reading() as connection:
            return _damaged(connection)

    def checks(self) -> Iterator[Check]:
        try:
            with self.reading() as connection:
                yield Check(name="reached", ok=True, text=f"{self.shown}, SQLite {sqlite3.sqlite_version}")
                schema = self._schema(connection)
                yield schema
                yield self._rights()
                yield Check(name="in use", ok=True, text=self.holder() or "by no process")
                yield first_and_more("file", quick_check(connection))
                if schema.ok:
                    yield from _records(connection)
        except StoreUnavailable as error:
            yield Check(name="reached", ok=False, text=str(error))

    def migrate(self) -> tuple[int, int]:
        """Migrate the file; other users of it wait, or fail, as long as that takes."""
        with self.reading() as connection:
            before = _version(connection)
            missing_schemas(connection, self.path)
        with self._errors(), closing(_connect(self._uri("rw"), _PATIENCE_S)) as connection:
            migrate(connection, missing_schemas(connection, self.path))
            return before, _version(connection)

    def holder(self, patience_s: float = 0.0) -> str | None:  # noqa: ARG002 - who ends is not seen here any more
        """Find another process that has the file open. This one must not: it would lose its locks."""
        try:
            with self.path.open("rb") as file:
                wanted = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, *HELD_BYTES, 0)
                kind, _, _, _, process = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, wanted))
        except OSError:
            return None
        return None if kind == fcntl.F_UNLCK else named(process)

    # --- how it is opened --------------------------------------------------------------------------------------------

    @property
    def _wal(self) -> Path:
        return wal_of(self.path)

    def _uri(self, mode: str) -> str:
        return f"file:{quote(str(self.path.absolute()))}?mode={mode}"

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write, to what is a store.

        One that is opened for reading leaves a WAL and its index behind where there were none; so then it may write,
        but does not. Where it may not, no process does, and the file is all there is.
        """
        with self._errors():
            if not self.path.exists():
                raise StoreUnavailable(f"{self.path}: not there")
            try:
                connection = self._opened("ro" if self._wal.exists() else "rw")
            except sqlite3.OperationalError:
                if os.access(self.path.parent, os.W_OK) or self._wal.exists():
                    raise
                connection = self._opened("ro&immutable=1")
            with closing(connection):
                if not _version(connection):
                    raise StoreUnavailable(f"{self.path}: no store of cmmd")
                yield connection

    def _opened(self, mode: str) -> sqlite3.Connection:
        connection = _connect(self._uri(mode), 1.0)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # nothing is opened before
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":  # by an exception while it looked around, which is Ctrl-C
                raise KeyboardInterrupt from None
            raise StoreUnavailable(f"{self.path}: {error}") from None
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from None
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}") from None

    # --- checks ------------------------------------------------------------------------------------------------------

    def _schema(self, connection: sqlite3.Connection) -> Check:
        version = _version(connection)
        try:
            missing = missing_schemas(connection, self.path)
        except SchemaTooNew as error:
            return Check(name="schema", ok=False, text=str(error))
        if missing:
            text = f"version {version}, {max(missing)} is wanted: `cmmctl store migrate`, or start cmmd"
            return Check(name="schema", ok=False, text=text)
        return Check(name="schema", ok=True, text=f"version {version}")

    def _rights(self) -> Check:
        wrong = [str(path) for path in (self.path, self.path.absolute().parent) if not os.access(path, os.W_OK)]
        text = f"not allowed to write to {' and '.join(wrong)}" if wrong else "may write"
        return Check(name="rights", ok=not wrong, text=text)


def _connect(uri: str, patience_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, timeout=patience_s, isolation_level=None, uri=True)
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)
    return connection


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version) if version and "device" in _tables(connection) else 0


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _one(connection: sqlite3.Connection, query: str, there: bool) -> tuple[Any, Any]:
    """The two values of the one row; None and None where there is none."""
    return (connection.execute(query).fetchone() if there else None) or (None, None)


def _counts(connection: sqlite3.Connection, tables: set[str]) -> Counts:
    counted = {}
    for kind, table in _TABLES.items():
        if table in tables:  # else the schema is older than it
            (counted[kind],) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return Counts(**counted)


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that are not free."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def named(process: int) -> str:
    """Name a process that uses the file; 0: a process that cannot be seen from here."""
    try:
        name = Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # of another container, or gone
        return f"by process {process}" if process > 0 else "by another process"
    return f"by process {process} ({name})"


# --- checks of what is in it -----------------------------------------------------------------------------------------


def _records(connection: sqlite3.Connection) -> Iterator[Check]:
    yield first_and_more("records", _damaged(connection))
    yield first_and_more("profiles", _strange_profiles(connection))
    yield first_and_more("numbers", _low_numbers(connection))
    yield whole([writer for (writer,) in connection.execute("SELECT writer FROM store")])


def _damaged(connection: sqlite3.Connection) -> list[str]:
    """Rows that a store leaves out when it is opened, because no cmmd has written them."""
    found: list[Any] = [
        *DEVICES.read(connection),
        *LAST_UPLOADS.read(connection),
        *ALARMS.read(connection, "WHERE cleared_at IS NULL"),
        *COMMANDS.read(connection, "WHERE outcome IS NULL"),
        *read_profiles(connection),
    ]
    return [str(one) for one in found if isinstance(one, CorruptRow)]


def _strange_profiles(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT DISTINCT profile FROM reading WHERE profile NOT IN (SELECT number FROM profile) ORDER BY profile"
    return [f"readings have profile {number}, which is not there" for (number,) in connection.execute(query)]


def _low_numbers(connection: sqlite3.Connection) -> list[str]:
    counters = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    low = []
    for table in ("device", *_NUMBERED):
        (highest,) = connection.execute(f"SELECT max(number) FROM {table}").fetchone()  # noqa: S608
        if highest is not None and highest > counters.get(table, 0):
            low.append(f"{table} has number {highest}, and {counters.get(table, 0)} is noted as the highest one")
    return low
