"""The embedded store as a buffer: what another store does not take now waits here, bounded, and goes there later."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from cmmd.store.damage import DamagedRow
from cmmd.store.interface import Kept, StoreUnavailable
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, Numbers, ProfileVersion, Reading, Row
from cmmd.store.sqlite import SQLiteStore
from cmmd.store.sqlite_rows import KINDS, discard, first, highest_numbers, insert

__all__ = ["MIB", "Spool"]

log = Logger()

MIB = 2**20

_PAGE_BYTES = 4096

_ORDER: tuple[type[Row], ...] = (Device, ProfileVersion, Alarm, Command, Event, Reading, LastUpload)
"""What goes first when the other store is back: readings bear profile versions, and alarms matter most."""

_STATE: tuple[type[Row], ...] = (Device, ProfileVersion, Alarm, Command, LastUpload)
"""What the next start has to know."""

_EVERYTHING = 2**62

_Key = tuple[type[Row], str | int]


def _key(row: Row) -> _Key:
    match row:
        case Numbers():
            return Numbers, 0
        case LastUpload():
            return LastUpload, row.hostid
    return type(row), row.number


class Spool(SQLiteStore):
    """A SQLite file with rows for another store. What is in it is there to go.

    :param path: the file; created where it is missing; it shrinks again as rows leave.
    :param reactor: where results are delivered.
    :param most_mib: how large it may become, in MiB.
    :param spare_mib: how much space it leaves on the disk, in MiB.
    :ivar backlog: rows that are in it.
    :ivar state: of those that were in it when it was opened, all but readings and events, and the highest numbers.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads, *, most_mib: int, spare_mib: int) -> None:
        super().__init__(path, reactor)
        self._most_mib = most_mib
        self._spare_mib = spare_mib
        self._stays: set[_Key] = set()
        self._said: set[str] = set()
        self.backlog = 0
        self.state: list[Row] = []

    def __str__(self) -> str:
        return str(self._path)

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        """See IStore.

        :raises StoreUnavailable: also where it would become too large, or leave too little space on the disk.
        """
        return self._submit(partial(self._write, list(rows))).addCallback(self._count)

    def settled(self) -> Deferred[None]:
        """Wait until what was asked before has been carried out, well or not."""
        return self._submit(lambda _: None)

    def oldest(self, limit: int) -> Deferred[list[Row]]:
        """Rows that are to go, those first that must or should; of one kind in the order of time."""
        return self._ask(partial(self._oldest, limit))

    def discard(self, rows: Iterable[Row]) -> Deferred[None]:
        """Forget rows that have gone; those that have been replaced meanwhile stay."""
        return self._submit(partial(self._discard, list(rows))).addCallback(self._count)

    def leave(self, row: Row) -> None:
        """Have a row stay in the file for good, for people to look at: the other store cannot have it."""
        self._stays.add(_key(row))

    def _take_in(self, connection: sqlite3.Connection) -> Kept:
        connection.execute("PRAGMA auto_vacuum = FULL")  # in time: before there are tables
        connection.execute(f"PRAGMA max_page_count = {self._most_mib * MIB // _PAGE_BYTES}")
        kept = super()._take_in(connection)
        self._start_counting(connection)
        self._count(_backlog(connection))
        self.state = [row for kind in _STATE for row in self._some(kind, _EVERYTHING, connection)]
        self.state.append(highest_numbers(connection))
        return kept

    def _start_counting(self, connection: sqlite3.Connection) -> None:
        """Have SQLite count the rows as they come and go, in a table that is only there for this connection."""
        connection.execute("CREATE TEMP TABLE backlog AS SELECT 0 AS rows")
        for table in ("profile", *(table.name for table in KINDS.values())):
            connection.execute(f"UPDATE backlog SET rows = rows + (SELECT count(*) FROM {table})")  # noqa: S608
            for happens, change in (("INSERT", "+ 1"), ("DELETE", "- 1")):
                connection.execute(
                    f"CREATE TEMP TRIGGER {table}_{happens} AFTER {happens} ON main.{table}"  # noqa: S608
                    f" BEGIN UPDATE backlog SET rows = rows {change}; END"
                )

    def _write(self, rows: Sequence[Row], connection: sqlite3.Connection) -> int:
        there = os.statvfs(self._path.parent)
        if there.f_bavail * there.f_frsize < self._spare_mib * MIB:
            raise StoreUnavailable(f"{self._path}: less than {self._spare_mib} MiB of the disk are free")
        insert(rows, connection)
        return _backlog(connection)

    def _count(self, backlog: int) -> None:
        self.backlog = backlog

    def _discard(self, rows: Sequence[Row], connection: sqlite3.Connection) -> int:
        discard(rows, connection)
        return _backlog(connection)

    def _oldest(self, limit: int, connection: sqlite3.Connection) -> list[Row]:
        found: list[Row] = []
        for kind in _ORDER:
            room = limit - len(found)
            if room > 0:
                found += list(self._some(kind, limit + len(self._stays) + len(self._said), connection))[:room]
        return found

    def _some(self, kind: type[Row], limit: int, connection: sqlite3.Connection) -> Iterator[Row]:
        for row in first(kind, limit, connection):
            if isinstance(row, DamagedRow):
                self._say(str(row))
            elif not self._stays or _key(row) not in self._stays:
                yield row

    def _say(self, damage: str) -> None:
        if damage not in self._said:
            self._said.add(damage)
            log.error("{path}: {damage}; it stays there", path=self._path, damage=damage)


def _backlog(connection: sqlite3.Connection) -> int:
    (rows,) = connection.execute("SELECT rows FROM backlog").fetchone()
    return int(rows)
