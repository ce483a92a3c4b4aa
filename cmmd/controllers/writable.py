"""Ranges of a controller that raw Modbus frames can write to."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from cmmd.controllers.entries import Address, Entry, Unit
from cmmd.modbus.frames import (
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegistersRequest,
    WriteRequest,
)

__all__ = ["Range", "UnitRange", "Writable"]

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
