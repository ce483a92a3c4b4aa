"""Requests that a caller can make of a device: one union of values for every door, which ``submit`` takes.

Constraints hold where a request is decoded (HTTP); ``submit`` checks every request, from wherever it comes.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["LONGEST_TIMEOUT_S", "Modbus", "Named", "Override", "Port", "Request", "Reset", "Timeout"]

LONGEST_TIMEOUT_S = 300.0

Timeout = Annotated[float, Meta(ge=1, le=300, description="Seconds to wait for the device; null: as configured.")]
Override = Annotated[
    Literal["remote_inhibited", "stale"],
    Meta(description="A refusal that does not count for this one command; needs the role admin. Null: none."),
]


class Named(Struct, frozen=True, kw_only=True, tag_field="kind", tag="named"):
    """A command of the device's profile, such as ``auto``."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    timeout: Timeout | None = None
    override: Override | None = None


class Modbus(Struct, frozen=True, kw_only=True, tag_field="kind", tag="modbus"):
    """Modbus writes in hex, separated by ``;``, each with its CRC or without."""

    frames: Annotated[str, Meta(min_length=1, max_length=8000)]
    timeout: Timeout | None = None
    override: Override | None = None


class Port(Struct, frozen=True, kw_only=True, tag_field="kind", tag="port"):
    """The module's wiring: port 0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB; baud rate 0 9600, 1 19200, 2 115200 bit/s."""

    port: Annotated[int, Meta(ge=0, le=4)]
    baud: Annotated[int, Meta(ge=0, le=2)]
    timeout: Timeout | None = None
    override: Override | None = None


class Reset(Struct, frozen=True, kw_only=True, tag_field="kind", tag="reset"):
    """Restart the module of a device."""

    timeout: Timeout | None = None
    override: Override | None = None


Request = Named | Modbus | Port | Reset
