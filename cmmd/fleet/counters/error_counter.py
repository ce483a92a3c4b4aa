"""Our bugs, counted where every one of them comes past: in the log."""

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import provider

from cmmd.fleet.counters.counters import Counters

__all__ = ["count_bugs"]


def count_bugs(counters: Counters) -> Callable[[], None]:
    """Count every traceback that is logged from now on, whoever logs it: a part of ours, or Twisted on our behalf.

    So whoever meets a bug has one thing to do, ``log.failure``, and nobody can forget the other. The log is the
    process's: where two daemons are in one, both count.

    :return: call it to count no more.
    """

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None and event.get("log_level") is LogLevel.critical:
            counters.bugs += 1

    globalLogPublisher.addObserver(observe)

    def stop() -> None:
        globalLogPublisher.removeObserver(observe)

    return stop
