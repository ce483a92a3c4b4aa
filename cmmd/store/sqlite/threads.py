"""The thread that writes to SQLite, with its checkpoints, and the one that reads beside it."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cmmd.store.interface import StoreError, StoreUnavailable
from cmmd.store.sqlite.store_file import StoreFile

__all__ = ["PAUSE_S", "Checkpoints", "Reader", "Work", "Writer"]


PAUSE_S = 1.0
"""Seconds between two: what was written meanwhile is moved at once."""


class Checkpoints:
    """Carries checkpoints out beside the writer, while there is something to move.

    Left to SQLite they are part of a commit, now and then: 16 MB are moved while devices wait for that commit, for 0.1
    to 0.4 s on a busy machine. A passive one waits for no writer, nor do writers for it. A commit moves what it leaves.

    :param connection: of its own; closed by :meth:`close`.
    :param file: what it is connected to.
    """

    def __init__(self, connection: sqlite3.Connection, file: StoreFile) -> None:
        self._connection = connection
        self._file = file
        self._wanted = Event()
        self._over = Event()
        self._thread = Thread(target=self._run, name="store-checkpoints", daemon=True)
        self._thread.start()

    def want(self) -> None:
        """Note that rows were written. For any thread."""
        self._wanted.set()

    def close(self) -> None:
        """End; waits for one that is under way."""
        self._over.set()
        self._wanted.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            self._wanted.wait()
            self._wanted.clear()
            if not self._over.is_set():
                self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            self._file.check()  # nothing is moved into a file to which it does not belong
            newest = self._file.newest
            busy, frames, moved = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (sqlite3.Error, StoreUnavailable):
            return  # the writer meets the same trouble, and says so
        if not busy and frames == moved:
            self._file.has_moved(newest)


T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

_OF_ITS_VALUES = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""What SQLite finds wrong with the values of a statement. Everything else is wrong with the store: disk, file, lock."""


class Writer:
    """Carries works out in a thread of its own, in the order in which they come.

    What comes while one transaction runs is put into the next one together: a commit waits for the disk, whatever is in
    it. A work that fails by its own fault is rolled back, and only that; where the store fails, no work of the
    transaction is carried out, and each of them hears StoreUnavailable.

    :param connection: closed by :meth:`close`.
    :param path: of its file; and the store's name in messages.
    :param reactor: where results are delivered.
    :param committed: called in the writer's thread after each transaction.
    :param file: what it is connected to.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        reactor: IReactorFromThreads,
        committed: Callable[[], None],
        file: StoreFile,
    ) -> None:
        self._connection = connection
        self._name = str(path)
        self._file = file
        self._reactor = reactor
        self._committed = committed
        self._thread = ThreadPool(1, 1, "store-writer")
        self._thread.start()
        self._waiting: list[tuple[Work, Deferred[Any]]] = []
        self._writing = False
        self._idle: list[Deferred[None]] = []

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Carry a work out; confirmed when its transaction is on the disk."""
        confirmed: Deferred[T] = Deferred()
        self._waiting.append((work, confirmed))
        if not self._writing:
            self._write()
        return confirmed

    def drain(self) -> Deferred[None]:
        """Wait until nothing waits any more."""
        if not self._writing:
            return succeed(None)
        self._idle.append(Deferred())
        return self._idle[-1]

    def close(self) -> None:
        """End; nothing may wait any more."""
        self._thread.stop()
        self._connection.close()

    def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        self._writing = bool(batch)
        if not batch:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)
            return
        done = deferToThreadPool(self._reactor, self._thread, self._transact, [work for work, _ in batch])
        done.addBoth(self._settle, [confirmed for _, confirmed in batch])

    def _transact(self, works: list[Work]) -> list[Any]:
        """Carry a batch out in one transaction, in the writer's thread; one result or Failure each."""
        connection = self._connection
        self._file.check()
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._file.renew(connection)
            results = [self._outcome(work) for work in works]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._name}: {error}") from None
        finally:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
        self._committed()
        return results

    def _outcome(self, work: Work) -> Any:
        self._connection.execute("SAVEPOINT work")
        try:
            outcome = work(self._connection)
        except _OF_ITS_VALUES as error:
            outcome = Failure(StoreError(f"{self._name}: {error}"))
        except sqlite3.Error:
            raise
        except Exception:
            outcome = Failure()
        if isinstance(outcome, Failure):
            self._connection.execute("ROLLBACK TO work")
        self._connection.execute("RELEASE work")
        return outcome

    def _settle(self, outcome: list[Any] | Failure, confirmed: list[Deferred[Any]]) -> None:
        results = outcome if isinstance(outcome, list) else [outcome] * len(confirmed)
        for one, result in zip(confirmed, results, strict=True):
            one.callback(result)  # a Failure becomes an errback
        self._write()


PATIENCE_S = 5.0
"""How long the end waits for queries that are under way."""

_STEPS_BETWEEN_LOOKS = 100_000
"""Steps of SQLite's machine, some milliseconds, after which a query looks whether it is still wanted."""


class Reader:
    """Carries queries out, one after another, in a thread of its own, beside the writer: neither waits for the other.

    :param connection: cannot write from now on; closed by :meth:`close`.
    :param name: of the store, for messages.
    :param reactor: where results are delivered.
    :param file: what it is connected to.
    """

    def __init__(
        self, connection: sqlite3.Connection, name: str, reactor: IReactorFromThreads, file: StoreFile
    ) -> None:
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(lambda: self._given_up, _STEPS_BETWEEN_LOOKS)
        self._connection = connection
        self._name = name
        self._file = file
        self._reactor = reactor
        self._thread = ThreadPool(1, 1, "store-reader")
        self._thread.start()
        self._under_way = 0
        self._given_up = False
        self._idle: list[Deferred[None]] = []

    def ask(self, query: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Carry a query out."""
        answered: Deferred[T] = Deferred()
        self._under_way += 1
        deferToThreadPool(self._reactor, self._thread, self._answer, query).addBoth(self._settle, answered)
        return answered

    def drain(self) -> Deferred[None]:
        """Wait until no query is under way. Those that are not answered after a while fail."""
        if not self._under_way:
            return succeed(None)
        giving_up = cast("IReactorTime", self._reactor).callLater(PATIENCE_S, self._give_up)
        self._idle.append(Deferred())
        return self._idle[-1].addCallback(lambda _: giving_up.cancel() if giving_up.active() else None)

    def close(self) -> None:
        """End; no query may be under way."""
        self._thread.stop()
        self._connection.close()

    def _give_up(self) -> None:
        self._given_up = True

    def _settle(self, outcome: T | Failure, answered: Deferred[T]) -> None:
        self._under_way -= 1
        answered.callback(outcome)  # a Failure becomes an errback
        if not self._under_way:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    def _answer(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._given_up:
            raise StoreUnavailable(f"{self._name}: closed")
        self._file.check()
        try:
            return query(self._connection)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._name}: {error}") from None
        except StoreError as error:
            raise StoreError(f"{self._name}: {error}") from None
