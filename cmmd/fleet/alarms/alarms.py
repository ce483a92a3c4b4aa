"""Alarms: signals with a severity, from when they become active until they end."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec.structs import replace

from cmmd.controllers.entries import Severity, Signal
from cmmd.controllers.profile import Profile, Reader
from cmmd.fleet.counters.log_throttle import Allowance
from cmmd.fleet.devices.inputs import INPUTS, Input
from cmmd.fleet.errors import NoSuchAlarm
from cmmd.fleet.events import Events, Kind
from cmmd.store.records import Alarm
from cmmd.wire.quoting import printable

__all__ = [
    "HISTORY_REFUSED",
    "PASSWORD_GUESSED",
    "PROFILE_CHANGED",
    "SESSION_TAKEN_OVER",
    "VALUES_IMPLAUSIBLE",
    "AlarmSeverity",
    "Alarms",
]

BURST, REFILL_S = 100, 10.0
"""How often alarms of one device are raised and cleared as they come. Beyond that clearing waits, never raising."""

LONGEST_BY = 64
"""Characters that are kept of who has acknowledged an alarm."""

DEVICE_FORGOTTEN = "device forgotten"
"""Why an alarm was cleared of a device that an administrator has forgotten."""

PROFILE_CHANGED = "profile changed"
"""The reason of clearing an alarm whose signal is not reported any more. Empty: the signal has ended."""

AlarmSeverity = Literal["alarm", "warning", "shutdown"]

_ALARMING: dict[Severity, AlarmSeverity] = {"alarm": "alarm", "warning": "warning", "shutdown": "shutdown"}
_SEVERITIES: tuple[AlarmSeverity, ...] = ("warning", "alarm", "shutdown")  # the worst last
_INPUTS = {one.name: one for one in INPUTS}
CONTROLLER_SILENT = Signal(
    name="controller_silent", title="Nothing readable comes from the controller", address=0, severity="warning"
)
"""Raised while a device uploads and nothing of it can be taken."""

SESSION_TAKEN_OVER = Signal(
    name="session_taken_over",
    title="Two addresses claim to be this device",
    address=0,
    severity="alarm",
)
"""Raised while a session is open that comes from another address than the latest password login."""

PASSWORD_GUESSED = Signal(
    name="password_guessed",
    title="Wrong passwords for this device come again and again",
    address=0,
    severity="warning",
)
"""Raised while logins with wrong passwords come, from whatever addresses."""

HISTORY_REFUSED = Signal(
    name="history_refused",
    title="Uploads history and is not allowed to",
    address=0,
    severity="warning",
)
"""Raised while uploads come that say themselves when they were, of a device or address that cannot say that."""

VALUES_IMPLAUSIBLE = Signal(
    name="values_implausible",
    title="Values implausible: wrong controller model or byte order?",
    address=0,
    severity="warning",
)
"""Raised while most of what is known of a controller cannot be true."""

_OWN = frozenset(
    one.name for one in (CONTROLLER_SILENT, SESSION_TAKEN_OVER, PASSWORD_GUESSED, HISTORY_REFUSED, VALUES_IMPLAUSIBLE)
)
"""Alarms that cmmd raises by itself, whatever a profile says."""

_NOT_OF_PROFILES = _OWN.union(_INPUTS)
_ALARMING_INPUTS = tuple(one for one in INPUTS if one.severity in _ALARMING)


class _Device:
    """The alarms of one device, and the uploads that they depend on.

    :ivar numbers: of its open alarms by signal, ascending.
    :ivar active: the signals that were active when last known.
    :ivar allowance: what it may still cause.
    """

    __slots__ = ("active", "allowance", "numbers")

    def __init__(self, now: float) -> None:
        self.numbers: dict[str, int] = {}
        self.active: frozenset[str] = frozenset()
        self.allowance = Allowance(now, BURST, REFILL_S)


class Alarms:
    """The open alarms of every device, at most one for each signal.

    A signal that flaps, or a device that means harm, must not fill the store: of one device alarms are raised or
    cleared 100 times as they come, and then one is cleared every ten seconds. Raising never waits: a flapping signal
    becomes one alarm that stays until it is quiet.

    :param events: notified of what is raised, acknowledged and cleared.
    :param keep: takes an alarm for the store, new or changed.
    :param now: Unix time in seconds.
    :param open_alarms: those that the store had, by number.
    :param last_number: the number of the last alarm there ever was.
    """

    def __init__(
        self,
        *,
        events: Events,
        keep: Callable[[Alarm], None],
        now: Callable[[], float],
        open_alarms: Iterable[Alarm],
        last_number: int,
    ) -> None:
        self._events = events
        self._keep = keep
        self._now = now
        self._last_number = last_number
        self._open: dict[int, Alarm] = {}  # in the order of their numbers
        self._counts: dict[str, int] = dict.fromkeys(_ALARMING, 0)
        self._devices: dict[str, _Device] = {}
        self._unsettled: set[str] = set()
        self._sources: dict[Profile, dict[str, Signal]] = {}
        for alarm in open_alarms:
            self._open[alarm.number] = alarm
            self._counts[alarm.severity] += 1
            device = self._device(alarm.hostid)
            device.numbers[alarm.signal] = alarm.number
            if alarm.signal not in _OWN:
                device.active |= {alarm.signal}

    # --- what a device says ------------------------------------------------------------------------------------------

    def look(self, hostid: str, profile: Profile, reader: Reader, inputs: int) -> bool:
        """Raise what is active and clear what is not any more. What is not known stays as it is.

        :param profile: the device's. Alarms of signals that it does not have are cleared.
        :param reader: the controller's coils and registers.
        :param inputs: the device's own, see :mod:`cmmd.fleet.devices.inputs`.
        :return: whether any signal has become active, or has ended.
        """
        sources = self._sources.get(profile)
        if sources is None:
            sources = self._sources_of(profile)
        device = self._devices.get(hostid)
        if device is not None and device.numbers.keys() - sources.keys():
            self._rename(device, profile)
        numbers: Mapping[str, int] = {} if device is None else device.numbers
        before: frozenset[str] = frozenset() if device is None else device.active
        signal_state = profile.signal_state
        states: list[tuple[Signal | Input, bool]] = [
            (signal, state)
            for name, signal in sources.items()
            if (state := signal_state(signal, reader)) is not None and (state or name in numbers or name in before)
        ]
        if inputs:
            states += [(one, state) for one in _ALARMING_INPUTS if (state := one.state(inputs)) is not None]
        active = before.difference(one.name for one, state in states if not state)
        active = active.union(one.name for one, state in states if state)
        active = frozenset(name for name in active if name in sources or name in _INPUTS)
        if active != before:
            self._device(hostid).active = active
        begun = [one for one, state in states if state and one.name not in numbers]
        ended = {one.name: "" for one, state in states if not state and one.name in numbers}
        ended |= {name: PROFILE_CHANGED for name in numbers if name not in sources and name not in _NOT_OF_PROFILES}
        for source in begun:
            self._raise(hostid, source)
        cleared = [self._clear(hostid, name, why) for name, why in ended.items()]
        if all(cleared):
            self._unsettled.discard(hostid)
        else:
            self._unsettled.add(hostid)
        return active != before

    def _rename(self, device: _Device, profile: Profile) -> None:
        """Have active alarms go by what their coils are called now: they were not cleared, nor raised anew."""
        for name in list(device.numbers):
            signal = profile.renamed(name)
            if signal is None or signal.severity not in _ALARMING or signal.name in device.numbers:
                continue
            number = device.numbers.pop(name)
            device.numbers[signal.name] = number
            device.numbers = dict(sorted(device.numbers.items(), key=lambda item: item[1]))
            if name in device.active:
                device.active = device.active - {name} | {signal.name}
            before = self._open[number]
            severity = _ALARMING[signal.severity]
            alarm = replace(before, signal=signal.name, title=signal.title, severity=severity)
            if _SEVERITIES.index(severity) > _SEVERITIES.index(
                before.severity
            ):  # it was the lesser one that was acknowledged
                alarm = replace(alarm, acknowledged_at=None, acknowledged_by=None)
            self._open[number] = alarm
            self._counts[before.severity] -= 1
            self._counts[alarm.severity] += 1
            self._keep(alarm)
            self._tell(Kind.ALARM_RENAMED, alarm, before=name)

    def controller_silent(self, hostid: str) -> None:
        """A device's uploads have brought nothing that can be taken, several in a row."""
        self._raise(hostid, CONTROLLER_SILENT)

    def controller_answers(self, hostid: str) -> bool:
        """Handle that the controller answers again.

        :return: False: the device has had too many alarms, and this one has to wait for its end.
        """
        device = self._devices.get(hostid)
        return device is None or self._clear(hostid, CONTROLLER_SILENT.name, "")

    def raise_own(self, hostid: str, signal: Signal) -> None:
        """Raise an alarm that comes from no upload; one that is open stays as it is."""
        self._raise(hostid, signal)

    def set_own(self, hostid: str, signal: Signal, *, active: bool) -> None:
        """Raise such an alarm, or clear it, as it is now."""
        if active:
            self._raise(hostid, signal)
        else:
            self.clear_own(hostid, signal)

    def clear_own(self, hostid: str, signal: Signal) -> None:
        """Clear such an alarm, unless the device has had too many: then it stays until this is called again."""
        if hostid in self._devices:
            self._clear(hostid, signal.name, "")

    def clear_input(self, hostid: str, name: str, why: str) -> None:
        """Clear the alarm of an input that an administrator has cleared; where none is open, nothing happens."""
        device = self._devices.get(hostid)
        if device is not None and name in device.numbers:
            device.active -= {name}
            self._clear_now(hostid, name, why)

    def forget(self, hostid: str) -> None:
        """Clear all alarms of a device that is forgotten."""
        device = self._devices.get(hostid)
        if device is None:
            return
        for name in tuple(device.numbers):
            self._clear_now(hostid, name, DEVICE_FORGOTTEN)
        del self._devices[hostid]
        self._unsettled.discard(hostid)

    def unsettled(self, hostid: str) -> bool:
        """Tell whether alarms of a device are still open only because it had too many: look again, a little later."""
        return hostid in self._unsettled

    def _sources_of(self, profile: Profile) -> dict[str, Signal]:
        """The signals of a profile that raise alarms."""
        signals = (
            one for one in profile.definition.signals if one.severity in _ALARMING and one.name not in _NOT_OF_PROFILES
        )
        sources = self._sources[profile] = {one.name: one for one in signals}
        return sources

    def _device(self, hostid: str) -> _Device:
        device = self._devices.get(hostid)
        if device is None:
            device = self._devices[hostid] = _Device(self._now())
        return device

    def _raise(self, hostid: str, source: Signal | Input) -> None:
        now, device = self._now(), self._device(hostid)
        if source.name in device.numbers:
            return  # by a subscriber, who looked meanwhile
        device.allowance.take(now)  # if there is one; what is active is raised in any case
        self._last_number += 1
        alarm = Alarm(
            number=self._last_number,
            hostid=hostid,
            signal=source.name,
            title=source.title,
            severity=_ALARMING[source.severity],
            raised_at=int(now * 1000),
        )
        device.numbers[alarm.signal] = alarm.number
        self._open[alarm.number] = alarm
        self._counts[alarm.severity] += 1
        self._keep(alarm)
        self._tell(Kind.ALARM_RAISED, alarm)

    def _clear(self, hostid: str, name: str, why: str) -> bool:
        """Clear the alarm of a signal, unless the device has had too many.

        :return: whether it is cleared.
        """
        now, device = self._now(), self._device(hostid)
        if name not in device.numbers:
            return True
        if not device.allowance.take(now):
            return False
        self._clear_now(hostid, name, why)
        return True

    def _clear_now(self, hostid: str, name: str, why: str) -> None:
        now, device = self._now(), self._device(hostid)
        alarm = self._open.pop(device.numbers.pop(name))
        self._counts[alarm.severity] -= 1
        alarm = replace(alarm, cleared_at=max(int(now * 1000), alarm.raised_at))
        self._keep(alarm)
        self._tell(Kind.ALARM_CLEARED, alarm, why=why)

    def _tell(self, kind: Kind, alarm: Alarm, **details: str) -> None:
        self._events.emit(
            kind,
            alarm.hostid,
            alarm=alarm.number,
            signal=alarm.signal,
            title=alarm.title,
            severity=alarm.severity,
            **details,
        )

    # --- what people ask ---------------------------------------------------------------------------------------------

    def open_alarms(self, hostid: str | None = None) -> list[Alarm]:
        """The open alarms of a device, or of all, by number."""
        if hostid is None:
            return list(self._open.values())
        device = self._devices.get(hostid)
        return [] if device is None else [self._open[number] for number in device.numbers.values()]

    @property
    def counts(self) -> Mapping[str, int]:
        """Count open alarms by severity; every severity is there."""
        return self._counts

    def acknowledge(self, number: int, by: str) -> Alarm:
        """Acknowledge an alarm. The first acknowledgement counts; another one changes nothing.

        :param by: who; what is not printable becomes blanks, and :data:`LONGEST_BY` characters are kept.
        :return: the alarm as it is now.
        :raises NoSuchAlarm: there is none; also where it has been cleared.
        """
        alarm = self._open.get(number)
        if alarm is None:
            raise NoSuchAlarm(f"no alarm {number} is open")
        if alarm.acknowledged_at is not None:
            return alarm
        name = printable(by[:LONGEST_BY]).strip()
        at = max(int(self._now() * 1000), alarm.raised_at)
        alarm = self._open[number] = replace(alarm, acknowledged_at=at, acknowledged_by=name)
        self._keep(alarm)
        self._tell(Kind.ALARM_ACKNOWLEDGED, alarm, by=name)
        return alarm
