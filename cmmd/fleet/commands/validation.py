"""What may be asked of a device, and why not: everything here is told before anything is sent."""

from typing import ClassVar

from cmmd.modbus.frames import BadCRCError, ModbusFrameError, ReadRequest, WriteRequest, build_frame, parse_request

__all__ = [
    "MOST_FRAMES",
    "AdminOnly",
    "AmbiguousSession",
    "BadFrame",
    "BadPort",
    "Coded",
    "CommandsDisabled",
    "DeviceDisabled",
    "DeviceOffline",
    "Expired",
    "Locked",
    "NotAllowed",
    "NotAudited",
    "QueueFull",
    "RemoteInhibited",
    "RemoteLocked",
    "Stale",
    "UnknownCommand",
    "UnknownDevice",
    "checked_frames",
    "checked_port",
]

MOST_FRAMES = 16
"""Frames of one write: each takes the device's serial bus for a moment."""


class Coded(Exception):
    """Something was not done. ``code`` is for programs and stays as it is; the text is for people.

    :ivar field: what in the question it is about, where whoever answers has a name for that.
    """

    code: ClassVar[str]
    field: str | None = None


class NotAllowed(Coded):
    """Nothing was sent to the device, for a reason that has no code of its own."""

    code = "not_allowed"


class UnknownDevice(NotAllowed):
    """No device with this hostid is registered."""

    code = "unknown_device"


class UnknownCommand(NotAllowed):
    """The device's profile has no command of this name."""

    code = "unknown_command"


class BadFrame(NotAllowed):
    """What should be written is no Modbus write."""

    code = "bad_frame"


class BadPort(NotAllowed):
    """There is no such port or baud rate."""

    code = "bad_port"


class CommandsDisabled(NotAllowed):
    """The configuration lets nothing be sent, or the daemon is stopping."""

    code = "commands_disabled"


class DeviceDisabled(NotAllowed):
    """The owner has disabled the device."""

    code = "device_disabled"


class DeviceOffline(NotAllowed):
    """The device has no live session."""

    code = "device_offline"


class RemoteInhibited(NotAllowed):
    """The device's input says that remote control is inhibited."""

    code = "remote_inhibited"


class RemoteLocked(NotAllowed):
    """The controller's panel says that remote control is locked."""

    code = "remote_locked"


class Locked(NotAllowed):
    """An operator has locked the device for maintenance."""

    code = "locked"


class AmbiguousSession(NotAllowed):
    """Sessions from two addresses claim to be this device: which one is the genset is not known."""

    code = "ambiguous_session"


class Stale(NotAllowed):
    """The command toggles something whose state now is not known: what it would do is not known, either."""

    code = "stale"


class AdminOnly(NotAllowed):
    """Only an administrator can do that."""

    code = "admin_only"


class QueueFull(NotAllowed):
    """So many commands wait for this device already."""

    code = "queue_full"


class Expired(NotAllowed):
    """The command came too late, or may have: it was asked for too long ago."""

    code = "expired"


class NotAudited(NotAllowed):
    """The store does not take the record of the command, and nothing is sent without one."""

    code = "not_audited"


def checked_frames(text: str) -> str:
    """Read frames that somebody wants to be written.

    :param text: Modbus write requests in hex, separated by ``;``, each with its CRC or without.
    :return: upper-case hex with CRC, separated by ``;``.
    :raises BadFrame: see there; so also a CRC that does not fit.
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

    :raises BadPort: see there.
    """
    if module_port not in _PORTS:
        raise BadPort(f"modulePort is 0 off, 1 LINK, 2 RS485, 3 RS232 or 4 USB, not {module_port}")
    if module_baud not in _BAUDS:
        raise BadPort(f"moduleBaud is 0 (9600), 1 (19200) or 2 (115200 bit/s), not {module_baud}")
