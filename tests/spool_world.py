"""A spooled store whose time, threads and failures a test has in its hands."""

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from cmmd.store.interface import Snapshot, StoreError, StoreUnavailable
from cmmd.store.outbox.known import Known
from cmmd.store.outbox.spool import Spool
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.sqlite import store, threads
from tests.shaky_store import ShakyStore

__all__ = ["HandThreads", "SpoolWorld", "Start"]

T = TypeVar("T")


class _NoThread:
    """Instead of a ThreadPool."""

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class HandThreads:
    """What SQLite's threads would do, done at once, or when a test says so.

    :ivar at_once: whether.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.at_once = True
        self._works: deque[Callable[[], object]] = deque()
        test.patch(threads, "ThreadPool", _NoThread)
        test.patch(threads, "deferToThreadPool", self._defer)
        test.patch(store, "_SETTINGS", ("synchronous = OFF", "temp_store = MEMORY"))  # no power fails in here

    def __len__(self) -> int:
        return len(self._works)

    def step(self) -> None:
        """Do the oldest work."""
        self._works.popleft()()

    def forget(self) -> None:
        """The process has died: nothing comes back from what is under way."""
        self._works.clear()

    def _defer(self, _reactor: object, _pool: object, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self._works.append(lambda: maybeDeferred(work, *arguments).chainDeferred(done))
        if self.at_once:
            self.step()
        return done


class Start:
    """One process: a spooled store on the files of a folder and a store that outlives it."""

    def __init__(
        self, folder: Path, store: ShakyStore, clock: Clock, *, known: bool = True, most_mib: int = 100
    ) -> None:
        threads = cast("IReactorFromThreads", clock)
        self.spool = Spool(folder / "spool.sqlite", threads, most_mib=most_mib, spare_mib=0)
        self.known = Known(folder / "known.sqlite", threads, clock) if known else None
        self.store = SpooledStore(store, self.spool, self.known, clock)

    def files(self) -> list[store.SQLiteStore]:
        return [self.spool, *([self.known._file] if self.known else [])]

    def die(self) -> None:
        """Let go of the files as the end of a process does; what the garbage collector closes begins nothing."""
        self.store._closing = True
        for file in self.files():
            if file._threads is not None:
                file._threads.checkpoints.close()
                for connection in (file._threads.writer._connection, file._threads.reader._connection):
                    connection.close()
                file._threads.file.close()
                file._threads = None


class SpoolWorld(SynchronousTestCase):
    """A folder, a shaky store, a clock."""

    known = True

    def setUp(self) -> None:
        self.threads = HandThreads(self)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.shaky = ShakyStore()
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace", "").startswith("cmmd.store"):
                self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def begin(self, **more: Any) -> Snapshot:
        """Start, up to the first turn of the reactor."""
        return self.successResultOf(self._open(**more))

    def _open(self, **more: Any) -> Deferred[Snapshot]:
        self.start = Start(self.folder, self.shaky, self.clock, **{"known": self.known, **more})
        self.addCleanup(self.start.die)
        return self.start.store.open()

    def assert_no_start(self, why: str, kind: type[StoreError] = StoreError) -> None:
        """It does not start, in one line, and leaves nothing running."""
        self.assertRegex(str(self.failureResultOf(self._open(), kind).value), why)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.shaky.is_open)

    def up(self, **more: Any) -> Snapshot:
        """Start, and be ready."""
        kept = self.begin(**more)
        self.clock.advance(0)
        return kept

    def die(self) -> None:
        """Kill -9."""
        self.shaky.die()
        self.threads.forget()
        self.start.die()
        for call in tuple(self.clock.getDelayedCalls()):
            call.cancel()

    def down(self) -> None:
        """An orderly end."""
        self.successResultOf(self.start.store.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def write(self, *rows: Any) -> Deferred[None]:
        return self.start.store.write(list(rows))

    def assert_written(self, *rows: Any) -> None:
        self.assertIsNone(self.successResultOf(self.write(*rows)))

    def assert_unavailable(self, asked: Deferred[Any]) -> str:
        return str(self.failureResultOf(asked, StoreUnavailable).value)

    def assert_health(self, up: bool, backlog: int = 0) -> None:
        health = self.start.store.health()
        self.assertEqual((health.up, health.backlog), (up, backlog))

    def in_the_file(self, name: str, statement: str) -> list[Any]:
        """What somebody else finds in a file."""
        with closing(sqlite3.connect(self.folder / name)) as other, other:
            return other.execute(statement).fetchall()

    def said(self) -> list[str]:
        """What was logged since this was asked last."""
        lines, self.lines[:] = list(self.lines), []
        return lines
