"""Threads of a lower priority for computations that would hold the reactor up."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread, get_native_id
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

__all__ = ["BackgroundThreads", "usable_cores"]

_NICENESS = 5
"""Added to that of the process: where cores are scarce, a thread gets a third of what the reactor's thread gets, which
answers uploads while a fleet logs in. With 10 it would get a tenth, and other programs could starve the logins."""

_Job = tuple[Callable[[], Any], "Deferred[Any]"]


def usable_cores() -> int:
    """Count the cores that this process can use, in a container or under taskset fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BackgroundThreads:
    """A fixed number of threads at a lower priority.

    Twisted's own pool takes 0.1 ms of the reactor's thread for each function, most of it to grow and shrink.

    :param reactor: Deferreds fire in its thread.
    :param count: the number of threads.
    :param name: the beginning of their names.
    """

    def __init__(self, reactor: IReactorFromThreads, count: int, name: str) -> None:
        self._reactor = reactor
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(count)]

    def start(self) -> None:
        """Start all threads of the pool."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until all submitted functions have run and all threads have ended."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, work: Callable[[], Any]) -> "Deferred[Any]":
        """Call a function in one of the threads.

        :return: fires with what it returns, or fails with what it raises.
        """
        done: Deferred[Any] = Deferred()
        self._jobs.put((work, done))
        return done

    def _run(self) -> None:
        _give_way()
        while (job := self._jobs.get()) is not None:
            work, done = job
            try:
                result = work()
            except BaseException:  # it belongs to the caller of submit, whatever it is
                result = Failure()
            self._reactor.callFromThread(done.callback, result)
            del job, work, done, result  # a waiting thread must not keep passwords alive


def _give_way() -> None:
    """Lower the priority of the calling thread, on Linux: elsewhere a thread has no priority of its own."""
    if sys.platform == "linux":
        thread = get_native_id()
        with suppress(OSError):  # a sandbox can forbid it, and a thread at full priority still does its work
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
