"""A copy, in a file of its own, of what a daemon must know at a start while its database is unavailable."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from msgspec.structs import asdict
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.store.interface import Snapshot
from cmmd.store.outbox.overlay import highest
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, Numbers, ProfileVersion, Reading, Row
from cmmd.store.sqlite.rows import Key, delete, insert, key
from cmmd.store.sqlite.store import SQLiteStore
from cmmd.store.sqlite.store_file import wal_of

__all__ = ["RESERVED", "UPLOADS_S", "Known"]

log = Logger()

RESERVED = Numbers(reading=1_000_000, event=1_000_000, alarm=10_000, command=10_000)
"""So many numbers ahead of those given are kept free: a start that cannot ask the database begins behind them."""

UPLOADS_S = 60.0
"""There is a last upload with every reading; the newest one of each device is copied that often."""

AT_ONCE = 500
"""Last uploads that are copied in one transaction: a command, which is not sent before it is copied, waits for it."""

_NUMBERED: dict[type[Row], str] = {Reading: "reading", Event: "event", Alarm: "alarm", Command: "command"}


class _File(SQLiteStore):
    """The copy in its file."""

    def change(self, gone: Sequence[Key], there: Sequence[Row], owner: str | None = None) -> Deferred[None]:
        """Delete and write rows, all or none. :param owner: the identity of the store whose copy this is now."""

        def work(connection: sqlite3.Connection) -> None:
            delete(gone, connection)
            insert(there, connection)
            if owner is not None:
                connection.execute("UPDATE store SET writer = ?", (owner,))

        return self._submit(work)

    def remove(self) -> None:
        """Have no copy any more, but after the next start."""
        self._path.unlink(missing_ok=True)

    def open(self) -> Deferred[Snapshot]:
        """Open the copy; what is left of one that was removed is no part of it."""
        if not self._path.exists():
            wal_of(self._path).unlink(missing_ok=True)
        return super().open()


class Known:
    """Follows what is written to a store: devices, profile versions, open alarms, unfinished commands, last uploads.

    Where the file does not take something, the store does without it: the file is removed, and the log says so.

    :param path: the file; created where it is missing.
    :param reactor: where results are delivered.
    :param clock: for the pace of last uploads.
    """

    def __init__(self, path: Path, reactor: IReactorFromThreads, clock: IReactorTime) -> None:
        self._path = path
        self._file = _File(path, reactor)
        self._clock = clock
        self._uploads: dict[str, LastUpload] = {}
        self._due: list[LastUpload] = []
        self._flushing: IDelayedCall | None = None
        self._given = dict.fromkeys(asdict(RESERVED), 0)
        self._reserved = Numbers()
        self._removed = False

    def open(self) -> Deferred[Snapshot]:
        """Open the file of the copy.

        :return: what the store had, as far as it was copied. Its numbers are those that were reserved, its ``writer``
            is the identity of that store.
        :raises StoreUnavailable: see IStore. :raises SchemaTooNew: a newer cmmd has written to the store.
        """
        self._removed = False
        return self._file.open().addCallback(self._opened)

    def _opened(self, kept: Snapshot) -> Snapshot:
        self._reserved = kept.numbers
        self._given = asdict(kept.numbers)
        return kept

    def take_over(self, before: Snapshot, now: Snapshot) -> None:
        """Have the copy be what the store has.

        :param before: what :meth:`open` gave. :param now: what the store has.
        """
        self._given = asdict(now.numbers)
        there, wanted = set(_state(before)), set(_state(now))
        gone = [key(row) for row in _state(before) if row not in wanted]
        self._change(gone, [row for row in _state(now) if row not in there], self._ahead(), now.identity)

    def follow(self, rows: Sequence[Row]) -> Deferred[None]:
        """Copy what the store has been given.

        :return: fires when it is copied, or could not be; at once where nothing has to be there soon.
        """
        newest: dict[Key, Row] = {}
        for row in rows:
            if name := _NUMBERED.get(type(row)):
                self._given[name] = max(self._given[name], row.number)  # type: ignore[union-attr]
            match row:
                case LastUpload():
                    self._uploads[row.hostid] = row
                case Device() | ProfileVersion() | Alarm() | Command():
                    newest[key(row)] = row
        if self._uploads and self._flushing is None:
            self._flushing = self._clock.callLater(UPLOADS_S, self._copy_uploads)
        numbers = self._ahead() if self._is_short() else None
        if not newest and numbers is None:
            return succeed(None)
        return self._change(
            [one for one, row in newest.items() if _is_over(row)],
            [row for row in newest.values() if not _is_over(row)],
            numbers,
        )

    def remove(self, device: Device) -> Deferred[None]:
        """Have a device and its last upload no more."""
        self._uploads.pop(device.hostid, None)
        self._due = [upload for upload in self._due if upload.hostid != device.hostid]
        return self._change([key(device), (LastUpload, device.hostid)], [])

    def close(self) -> Deferred[None]:
        """Copy the rest, and close the file."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._take_uploads()
        rest, self._due = self._due, []
        if rest:
            self._change([], rest)
        return self._file.close()

    def _take_uploads(self) -> None:
        self._flushing = None
        self._due += self._uploads.values()
        self._uploads = {}

    def _copy_uploads(self) -> None:
        self._take_uploads()
        Deferred.fromCoroutine(self._bite_by_bite())

    async def _bite_by_bite(self) -> None:
        while self._due:
            bite, self._due = self._due[:AT_ONCE], self._due[AT_ONCE:]
            await self._change([], bite)

    def _is_short(self) -> bool:
        """Tell whether less than half of the reserve is left, of any kind."""
        reserved, most = asdict(self._reserved), asdict(RESERVED)
        return any(2 * (reserved[name] - given) < most[name] for name, given in self._given.items())

    def _ahead(self) -> Numbers:
        most = asdict(RESERVED)
        return Numbers(**{name: given + most[name] for name, given in self._given.items()})

    def _change(
        self, gone: Sequence[Key], there: Sequence[Row], numbers: Numbers | None = None, owner: str | None = None
    ) -> Deferred[None]:
        rows = there if numbers is None else [*there, numbers]
        changed = self._file.change(gone, rows, owner)
        return changed.addCallbacks(partial(self._copied, numbers), self._not_copied)

    def _copied(self, numbers: Numbers | None, _: None) -> None:
        if numbers is not None:
            self._reserved = highest(self._reserved, numbers)

    def _not_copied(self, failure: Failure) -> Failure | None:
        if failure.check(CancelledError):
            return failure  # no caller waits for it any more; that says nothing of the file
        if not self._removed:
            self._removed = True
            self._remove(failure.value)
        return None

    def _remove(self, why: object) -> None:
        """A start would believe what is no longer so: there must be none from this file."""
        log.error(
            "{path} is behind the store, and removed: no start without the database until there was one with it: {why}",
            path=self._path,
            why=why,
        )
        try:
            self._file.remove()
        except OSError as error:
            log.error("{path} cannot be removed: {error}", path=self._path, error=error)


def _is_over(row: Row) -> bool:
    match row:
        case Alarm(cleared_at=int()) | Command(outcome=str()):
            return True
    return False


def _state(kept: Snapshot) -> Iterator[Row]:
    parts: Iterable[Sequence[Row]] = (kept.devices, kept.profiles, kept.uploads, kept.alarms, kept.unfinished)
    for part in parts:
        yield from part
