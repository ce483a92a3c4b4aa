"""Validate a request to a device before anything is sent."""

from cmmd.fleet.errors import BadFrame, BadPort
from cmmd.modbus.frames import BadCRCError, ModbusFrameError, ReadRequest, WriteRequest, build_frame, parse_request

__all__ = ["MOST_FRAMES", "checked_frames", "checked_port"]

MOST_FRAMES = 16
"""Frames of one write: each takes the device's serial bus for a moment."""


def checked_frames(text: str) -> str:
    """Check frames that a caller wants to write.

    :param text: Modbus write requests in hex, separated by ``;``, each with its CRC or without.
    :return: upper-case hex with CRC, separated by ``;``.
    :raises BadFrame: a frame is no Modbus write, or its CRC does not fit.
    """
    items = [item for part in text.split(";") if (item := "".join(part.split()))]
    if not 1 <= len(items) <= MOST_FRAMES:
        raise BadFrame(f"1 to {MOST_FRAMES} frames, not {len(items)}")
    return ";".join(_checked_frame(number, item) for number, item in enumerate(items, 1))


def _checked_frame(number: int, text: str) -> str:
    try:
        request = parse_request(text)
    except ModbusFrameError as with_crc:
        # Without its CRC? Every write says how long it is, so that a frame with a wrong one is not taken for that.
        try:
            request = parse_request(build_frame(bytes.fromhex(text)))
        except (ModbusFrameError, ValueError) as without:
            error = with_crc if isinstance(with_crc, BadCRCError) else without
            raise BadFrame(f"frame {number}: {error}") from None
    if isinstance(request, ReadRequest):
        raise BadFrame(f"frame {number}: function {request.function:02X} writes nothing")
    writes: WriteRequest = request
    return writes.to_hex()


_PORTS, _BAUDS = range(5), range(3)


def checked_port(module_port: int, module_baud: int) -> None:
    """Look at a port and a baud rate (protocol section 4.1).

    :raises BadPort: there is no such port or baud rate.
    """
    if module_port not in _PORTS:
        raise BadPort(f"modulePort is 0 off, 1 LINK, 2 RS485, 3 RS232 or 4 USB, not {module_port}")
    if module_baud not in _BAUDS:
        raise BadPort(f"moduleBaud is 0 (9600), 1 (19200) or 2 (115200 bit/s), not {module_baud}")
