"""Whether a device may be sent anything now, as far as cmmd can tell."""

from collections.abc import Callable

from cmmd.fleet.allowed import (
    CommandsDisabled,
    DeviceDisabled,
    DeviceOffline,
    Expired,
    RemoteInhibited,
    RemoteLocked,
    UnknownDevice,
)
from cmmd.fleet.inputs import REMOTE_INHIBITED
from cmmd.fleet.live import Live, LiveRecord
from cmmd.fleet.presence import Attached, Presence
from cmmd.store.records import Device

__all__ = ["Interlocks"]


class Interlocks:
    """Looks at everything that speaks against sending.

    :param device: gives the registration of a device.
    :param enabled: False: nothing is sent to anybody.
    :param stood_still: for how many seconds, until just now, this process did; 0: it did not.
    :ivar enabled: likewise, now.
    """

    def __init__(
        self,
        *,
        device: Callable[[str], Device | None],
        live: Live,
        presence: Presence,
        enabled: bool,
        stood_still: Callable[[], float],
    ) -> None:
        self._device = device
        self._live = live
        self._presence = presence
        self._stood_still = stood_still
        self.enabled = enabled

    def check(self, hostid: str) -> Attached:
        """Look whether anything may be sent to this device now.

        :return: the session that carries it.
        :raises NotAllowed: one of its kinds.
        """
        device = self._device(hostid)
        if device is None:
            raise UnknownDevice("no such device is registered")
        stood_still_s = self._stood_still()
        if stood_still_s:
            raise Expired(f"cmmd stood still for {stood_still_s:.0f} s: nobody knows how old this request is")
        if not self.enabled:
            raise CommandsDisabled("commands are disabled in the configuration, or the server is stopping")
        if not device.enabled:
            raise DeviceDisabled(f"{hostid} is disabled")
        carrier = self._presence.carrier(hostid)
        if carrier is None:
            raise DeviceOffline(f"{hostid} is offline")
        _check_remote_control(self._live[hostid])
        return carrier


def _check_remote_control(record: LiveRecord) -> None:
    """Look at what the device and its controller report. What was never heard of allows; what was last heard of counts,
    also from before a restart, and from before another controller has said anything.

    :raises RemoteInhibited: see there.
    :raises RemoteLocked: see there.
    """
    if REMOTE_INHIBITED.state(record.inputs):
        raise RemoteInhibited(f"{record.hostid}: {REMOTE_INHIBITED.title}")
    if record.remote_locked:
        raise RemoteLocked(f"{record.hostid}: remote control is locked at its panel, as far as was ever heard")
