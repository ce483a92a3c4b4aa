"""The embedded store: one SQLite file, written by one thread, in batches."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

from msgspec.structs import asdict, fields, replace
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cmmd.store.interface import DuplicateDevice, IStore, SchemaTooNew, StoreError, StoreUnavailable
from cmmd.store.records import Device

__all__ = ["SQLiteStore"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

_BUSY_TIMEOUT_S = 1.0
_COLUMNS = [one.name for one in fields(Device)]
_WRITTEN = [name for name in _COLUMNS if name != "number"]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM device ORDER BY number"  # noqa: S608 - our own names
_INSERT = f"INSERT INTO device ({', '.join(_WRITTEN)}) VALUES ({', '.join(':' + name for name in _WRITTEN)})"  # noqa: S608 - our own names
_UPDATE = f"UPDATE device SET {', '.join(f'{name} = :{name}' for name in _WRITTEN)} WHERE number = :number"  # noqa: S608 - our own names


@implementer(IStore)
class SQLiteStore:
    """Keeps records in a SQLite file (WAL, synchronous FULL: a confirmed write survives a power cut).

    Opening happens in the calling thread, before anything is served. Writes are carried out in a thread of their own;
    what is asked while one transaction runs goes into the next one together.

    :param path: the file; created where it is missing.
    :param reactor: where results are delivered.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads) -> None:
        self._path = path
        self._reactor = reactor
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPool(1, 1, "store")
        self._waiting: list[tuple[Work, Deferred[Any]]] = []
        self._writing = False
        self._drained: Deferred[None] | None = None

    def open(self) -> Deferred[list[Device]]:
        """See IStore."""
        try:
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, OSError) as error:
            return fail(StoreUnavailable(f"{self._path}: {error}"))
        try:
            missing = _missing_schemas(connection, self._path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection, missing)
            devices = [_device(row) for row in connection.execute(_SELECT)]
        except (sqlite3.Error, StoreError) as error:
            connection.close()
            return fail(error if isinstance(error, StoreError) else StoreUnavailable(f"{self._path}: {error}"))
        self._connection = connection
        self._thread = ThreadPool(1, 1, "store")
        self._thread.start()
        return succeed(devices)

    def add_device(self, device: Device) -> Deferred[Device]:
        """See IStore."""

        def insert(connection: sqlite3.Connection) -> Device:
            try:
                cursor = connection.execute(_INSERT, asdict(device))
            except sqlite3.IntegrityError:
                raise DuplicateDevice(device.hostid) from None
            return replace(device, number=cast("int", cursor.lastrowid))

        return self._submit(insert)

    def update_device(self, device: Device) -> Deferred[None]:
        """See IStore."""

        def update(connection: sqlite3.Connection) -> None:
            connection.execute(_UPDATE, asdict(device))

        return self._submit(update)

    def close(self) -> Deferred[None]:
        """See IStore."""
        if self._connection is None:
            return succeed(None)
        drained: Deferred[None] = succeed(None)
        if self._writing:
            drained = self._drained = Deferred()
        return drained.addCallback(self._closed)

    def _closed(self, _: None) -> None:
        self._thread.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _submit(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        confirmed: Deferred[T] = Deferred()
        self._waiting.append((work, confirmed))
        if not self._writing:
            self._write()
        return confirmed

    def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        self._writing = bool(batch)
        if not batch:
            if self._drained is not None:
                drained, self._drained = self._drained, None
                drained.callback(None)
            return
        done = deferToThreadPool(self._reactor, self._thread, self._transact, [work for work, _ in batch])
        done.addBoth(self._settle, [confirmed for _, confirmed in batch])

    def _transact(self, works: list[Work]) -> list[Any]:
        """Carry a batch out in one transaction, in the store's thread; one result or Failure each."""
        connection = cast("sqlite3.Connection", self._connection)
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [_done(work, connection) for work in works]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise StoreUnavailable(f"{self._path}: {error}") from None
        return results

    def _settle(self, outcome: list[Any] | Failure, confirmed: list[Deferred[Any]]) -> None:
        results = outcome if isinstance(outcome, list) else [outcome] * len(confirmed)
        for one, result in zip(confirmed, results, strict=True):
            one.callback(result)  # a Failure becomes an errback
        self._write()


def _done(work: Work, connection: sqlite3.Connection) -> Any:
    """What a work results in. It is one statement: what it raises by itself leaves the transaction as it was."""
    try:
        return work(connection)
    except sqlite3.Error:
        raise
    except Exception:
        return Failure()


def _device(row: tuple[Any, ...]) -> Device:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["enabled"] = bool(values["enabled"])
    return Device(**values)


def _schemas() -> dict[int, str]:
    """The numbered SQL files, by number."""
    found = {}
    for file in resources.files("cmmd.store").joinpath("schema").iterdir():
        if name := re.fullmatch(r"sqlite-(\d{4})\.sql", file.name):
            found[int(name[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def _missing_schemas(connection: sqlite3.Connection, path: Path) -> dict[int, str]:
    """The SQL files that the database has not seen.

    :raises SchemaTooNew: it has seen more than we have.
    """
    schemas = _schemas()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = max(schemas)
    if version > newest:
        raise SchemaTooNew(f"{path}: its schema is version {version}, this cmmd knows up to {newest}; use a newer cmmd")
    return {number: script for number, script in schemas.items() if number > version}


def _migrate(connection: sqlite3.Connection, missing: dict[int, str]) -> None:
    """Apply SQL files, each in a transaction of its own."""
    for number, script in missing.items():
        try:
            connection.executescript(f"BEGIN EXCLUSIVE; {script}; PRAGMA user_version = {number}; COMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
