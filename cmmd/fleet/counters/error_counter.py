"""Our bugs, counted where every one of them comes past: in the log."""

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import provider

from cmmd.fleet.counters.counters import Counters

__all__ = ["count_bugs", "is_bug"]


def is_bug(event: LogEvent) -> bool:
    """Tell whether a log event reports a bug.

    Parts of Twisted still log in its old way (``twisted.python.log.err``): such an event has no ``log_failure``. Its
    ``isError`` alone says nothing, because observers of the old way write that into events of the new one, too.
    """
    if event.get("log_failure") is not None:
        return event.get("log_level") is LogLevel.critical
    return bool(event.get("isError")) and event.get("log_namespace") == "log_legacy" and not event.get("printed")


def count_bugs(counters: Counters) -> Callable[[], None]:
    """Count every traceback that is logged from now on, by a part of cmmd or by Twisted on its behalf.

    The part that meets a bug has one thing to do, ``log.failure``, and cannot forget to count. The log is the
    process's: where two daemons are in one, both count.

    :return: call it to count no more.
    """

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if is_bug(event):
            counters.bugs += 1

    globalLogPublisher.addObserver(observe)

    def stop() -> None:
        globalLogPublisher.removeObserver(observe)

    return stop
