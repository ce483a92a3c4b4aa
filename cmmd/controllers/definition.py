"""Read a profile file: TOML text to a :class:`Definition`, checked value by value and then as a whole."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from cmmd.controllers.entries import (
    Address,
    Command,
    Engine,
    Entry,
    FullModel,
    Mode,
    Model,
    Name,
    Poll,
    ProfileError,
    Signal,
    Title,
    Unit,
)
from cmmd.controllers.evidence.variant_tables import named_in, with_choices, without
from cmmd.controllers.evidence.variants import Variant
from cmmd.controllers.points import Enum, Point
from cmmd.modbus.frames import MAX_PLAN, WriteCoilRequest, WriteCoilsRequest, WriteRegistersRequest, WriteRequest

__all__ = ["ByteOrder", "Definition", "Range", "Tables", "UnitRange", "Writable", "parse_definition", "read_tables"]

Range = Annotated[tuple[Address, Address], Meta(description="The first and the last address.")]
UnitRange = Annotated[tuple[Unit, Unit], Meta(description="The first and the last Modbus address of a controller.")]


class Writable(Entry, frozen=True, kw_only=True):
    """``[writable]``: the units, and their coils and holding registers, that raw frames may write; each as pairs of a
    first and a last one.
    """

    units: tuple[UnitRange, ...] = ()
    coils: tuple[Range, ...] = ()
    registers: tuple[Range, ...] = ()

    def why_not(self, request: WriteRequest) -> str:
        """Tell why a request may not be sent as a raw frame; empty: it may."""
        coils = isinstance(request, WriteCoilRequest | WriteCoilsRequest)
        many = isinstance(request, WriteCoilsRequest | WriteRegistersRequest)
        last = request.address + (request.word - 1 if many else 0)
        if not _within([(request.unit, request.unit)], self.units):
            return f"unit {request.unit} is not this controller's"
        if not _within([(request.address, last)], self.coils if coils else self.registers):
            place = f"{request.address}" if last == request.address else f"{request.address} to {last}"
            return f"{'coil' if coils else 'register'} {place} is not to be written"
        return ""


def _within(wanted: Iterable[tuple[int, int]], ranges: tuple[tuple[int, int], ...]) -> bool:
    """Tell whether each address of the wanted ranges is in one of the others, which may touch or overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return all(any(low <= first and last <= high for low, high in merged) for first, last in wanted)


_COILS, _REGISTERS = 1, 3


Tables = dict[str, Any]
"""A profile file as TOML has it, unchecked."""

ByteOrder = Literal["auto", "little", "big"]
"""Of register values in change uploads (protocol section 4.5); ``auto``: found out device by device."""


class Definition(Entry, frozen=True, kw_only=True):
    """The whole file. Points, signals, enums and commands are in its order; the file has them by name.

    ``models``: families whose registers are these. ``command_models``: those of them for which the commands are
    verified, each with its full name; other models get commands only where an admin sets the profile by hand.
    ``writable``: where raw frames may write; None: where the profile knows what is there.
    ``lacks_commands``: commands that none of these models has, whatever profile an admin sets. ``variants``: firmware
    that gives registers and coils another meaning. ``identity``: points of one register that say which controller it
    is: where they change, it may be another one.
    """

    title: Title
    models: tuple[Model, ...] = ()
    command_models: tuple[FullModel, ...] = ()
    lacks_commands: tuple[Name, ...] = ()
    change_byte_order: ByteOrder = "auto"
    polls: Annotated[tuple[Poll, ...], Meta(min_length=1, max_length=MAX_PLAN)]
    enums: tuple[Enum, ...] = ()
    points: tuple[Point, ...] = ()
    signals: tuple[Signal, ...] = ()
    modes: dict[Mode, Name] = field(default_factory=dict)
    engine: Engine | None = None
    commands: tuple[Command, ...] = ()
    writable: Writable | None = None
    variants: tuple[Variant, ...] = ()
    identity: tuple[Name, ...] = ()

    @property
    def writable_by_raw_frames(self) -> Writable:
        """The ranges that raw frames can write to.

        As the file says, or else what it knows of the controller: units, coils and registers of its polls, and units
        and coils of its commands.
        """
        if self.writable is not None:
            return self.writable
        coils = [(poll.addresses[0], poll.addresses[-1]) for poll in self.polls if poll.function == _COILS]
        registers = [(poll.addresses[0], poll.addresses[-1]) for poll in self.polls if poll.function == _REGISTERS]
        units = {0, *(poll.unit for poll in self.polls), *(command.unit for command in self.commands)}
        return Writable(
            units=tuple((unit, unit) for unit in sorted(units)),
            coils=(*coils, *((command.coil, command.coil) for command in self.commands)),
            registers=tuple(registers),
        )


class _Extension(Entry, frozen=True, kw_only=True):
    """The keys of a file that say which shipped profile it extends, and what of that it leaves out."""

    extends: Name
    without: tuple[Name, ...] = ()


_BY_NAME = ("enums", "points", "signals", "commands", "variants")
_BY_NAME_OR_MODE = (*_BY_NAME, "modes")
_LEFT_OUT = ("points", "signals", "commands")
_NOT_INHERITED = ("title", "models", "command_models", "lacks_commands")
"""What is true of the extended profile's models only. Commands verified for them are not verified for others."""


def read_tables(text: str) -> Tables:
    """Read a profile file as TOML.

    :raises ProfileError: it is no TOML, with the line.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(_one_line(f"not TOML: {error}")) from None


def parse_definition(text: str, shipped: Mapping[str, Tables] | None = None) -> Definition:
    """Read a profile file value by value; how they go together is for :mod:`cmmd.controllers.relations`.

    :param text: TOML.
    :param shipped: the profiles that a file can extend, by name.
    :raises ProfileError: it is no TOML (with the line), or a key is wrong, missing or unknown (with its path).
    """
    tables = _extended(read_tables(text), shipped or {})
    entries = {kind: _with_names(tables, kind) for kind in _BY_NAME if kind in tables}
    return _converted({**tables, **entries}, Definition, tables)


def _extended(tables: Tables, shipped: Mapping[str, Tables]) -> Tables:
    """Give the tables of a file with those of the profile that it extends under them."""
    said = {key: tables[key] for key in _Extension.__struct_fields__ if key in tables}
    if not said:
        return tables
    extension = _converted(said, _Extension, tables)
    if extension.extends not in shipped:
        raise ProfileError(f"extends: there is no shipped profile {extension.extends!r}")
    base = _extended(shipped[extension.extends], shipped)
    unknown = set(extension.without).difference(*(base.get(kind, ()) for kind in _LEFT_OUT), named_in(base))
    if unknown:
        raise ProfileError(f"without: there is no {min(unknown)!r} in {extension.extends}")
    merged = {key: value for key, value in base.items() if key not in _NOT_INHERITED}
    for kind in _LEFT_OUT:
        merged[kind] = {name: one for name, one in base.get(kind, {}).items() if name not in extension.without}
    if "variants" in base:
        merged["variants"] = without(base["variants"], extension.without)
    for key, value in tables.items():
        if key in said:
            continue
        added = key in _BY_NAME_OR_MODE and isinstance(value, dict)
        merged[key] = {**merged.get(key, {}), **value} if added else value
    return merged


_Converted = TypeVar("_Converted")


def _converted(values: Tables, kind: type[_Converted], tables: Tables) -> _Converted:
    """Convert values, and check each of them.

    :param tables: where they come from, for the error.
    """
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ProfileError(_one_line(_located(str(error), tables))) from None


def _with_names(tables: dict[str, Any], kind: str) -> list[Any]:
    """The entries of a table as a list, each with its own name in it."""
    table = tables[kind]
    if not isinstance(table, dict):
        raise ProfileError(f"{kind}: not a table")
    return [_with_name(kind, name, entry) for name, entry in table.items()]


def _with_name(kind: str, name: str, entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    if kind == "variants":
        entry = with_choices(name, entry)
    if kind == "enums":
        return {"name": name, "words": entry}
    if "name" in entry:
        raise ProfileError(_one_line(f"{kind}.{name}.name: unknown key"))
    return {"name": name, **entry}


def _located(message: str, tables: dict[str, Any]) -> str:
    """The message with the key in front, as it is in the file."""
    what, _, where = message.partition(" - at ")
    path = re.search(r"\$([^`]*)", where)
    key = path[1].removeprefix(".") if path else ""

    def named(match: re.Match[str]) -> str:
        return f"{match[1]}.{list(tables[match[1]])[int(match[2])]}"

    key = re.sub(rf"\A({'|'.join(_BY_NAME)})\[(\d+)\]", named, key)
    for wrong, word in (("unknown", "unknown key"), ("missing required", "missing")):
        if match := re.search(rf"{wrong} field `(.*)`", what, re.DOTALL):
            return f"{key}.{match[1]}: {word}".removeprefix(".")
    return f"{key}: {what}"


def _one_line(message: str) -> str:
    return " ".join(message.split())
