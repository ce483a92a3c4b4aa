"""Verify commands: by the uploads that follow, or by the login that follows a reset."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.controllers.entries import Confirmation, PointLeaves, SignalChanges, SignalCleared, SignalSet
from cmmd.fleet.telemetry.live import LiveRecord

__all__ = ["LOGIN_WINDOW_S", "UPLOAD_WINDOW_S", "Shown", "Verifications", "Watched", "shown_by"]

UPLOAD_WINDOW_S = 30.0
"""Seconds after a command's end in which it has to show itself."""

LOGIN_WINDOW_S = 300.0
"""Seconds after a reset in which the device has to log in: it boots, and its modem has to find a network."""

Shown = Callable[[LiveRecord], bool]
"""Looks whether a command shows itself in what is known of a device now."""


def shown_by(confirmation: Confirmation, record: LiveRecord) -> Shown | None:
    """Describe the change that shows a command, compared with the state before it is sent.

    :return: None: that is unknown, because their state is.
    """
    match confirmation:
        case SignalSet(signal=name):
            return lambda now: _signal(now, name) is True
        case SignalCleared(signal=name):
            return lambda now: _signal(now, name) is False
        case SignalChanges(signal=name):
            before = _signal(record, name)
            return None if before is None else lambda now: _signal(now, name) is (not before)
        case PointLeaves(point=name, value=value):
            if _raw(record, name) is None:
                return None
            return lambda now: _raw(now, name) not in (None, value)


def _signal(record: LiveRecord, name: str) -> bool | None:
    signal = record.profile.signal_by_name.get(name)
    return None if signal is None else record.known.coil(signal.address)


def _raw(record: LiveRecord, name: str) -> int | None:
    point = record.profile.point_by_name.get(name)
    return None if point is None else record.known.register(point.address)


class Watched:
    """A command that is to show itself.

    :param shown: looks for the change in an upload; None: a login confirms the command.
    :param settled: notified once whether it has shown itself.
    """

    __slots__ = ("_call", "_confirmations", "_hostid", "settled", "shown")

    def __init__(
        self, confirmations: "Verifications", hostid: str, shown: Shown | None, settled: Callable[[bool], None]
    ) -> None:
        self.shown = shown
        self.settled = settled
        self._confirmations = confirmations
        self._hostid = hostid
        self._call: IDelayedCall | None = None

    def ended(self) -> None:
        """The command has ended: from now on it has its window to show itself, if it has not yet."""
        if self in self._confirmations.of(self._hostid) and self._call is None:
            window = LOGIN_WINDOW_S if self.shown is None else UPLOAD_WINDOW_S
            self._call = self._confirmations.clock.callLater(window, self.settle, False)

    def settle(self, confirmed: bool) -> None:
        """End the wait: the command has shown itself, or its time is over."""
        self.drop()
        self.settled(confirmed)

    def drop(self) -> None:
        """End the wait without a result: the command did nothing."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._confirmations.drop(self._hostid, self)


class Verifications:
    """Watches devices for commands that are to show themselves.

    :param clock: for the windows.
    :ivar watched: what is watched, by hostid.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.watched: dict[str, list[Watched]] = {}

    def watch(self, hostid: str, shown: Shown | None, settled: Callable[[bool], None]) -> Watched:
        """Watch from now on, before a command is sent; for the parameters see :class:`Watched`."""
        watched = Watched(self, hostid, shown, settled)
        self.watched.setdefault(hostid, []).append(watched)
        return watched

    def of(self, hostid: str) -> tuple[Watched, ...]:
        """Those of a device, oldest first."""
        return tuple(self.watched.get(hostid, ()))

    def uploaded(self, record: LiveRecord) -> None:
        """Check waiting commands against a new upload of a device."""
        for watched in self.of(record.hostid):
            if watched.shown is not None and watched.shown(record):
                watched.settle(True)

    def logged_in(self, hostid: str) -> None:
        """A device has logged in."""
        for watched in self.of(hostid):
            if watched.shown is None:
                watched.settle(True)

    def drop(self, hostid: str, watched: Watched) -> None:
        """Watch one no more."""
        standing = self.watched.get(hostid, [])
        if watched in standing:
            standing.remove(watched)
            if not standing:
                del self.watched[hostid]

    def stop(self) -> None:
        """Watch no more; what is not settled stays so."""
        for all_watched in tuple(self.watched.values()):
            for watched in tuple(all_watched):
                watched.drop()
