"""The metrics of devices as text: one family after the other, each in pieces of a few hundred lines."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from cmmd.controllers.profile import Profile
from cmmd.web.metrics.device_rows import Row, escaped
from cmmd.web.metrics.quantities import FALLBACK, Labels, Number, Part, States, columns_of

__all__ = ["OWN", "DeviceFamily", "Families"]

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
