"""The events that tell of devices coming and going: a short interruption is none (real modules reconnect all day)."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.fleet.events import Events, Kind

__all__ = ["OnlineEvents"]


class OnlineEvents:
    """Emits ``online`` and ``offline``, but not for a device that is back within the grace.

    Only events wait: presence, what is shown and where commands go change at once.

    :param grace_s: seconds that a device may be without a session; 0: each end is an event.
    :param now: Unix time in seconds.
    """

    def __init__(self, events: Events, clock: IReactorTime, grace_s: float, now: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._grace_s = grace_s
        self._now = now
        self._gone: dict[str, tuple[float, int]] = {}  # when it is due, and when the session ended (ms UTC); in order
        self._looking: IDelayedCall | None = None

    def came(self, hostid: str, address: str) -> None:
        """A device that had no live session has one."""
        if self._gone.pop(hostid, None) is None:
            self._events.emit(Kind.ONLINE, hostid, address=address)

    def went(self, hostid: str) -> None:
        """The last live session of a device has ended."""
        since = int(self._now() * 1000)
        if self._grace_s <= 0:
            self._events.emit(Kind.OFFLINE, hostid, since=since)
            return
        self._gone[hostid] = self._clock.seconds() + self._grace_s, since
        if self._looking is None:
            self._looking = self._clock.callLater(self._grace_s, self._look)

    def flush(self) -> None:
        """Tell all that have gone, and wait with none from now on: the daemon ends."""
        self._grace_s = 0
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        gone, self._gone = self._gone, {}
        for hostid, (_, since) in gone.items():
            self._events.emit(Kind.OFFLINE, hostid, since=since)

    def _look(self) -> None:
        self._looking = None
        now = self._clock.seconds()
        while self._gone:
            hostid = next(iter(self._gone))
            due, since = self._gone[hostid]
            if due > now:
                self._looking = self._clock.callLater(due - now, self._look)
                return
            del self._gone[hostid]
            self._events.emit(Kind.OFFLINE, hostid, since=since)
