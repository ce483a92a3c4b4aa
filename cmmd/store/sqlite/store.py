"""The embedded store: one SQLite file, one thread that writes and one that reads."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from zope.interface import implementer

from cmmd.store.corruption import undamaged
from cmmd.store.interface import IStore, Snapshot, StoreError, StoreUnavailable
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, Query, Reading, Redecoded, Row
from cmmd.store.sqlite.rows import (
    NUMBERED,
    add_device,
    delete,
    highest_numbers,
    insert,
    read_profiles,
    redecode,
)
from cmmd.store.sqlite.schema import migrate, missing_schemas, quick_check
from cmmd.store.sqlite.store_file import StoreFile
from cmmd.store.sqlite.tables import ALARMS, COMMANDS, DEVICES, EVENTS, LAST_UPLOADS, READINGS
from cmmd.store.sqlite.threads import Checkpoints, Reader, Writer

__all__ = ["MIB", "SQLiteStore", "look_for_space"]

T = TypeVar("T")

log = Logger()

MIB = 2**20

_BUSY_TIMEOUT_S = 1.0
_SETTINGS = (
    "synchronous = FULL",
    "temp_store = MEMORY",  # what a savepoint may have to bring back; else that is written to files in /tmp
    "wal_autocheckpoint = 4000",  # pages, 16 MB: what is left to a commit of what Checkpoints does beside it
)


class _Threads(NamedTuple):
    writer: Writer
    reader: Reader
    checkpoints: Checkpoints
    file: StoreFile


@implementer(IStore)
class SQLiteStore:
    """Keeps records in a SQLite file (WAL, synchronous FULL: a confirmed write survives a power cut).

    Opening happens in the calling thread, before anything is served. A damaged row costs no more than what it says: of
    what :meth:`open` reads it is left out, with a line in the log; a query that comes upon it fails with StoreError.

    :param path: the file; created where it is missing.
    :param reactor: where results are delivered.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads) -> None:
        self._path = path
        self._reactor = reactor
        self._threads: _Threads | None = None
        self._spare_mib = 0

    @property
    def path(self) -> Path:
        """The file, links included."""
        return self._path

    def leave_free(self, spare_mib: int) -> None:
        """Have it take nothing more where less than this of its disk is free, in MiB."""
        self._spare_mib = spare_mib

    def open(self) -> Deferred[Snapshot]:
        """Open the file and bring its schema up to date.

        :raises StoreError: also where another process uses the file, or its pages are damaged.
        """
        connections: list[sqlite3.Connection] = []
        file: StoreFile | None = None
        try:
            file = StoreFile(self._path)
            connections.append(_connect(self._path))
            kept = self._take_in(connections[0], check=file.is_strange)
            file.begin(connections[0])
            connections += [_connect(self._path) for _ in range(2)]
        except (sqlite3.Error, OSError, StoreError) as error:
            for connection in connections:
                connection.close()
            if file is not None:
                file.release()
            return fail(error if isinstance(error, StoreError) else StoreUnavailable(f"{self._path}: {error}"))
        writing, reading, checkpointing = connections
        checkpoints = Checkpoints(checkpointing, file)
        writer = Writer(writing, self._path, self._reactor, checkpoints.want, file)
        reader = Reader(reading, str(self._path), self._reactor, file)
        self._threads = _Threads(writer, reader, checkpoints, file)
        return succeed(kept)

    def add_device(self, device: Device) -> Deferred[Device]:
        return self._submit(partial(self._with_room, lambda connection: add_device(connection, device)))

    def remove_device(self, device: Device) -> Deferred[None]:
        """Delete a device and its last upload."""
        return self._submit(lambda connection: _remove(connection, device))

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        return self._submit(partial(self._with_room, partial(insert, list(rows))))

    def redecode(self, readings: Sequence[Redecoded]) -> Deferred[None]:
        return self._submit(partial(self._with_room, partial(redecode, list(readings))))

    def readings(self, query: Query) -> Deferred[list[Reading]]:
        """Find readings. A damaged one among the rows raises StoreError, in every query."""
        return self._ask(lambda connection: READINGS.page(connection, query))

    def alarms(self, query: Query) -> Deferred[list[Alarm]]:
        return self._ask(lambda connection: ALARMS.page(connection, query))

    def events(self, query: Query) -> Deferred[list[Event]]:
        return self._ask(lambda connection: EVENTS.page(connection, query))

    def commands(self, query: Query) -> Deferred[list[Command]]:
        return self._ask(lambda connection: COMMANDS.page(connection, query))

    def forget(self, before: int, limit: int) -> Deferred[int]:
        return self._submit(lambda connection: sum(one.forget(connection, before, limit) for one in NUMBERED.values()))

    def claim(self, writer: str) -> Deferred[None]:
        return self._submit(partial(self._with_room, lambda connection: _claim(connection, writer)))

    def close(self) -> Deferred[None]:
        """Close the store. Queries fail that are not answered in some seconds; writes take as long as the disk does."""
        threads = self._threads
        if threads is None:
            return succeed(None)
        drained = threads.reader.drain().addCallback(lambda _: threads.writer.drain())
        return drained.addCallback(self._closed, threads)

    def _closed(self, _: None, threads: _Threads) -> None:
        if self._threads is threads:
            self._threads = None
            threads.file.before_closing()
            threads.reader.close()
            threads.checkpoints.close()
            threads.writer.close()  # last: this one moves what is in the WAL to its place
            threads.file.close()

    def _with_room(self, work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
        look_for_space(self._path, self._spare_mib)
        return work(connection)

    def _submit(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        return self._threads.writer.submit(work) if self._threads else self._not_open()

    def _ask(self, query: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        return self._threads.reader.ask(query) if self._threads else self._not_open()

    def _not_open(self) -> Deferred[Any]:
        return fail(StoreUnavailable(f"{self._path}: not open"))

    def _prepare(self, connection: sqlite3.Connection, *, check: bool) -> tuple[str, str]:
        """Bring the schema up to date; the identity of the store, and of what claimed it.

        :param check: whether to look at all pages before: a file that is mixed from two is opened without complaint.
        """
        if check:
            _check_pages(connection, self._path)
        missing = missing_schemas(connection, self._path)
        connection.execute("PRAGMA journal_mode = WAL")
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        migrate(connection, missing)
        identity, writer = connection.execute("SELECT identity, writer FROM store").fetchone()
        return identity, writer

    def _take_in(self, connection: sqlite3.Connection, *, check: bool) -> Snapshot:
        """Read what is needed to go on."""
        identity, writer = self._prepare(connection, check=check)
        name = str(self._path)
        return Snapshot(
            devices=undamaged(DEVICES.read(connection, "ORDER BY number"), name, log),
            profiles=undamaged(read_profiles(connection), name, log),
            uploads=undamaged(LAST_UPLOADS.read(connection), name, log),
            alarms=undamaged(ALARMS.read(connection, "WHERE cleared_at IS NULL ORDER BY number"), name, log),
            unfinished=undamaged(COMMANDS.read(connection, "WHERE outcome IS NULL ORDER BY number"), name, log),
            numbers=highest_numbers(connection),
            identity=identity,
            writer=writer,
        )


def look_for_space(path: Path, spare_mib: int) -> None:
    """Look whether the disk of a file, or of the file that a link leads to, may take more.

    :raises StoreUnavailable: less than this would be free, in MiB.
    """
    there = os.statvfs(path if path.exists() else path.parent)
    if there.f_bavail * there.f_frsize < spare_mib * MIB:
        raise StoreUnavailable(f"{path}: less than {spare_mib} MiB of its disk are free")


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    log.info("{path}: not as cmmd has left it; its pages are looked at", path=path)
    found = quick_check(connection)
    if found:
        raise StoreError(f"{path}: damaged ({found[0]}); bring a backup back with `cmmctl store restore FILE`")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def _remove(connection: sqlite3.Connection, device: Device) -> None:
    delete([(Device, device.number), (LastUpload, device.hostid)], connection)


def _claim(connection: sqlite3.Connection, writer: str) -> None:
    connection.execute("UPDATE store SET writer = ?", (writer,))
