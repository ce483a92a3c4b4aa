"""A thread for what waits for a disk."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["ThreadWorker", "Worker"]

T = TypeVar("T")


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
