"""Check how the variants of a profile go together with the rest of the file.

What decides about commands cannot depend on a variant: the engine's state, the mode, breakers, the lock at the panel,
and what confirms a command. A start must not be allowed by a value that is read in one of two ways.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cmmd.controllers.entries import PointLeaves, Severity
from cmmd.controllers.evidence.resolved import neutral_name
from cmmd.controllers.evidence.variants import Choice, Variant

if TYPE_CHECKING:
    from cmmd.controllers.definition import Definition

__all__ = ["variants_fit"]

_SEVERITIES: tuple[Severity, ...] = ("alarm", "warning", "shutdown", "status")


def variants_fit(definition: "Definition") -> Iterator[str]:
    """Give a line, with the path of its key, for everything about variants that does not fit."""
    points = {point.name: point for point in definition.points}
    for name in definition.identity:
        if name not in points or len(points[name].addresses) != 1:
            yield f"identity: {name!r} is no point of one register"
    coils: dict[int, str] = {signal.address: signal.name for signal in definition.signals}
    names = {signal.name for signal in definition.signals} | set(points)
    touched: dict[str, str] = {point.name: "its own reading" for point in definition.points if point.reading == "auto"}
    for variant in definition.variants:
        if variant.name in points or variant.name == "byte_order":
            yield f"variants.{variant.name}: a point, or the byte order, has that name"
        yield from _rules(definition, variant)
        if len({one.name for one in variant.choices}) != len(variant.choices):
            yield f"variants.{variant.name}.choices: one is there twice"
        own: dict[int, str] = {}
        for choice in variant.choices:
            yield from _choice(definition, variant, choice, coils, names)
            own |= {signal.address: f"variants.{variant.name}" for signal in choice.signals}
        for name in _points_of(definition, variant):
            if name in touched:
                yield f"variants.{variant.name}: {name} depends on {touched[name]} already"
            touched[name] = f"variants.{variant.name}"
        coils |= own
    for address in coils:
        if neutral_name(address) in names:
            yield f"signals.{neutral_name(address)}: is the name of a coil that has none"


def _points_of(definition: "Definition", variant: Variant) -> set[str]:
    enums = {enum.name for choice in variant.choices for enum in choice.enums}
    changed = {name for choice in variant.choices for name in choice.points}
    return changed | {point.name for point in definition.points if point.enum in enums}


def _rules(definition: "Definition", variant: Variant) -> Iterator[str]:
    key = f"variants.{variant.name}.tells"
    single = {point.name for point in definition.points if len(point.addresses) == 1}
    signals = {signal.name for signal in definition.signals}
    signals |= {signal.name for one in definition.variants for choice in one.choices for signal in choice.signals}
    for number, rule in enumerate(variant.tells):
        if rule.says not in {one.name for one in variant.choices}:
            yield f"{key}[{number}].says: there is no {rule.says!r} in choices"
        if not rule.points and not rule.signals:
            yield f"{key}[{number}]: it looks at nothing"
        for name in rule.points.keys() - single:
            yield f"{key}[{number}].points: there is no {name!r} of one register"
        for name in set(rule.signals) - signals:
            yield f"{key}[{number}].signals: there is no {name!r}"
        if rule.only_in_engine_states is not None and definition.engine is None:
            yield f"{key}[{number}].only_in_engine_states: there is no [engine]"


def _choice(
    definition: "Definition", variant: Variant, choice: Choice, coils: dict[int, str], names: set[str]
) -> Iterator[str]:
    key = f"variants.{variant.name}.choices.{choice.name}"
    points = {point.name: point for point in definition.points}
    fixed = _fixed_points(definition)
    for name in choice.points:
        if name not in points:
            yield f"{key}.points: there is no {name!r} in points"
        elif name in fixed:
            yield f"{key}.points: commands, or the engine's state, depend on {name!r}"
    enums = {enum.name for enum in definition.enums}
    for enum in choice.enums:
        if enum.name not in enums:
            yield f"{key}.enums: there is no {enum.name!r} in enums"
        if enum.name in {points[name].enum for name in fixed if name in points}:
            yield f"{key}.enums: commands, or the engine's state, depend on {enum.name!r}"
    polled = {address for poll in definition.polls if poll.function == 1 for address in poll.addresses}
    for signal in choice.signals:
        if signal.address not in polled:
            yield f"{key}.signals.{signal.name}: coil {signal.address} is in no poll of function 1"
        if signal.address in coils:
            yield f"{key}.signals.{signal.name}: address {signal.address} is {coils[signal.address]}'s already"
        if signal.severity not in _SEVERITIES:
            yield f"{key}.signals.{signal.name}.severity: not {signal.severity} in a variant"
        if signal.name in names:
            yield f"{key}.signals.{signal.name}: that name is taken"
        if signal.only_in_engine_states is not None:
            yield f"{key}.signals.{signal.name}.only_in_engine_states: not in a variant"


def _fixed_points(definition: "Definition") -> set[str]:
    fixed = set(definition.identity)
    if definition.engine is not None:
        fixed.add(definition.engine.state)
    for command in definition.commands:
        if isinstance(command.confirmed_by, PointLeaves):
            fixed.add(command.confirmed_by.point)
    return fixed
