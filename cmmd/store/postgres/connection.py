"""A connection to PostgreSQL that comes back by itself, and on which nothing waits for ever.

txpostgres as it is logs an idle disconnect with a traceback, has no deadlines, lets the reactor watch descriptors that
libpq closes, and its cancelling may block. All that is seen to here.
"""

import os
from collections.abc import Callable, Coroutine
from enum import IntEnum, auto
from typing import Any

import psycopg2
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres.reconnection import ConnectionDead, DeadConnectionDetector
from txpostgres.txpostgres import Cursor

from cmmd.backoff import Backoff
from cmmd.store.interface import StoreError
from cmmd.store.postgres.address import Address
from cmmd.store.postgres.driver import DriverConnection
from cmmd.store.postgres.errors import Unavailable, as_store_error, one_line

__all__ = ["CONNECT_S", "PATIENCE_S", "Greet", "Link", "Rows"]

log = Logger()

CONNECT_S = 8.0
"""How long making a connection may take, from looking for the host to the answer to its greeting."""

PATIENCE_S = 15.0
"""How long a call may stay without an answer; the server gives it up earlier, see ``statement_timeout``."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.8, 5.0

Rows = list[tuple[Any, ...]]
Greet = Callable[[Cursor], Coroutine[Deferred[Any], Any, str]]
"""Makes a session what it has to be; raises what speaks against using it."""


class _State(IntEnum):
    """From what serves a call best to what serves it worst."""

    UP = auto()
    NEW = auto()  # there is no request yet
    COMING = auto()  # the first attempt to connect, or the first one after a loss: what is asked waits for it
    DOWN = auto()  # an attempt has failed, others follow: what is asked fails at once
    ENDED = auto()


class Link(DriverConnection):
    """One connection. It is made when it is first needed, and again, with pauses, whenever it is lost.

    :param address: of the database.
    :param greet: what is said on each connection before it is used.
    :param reactor: what it runs on.
    """

    def __init__(self, address: Address, greet: Greet, reactor: Any) -> None:
        super().__init__(reactor, None, _Detector(reactor, self))
        self._address = address
        self._greet = greet
        self._beginning = b""
        self._state = _State.NEW
        self._trouble: StoreError = Unavailable(f"{address.name}: not open")
        self._waiting: list[Deferred[None]] = []
        self._resolving: Deferred[dict[str, Any]] | None = None
        self._line: int | None = None

    def runQuery(self, query: bytes | str, patience_s: float | None = None) -> Deferred[Rows]:
        """Carry statements out, in one transaction.

        :param query: as SQL; all values are in it.
        :param patience_s: how long the answer may take; None: :data:`PATIENCE_S`.
        :return: the rows of the last one; empty where it has none. To cancel it does not stop anything.
        :raises Rejected: something is wrong with the values.
        :raises StoreUnavailable: there is no connection, no answer in time, or the server cannot now.
        """
        return Deferred.fromCoroutine(self._ask(query, PATIENCE_S if patience_s is None else patience_s))

    async def _ask(self, query: bytes | str, patience_s: float) -> Rows:
        await self._stands()
        too_late = self.reactor.callLater(patience_s, self._drop, f"no answer within {patience_s:g} s")
        try:
            rows: Rows = await self.one_at_a_time(self._rows, query)
            return rows
        except (psycopg2.Error, ConnectionDead, ConnectionDone, ConnectionLost, CancelledError) as error:
            raise self._meaning(error) from None
        finally:
            if too_late.active():
                too_late.cancel()

    async def _rows_of(self, query: bytes | str) -> Rows:
        text = query.encode() if isinstance(query, str) else query
        cursor = await self.cursor().execute(b"%s;%s" % (self._beginning, text))
        return cursor.fetchall() if cursor.description else []

    def _rows(self, query: bytes | str) -> Deferred[Rows]:
        return Deferred.fromCoroutine(self._rows_of(query))

    def _meaning(self, error: Exception) -> StoreError:
        if isinstance(error, CancelledError):  # txpostgres says so when the server has given a statement up
            return Unavailable(f"{self._address.name}: it took the server too long", "57014")
        if isinstance(error, psycopg2.Error):
            return as_store_error(error, self._address.name)
        return self._trouble  # the connection was dropped, by us

    def _stands(self) -> Deferred[None]:
        if self._state is _State.UP:
            return succeed(None)
        if self._state in (_State.DOWN, _State.ENDED):
            return fail(self._trouble)
        standing: Deferred[None] = Deferred()
        self._waiting.append(standing)
        if self._state is _State.NEW:
            self._state = _State.COMING
            self.detector.startReconnecting(None)
        return standing

    def connect(self, *_: object, **__: object) -> Deferred[None]:
        """Make the connection; called by the detector."""
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> None:
        too_late = self.reactor.callLater(CONNECT_S, self._drop, f"no connection within {CONNECT_S:g} s")
        try:
            # In a thread, as these read a file and ask for the addresses of a host.
            threads = self.reactor.getThreadPool()
            self._resolving = deferToThreadPool(self.reactor, threads, self._address.resolved_settings)
            settings = await self._resolving
            self._resolving = None
            await super().connect(**settings)
            self._beginning = (await self._greet(self.cursor())).encode()
        except (psycopg2.Error, OSError) as error:
            raise as_store_error(error, self._address.name) from None
        except (ConnectionDone, ConnectionLost, CancelledError):
            raise self._trouble from None
        except ValueError:  # txpostgres would watch what we closed in the moment in which it stood
            if self._line is not None:
                raise
            raise self._trouble from None
        finally:
            self._resolving = None
            if too_late.active():
                too_late.cancel()

    def close(self) -> None:
        """Disconnect; the detector connects again, unless :meth:`end` was called."""
        if self.raw is None:
            return
        self.unwatch_cursors()
        super().close()
        if self._line is not None:
            os.close(self._line)
            self._line = None

    def fileno(self) -> int:
        """The descriptor that the reactor watches: a duplicate of libpq's, kept until it is closed here.

        libpq closes its own whenever the server has gone. A reactor that watches a descriptor which was closed without
        it being told takes whatever gets that number next, such as a device's connection, for the old one.
        """
        if self._state is not _State.UP and not self.is_gone:  # libpq may try several addresses, each with a new one
            theirs = self.raw.fileno()
            if self._line is None or not os.path.sameopenfile(theirs, self._line):
                if self._line is not None:
                    os.close(self._line)
                self._line = os.dup(theirs)
        return -1 if self._line is None else self._line

    @property
    def is_gone(self) -> bool:
        """Tell whether nothing can be said on this connection any more."""
        connection = self.raw
        return connection is None or connection.closed != 0 or connection.fileno() < 0

    def end(self) -> None:
        """Disconnect for good; callers that wait for an answer are notified."""
        if self._state is _State.ENDED:
            return
        self._state = _State.ENDED
        self.detector.stop()
        self._drop("closed")
        self._tell(self._trouble)

    def doRead(self) -> None:
        """The server has said something, or has gone. txpostgres would raise that without a caller to handle it."""
        try:
            super().doRead()
        except psycopg2.Error as error:
            self._drop(one_line(error))

    def _drop(self, why: str) -> None:
        """Close the connection, whatever it is about to do."""
        self._trouble = Unavailable(f"{self._address.name}: {why}")
        if self._resolving is not None:
            self._resolving.cancel()
        self.close()

    def lost(self, error: object) -> None:
        """Told by the detector: the connection is gone, and the first attempt to have it again begins."""
        self._state = _State.COMING
        if isinstance(error, psycopg2.Error):  # else we have closed it, and the reason is there
            self._trouble = as_store_error(error, self._address.name)
        log.debug("connection lost: {trouble}", trouble=self._trouble)

    @property
    def rank(self) -> int:
        """By how little it serves just now."""
        return self._state

    def came(self) -> None:
        """Told by the detector: it can be used."""
        self._state = _State.UP
        self._tell(None)

    def failed(self, error: object) -> None:
        """Told by the detector: an attempt has failed."""
        self._trouble = error if isinstance(error, Unavailable) else Unavailable(f"{self._address.name}: {error}")
        self.close()
        if self._state is _State.COMING:
            self._state = _State.DOWN
            self._tell(self._trouble)

    def _tell(self, trouble: StoreError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if trouble is None:
                one.callback(None)
            else:
                one.errback(trouble)


class _Detector(DeadConnectionDetector):  # type: ignore[misc]
    """Has a link made anew when it is lost, and can be stopped."""

    def __init__(self, reactor: Any, link: Link) -> None:
        super().__init__(deathChecker=self._is_fatal, reactor=reactor)
        self._link = link
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self.connectionIsDead = True
        self.setReconnectable(link)

    def _is_fatal(self, failure: Failure) -> bool:
        """A statement that fails is no reason to connect anew."""
        if failure.check(ConnectionDone, ConnectionLost):
            return True
        return bool(failure.check(psycopg2.Error)) and self._link.is_gone

    def setReconnectable(self, reconnectable: Link, *_: object, **__: object) -> None:
        """Without what it is connected with: that has the password, and is made anew each time."""
        super().setReconnectable(reconnectable)

    def startReconnecting(self, failure: Failure | None) -> None:
        """Connect, and try again until it succeeds."""
        if self._stopped:
            return
        if failure is not None:
            self._link.lost(failure.value)
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._after(0.0)

    def stop(self) -> None:
        """Stop connecting to the database."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _after(self, pause_s: float) -> None:
        self._timer = self.reactor.callLater(pause_s, self._attempt)

    def _attempt(self) -> None:
        self.reconnect().addCallbacks(lambda _: self._came(), self._failed)

    def _came(self) -> None:
        if not self._stopped:
            self.connectionIsDead = False
            self._link.came()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            log.failure("while connecting", failure=failure)
        self._link.failed(failure.value)
        if not self._stopped:
            self._after(self._backoff.next())
