"""The values behind one device's metrics: its live record, decoded once for a scrape."""

from array import array
from collections.abc import Callable, Sequence
from math import nan

from msgspec import Struct

from cmmd.controllers.profile import Profile, Reader
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import CertainRegisters
from cmmd.store.records import Device

__all__ = ["Row", "Rows", "escaped"]


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """One device now. What is not known, not certain, not plausible or too old is None.

    :ivar labels: ``hostid``, ``name`` and ``model`` as a metric has them.
    :ivar profile: says what ``values`` are.
    :ivar at: when its newest upload came, in milliseconds UTC; None: never.
    :ivar alarms: signal and severity of each that is open.
    :ivar values: engineering values in the order of the profile's points, NaN where there is none; None: its newest
        upload is too old. Numbers in an array are nothing to the garbage collector, which thousands of lists would be.
    """

    labels: str
    profile: Profile
    online: bool
    at: int | None
    alarms: tuple[tuple[str, str], ...]
    values: Sequence[float] | None
    mode: str | None
    engine_running: bool | None
    mains_normal: bool | None
    mains_closed: bool | None
    generator_closed: bool | None


class Rows:
    """Makes the rows of a fleet.

    :param fleet: whose devices.
    :param now: Unix time in seconds.
    :param max_age_s: how old, in seconds, the newest upload of a device may be for its values to be shown.
    """

    def __init__(self, fleet: Fleet, now: Callable[[], float], max_age_s: float) -> None:
        self._fleet = fleet
        self._now = now
        self._max_age_ms = max_age_s * 1000
        self._labels: dict[str, tuple[Device, str]] = {}

    def devices(self) -> list[Device]:
        """Those that there are metrics of: all but those that are disabled."""
        return [device for device in self._fleet.registry.devices() if device.enabled]

    def row(self, device: Device) -> Row:
        """A device as it is now."""
        record, alarms = self._fleet.live.record(device), self._fleet.alarms.open_alarms(device.hostid)
        reader = self._reader(record)
        profile = record.profile
        return Row(
            labels=self._labels_of(device),
            profile=profile.whole,
            online=self._fleet.presence.online(device.hostid),
            at=record.at,
            alarms=tuple((one.signal, one.severity) for one in alarms),
            values=None if reader is None else _values(profile, reader),
            mode=None if reader is None else profile.mode(reader),
            engine_running=None if reader is None else profile.engine_turns(reader),
            mains_normal=_state(profile, "mains_normal", reader),
            mains_closed=_state(profile, "mains_on_load", reader),
            generator_closed=_state(profile, "generator_on_load", reader),
        )

    def _reader(self, record: LiveRecord) -> Reader | None:
        """Choose the certain values; None: they are too old."""
        if record.stale or record.at is None or self._now() * 1000 - record.at > self._max_age_ms:
            return None
        return CertainRegisters(record.known)

    def _labels_of(self, device: Device) -> str:
        cached = self._labels.get(device.hostid)
        if cached is not None and cached[0] is device:
            return cached[1]
        named = (("hostid", device.hostid), ("name", device.hostname or device.hostid), ("model", device.moduletype))
        labels = ",".join(f'{name}="{escaped(value)}"' for name, value in named)
        self._labels[device.hostid] = device, labels
        return labels


def _values(profile: Profile, reader: Reader) -> Sequence[float]:
    return array("d", [nan if value is None else value for value in profile.values(reader)])


def _state(profile: Profile, name: str, reader: Reader | None) -> bool | None:
    signal = profile.signal_by_name.get(name)
    return None if signal is None or reader is None else profile.signal_state(signal, reader)


def escaped(value: str) -> str:
    """The value of a label as it is between its quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
