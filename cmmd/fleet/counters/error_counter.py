"""Count bugs that are logged, and limit their tracebacks: a client that repeats one must not fill a disk."""

from collections.abc import Callable
from traceback import extract_tb
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, LogPublisher, globalLogPublisher
from zope.interface import implementer, provider

from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.counters.log_throttle import Allowance, LogLimit

__all__ = ["BURST", "REFILL_S", "count_bugs", "is_bug", "limit_tracebacks"]


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


BURST = 20
"""Tracebacks at once, of all kinds together. One has about 4 KB."""

REFILL_S = 2.0
"""Seconds for one more, so that a log grows by about 2 KB/s at most for tracebacks."""


@implementer(ILogObserver)
class _Limited:
    """Hands events on to an observer, but only so many tracebacks.

    :param observer: writes them. :param clock: for the time.
    """

    def __init__(self, observer: ILogObserver, clock: IReactorTime) -> None:
        self.observer = observer
        self._clock = clock
        self._by_place = LogLimit(clock)
        self._all = Allowance(clock.seconds(), BURST, REFILL_S)
        self._left_out = 0
        self.limits = True

    def __call__(self, event: LogEvent) -> None:
        if not (self.limits and is_bug(event)):
            self.observer(event)
        elif self._by_place.left_out(_place(event)) is None or not self._all.take(self._clock.seconds()):
            self._left_out += 1
        else:
            left_out, self._left_out = self._left_out, 0
            self.observer(event)
            if left_out:
                self.observer(_note(event, f"{left_out} more tracebacks were counted and not logged"))


def limit_tracebacks(publisher: LogPublisher, clock: IReactorTime) -> Callable[[], None]:
    """Have each observer of a log get five tracebacks from one place and one every ten seconds, and of all places
    together :data:`BURST` and one every two seconds. Other events all pass. The counter of bugs is not limited: call
    this before that begins to count.

    :param publisher: the process's log, with its observers.
    :return: call it to undo that.
    """
    # twistd makes its observer by itself, without a reference to it
    limited = [_Limited(one, clock) for one in list(publisher._observers)]
    for one in limited:
        _replace(publisher, one.observer, one)

    def undo() -> None:
        for one in limited:
            one.limits = False
            if one in publisher._observers:  # else a later daemon of this process limits this one
                _replace(publisher, one, _unlimited(one))

    return undo


def _replace(publisher: LogPublisher, old: Any, new: Any) -> None:
    publisher.removeObserver(old)
    publisher.addObserver(new)


def _unlimited(observer: Any) -> Any:
    """Return what is behind limits that have ended, in whatever order daemons of one process end."""
    while isinstance(observer, _Limited) and not observer.limits:
        observer = observer.observer
    return observer


def _place(event: LogEvent) -> tuple[object, ...]:
    """Find the place and type of an exception; for a line without an exception, its beginning."""
    failure = event.get("log_failure") or event.get("failure")
    if failure is None:
        return (str(event.get("log_text", ""))[:60],)
    frames = extract_tb(failure.getTracebackObject(), limit=-1)
    where = (frames[-1].filename, frames[-1].lineno) if frames else ()
    return (failure.type, *where)


def _note(event: LogEvent, text: str) -> LogEvent:
    """Make a line of a log beside another event."""
    times: dict[str, object] = {key: event[key] for key in ("log_time", "time") if key in event}
    return {
        **times,
        "log_level": event["log_level"],
        "log_namespace": __name__,
        "log_system": __name__,
        "log_format": "{text}",
        "text": text,
        "log_source": None,
        "message": (text,),
        "isError": 0,
        "system": "-",
    }
