"""A profile at work: what registers and coils say, as numbers with units, words and signals.

Nothing is kept here but tables that are made once, and conversions of single registers, a limited number of them: a
point is decoded on request.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from hashlib import sha256
from typing import Protocol

import msgspec
from msgspec.structs import replace

from cmmd.controllers.definition import Definition
from cmmd.controllers.entries import Mode, Signal
from cmmd.controllers.evidence.hypotheses import Hypotheses
from cmmd.controllers.evidence.resolved import Alternative, coils_by_any_name, readings_of, resolve
from cmmd.controllers.points import NO_DATA, Point, Value
from cmmd.controllers.relations import check_relations

__all__ = ["Profile", "Reader"]

MOST_REMEMBERED = 1024
"""Most contents of one register with a stored engineering value: 0.1 MB a point."""


class Reader(Protocol):
    """Reads one controller's known coils and holding registers. Addresses are 0-based."""

    def coil(self, address: int, /) -> bool | None:
        """The state of a coil; None: not known."""

    def register(self, address: int, /) -> int | None:
        """The content of a holding register, 0..65535; None: not known."""


class _Conversions(dict[int | None, Value]):
    """Engineering values of a point by the content of its register, each computed at the first look-up.

    Gensets of one family report the same few hundred contents again and again, and a look-up takes a twentieth of the
    time of a conversion.
    """

    __slots__ = ("_believed",)

    def __init__(self, point: Point) -> None:
        self._believed = point.believed

    def __missing__(self, raw: int | None) -> Value:
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        value = self[raw] = self._believed((raw,))
        return value


class _Agreed(dict[int | None, Value]):
    """The same of a point whose hypothesis is open: the value in which all of its readings agree, else None."""

    __slots__ = ("_agreed",)

    def __init__(self, alternatives: Sequence[Alternative]) -> None:
        self._agreed = _agreeing(alternatives)

    def __missing__(self, raw: int | None) -> Value:
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        value = self[raw] = self._agreed((raw,))
        return value


def _agreeing(alternatives: Sequence[Alternative]) -> Callable[[Sequence[int | None]], Value]:
    """Make the conversion of a point whose hypothesis is open."""

    def agreed(registers: Sequence[int | None]) -> Value:
        found = {(one.value if one.plausible else None, one.word) for one in readings_of(alternatives, registers)}
        return next(iter(found))[0] if len(found) == 1 else None

    return agreed


class Profile:
    """The meaning of the registers of one family of controllers.

    Where firmware differs (cmmd.controllers.evidence), one profile is several of these: :meth:`settled` gives the one
    for what is decided of a device. At first nothing is: a value whose readings differ is None then, and a coil whose
    name is open has a neutral one.

    :param name: what it is called: the file's name without ``.toml``.
    :param definition: what the file says.
    :raises ProfileError: the definition contradicts itself.
    :ivar fingerprint: of its points: 16 hex digits that change as soon as anything about a point changes.
    :ivar plan: what a device is ordered to poll: ``para_command`` (protocol section 4.1), requests joined by ``;``.
    :ivar point_by_name: its points.
    :ivar signal_by_name: its signals; :ivar command_by_name: its commands.
    :ivar writable: where raw Modbus frames may write.
    :ivar withheld: commands of the file that are not offered, and why, by name. They are in no other place here.
    :ivar whole: the same profile with nothing withheld: itself, where nothing is.
    :ivar as_written: the definition as the file has it; ``definition`` is for what is decided.
    :ivar root: the profile with nothing withheld and nothing decided: the same object for all devices of the family.
    :ivar hypotheses: what is to be found out about a device; :ivar choices: how each is decided here; None: open.
    :ivar alternatives: the readings of points that depend on what is open, by name.
    """

    def __init__(self, name: str, definition: Definition) -> None:
        check_relations(definition)
        self.name = name
        self.whole = self.root = self
        self.withheld: Mapping[str, str] = {}
        self.plan = ";".join(poll.request.to_hex() for poll in definition.polls)
        self.hypotheses = Hypotheses(definition)
        self.choices = self.hypotheses.open
        self.as_written = definition
        self._basis = self
        self._settled: dict[tuple[int | None, ...], Profile] = {}
        self.coil_by_any_name = coils_by_any_name(definition)
        self._shared: dict[Point, _Conversions] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Make the tables for what is decided and what is open."""
        resolved = resolve(self.as_written, self.hypotheses, self.choices)
        definition = self.definition = resolved.definition
        alternatives = self.alternatives = resolved.alternatives
        meant = [definition.points, [list(alternatives.get(point.name, ())) for point in definition.points]]
        self.fingerprint = sha256(msgspec.json.encode(meant)).hexdigest()[:16]
        self.point_by_name = {point.name: point for point in definition.points}
        self._place_of = {name: place for place, name in enumerate(self.point_by_name)}
        self.signal_by_name = {signal.name: signal for signal in definition.signals}
        self.command_by_name = {command.name: command for command in definition.commands}
        self.writable = definition.writable_by_raw_frames
        self._words = {enum.name: enum.words for enum in definition.enums}
        self._modes = tuple((mode, self.signal_by_name[signal].address) for mode, signal in definition.modes.items())
        self._coils = tuple(signal.address for signal in definition.signals)
        coils = frozenset(self.coil_by_any_name.values())
        self._variant_signals = tuple(one for one in definition.signals if one.address in coils)
        singles = [point for point in definition.points if len(point.addresses) == 1]
        self._single_addresses = tuple(point.address for point in singles)
        self._conversions = tuple(
            _Agreed(alternatives[point.name]) if point.name in alternatives else self._conversions_of(point)
            for point in singles
        )
        # Counters of two registers differ from device to device: stored values would hardly be found again.
        self._doubles = tuple(
            (
                index,
                _agreeing(alternatives[point.name]) if point.name in alternatives else point.believed,
                point.addresses,
            )
            for index, point in enumerate(definition.points)
            if len(point.addresses) == 2
        )
        self._registers = tuple(address for point in definition.points for address in point.addresses)
        self._readings_at = {
            point.address: tuple(one.point for one in alternatives.get(point.name, ())) or (point,)
            for point in singles
            if point.plausible_range is not None
        }
        self._engine = definition.engine
        self._engine_point = None if self._engine is None else self.point_by_name[self._engine.state]
        enum = None if self._engine_point is None else self._engine_point.enum
        self.engine_states = frozenset(self._words.get(enum or "", ()))

    def _conversions_of(self, point: Point) -> _Conversions:
        found = self._shared.get(point)
        if found is None:
            found = self._shared[point] = _Conversions(point)
        return found

    def __repr__(self) -> str:
        return f"<Profile {self.name}>"

    def withholding(self, reasons: Mapping[str, str]) -> "Profile":
        """Give this profile without some of its commands; all readers of it then offer the others only.

        :param reasons: why each of them is not offered, by name.
        """
        if not reasons:
            return self
        other = copy(self)
        other._basis, other._settled = other, {}
        commands = tuple(one for one in self.definition.commands if one.name not in reasons)
        other.definition = replace(self.definition, commands=commands)
        other.command_by_name = {command.name: command for command in commands}
        other.withheld = {**self.withheld, **reasons}
        return other

    def settled(self, choices: tuple[int | None, ...]) -> "Profile":
        """Give the same profile, with the same commands, for a device of which this is decided.

        The same answer is the same object each time.

        :param choices: one for each hypothesis; None: open.
        """
        basis = self._basis
        if choices == basis.choices:
            return basis
        found = basis._settled.get(choices)
        if found is None:
            if basis is basis.root:
                found = copy(basis)
                found.choices, found.whole = choices, found
                found._prepare()
            else:
                found = basis.root.settled(choices).withholding(basis.withheld)
                found._basis = basis
            basis._settled[choices] = found
        return found

    def value(self, point: Point, reader: Reader) -> Value:
        """The engineering value of one of its points; None also where its readings differ."""
        registers = [reader.register(address) for address in point.addresses]
        alternatives = self.alternatives.get(point.name)
        return point.believed(registers) if alternatives is None else _agreeing(alternatives)(registers)

    def is_undecided(self, reader: Reader, values: Sequence[Value]) -> bool:
        """Tell whether a point is None only because it is not known how it is to be read.

        :param values: its points, as :meth:`values` gives them.
        """
        for name, alternatives in self.alternatives.items():
            if values[self._place_of[name]] is None:
                registers = [reader.register(address) for address in self.point_by_name[name].addresses]
                if any(one.plausible for one in readings_of(alternatives, registers)):
                    return True
        return False

    def has_range(self, address: int) -> bool:
        """Tell whether a register can hold something that cannot be true."""
        return address in self._readings_at

    def plausible_raw(self, address: int, raw: int) -> bool:
        """Tell whether the content of a register can be true in any reading; so can all of what has no range."""
        readings = self._readings_at.get(address)
        return readings is None or any(one.plausible_raw(raw) for one in readings)

    def implausible_share(self, reader: Reader) -> tuple[int, int]:
        """Count the registers that hold a number which cannot be true in any reading, and those that hold a number."""
        wrong = known = 0
        for address, readings in self._readings_at.items():
            raw = reader.register(address)
            if raw is None or raw in NO_DATA:
                continue
            known += 1
            wrong += not any(one.plausible_raw(raw) for one in readings)
        return wrong, known

    def renamed(self, name: str) -> Signal | None:
        """Find what the signal of that name is called here, where firmware gives its coil several names.

        :return: the signal of the same coil under another name; None: there is none.
        """
        if name in self.signal_by_name:
            return None
        address = self.root.coil_by_any_name.get(name)
        return None if address is None else next((one for one in self._variant_signals if one.address == address), None)

    def why_not_offered(self, command: str) -> str:
        """Say why a command that is not among :attr:`command_by_name` is not."""
        reason = self.withheld.get(command)
        if reason is None:
            return f"{self.name} has no command {command!r}"
        return f"{self.name}: {command} is not offered: {reason}"

    def completeness(self, reader: Reader) -> float | None:
        """The known share of the named points and signals, 0..1; None: the profile names none."""
        known = [reader.register(address) is not None for address in self._registers]
        known += [reader.coil(address) is not None for address in self._coils]
        return sum(known) / len(known) if known else None

    def values(self, reader: Reader) -> list[Value]:
        """The engineering values of all points, in the order of ``definition.points``.

        None: no data, not known, or not plausible; this holds for all methods below.
        """
        register = reader.register
        contents = map(register, self._single_addresses)
        values = [converted[raw] for converted, raw in zip(self._conversions, contents, strict=True)]
        for index, believed, addresses in self._doubles:  # in ascending order, so each lands at its own index
            values.insert(index, believed(tuple(map(register, addresses))))
        return values

    def points(self, reader: Reader) -> dict[str, Value]:
        """The engineering values of all points by name."""
        return dict(zip(self.point_by_name, self.values(reader), strict=True))

    def word(self, point: Point, value: Value) -> str | None:
        """Find the word for a value of a point with an enum; None: there is none."""
        if point.enum is None or not isinstance(value, int):
            return None
        return self._words[point.enum].get(value)

    def engine_state_number(self, reader: Reader) -> int | None:
        """The raw state of the engine; None: not known, no state that the profile has a word for, or it has none."""
        if self._engine_point is None:
            return None
        state = reader.register(self._engine_point.address)
        return None if state is None or self.word(self._engine_point, state) is None else state

    def engine_state(self, reader: Reader) -> str | None:
        """The state of the engine in a word, such as ``normal running``; None: not known."""
        return None if self._engine_point is None else self.word(self._engine_point, self.engine_state_number(reader))

    def engine_turns(self, reader: Reader) -> bool | None:
        """Tell whether the engine turns; None: not known."""
        state = self.engine_state_number(reader)
        return None if self._engine is None or state is None else state in self._engine.turns

    def mode(self, reader: Reader) -> Mode | None:
        """The mode: stop, manual, auto or test; None: not known, or not exactly one of them is set."""
        set_modes = [mode for mode, address in self._modes if reader.coil(address)]
        return set_modes[0] if len(set_modes) == 1 else None

    def signal_state(self, signal: Signal, reader: Reader) -> bool | None:
        """Tell whether a signal is active: set, and meant in the engine's state. None: not known."""
        coil = reader.coil(signal.address)
        if not coil or signal.only_in_engine_states is None:
            return coil
        state = self.engine_state_number(reader)
        return None if state is None else state in signal.only_in_engine_states
