"""The common base of a profile file's parts, and the constraints on their fields."""

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["REGISTER_VALUES", "Address", "Entry", "Name", "RegisterValue", "Title", "Unit"]

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
