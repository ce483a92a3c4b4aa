"""Check how the parts of a profile fit together: rules that no single value can break."""

from collections.abc import Iterable, Iterator

from cmmd.controllers.definition import Definition
from cmmd.controllers.entries import REGISTER_VALUES, Command, PointLeaves, ProfileError, beginning_of, full_name
from cmmd.controllers.evidence.relations import variants_fit

__all__ = ["check_relations"]

_COILS, _HOLDING_REGISTERS = 1, 3


def check_relations(definition: Definition) -> None:
    """Look at a profile as a whole.

    :raises ProfileError: the first thing that does not fit, with the path of its key.
    """
    for rule in _RULES:
        for message in rule(definition):
            raise ProfileError(message)


def _models(definition: Definition) -> Iterator[str]:
    beginnings = [beginning_of(model) for model in definition.models]
    for model in definition.command_models:
        if not any(beginning.match(model) for beginning in beginnings):
            yield f"command_models: {model!r} is none of models"
    spellings = [full_name(model) for model in definition.command_models]
    for model, spelling in zip(definition.command_models, spellings, strict=True):
        if spellings.count(spelling) > 1:
            yield f"command_models: {model!r} is there twice"
    if definition.command_models and not definition.commands:
        yield "command_models: there are no commands"
    for name in definition.lacks_commands:
        if name in {command.name for command in definition.commands}:
            yield f"lacks_commands: {name!r} is among commands"


def _polls(definition: Definition) -> Iterator[str]:
    for number, poll in enumerate(definition.polls):
        if poll.count > poll.most:
            yield f"polls[{number}].count: {poll.count} is more than {poll.most}, the most for function {poll.function}"
        if any(count >= poll.count for count in poll.known_counts):
            yield f"polls[{number}].known_counts: all have to be below count"
        if poll.addresses[-1] >= REGISTER_VALUES:
            yield f"polls[{number}]: address and count reach beyond {REGISTER_VALUES - 1}"
    for function in (1, 2, 3, 4):
        yield from _taken_twice(
            (f"polls[{number}]", poll.addresses)
            for number, poll in enumerate(definition.polls)
            if poll.function == function
        )


def _names(definition: Definition) -> Iterator[str]:
    points = {point.name for point in definition.points}
    for signal in definition.signals:
        if signal.name in points:
            yield f"signals.{signal.name}: a point has that name"


def _points(definition: Definition) -> Iterator[str]:
    polled = _polled(definition, _HOLDING_REGISTERS)
    enums = {enum.name for enum in definition.enums}
    for point in definition.points:
        for address in point.addresses:
            if address not in polled:
                yield f"points.{point.name}: register {address} is in no poll of function {_HOLDING_REGISTERS}"
        if point.enum is not None and point.enum not in enums:
            yield f"points.{point.name}.enum: there is no {point.enum!r} in enums"
        if point.plausible_range is not None and not point.plausible_range[0] < point.plausible_range[1]:
            yield f"points.{point.name}.plausible: the lowest value comes first, then a higher one"
        if point.type != "u32" and (point.reading != "binary" or point.most_per_hour is not None):
            yield f"points.{point.name}: reading and most_per_hour are for points of type u32"
    yield from _taken_twice((f"points.{point.name}", point.addresses) for point in definition.points)


def _signals(definition: Definition) -> Iterator[str]:
    polled = _polled(definition, _COILS)
    for signal in definition.signals:
        if signal.address not in polled:
            yield f"signals.{signal.name}: coil {signal.address} is in no poll of function {_COILS}"
        if signal.only_in_engine_states is not None and definition.engine is None:
            yield f"signals.{signal.name}.only_in_engine_states: there is no [engine]"
        if unknown := (signal.only_in_engine_states or frozenset()) - _engine_states(definition):
            yield f"signals.{signal.name}.only_in_engine_states: {min(unknown)} is no engine state"
    yield from _taken_twice((f"signals.{signal.name}", (signal.address,)) for signal in definition.signals)


def _engine(definition: Definition) -> Iterator[str]:
    if definition.engine is None:
        return
    point = next((point for point in definition.points if point.name == definition.engine.state), None)
    if point is None:
        yield f"engine.state: there is no {definition.engine.state!r} in points"
    elif point.enum is None or point.type != "u16" or point.scale != 1:
        yield f"engine.state: {point.name!r} is not of type u16 and scale 1 with an enum"
    if unknown := definition.engine.turns - _engine_states(definition):
        yield f"engine.turns: {min(unknown)} is no engine state"


def _modes(definition: Definition) -> Iterator[str]:
    mode_signals = {signal.name for signal in definition.signals if signal.severity == "mode"}
    for mode, name in definition.modes.items():
        if name not in mode_signals:
            yield f"modes.{mode}: there is no {name!r} of severity mode in signals"
    for name in sorted(mode_signals):
        if list(definition.modes.values()).count(name) != 1:
            yield f"signals.{name}: severity is mode, but not exactly one of modes is it"


def _commands(definition: Definition) -> Iterator[str]:
    for command in definition.commands:
        if command.only_in_mode is not None and command.only_in_mode not in definition.modes:
            yield f"commands.{command.name}.only_in_mode: there is no {command.only_in_mode!r} in modes"
        yield from _confirmation(command, definition)
    for unit in sorted({command.unit for command in definition.commands}):
        yield from _taken_twice(
            (f"commands.{command.name}", (command.coil,)) for command in definition.commands if command.unit == unit
        )


def _confirmation(command: Command, definition: Definition) -> Iterator[str]:
    confirmation = command.confirmed_by
    if confirmation is None:
        return
    key = f"commands.{command.name}.confirmed_by"
    if isinstance(confirmation, PointLeaves):
        if confirmation.point not in {point.name for point in definition.points}:
            yield f"{key}.point: there is no {confirmation.point!r} in points"
    elif confirmation.signal not in {signal.name for signal in definition.signals}:
        yield f"{key}.signal: there is no {confirmation.signal!r} in signals"


def _writable(definition: Definition) -> Iterator[str]:
    if definition.writable is None:
        return
    for kind in ("units", "coils", "registers"):
        for number, (first, last) in enumerate(getattr(definition.writable, kind)):
            if first > last:
                yield f"writable.{kind}[{number}]: the first comes before the last"


_RULES = (_models, _polls, _names, _engine, _points, _signals, _modes, _commands, _writable, variants_fit)


def _polled(definition: Definition, function: int) -> set[int]:
    return {address for poll in definition.polls if poll.function == function for address in poll.addresses}


def _engine_states(definition: Definition) -> frozenset[int]:
    """The raw values that are known of the engine's state; none where the file does not say which point it is."""
    if definition.engine is None:
        return frozenset()
    enum_names = {point.enum for point in definition.points if point.name == definition.engine.state}
    return frozenset(state for enum in definition.enums if enum.name in enum_names for state in enum.words)


def _taken_twice(keys: Iterable[tuple[str, Iterable[int]]]) -> Iterator[str]:
    """A line for each address that a key before it has."""
    owners: dict[int, str] = {}
    for key, addresses in keys:
        for address in addresses:
            if address in owners:
                yield f"{key}: address {address} is {owners[address]}'s already"
            owners[address] = key
