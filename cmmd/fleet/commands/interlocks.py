"""Interlocks: reasons against sending a command to a device now. docs/safety.md tells users the same."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import inf

from cmmd.fleet.commands.queue import Requester, Sort
from cmmd.fleet.devices.inputs import REMOTE_INHIBITED
from cmmd.fleet.devices.presence import Attached, Presence
from cmmd.fleet.errors import (
    AdminOnly,
    AmbiguousSession,
    CommandsDisabled,
    DeviceDisabled,
    DeviceOffline,
    Expired,
    Locked,
    NotAllowed,
    NotAudited,
    QueueFull,
    RemoteInhibited,
    RemoteLocked,
    Stale,
    UnknownDevice,
)
from cmmd.fleet.telemetry.live import Live
from cmmd.store.records import Device

__all__ = ["FRESH_S", "NEVER_REFUSED_AS", "OVERRIDABLE", "Interlocks"]

NEVER_REFUSED_AS: Mapping[Sort, frozenset[type[NotAllowed]]] = {
    "stop": frozenset(
        (Expired, Locked, RemoteInhibited, RemoteLocked, AmbiguousSession, Stale, QueueFull, NotAudited),
    ),
    "reset": frozenset((Locked,)),
    "command": frozenset(),
}
"""What does not count for which sort of command. A stop sets nothing in motion: only what makes it impossible does."""

OVERRIDABLE: frozenset[str] = frozenset((RemoteInhibited.code, Stale.code))
"""The codes that an administrator can override for one command: beside the genset they see for themselves."""

FRESH_S = 60.0
"""Seconds since the newest upload up to which the state counts that a toggling command depends on."""


class Interlocks:
    """Look at everything that speaks against sending.

    :param device: gives the registration of a device.
    :param enabled: False: nothing is sent to any device.
    :param stood_still: for how many seconds, until just now, this process did; 0: it did not.
    :param now_ms: Unix time in milliseconds.
    :ivar enabled: the same, now.
    """

    def __init__(
        self,
        *,
        device: Callable[[str], Device | None],
        live: Live,
        presence: Presence,
        enabled: bool,
        stood_still: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._device = device
        self._live = live
        self._presence = presence
        self._stood_still = stood_still
        self._now_ms = now_ms
        self.enabled = enabled

    def check(
        self, hostid: str, sort: Sort = "command", overridden: str | None = None, toggles: str | None = None
    ) -> Attached:
        """Look whether this sort of command may be sent to a device now.

        :param overridden: the code of a refusal that an administrator has overridden.
        :param toggles: the signal that the command turns round; None: what it does depends on no state.
        :return: the session that carries it.
        :raises NotAllowed: one of its kinds; the first of those that count.
        """
        device = self._device(hostid)
        if device is None:
            raise UnknownDevice("no such device is registered")
        carrier = self._presence.carrier(hostid, stop=sort == "stop")
        spared = NEVER_REFUSED_AS[sort]
        for kind, find in self._reasons:
            if kind not in spared and kind.code != overridden:
                reason = find(self, device, carrier)
                if reason:
                    raise kind(reason)
        assert carrier is not None, "it is not offline"
        if toggles is not None and overridden != Stale.code:
            self._check_known(hostid, toggles)
        return carrier

    def _check_known(self, hostid: str, signal: str) -> None:
        """Look whether the state that a command turns round is known, and from an upload of just now.

        :raises Stale: it is not.
        """
        record = self._live[hostid]
        found = record.profile.signal_by_name.get(signal)
        state = None if found is None else record.profile.signal_state(found, record.known)
        age_s = inf if record.at is None or record.stale else (self._now_ms() - record.at) / 1000
        if state is None or not age_s <= FRESH_S:
            since = "" if record.at is None else f", last upload {_text(record.at)}"
            title = signal if found is None else found.title
            raise Stale(f"it turns round whether {title!r} is set, which is not known now{since}")

    @staticmethod
    def check_override(overridden: str | None, by: Requester) -> None:
        """Look whether a caller may override a refusal.

        :raises AdminOnly: it needs an administrator. :raises NotAllowed: that one cannot be overridden.
        """
        if overridden is None:
            return
        if overridden not in OVERRIDABLE:
            raise NotAllowed(f"{overridden[:40]!r} cannot be overridden, only {', '.join(sorted(OVERRIDABLE))}")
        if not by.admin:
            raise AdminOnly("only an administrator overrides an inhibit")

    # Each gives the text of a refusal; empty: nothing speaks against it.

    def _standstill(self, _device: Device, _carrier: Attached | None) -> str:
        stood_still_s = self._stood_still()
        return f"cmmd stood still for {stood_still_s:.0f} s: how old this request is, is not known" * bool(
            stood_still_s
        )

    def _commands_disabled(self, _device: Device, _carrier: Attached | None) -> str:
        return "commands are disabled in the configuration, or the server is stopping" * (not self.enabled)

    def _device_disabled(self, device: Device, _carrier: Attached | None) -> str:
        return f"{device.hostid} is disabled" * (not device.enabled)

    def _maintenance_lock(self, device: Device, _carrier: Attached | None) -> str:
        if device.locked_by is None:
            return ""
        return f"locked by {device.locked_by} since {_text(device.locked_at)}: {device.lock_reason}"

    def _offline(self, device: Device, carrier: Attached | None) -> str:
        return f"{device.hostid} is offline" * (carrier is None)

    def _two_addresses(self, device: Device, _carrier: Attached | None) -> str:
        foreign = ", ".join(dict.fromkeys(self._presence.in_doubt(device.hostid)))
        if foreign:
            return (
                f"{device.hostid} logged in from {device.last_login_address}, a session from {foreign} claims to be it"
            )
        # What it said stays until the device has said everything anew.
        text = f"values came from another address than {device.last_login_address}; a full upload or a login settles it"
        return text * self._live[device.hostid].doubted

    def _inhibit_input(self, device: Device, _carrier: Attached | None) -> str:
        # What was never reported allows; the last report counts, however old it is, and from whichever session.
        reports = self._live[device.hostid].reports
        report = None if reports is None else reports.by_name.get(REMOTE_INHIBITED.name)
        if report is None or not report.active:
            return ""
        source = f" by {report.address}" if report.address else ""
        return f"{REMOTE_INHIBITED.title}, last said {_text(report.said_at)}{source}"

    def _panel_lock(self, device: Device, _carrier: Attached | None) -> str:
        # The same: also from before a restart, and until another controller has said anything.
        locked = self._live[device.hostid].remote_locked
        return "remote control is locked at the controller's panel, as far as was last reported" * locked

    _reasons: tuple[tuple[type[NotAllowed], Callable[["Interlocks", Device, Attached | None], str]], ...] = (
        (Expired, _standstill),
        (CommandsDisabled, _commands_disabled),
        (DeviceDisabled, _device_disabled),
        (Locked, _maintenance_lock),
        (DeviceOffline, _offline),
        (AmbiguousSession, _two_addresses),
        (RemoteInhibited, _inhibit_input),
        (RemoteLocked, _panel_lock),
    )


def _text(at: int | None) -> str:
    """A time of the store, in milliseconds, for people."""
    return "" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
