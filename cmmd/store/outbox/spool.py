"""The embedded store as a buffer: what another store does not take now waits here, bounded, and is moved later."""

import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import json
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from cmmd.store.corruption import CorruptRow
from cmmd.store.interface import Snapshot, StoreError, StoreUnavailable
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, ProfileVersion, Reading, Row
from cmmd.store.sqlite.rows import KINDS, Key, delete, first, highest_numbers, insert, key
from cmmd.store.sqlite.store import MIB, SQLiteStore, look_for_space

__all__ = ["Spool"]

log = Logger()

_PAGE_BYTES = 4096

_ORDER: tuple[type[Row], ...] = (Device, ProfileVersion, Alarm, Command, Event, Reading, LastUpload)
"""What is moved first when the other store is back: readings have profile versions, and alarms matter most."""

_STATE: tuple[type[Row], ...] = (Device, ProfileVersion, Alarm, Command, LastUpload)
"""What the next start has to know."""

_EVERYTHING = 2**62

_REFUSED = "CREATE TABLE IF NOT EXISTS refused (kind TEXT NOT NULL, row TEXT NOT NULL, why TEXT NOT NULL)"
_ANNOUNCED = "CREATE TABLE IF NOT EXISTS announced (identity TEXT NOT NULL)"


class Spool(SQLiteStore):
    """A SQLite file with rows for another store. What is in it is there to go.

    Rows that the other store cannot have stand in its table ``refused``, as JSON, for people to look at.

    :param path: the file; created where it is missing; it shrinks again as rows leave.
    :param reactor: where results are delivered.
    :param most_mib: how large it may become, in MiB.
    :param spare_mib: how much space it leaves on the disk, in MiB.
    :ivar backlog: rows that are in it.
    :ivar identities: a store that was claimed for one of these was claimed for it.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads, *, most_mib: int, spare_mib: int) -> None:
        super().__init__(path, reactor)
        self._most_mib = most_mib
        self.leave_free(spare_mib)
        self._owner = ""
        self._leaving: set[Key] = set()  # belongs to the thread that writes
        self._said: set[str] = set()
        self._state: list[Row] = []
        self.backlog = 0
        self.identities: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return str(self._path)

    def belong_to(self, store: str) -> None:
        """Say whose rows come from now on.

        :param store: its identity; with the next rows it becomes the ``writer`` that :meth:`open` tells.
        """
        self._owner = store

    def disown(self) -> Deferred[None]:
        """Say that its rows must not go to any store: a start with them fails."""
        self._owner = ""
        return self.claim("")

    def announce(self, identity: str) -> Deferred[None]:
        """Say which identity it will have: until :meth:`rename` a store may have been claimed for either."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO announced (identity) VALUES (?)", (identity,))

        self.identities |= {identity}
        return self._submit(work)

    def rename(self, identity: str) -> Deferred[None]:
        """Have another identity from now on: a copy of the file that was made before is then not this spool."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE store SET identity = ?", (identity,))
            connection.execute("DELETE FROM announced")

        def renamed(_: None) -> None:
            self.identities = frozenset({identity})

        return self._submit(work).addCallback(renamed)

    def take_state(self) -> list[Row]:
        """Of the rows that were in it when it was opened all but readings and events, and the highest numbers; once."""
        state, self._state = self._state, []
        return state

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        """Write rows, as ``IStore.write`` describes.

        :raises StoreUnavailable: also where it would become too large, or leave too little space on the disk.
        """
        return self._submit(partial(self._write, list(rows))).addCallback(self._count)

    def oldest(self, limit: int) -> Deferred[list[Row]]:
        """Rows that are to go, those first that must or should; of one kind in the order of time.

        What was written before is among them.
        """
        return self._submit(partial(self._oldest, limit))

    def discard(self) -> Deferred[None]:
        """Forget what :meth:`oldest` gave last; but what has been replaced since stays.

        :raises StoreError: it is damaged, and they do not go.
        """
        return self._submit(self._discard).addCallback(self._count)

    def refuse(self, rows: Sequence[tuple[Row, str]]) -> Deferred[None]:
        """Put rows of those that :meth:`oldest` gave last aside, for good; and what the matter is with each."""
        return self._submit(partial(self._refuse, list(rows))).addCallback(self._count)

    def _take_in(self, connection: sqlite3.Connection, *, check: bool) -> Snapshot:
        connection.execute("PRAGMA auto_vacuum = FULL")  # in time: before there are tables
        identity, self._owner = self._prepare(connection, check=check)
        connection.execute(_REFUSED)
        connection.execute(_ANNOUNCED)
        announced = connection.execute("SELECT identity FROM announced").fetchall()
        self.identities = frozenset({identity, *(one for (one,) in announced)})
        _start_counting(connection)
        self._count(_backlog(connection))
        numbers = highest_numbers(connection)
        self._state = [numbers, *(row for kind in _STATE for row in self._first(kind, _EVERYTHING, connection))]
        return Snapshot(
            devices=[], profiles=[], uploads=[], alarms=[], numbers=numbers, identity=identity, writer=self._owner
        )

    def _write(self, rows: Sequence[Row], connection: sqlite3.Connection) -> int:
        self._leaving.difference_update(map(key, rows))
        self._look_for_room(connection)
        connection.execute("UPDATE store SET writer = ?1 WHERE writer <> ?1", (self._owner,))
        insert(rows, connection)
        return _backlog(connection)

    def _look_for_room(self, connection: sqlite3.Connection) -> None:
        look_for_space(self._path, self._spare_mib)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages * _PAGE_BYTES >= self._most_mib * MIB:
            raise StoreUnavailable(f"{self._path}: it has its {self._most_mib} MiB")

    def _count(self, backlog: int) -> None:
        self.backlog = backlog

    def _oldest(self, limit: int, connection: sqlite3.Connection) -> list[Row]:
        found: list[Row] = []
        for kind in _ORDER:
            room = limit - len(found)
            if room > 0:
                found += self._first(kind, room, connection)
        self._leaving = set(map(key, found))
        return found

    def _first(self, kind: type[Row], most: int, connection: sqlite3.Connection) -> list[Row]:
        """The first rows of a kind; those that are damaged are passed over, and stay."""
        limit = most
        while True:
            found = list(first(kind, limit, connection))
            rows = [one for one in found if not isinstance(one, CorruptRow)]
            for one in found:
                if isinstance(one, CorruptRow):
                    self._say(str(one))
            if len(rows) >= most or len(found) < limit:
                return rows[:most]
            limit *= 2

    def _say(self, damage: str) -> None:
        if damage not in self._said:
            self._said.add(damage)
            log.error("{path}: {damage}; it stays there", path=self._path, damage=damage)

    def _discard(self, connection: sqlite3.Connection) -> int:
        if delete(self._leaving, connection) < len(self._leaving):
            raise StoreError(f"{self._path}: it is damaged, rows are not found by their keys")
        self._leaving = set()
        return _backlog(connection)

    def _refuse(self, rows: Sequence[tuple[Row, str]], connection: sqlite3.Connection) -> int:
        connection.executemany(
            "INSERT INTO refused (kind, row, why) VALUES (?, ?, ?)",
            [(type(row).__name__, json.encode(row).decode(), why) for row, why in rows],
        )
        gone = self._leaving.intersection(key(row) for row, _ in rows)
        delete(gone, connection)
        self._leaving -= gone
        return _backlog(connection)


def _start_counting(connection: sqlite3.Connection) -> None:
    """Have SQLite count the rows as they come and go, in a table that is only there for this connection."""
    connection.execute("CREATE TEMP TABLE backlog AS SELECT 0 AS rows")
    for table in ("profile", *(table.name for table in KINDS.values())):
        connection.execute(f"UPDATE backlog SET rows = rows + (SELECT count(*) FROM {table})")  # noqa: S608
        for happens, change in (("INSERT", "+ 1"), ("DELETE", "- 1")):
            connection.execute(
                f"CREATE TEMP TRIGGER {table}_{happens} AFTER {happens} ON main.{table}"  # noqa: S608
                f" BEGIN UPDATE backlog SET rows = rows {change}; END"
            )


def _backlog(connection: sqlite3.Connection) -> int:
    (rows,) = connection.execute("SELECT rows FROM backlog").fetchone()
    return int(rows)
