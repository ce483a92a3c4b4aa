"""The thread that writes to the embedded store."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cmmd.store.interface import StoreError, StoreUnavailable

__all__ = ["Work", "Writer"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

_OF_ITS_VALUES = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""What SQLite finds wrong with the values of a statement. Everything else is wrong with the store: disk, file, lock."""


class Writer:
    """Carries works out in a thread of its own, in the order in which they come.

    What comes while one transaction runs goes into the next one together: a commit waits for the disk, whatever is in
    it. A work that fails by its own fault is taken back, and only that; where the store fails, no work of the
    transaction is carried out, and each of them hears StoreUnavailable.

    :param connection: closed by :meth:`close`.
    :param path: of its file; and the store's name in messages.
    :param reactor: where results are delivered.
    :param committed: called in the writer's thread after each transaction.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, reactor: IReactorFromThreads, committed: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._name = str(path)
        self._path = path
        self._inode = path.stat().st_ino
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
        self._check_file()
        try:
            connection.execute("BEGIN IMMEDIATE")
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

    def _check_file(self) -> None:
        """SQLite writes on to a file that somebody has removed."""
        try:
            is_there = self._path.stat().st_ino == self._inode
        except OSError as error:
            raise StoreUnavailable(f"{self._name}: {error.strerror}; put it back and start cmmd again") from None
        if not is_there:
            raise StoreUnavailable(f"{self._name}: another file than was opened; start cmmd again")

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
