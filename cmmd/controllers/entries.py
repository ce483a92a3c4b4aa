"""Entries of a profile file: their common base and constraints, and signals, polls and commands."""

import re
from struct import pack
from typing import Annotated, Literal

from msgspec import Meta, Struct

from cmmd.modbus.frames import Function, ReadRequest, build_frame

__all__ = [
    "ALARMING",
    "COILS_PER_POLL",
    "REGISTERS_PER_POLL",
    "REGISTER_VALUES",
    "Address",
    "Command",
    "Confirmation",
    "Engine",
    "Entry",
    "FullModel",
    "Mode",
    "Model",
    "Name",
    "PointLeaves",
    "Poll",
    "ProfileError",
    "RegisterValue",
    "Severity",
    "Signal",
    "SignalChanges",
    "SignalCleared",
    "SignalSet",
    "Title",
    "Unit",
    "beginning_of",
    "exactness",
    "full_name",
    "spelled",
]


class ProfileError(ValueError):
    """A profile, or the folder of profiles, cannot be used: one line that names the file and the key in it."""


REGISTER_VALUES = 0x1_0000

Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9]*(_[a-z0-9]+)*\Z", max_length=60)]
"""snake_case ASCII: what programs, histories and alert rules call a thing. It stays as it is."""

Title = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
"""What people call it: one line of text."""

Address = Annotated[int, Meta(ge=0, lt=REGISTER_VALUES)]
"""Of a register or coil: 0-based, as on the wire."""

RegisterValue = Annotated[int, Meta(ge=0, lt=REGISTER_VALUES)]
"""What a 16-bit register can hold."""

Unit = Annotated[int, Meta(ge=0, le=247)]
"""Modbus address of a controller; 0 is what the vendor's cloud addresses commands to."""


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a profile file. A key that it does not know is an error."""


Severity = Literal["alarm", "warning", "shutdown", "status", "mode", "inhibit"]
"""``alarm``, ``warning`` (the genset runs on) and ``shutdown`` (it stops) raise alarms; ``status`` says how things are;
``mode`` is the controller's mode; ``inhibit``: while it is set, the controller takes no remote control."""

ALARMING: frozenset[Severity] = frozenset(("alarm", "warning", "shutdown"))
"""The severities that raise alarms."""

Mode = Literal["stop", "manual", "auto", "test"]

States = Annotated[frozenset[RegisterValue], Meta(min_length=1)]


class Signal(Entry, frozen=True, kw_only=True):
    """A coil of ``[signals]`` in a profile.

    ``only_in_engine_states``: the raw engine states in which the coil means anything. A generator at rest has
    no voltage: its undervoltage coil is set and says nothing. None: in all.
    """

    name: Name
    title: Title
    address: Address
    severity: Severity
    only_in_engine_states: States | None = None


class Engine(Entry, frozen=True, kw_only=True):
    """``[engine]``: which point holds the engine's state, and in which of its raw values the engine turns."""

    state: str
    turns: States


COILS_PER_POLL = 2000
"""Most coils or discrete inputs in one Modbus request."""

REGISTERS_PER_POLL = 125
"""Most registers in one Modbus request."""


class Poll(Entry, frozen=True, kw_only=True):
    """``[[polls]]``: ``count`` coils or registers from ``address`` on, by Modbus function 1, 2, 3 or 4.

    ``known_counts``: how many other servers poll from the same address. The answers of a device that was
    theirs, and continues with that for a while, are understood.
    """

    unit: Unit
    function: Literal[1, 2, 3, 4]
    address: Address
    count: Annotated[int, Meta(ge=1)]
    known_counts: tuple[Annotated[int, Meta(ge=1)], ...] = ()

    @property
    def addresses(self) -> range:
        """Every address that it reads."""
        return range(self.address, self.address + self.count)

    @property
    def most(self) -> int:
        """The most coils or registers that Modbus allows in one request."""
        return COILS_PER_POLL if Function(self.function).reads_bits else REGISTERS_PER_POLL

    @property
    def known_requests(self) -> tuple[ReadRequest, ...]:
        """The requests of other servers, by ``known_counts``."""
        return tuple(
            ReadRequest(self.unit, Function(self.function), self.address, count) for count in self.known_counts
        )

    @property
    def request(self) -> ReadRequest:
        """The same as a Modbus request; only for a poll that has been checked."""
        return ReadRequest(self.unit, Function(self.function), self.address, self.count)


_WRITE_COIL = 5
_ON = 0xFF00


class PointLeaves(Entry, frozen=True, kw_only=True, tag_field="when", tag="leaves"):
    """The command has been obeyed when this point is no longer this raw value."""

    point: str
    value: RegisterValue


class SignalSet(Entry, frozen=True, kw_only=True, tag_field="when", tag="set"):
    """The command has been obeyed when this signal is set."""

    signal: str


class SignalCleared(Entry, frozen=True, kw_only=True, tag_field="when", tag="cleared"):
    """The command has been obeyed when this signal is known not to be set."""

    signal: str


class SignalChanges(Entry, frozen=True, kw_only=True, tag_field="when", tag="changes"):
    """The command has been obeyed when this signal is not what it was before."""

    signal: str


Confirmation = PointLeaves | SignalSet | SignalCleared | SignalChanges


class Command(Entry, frozen=True, kw_only=True):
    """``[commands]``: switches ``coil`` of ``unit`` on.

    ``idempotent``: sent twice it does what it does sent once; what is not, is never repeated unasked.
    ``only_in_mode``: the mode in which the controller obeys; None: in any. ``confirmed_by``: how to see that it has
    obeyed; None: it cannot be seen.
    """

    name: Name
    title: Title
    unit: Unit
    coil: Address
    idempotent: bool
    only_in_mode: Mode | None = None
    confirmed_by: Confirmation | None = None

    @property
    def frame(self) -> str:
        """The Modbus request: function 05, write coil on; upper-case hex with CRC."""
        return build_frame(pack(">BBHH", self.unit, _WRITE_COIL, self.coil, _ON))


Model = Annotated[str, Meta(pattern=r"\A[A-Z0-9](x|[A-Z0-9-])*\Z", max_length=30)]
"""The beginning of a ``moduletype``: capitals, digits and hyphens; a small x stands for any digit."""

FullModel = Annotated[str, Meta(pattern=r"\A[A-Z0-9][A-Z0-9-]*\Z", max_length=30)]
"""A whole ``moduletype``, suffix included: capitals, digits and hyphens."""


def spelled(moduletype: str) -> str:
    """Give a ``moduletype`` in capitals and without blanks."""
    return "".join(moduletype.split()).upper()


def beginning_of(model: str) -> re.Pattern[str]:
    """Make the pattern that matches every spelled ``moduletype`` of a model's family."""
    return re.compile(re.escape(model).replace("x", "[0-9X]") + "(?![0-9])")


def exactness(model: str) -> int:
    """Count the characters that a model settles: of two families that fit, the one with more of them counts."""
    return len(model) - model.count("x")


def full_name(moduletype: str) -> str:
    """Give what two spellings of one model have in common: letter case, blanks, hyphens and underscores do not count.

    Everything else counts, to the last character: a suffix that is not known may stand for another wiring of the coils.
    """
    return re.sub("[-_]", "", spelled(moduletype))
