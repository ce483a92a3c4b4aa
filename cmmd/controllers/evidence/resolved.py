"""A profile's definition as it is to be read with some hypotheses decided and others open."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct
from msgspec.structs import replace

from cmmd.controllers.entries import Severity, Signal
from cmmd.controllers.evidence.hypotheses import Hypotheses
from cmmd.controllers.evidence.variants import Choice, PointChange, Variant
from cmmd.controllers.points import COUNTER_READINGS, Enum, Point

if TYPE_CHECKING:
    from cmmd.controllers.definition import Definition

__all__ = ["Alternative", "PossibleReading", "Resolved", "coils_by_any_name", "neutral_name", "readings_of", "resolve"]

_MILDEST_FIRST: tuple[Severity, ...] = ("status", "warning", "alarm", "shutdown")
_LONGEST_TITLE = 80


class Alternative(Struct, frozen=True):
    """One way to read a point whose hypothesis is open.

    :ivar hypothesis: such as ``scale``; :ivar choice: such as ``tenths``. :ivar words: of its enum; None: it has none.
    """

    hypothesis: str
    choice: str
    point: Point
    words: Mapping[int, str] | None


class PossibleReading(Struct, frozen=True):
    """The value of a point in one reading.

    :ivar when: what has to be so, such as ``scale=tenths``.
    """

    value: int | float
    word: str | None
    plausible: bool
    when: str


def readings_of(alternatives: Sequence[Alternative], registers: Sequence[int | None]) -> list[PossibleReading]:
    """Read a point whose hypothesis is open in every way in which it can be read.

    A reading that cannot be true is ruled out by a plausible one: a raw 5000 cannot be tenths of a hertz. That does not
    go for the readings of a counter, of which it is unknown how high it can be.

    :return: those that give a number.
    """
    found = []
    for one in alternatives:
        value = one.point.value(registers)
        if value is not None:
            word = None if one.words is None or not isinstance(value, int) else one.words.get(value)
            when = f"{one.hypothesis}={one.choice}"
            found.append(PossibleReading(value, word, one.point.plausible(value), when))
    if len(registers) == 1 and any(one.plausible for one in found):
        return [one for one in found if one.plausible]
    return found


class Resolved(Struct, frozen=True):
    """The meaning of points and signals.

    :ivar definition: with the points, words and signals of what is decided. A coil whose name is open has a neutral
        one.
    :ivar alternatives: of points that depend on what is open, by name; of what they are in ``definition`` only title
        and unit count.
    """

    definition: "Definition"
    alternatives: Mapping[str, tuple[Alternative, ...]]


def neutral_name(address: int) -> str:
    """Give the name of the signal of a coil whose meaning is not known."""
    return f"coil_{address}"


def coils_by_any_name(definition: "Definition") -> dict[str, int]:
    """Give the coils that variants name, by each of their names, the neutral one included."""
    coils = {
        signal.name: signal.address
        for variant in definition.variants
        for choice in variant.choices
        for signal in choice.signals
    }
    return {**coils, **{neutral_name(address): address for address in coils.values()}}


def resolve(definition: "Definition", hypotheses: Hypotheses, choices: Sequence[int | None]) -> Resolved:
    """Read a definition with some of its hypotheses decided.

    :param definition: as the file has it.
    :param choices: for each hypothesis the number of the choice that is decided; None: open.
    """
    points = {point.name: point for point in definition.points}
    words = {enum.name: enum.words for enum in definition.enums}
    signals = list(definition.signals)
    alternatives: dict[str, tuple[Alternative, ...]] = {}
    by_enum: dict[str, list[str]] = {}
    for point in definition.points:
        if point.enum is not None:
            by_enum.setdefault(point.enum, []).append(point.name)
    for variant, choice in zip(definition.variants, choices, strict=False):
        if choice is None:
            changed = {name for one in variant.choices for name in one.points}
            changed |= {name for one in variant.choices for enum in one.enums for name in by_enum.get(enum.name, ())}
            for name in changed:
                alternatives[name] = tuple(
                    _alternative(variant.name, points[name], words, one) for one in variant.choices
                )
        else:
            decided = variant.choices[choice]
            points |= {name: _changed(points[name], change) for name, change in decided.points.items()}
            words |= {enum.name: enum.words for enum in decided.enums}
        signals += _signals(variant, choice)
    for hypothesis, choice in zip(
        hypotheses.all[len(definition.variants) :], choices[len(definition.variants) :], strict=True
    ):
        point = points[hypothesis.name]
        if choice is None:
            alternatives[point.name] = tuple(
                Alternative(point.name, one, point.read_as(one), None) for one in COUNTER_READINGS
            )
        else:
            points[point.name] = point.read_as(COUNTER_READINGS[choice])
    named = len(signals) > len(definition.signals)
    resolved = replace(
        definition,
        points=tuple(points.values()),
        signals=tuple(sorted(signals, key=lambda one: one.address)) if named else definition.signals,
        enums=tuple(Enum(name=name, words=said) for name, said in words.items()),
    )
    return Resolved(resolved, alternatives)


def _changed(point: Point, change: PointChange) -> Point:
    said = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
    return replace(point, **said)


def _alternative(variant: str, point: Point, words: Mapping[str, Mapping[int, str]], choice: Choice) -> Alternative:
    own = {enum.name: enum.words for enum in choice.enums}
    change = choice.points.get(point.name)
    said = None if point.enum is None else own.get(point.enum, words[point.enum])
    scale = point.scale if change is None or change.scale is UNSET else change.scale
    return Alternative(variant, choice.name, replace(point, scale=scale), said)


def _signals(variant: Variant, choice: int | None) -> list[Signal]:
    """The coils that a variant names: by the choice that is decided, and neutrally where that does not say."""
    by_coil: dict[int, list[Signal]] = {}
    for one in variant.choices:
        for signal in one.signals:
            by_coil.setdefault(signal.address, []).append(signal)
    named = {} if choice is None else {signal.address: signal for signal in variant.choices[choice].signals}
    return [named.get(address) or _neutral(address, by_coil[address]) for address in sorted(by_coil)]


def _neutral(address: int, candidates: Sequence[Signal]) -> Signal:
    """A coil of which is known that it is set and not what that means: at its worst."""
    worst = max((one.severity for one in candidates), key=_MILDEST_FIRST.index)
    titles = " or ".join(dict.fromkeys(one.title for one in candidates))
    title = f"Coil {address}: {titles}, by firmware"
    return Signal(name=neutral_name(address), title=title[:_LONGEST_TITLE], address=address, severity=worst)
