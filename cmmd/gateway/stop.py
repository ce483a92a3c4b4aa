"""The stop command of a controller, as Modbus requests: the one order that no inhibit and no queue holds back."""

from collections.abc import Container

from cmmd.controllers.catalog import Catalog
from cmmd.modbus.frames import ModbusFrameError, WriteCoilRequest, parse_request

__all__ = ["STOP", "STOP_WAITS_S", "stop_coil", "stop_request"]

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
