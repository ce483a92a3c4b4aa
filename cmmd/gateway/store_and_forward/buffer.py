"""The buffer on disk for times without a session: uploads, and the last order of the server.

One SQLite file, each upload on the disk before it counts as kept: neither kill -9 nor a power cut takes it. It is
bounded: where there is no room, the oldest uploads go.
"""

import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

__all__ = [
    "MOST_BYTES",
    "MOST_ROWS",
    "Buffer",
    "BufferFailed",
    "Kept",
    "Ordered",
    "Stamp",
    "ThreadWorker",
    "Worker",
]

T = TypeVar("T")

MOST_ROWS = 50_000
"""At one a minute, 34 days."""

MOST_BYTES = 64 * 2**20
LEAST_BYTES = 2**16

_SCHEMA = """
BEGIN;
CREATE TABLE upload (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    hostid TEXT NOT NULL,
    plan TEXT NOT NULL,
    unix_s REAL NOT NULL,
    boot TEXT NOT NULL,
    ticks_s REAL NOT NULL,
    message BLOB NOT NULL
);
CREATE TABLE ordered (plan TEXT NOT NULL, period_s REAL NOT NULL);
PRAGMA user_version = 1;
COMMIT;
"""
_VERSION = 1

# Beside the uploads, not a column of them: a file that is there already gets it, and an earlier cmmd can still read it.
_SENT = """
BEGIN;
CREATE TABLE IF NOT EXISTS sent (number INTEGER PRIMARY KEY, itime INTEGER);
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON upload BEGIN DELETE FROM sent WHERE number = old.number; END;
COMMIT;
"""


class BufferFailed(Exception):
    """The disk, or the file, does not do what it should. The text is fit for a log."""


class Stamp(NamedTuple):
    """A moment on the clocks of this machine.

    :ivar unix_s: by the box's calendar, Unix time in seconds.
    :ivar boot: names the time since the machine was switched on.
    :ivar ticks_s: seconds since then.
    """

    unix_s: float
    boot: str
    ticks_s: float


class Ordered(Struct, frozen=True):
    """The last login answer's polling plan, and seconds between polls, for a start without a server."""

    plan: str
    period_s: float


class Kept(Struct, frozen=True, kw_only=True):
    """An upload of a time without a session.

    :ivar number: which one; 0: not kept yet.
    :ivar hostid: whose it is.
    :ivar plan: the polling plan that its frames answer.
    :ivar stamp: when it was.
    :ivar message: the document that would have been sent.
    :ivar itime: with which it was sent last, Unix time in milliseconds; None: never, or the server refused that time.
    """

    number: int = 0
    hostid: str
    plan: str
    stamp: Stamp
    message: bytes
    itime: int | None = None


class Worker(Protocol):
    """Carries works out one after the other, in the order in which they come."""

    def start(self) -> None:
        """Prepare for the first call."""

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Carry a work out. Who cancels this does not wait any more; the work is done all the same."""

    def stop(self) -> None:
        """Carry out what waits, and end. It can be started again."""


class ThreadWorker:
    """A :class:`Worker` with a thread of its own.

    :param reactor: where results are delivered.
    :param name: of the thread.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._thread: ThreadPool | None = None

    def start(self) -> None:
        """Prepare for the first call."""
        self._thread = ThreadPool(1, 1, self._name)
        self._thread.start()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        assert self._thread is not None, "not started"
        return deferToThreadPool(self._reactor, self._thread, work)

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()


class Buffer:
    """Keeps uploads. Everything but the plain numbers may fail with :exc:`BufferFailed`; then opening it anew may help.

    A file that is damaged, or from a later version, is put aside (``.damaged`` behind its name), and a new one begun.

    :param path: the file; created where it is missing.
    :param worker: waits for the disk.
    :param most_rows: uploads that it holds at most.
    :param most_bytes: of the file, at most; not less than :data:`LEAST_BYTES`.
    :ivar lost: uploads that have gone since the start because there was no room.
    :ivar on_failure: called whenever anything fails; None: no call.
    :raises ValueError: bounds that make no sense.
    """

    def __init__(
        self,
        path: Path,
        worker: Worker,
        *,
        most_rows: int = MOST_ROWS,
        most_bytes: int = MOST_BYTES,
        log: Logger | None = None,
    ) -> None:
        if most_rows < 1 or most_bytes < LEAST_BYTES:
            raise ValueError(f"a buffer has room for a row or more, and {LEAST_BYTES} bytes or more")
        self._path = path
        self._worker = worker
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._log = Logger() if log is None else log
        self._begun = False
        self._connection: sqlite3.Connection | None = None  # the worker's
        self._rows = 0  # changed by the worker only
        self.lost = 0
        self.on_failure: Callable[[], None] | None = None

    @property
    def rows(self) -> int:
        """Count the uploads in the buffer."""
        return self._rows

    async def open(self) -> Ordered | None:
        """Open it, or open it anew.

        :return: what was ordered last; None: nothing yet.
        """
        if not self._begun:
            self._begun = True
            self._worker.start()
        damage, ordered = await self._run(self._open)
        if damage:
            self._log.error("{path}: {damage}; it is put aside, and a new one begun", path=self._path, damage=damage)
        return ordered

    async def close(self) -> None:
        """Close it, if it is open."""
        if not self._begun:
            return
        closing = self._worker.run(self._close)
        self._begun = False
        try:
            await closing
        except (sqlite3.Error, OSError) as error:
            raise BufferFailed(f"{self._path}: {error}") from None
        finally:
            self._worker.stop()

    async def remember(self, ordered: Ordered) -> None:
        """Keep what was ordered."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("DELETE FROM ordered")
            connection.execute("INSERT INTO ordered VALUES (?, ?)", (ordered.plan, ordered.period_s))
            return 0

        await self._change(work)

    async def add(self, kept: Kept) -> Kept:
        """Keep an upload; it is on the disk when this returns.

        :return: with its number.
        """
        number = 0

        def work(connection: sqlite3.Connection) -> int:
            nonlocal number
            added = connection.execute(
                "INSERT INTO upload (hostid, plan, unix_s, boot, ticks_s, message) VALUES (?, ?, ?, ?, ?, ?)",
                (kept.hostid, kept.plan, *kept.stamp, kept.message),
            )
            number = added.lastrowid or 0
            return 1 - self._make_room(connection, self._rows + 1)

        gone = 1 - await self._change(work)
        if gone and not self.lost:
            self._log.warn("{path} is full: the oldest uploads in it are lost from now on", path=self._path)
        self.lost += gone
        return replace(kept, number=number)

    async def settled(self) -> None:
        """Wait until all that was requested of it is done."""
        await self._do(lambda _: None)

    async def plans(self, hostid: str) -> dict[str, int]:
        """The polling plans that a device's uploads answer, and how many are of each."""
        query = "SELECT plan, count(*) FROM upload WHERE hostid = ? GROUP BY plan"
        return dict(await self._do(lambda connection: connection.execute(query, (hostid,)).fetchall()))

    async def next(self, hostid: str, plans: Collection[str], after: int = 0) -> Kept | None:
        """The upload of a device that was kept first, of those that answer certain plans; None: there is none.

        :param after: only those behind this number.
        """
        query = (
            "SELECT upload.*, itime FROM upload LEFT JOIN sent USING (number) WHERE upload.number > ? AND hostid = ?"  # noqa: S608 - ours
            f" AND plan IN ({','.join('?' * len(plans))}) ORDER BY upload.number LIMIT 1"
        )
        found = await self._do(lambda connection: connection.execute(query, (after, hostid, *plans)).fetchone())
        if found is None:
            return None
        number, hostid, plan, *stamp, message, itime = found
        return Kept(number=number, hostid=hostid, plan=plan, stamp=Stamp(*stamp), message=message, itime=itime)

    async def note(self, kept: Kept, itime: int | None) -> None:
        """Remember with which ``itime`` an upload is about to be sent; None: forget it."""
        query = (
            "INSERT OR REPLACE INTO sent"
            " SELECT number, ? FROM upload WHERE number = ? AND unix_s = ? AND boot = ? AND ticks_s = ?"
        )

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(query, (itime, kept.number, *kept.stamp))
            return 0

        await self._change(work)

    async def remove(self, kept: Kept) -> bool:
        """Forget an upload: the server has it, or never will.

        :return: whether it was there.
        """
        # A new file may have begun meanwhile, and its numbers with it: the time tells whose number it is.
        query = "DELETE FROM upload WHERE number = ? AND unix_s = ? AND boot = ? AND ticks_s = ?"

        def work(connection: sqlite3.Connection) -> int:
            return -connection.execute(query, (kept.number, *kept.stamp)).rowcount

        return await self._change(work) < 0

    # --- in the worker -----------------------------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            if not self._begun:
                raise BufferFailed(f"{self._path}: not open")
            return await self._worker.run(work)
        except (sqlite3.Error, OSError, BufferFailed) as error:
            if self.on_failure is not None:
                self.on_failure()
            if isinstance(error, BufferFailed):
                raise
            raise BufferFailed(f"{self._path}: {error}") from None

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the file, as it is open when it is its turn."""

        def with_connection() -> T:
            if self._connection is None:
                raise BufferFailed(f"{self._path}: not open")
            return work(self._connection)

        return await self._run(with_connection)

    async def _change(self, work: Callable[[sqlite3.Connection], int]) -> int:
        """Carry out what changes the file, as one transaction.

        :param work: gives by how many rows it has become longer; and so does this.
        """

        def transaction(connection: sqlite3.Connection) -> int:
            with connection:  # commits, or takes it back
                connection.execute("BEGIN IMMEDIATE")
                more = work(connection)
            self._rows += more
            return more

        return await self._do(transaction)

    def _open(self) -> tuple[str, Ordered | None]:
        """Open or create the file; what was the matter with the one there was, and what was ordered."""
        self._close()
        damage = ""
        try:
            connection = _connected(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # not the file's fault
                raise
            damage = str(error)
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)  # it is the other file's
            connection = _connected(self._path)
        self._connection = connection
        (self._rows,) = connection.execute("SELECT count(*) FROM upload").fetchone()
        ordered = connection.execute("SELECT plan, period_s FROM ordered").fetchone()
        return damage, ordered and Ordered(*ordered)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _make_room(self, connection: sqlite3.Connection, rows: int) -> int:
        """Delete the oldest until the file is within its bounds; how many that were."""
        gone = 0
        while rows - gone > 1 and (rows - gone > self._most_rows or _used_bytes(connection) > self._most_bytes):
            connection.execute("DELETE FROM upload WHERE number = (SELECT min(number) FROM upload)")
            gone += 1
        return gone


def _connected(path: Path) -> sqlite3.Connection:
    """Open a file, and see that it is sound.

    :raises sqlite3.DatabaseError: it is not.
    """
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum = FULL")  # in time: before there are tables
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(_SCHEMA)
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, not {_VERSION}")
        connection.executescript(_SENT)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Compute the size of the file after the transaction."""
    (pages,), (free,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
