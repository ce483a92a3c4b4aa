"""The thread that reads from the embedded store."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cmmd.store.interface import StoreError, StoreUnavailable

__all__ = ["Reader"]

T = TypeVar("T")

PATIENCE_S = 5.0
"""How long the end waits for queries that are under way."""

_STEPS_BETWEEN_LOOKS = 100_000
"""Steps of SQLite's machine, some milliseconds, after which a query looks whether it is still wanted."""


class Reader:
    """Carries queries out, one after another, in a thread of its own, beside the writer: neither waits for the other.

    :param connection: cannot write from now on; closed by :meth:`close`.
    :param name: of the store, for messages.
    :param reactor: where results are delivered.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, reactor: IReactorFromThreads) -> None:
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(lambda: self._given_up, _STEPS_BETWEEN_LOOKS)
        self._connection = connection
        self._name = name
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
        try:
            return query(self._connection)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._name}: {error}") from None
        except StoreError as error:
            raise StoreError(f"{self._name}: {error}") from None
