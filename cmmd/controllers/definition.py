"""What a profile file says: TOML text to a :class:`Definition`, checked value by value and then as a whole."""

import re
import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from cmmd.controllers.commands import Command
from cmmd.controllers.errors import ProfileError
from cmmd.controllers.fields import Entry, Name, Title
from cmmd.controllers.points import Enum, Point
from cmmd.controllers.polls import Poll
from cmmd.controllers.signals import Engine, Mode, Signal
from cmmd.modbus.frames import MAX_PLAN

__all__ = ["ByteOrder", "Definition", "parse_definition"]

ByteOrder = Literal["auto", "little", "big"]
"""Of register values in change uploads (protocol section 4.5); ``auto``: found out device by device."""

Model = Annotated[str, Meta(pattern=r"\A[A-Z0-9](x|[A-Z0-9-])*\Z", max_length=30)]
"""The beginning of a ``moduletype``: capitals, digits and hyphens; a small x stands for any digit."""


class Definition(Entry, frozen=True, kw_only=True):
    """The whole file. Points, signals, enums and commands are in its order; the file has them by name."""

    title: Title
    models: tuple[Model, ...] = ()
    change_byte_order: ByteOrder = "auto"
    polls: Annotated[tuple[Poll, ...], Meta(min_length=1, max_length=MAX_PLAN)]
    enums: tuple[Enum, ...] = ()
    points: tuple[Point, ...] = ()
    signals: tuple[Signal, ...] = ()
    modes: dict[Mode, Name] = field(default_factory=dict)
    engine: Engine | None = None
    commands: tuple[Command, ...] = ()


_BY_NAME = ("enums", "points", "signals", "commands")


def parse_definition(text: str) -> Definition:
    """Read a profile file value by value; how they go together is for :mod:`cmmd.controllers.relations`.

    :param text: TOML.
    :raises ProfileError: it is no TOML (with the line), or a key is wrong, missing or unknown (with its path).
    """
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(_one_line(f"not TOML: {error}")) from None
    entries = {kind: _with_names(tables, kind) for kind in _BY_NAME if kind in tables}
    try:
        return msgspec.convert({**tables, **entries}, Definition, str_keys=True)
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
    if kind == "enums":
        return {"name": name, "words": entry}
    if "name" in entry:
        raise ProfileError(_one_line(f"{kind}.{name}.name: unknown key"))
    return {"name": name, **entry}


def _located(message: str, tables: dict[str, Any]) -> str:
    """The message with the key in front, as it stands in the file."""
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
