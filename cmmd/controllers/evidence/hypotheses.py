"""The hypotheses of a profile, and which choices an upload speaks for."""

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from cmmd.controllers.evidence.variants import Rule, Variant
from cmmd.controllers.points import COUNTER_READINGS, Point

if TYPE_CHECKING:
    from cmmd.controllers.definition import Definition

__all__ = ["BYTE_ORDER", "Hypotheses", "Hypothesis", "Known"]

BYTE_ORDER = "byte_order"
"""The name of the hypothesis that every profile with ``change_byte_order = "auto"`` has: little or big."""


class Known(Protocol):
    """Certain values of one controller, see cmmd.controllers.profile.Reader."""

    def coil(self, address: int, /) -> bool | None:
        """The state of a coil; None: not known."""

    def register(self, address: int, /) -> int | None:
        """The content of a holding register, 0..65535; None: not known."""


class Hypothesis(Struct, frozen=True):
    """One question about a device that its uploads answer.

    :ivar choices: the names of the answers.
    """

    name: str
    title: str
    choices: tuple[str, ...]


class _Compiled(Struct, frozen=True):
    """A rule with places in the place of names."""

    hypothesis: int
    choice: int
    registers: tuple[tuple[int, int, int], ...]
    coils: tuple[int, ...]
    states: frozenset[int] | None

    def fires(self, known: Known, engine_state: Callable[[], int | None], fresh: Container[int] | None) -> bool:
        if not all(known.coil(one) for one in self.coils):
            return False
        for address, lowest, highest in self.registers:
            raw = known.register(address)
            if raw is None or not lowest <= raw <= highest:
                return False
        if fresh is not None and self.registers and not any(one[0] in fresh for one in self.registers):
            return False
        return self.states is None or engine_state() in self.states


class Hypotheses:
    """The hypotheses about a device with this profile, in the order of all tuples of states and choices.

    :param definition: the profile, which must be consistent (cmmd.controllers.relations).
    :ivar all: variants, then counters whose reading is not known. The byte order is not among them.
    :ivar counters: points of two registers that have a limit to how fast they rise, each with the number of its
        hypothesis; None: its reading is known.
    :ivar identity: registers that say which controller it is.
    :ivar register_masks: by address the bits of registers whose change can speak for or against anything. A counter
        that rises one by one is looked at every sixteenth time, a frequency when it leaves a step of 256.
    :ivar coils: coils that rules look at.
    """

    def __init__(self, definition: "Definition") -> None:
        self._engine = None if definition.engine is None else definition.engine.state
        points = {point.name: point for point in definition.points}
        self._state_address = None if self._engine is None else points[self._engine].address
        autos = [point for point in definition.points if point.reading == "auto"]
        self.variants = definition.variants
        self.all = (
            *(Hypothesis(one.name, one.title, tuple(choice.name for choice in one.choices)) for one in self.variants),
            *(Hypothesis(point.name, point.title, COUNTER_READINGS) for point in autos),
        )
        self.open: tuple[int | None, ...] = (None,) * len(self.all)
        place = {hypothesis.name: number for number, hypothesis in enumerate(self.all)}
        self.counters: tuple[tuple[Point, int | None], ...] = tuple(
            (point, place.get(point.name) if point.reading == "auto" else None)
            for point in definition.points
            if point.most_per_hour is not None
        )
        self.identity = tuple(points[name].address for name in definition.identity)
        self._rules = tuple(
            _compiled(number, variant, rule, points, _coils_of(definition))
            for number, variant in enumerate(self.variants)
            for rule in variant.tells
        )
        self.register_masks: dict[int, int] = dict.fromkeys(self.identity, 0xFFFF)
        for point, _ in self.counters:
            self._watch(point.address, 0xFFFF)
            self._watch(point.address + 1, 0xFFF0)
        for rule in self._rules:
            for address, lowest, _ in rule.registers:
                self._watch(address, 0xFFFF << max(lowest.bit_length() - 1, 0) & 0xFFFF)
        self.coils = frozenset(coil for rule in self._rules for coil in rule.coils)
        self._awaited: dict[tuple[int, ...], frozenset[str]] = {}

    def _watch(self, address: int, mask: int) -> None:
        self.register_masks[address] = self.register_masks.get(address, 0) | mask

    def awaited(self, places: tuple[int, ...], known: Known) -> frozenset[str] | bool:
        """Give the registers one of which a change upload must have, to speak for or against one of these hypotheses.

        :param places: their numbers.
        :return: addresses as modules write them; True: whatever an upload has, it speaks, for coils do. Those that
            are not set yet do not count: to set one is a change that is looked at in any case.
        """
        rules = [rule for rule in self._rules if rule.hypothesis in places]
        if any(not rule.registers and all(map(known.coil, rule.coils)) for rule in rules):
            return True
        awaited = self._awaited.get(places)
        if awaited is None:
            addresses = {address for rule in rules for address, _, _ in rule.registers}
            addresses.update(*(point.addresses for point, number in self.counters if number in places))
            awaited = self._awaited[places] = frozenset(f"{address:04X}" for address in addresses)
        return awaited

    def votes(
        self, known: Known, states: Container[int], fresh: Container[int] | None = None
    ) -> Sequence[tuple[int, str] | None]:
        """Say for each variant which choice the newest upload speaks for, and why; None: for none, or for several.

        :param known: what is certain, with that upload.
        :param states: raw states of the engine that are any; another one is not known.
        :param fresh: registers that the upload had; None: all.
        """

        def engine_state() -> int | None:
            state = None if self._state_address is None else known.register(self._state_address)
            return state if state in states else None

        votes: list[tuple[int, str] | None] = [None] * len(self.variants)
        spoilt: set[int] = set()
        for rule in self._rules:
            number = rule.hypothesis
            if number in spoilt or not rule.fires(known, engine_state, fresh):
                continue
            before = votes[number]
            if before is not None and before[0] != rule.choice:
                spoilt.add(number)
                votes[number] = None
            elif before is None:
                votes[number] = rule.choice, _because(rule, known)
        return votes


def _because(rule: _Compiled, known: Known) -> str:
    seen = [f"register {address} = {known.register(address)}" for address, _, _ in rule.registers]
    return ", ".join([*seen, *(f"coil {coil} set" for coil in rule.coils if not rule.registers)])


def _coils_of(definition: "Definition") -> dict[str, int]:
    named = {signal.name: signal.address for signal in definition.signals}
    for variant in definition.variants:
        for choice in variant.choices:
            named |= {signal.name: signal.address for signal in choice.signals}
    return named


def _compiled(number: int, variant: Variant, rule: Rule, points: dict[str, Point], coils: dict[str, int]) -> _Compiled:
    return _Compiled(
        hypothesis=number,
        choice=[choice.name for choice in variant.choices].index(rule.says),
        registers=tuple((points[name].address, *bounds) for name, bounds in rule.points.items()),
        coils=tuple(coils[name] for name in rule.signals),
        states=rule.only_in_engine_states,
    )
