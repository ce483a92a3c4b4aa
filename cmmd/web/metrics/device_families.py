"""The metrics of devices as text: one family after the other, each in pieces of a few hundred lines."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import nan

from msgspec import Struct

from cmmd.controllers.profile import Profile, Reader
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.register_state import CertainRegisters
from cmmd.store.records import Device
from cmmd.web.metrics.quantities import FALLBACK, Labels, Number, Part, States, columns_of

__all__ = ["OWN", "DeviceFamily", "Families", "Row", "Rows", "escaped"]

# --- values of a device ----------------------------------------------------------------------------------------------


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


# --- families --------------------------------------------------------------------------------------------------------


PIECE = 200
"""Devices whose lines are written at once: a fraction of a millisecond."""

MODES = ("stop", "manual", "auto", "test")

Lines = Callable[[Sequence[Row]], str]


class DeviceFamily(Struct, frozen=True):
    """A metric that every device has, whatever its controller. Its labels stand behind those that all have."""

    name: str
    means: str
    lines: Lines
    labels: tuple[str, ...] = ()
    kind: str = "gauge"


def _one(name: str, value: Callable[[Row], float | None], labels: Labels = ()) -> Lines:
    """Lines of one sample a device."""
    behind = _behind(labels)

    def lines(rows: Sequence[Row]) -> str:
        found = ((row.labels, value(row)) for row in rows)
        return "".join([f"{name}{{{its}{behind}{number:d}\n" for its, number in found if number is not None])

    return lines


def _behind(labels: Labels) -> str:
    return "".join(f',{name}="{escaped(value)}"' for name, value in labels) + "} "


def _info(rows: Sequence[Row]) -> str:
    return "".join([f'genset_info{{{row.labels},profile="{row.profile.name}"}} 1\n' for row in rows])


def _alarms(rows: Sequence[Row]) -> str:
    return "".join(
        f'genset_alarm{{{row.labels},signal="{signal}",severity="{severity}"}} 1\n'
        for row in rows
        for signal, severity in row.alarms
    )


def _modes(rows: Sequence[Row]) -> str:
    return "".join(
        f'genset_mode{{{row.labels},mode="{mode}"}} {row.mode == mode:d}\n'
        for row in rows
        if row.mode is not None
        for mode in MODES
    )


def _uploads(rows: Sequence[Row]) -> str:
    name = "genset_last_upload_timestamp_seconds"
    return "".join([f"{name}{{{row.labels}}} {row.at / 1000:.3f}\n" for row in rows if row.at is not None])


def _breakers(rows: Sequence[Row]) -> str:
    return _mains_breaker(rows) + _generator_breaker(rows)


_mains_breaker = _one("genset_breaker_closed", lambda row: row.mains_closed, (("breaker", "mains"),))
_generator_breaker = _one("genset_breaker_closed", lambda row: row.generator_closed, (("breaker", "generator"),))

OWN: tuple[DeviceFamily, ...] = (
    DeviceFamily("genset_info", "What profile its values are decoded with.", _info, ("profile",), "info"),
    DeviceFamily("genset_up", "1: the device is online; 0: it is not.", _one("genset_up", lambda row: row.online)),
    DeviceFamily("genset_last_upload_timestamp_seconds", "When its newest upload came, Unix time.", _uploads),
    DeviceFamily("genset_alarm", "1 for each alarm that is open.", _alarms, ("signal", "severity")),
    DeviceFamily("genset_mode", "1 for the mode that the controller is in.", _modes, ("mode",)),
    DeviceFamily(
        "genset_engine_running",
        "1: the engine is running; 0: it is at rest.",
        _one("genset_engine_running", lambda row: row.engine_running),
    ),
    DeviceFamily(
        "genset_mains_normal",
        "1: the controller holds the mains for normal; 0: it does not.",
        _one("genset_mains_normal", lambda row: row.mains_normal),
    ),
    DeviceFamily("genset_breaker_closed", "1: the breaker is closed; 0: it is open.", _breakers, ("breaker",)),
)
"""They come first, in this order."""


def _numbers(column: Number) -> Lines:
    """Lines of a point's values. Where there is none it is NaN, which does not equal itself."""
    name, behind, parts = column.family, _behind(column.labels), column.parts
    place, times, per, plus = parts[0].place, parts[0].times, parts[0].per, parts[0].plus

    def plain(rows: Sequence[Row]) -> str:
        found = ((row.labels, row.values[place]) for row in rows if row.values is not None)
        return "".join([f"{name}{{{its}{behind}{value!r}\n" for its, value in found if value == value])

    def scaled(rows: Sequence[Row]) -> str:
        found = ((row.labels, row.values[place] * times / per) for row in rows if row.values is not None)
        return "".join([f"{name}{{{its}{behind}{value!r}\n" for its, value in found if value == value])

    def added(rows: Sequence[Row]) -> str:
        known = ((row.labels, row.values) for row in rows if row.values is not None)
        found = ((its, sum(_added(part, values) for part in parts)) for its, values in known)
        return "".join([f"{name}{{{its}{behind}{value!r}\n" for its, value in found if value == value])

    if len(parts) > 1 or plus:
        return added
    return plain if times == per == 1 else scaled


def _added(part: Part, values: Sequence[float]) -> float:
    return values[part.place] * part.times / part.per + part.plus


def _states(column: States) -> Lines:
    """Lines of a state: all of one device are joined at once."""
    words = tuple(dict.fromkeys(word for _, word in column.words))
    endings: dict[float, tuple[str, ...]] = {
        raw: ("", *(f'{escaped(word)}"}} {word == said:d}\n' for word in words)) for raw, said in column.words
    }
    name, place = column.family, column.place

    def lines(rows: Sequence[Row]) -> str:
        found = ((row.labels, row.values[place]) for row in rows if row.values is not None)
        return "".join([f'{name}{{{its},state="'.join(endings[value]) for its, value in found if value in endings])

    return lines


class Families:
    """The text of all rows. What follows from a profile is made once for each."""

    def __init__(self) -> None:
        self._of: dict[Profile, list[tuple[str, str, Lines]]] = {}
        self._alike_as: dict[Profile, Profile] = {}
        self._first: dict[tuple[Profile, object], Profile] = {}

    def pieces(self, rows: Sequence[Row], *, openmetrics: bool) -> Iterator[str]:
        """All families in the order of their names, but for our own, which come first.

        :param openmetrics: the format; otherwise it is Prometheus' text format.
        """
        for family in OWN:
            yield _head(family.name, family.means, family.kind, openmetrics=openmetrics)
            yield from _written(rows, family.lines)
        yield from self._points(rows, openmetrics=openmetrics)
        if openmetrics:
            yield "# EOF\n"

    def _points(self, rows: Iterable[Row], *, openmetrics: bool) -> Iterator[str]:
        of_profile: dict[Profile, list[Row]] = {}
        for row in rows:
            if row.values is not None:
                of_profile.setdefault(self._alike(row.profile), []).append(row)
        families: dict[str, list[tuple[str, Lines, list[Row]]]] = {}
        for profile, its_rows in of_profile.items():
            for name, means, lines in self._columns(profile):
                families.setdefault(name, []).append((means, lines, its_rows))
        for name in sorted(families, key=lambda one: (one == FALLBACK, one)):
            yield _head(name, families[name][0][0] + ".", "gauge", openmetrics=openmetrics)
            for _, lines, its_rows in families[name]:
                yield from _written(its_rows, lines)

    def _columns(self, profile: Profile) -> list[tuple[str, str, Lines]]:
        cached = self._of.get(profile)
        if cached is None:
            cached = self._of[profile] = [
                (one.family, one.means, _numbers(one) if isinstance(one, Number) else _states(one))
                for one in columns_of(profile)
            ]
        return cached

    def _alike(self, profile: Profile) -> Profile:
        """Give the first profile whose values have the same names and words: what is decided else changes neither."""
        alike = self._alike_as.get(profile)
        if alike is None:
            words = tuple((enum.name, *enum.words.items()) for enum in profile.definition.enums)
            alike = self._alike_as[profile] = self._first.setdefault((profile.root, words), profile)
        return alike


def _written(rows: Sequence[Row], lines: Lines) -> Iterator[str]:
    for first in range(0, len(rows), PIECE):
        yield lines(rows[first : first + PIECE])


def _head(name: str, means: str, kind: str, *, openmetrics: bool) -> str:
    means = means.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        means = means.replace('"', r"\"")
        base = name.removesuffix("_info") if kind == "info" else name
        return f"# HELP {base} {means}\n# TYPE {base} {kind}\n"
    return f"# HELP {name} {means}\n# TYPE {name} {'gauge' if kind == 'info' else kind}\n"
