"""The devices that can say when an upload was (``itime``, protocol section 4.4), and the alarm where others do."""

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.fleet.events import Events, Kind
from cmmd.store.records import Device

__all__ = ["QUIET_S", "HistoryRefused", "HistoryRights"]

QUIET_S = 900.0
"""Seconds after the last refused upload until its alarm is cleared. A gateway tries again within 300 s."""


class HistoryRefused(Exception):
    """A session is not allowed to date uploads. The text is fit for an answer."""


class HistoryRights:
    """Decides which sessions can date their uploads: the time of any other one is when it comes.

    An uploaded time is a statement about the past that nothing in the upload proves: by it, anyone who knows a hostid
    could write years of false history.

    :param device: finds a registered device.
    :param events: notified of each refusal, within its limit.
    :param clock: for the end of alarms.
    :param alarmed: notified of the hostid, and whether uploads of it are being refused.
    :param refused: devices whose alarm is open since before the start. When their last refused upload came is not
        known: it counts as now.
    """

    def __init__(
        self,
        device: Callable[[str], Device | None],
        events: Events,
        clock: IReactorTime,
        alarmed: Callable[[str, bool], None],
        refused: Iterable[str] = (),
    ) -> None:
        self._device = device
        self._events = events
        self._clock = clock
        self._alarmed = alarmed
        # Of registered devices only.
        self._refused_at: dict[str, float] = dict.fromkeys(refused, clock.seconds())
        self._looking: IDelayedCall | None = None
        if self._refused_at:
            self._look_later()

    def source(self, hostid: str, address: str, *, trusted: bool, certified: bool) -> str:
        """Say by which right a session dates an upload, and from where it comes: the mark of the reading.

        :param address: the host of the session.
        :param trusted: it is a session of the latest password login.
        :param certified: it has shown a certificate of the device.
        :return: such as ``setting 192.0.2.7`` or ``certificate 192.0.2.7``.
        :raises HistoryRefused: it has neither.
        """
        if certified:
            return f"certificate {address}"
        device = self._device(hostid)
        allowed = device is not None and device.history
        if allowed and trusted:
            return f"setting {address}"
        self._count(hostid)
        why = "another address" if allowed else "not allowed"
        self._events.emit(Kind.HISTORY_REFUSED, hostid, address=address, why=why)
        if allowed:
            raise HistoryRefused("itime: the latest login of this device came from another address")
        raise HistoryRefused("itime: history is not allowed for this device: cmmctl device HOSTID set history=true")

    def refusing(self, hostid: str) -> bool:
        """Tell whether uploads of a device have been refused lately."""
        return hostid in self._refused_at

    def forget(self, hostid: str) -> None:
        """Forget refused uploads of a device: it is allowed to date them now, or is gone."""
        self._refused_at.pop(hostid, None)
        self._alarmed(hostid, False)

    def stop(self) -> None:
        """Look no more for alarms that end."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _count(self, hostid: str) -> None:
        if hostid not in self._refused_at:
            self._alarmed(hostid, True)
        self._refused_at[hostid] = self._clock.seconds()
        self._look_later()

    def _look_later(self) -> None:
        if self._looking is None:
            self._looking = self._clock.callLater(QUIET_S, self._look)

    def _look(self) -> None:
        self._looking = None
        before = self._clock.seconds() - QUIET_S
        for hostid in [one for one, at in self._refused_at.items() if at <= before]:
            self.forget(hostid)
        if self._refused_at:
            self._look_later()
