"""Allowed writes of a server: a list kept here, whatever the server says; and the stop, which overtakes all else."""

import re
from collections.abc import Container, Iterable

from cmmd.controllers.catalog import Catalog
from cmmd.modbus.frames import (
    ModbusFrameError,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegistersRequest,
    WriteRequest,
    parse_request,
)

__all__ = [
    "BROADCAST",
    "STOP",
    "STOP_WAITS_S",
    "AllowedWrites",
    "Everything",
    "addresses_of",
    "stop_coil",
    "stop_request",
]


STOP_WAITS_S = 5.0
"""How long a stop waits for what is under way, in seconds from when it came."""

STOP = "stop"
"""The command's name in every profile that has one (docs/controllers.md)."""


def stop_coil(catalog: Catalog, moduletype: str) -> int | None:
    """Look up the coil whose writing stops a controller.

    Also of models whose commands are not verified: there a server sends a stop only where an admin has set the profile
    by hand, and to keep that one back would be worse than to trust the profile's evidence for it.

    :param moduletype: the controller's model.
    :return: None: no profile describes the model, or its profile has no stop command.
    """
    command = catalog.for_moduletype(moduletype).command_by_name.get(STOP)
    return None if command is None else command.coil


def stop_request(frame: str, coil: int | None, units: Container[int]) -> WriteCoilRequest | None:
    """Read a frame as the stop command of a controller.

    Function, address and value have to be those of the command. The parsed request is compared, not the text: letter
    case does not count.

    :param coil: see :func:`stop_coil`. :param units: Modbus units that mean this controller.
    :return: None: the frame is something else, or it is not known what the stop command is.
    """
    try:
        request = parse_request(frame)
    except ModbusFrameError:
        return None
    if not isinstance(request, WriteCoilRequest) or request.unit not in units:
        return None
    return request if request.on and request.address == coil else None


BROADCAST = 0
"""The unit that the vendor's cloud addresses writes to (section 4.6). On a bus no controller answers it."""

_HIGHEST = 65_535
_RANGE = re.compile(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", re.ASCII)


class Everything(Container[int]):
    """Every address: the operator of the gateway trusts the server."""

    def __contains__(self, address: object) -> bool:
        return True


class AllowedWrites:
    """The writes that may be done: to the controller's own unit or unit 0, and to certain coils and registers.

    :param unit: the controller's own.
    :param coils: addresses beside those of the profile's commands. :param registers: addresses.
    """

    def __init__(
        self,
        catalog: Catalog,
        moduletype: str,
        unit: int,
        *,
        coils: Container[int] = (),
        registers: Container[int] = (),
    ) -> None:
        self._units = (BROADCAST, unit)
        # Of all models of the family: whether commands are verified for this one, the server and its admin decide.
        self._commands = {one.coil for one in catalog.for_moduletype(moduletype).definition.commands}
        self._coils = coils
        self._registers = registers

    def objection(self, request: WriteRequest) -> str | None:
        """Say why a request must not be done; None: it can be."""
        if request.unit not in self._units:
            return f"unit {request.unit} is not the controller's"
        if isinstance(request, WriteCoilRequest | WriteCoilsRequest):
            count = len(request.coils) if isinstance(request, WriteCoilsRequest) else 1
            what, allowed = "coil", lambda address: address in self._commands or address in self._coils
        else:
            count = len(request.registers) if isinstance(request, WriteRegistersRequest) else 1
            what, allowed = "register", lambda address: address in self._registers
        for address in range(request.address, request.address + count):
            if not allowed(address):
                return f"{what} {address} is none that may be written here"
        return None


def addresses_of(texts: Iterable[str]) -> frozenset[int]:
    """Read addresses: ``"7"`` or ``"100-120"``.

    :raises ValueError: that is none; the text says which.
    """
    found: set[int] = set()
    for text in texts:
        match = _RANGE.fullmatch(text.strip())
        first = int(match[1]) if match else -1
        last = int(match[2] or match[1]) if match else -1
        if not 0 <= first <= last <= _HIGHEST:
            raise ValueError(f"{text!r} is neither an address nor a range such as 100-120, 0 to {_HIGHEST}")
        found.update(range(first, last + 1))
    return frozenset(found)
