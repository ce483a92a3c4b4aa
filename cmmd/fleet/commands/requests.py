"""Requests that a caller can make of a device, and their acceptance: checked before anything is sent.

The requests are one union of values for every door, which ``submit`` takes. Constraints hold where a request is decoded
(HTTP); :class:`Acceptance` checks every request, from wherever it comes, and makes a request to the device of it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from cmmd.controllers.entries import SignalChanges
from cmmd.controllers.profile import Profile
from cmmd.fleet import errors
from cmmd.fleet.commands.interlocks import Interlocks
from cmmd.fleet.commands.queue import STOP, CommandRequest, PendingCommand, Requester, Sort
from cmmd.fleet.errors import BadFrame, BadPort, EngineerOnly, OutOfRange, RawDisabled
from cmmd.fleet.roles import may
from cmmd.fleet.telemetry.live import Live
from cmmd.modbus.frames import (
    BadCRCError,
    ModbusFrameError,
    ReadRequest,
    WriteRequest,
    build_frame,
    parse_request,
    split_frames,
)

__all__ = [
    "LONGEST_TIMEOUT_S",
    "MOST_FRAMES",
    "Acceptance",
    "Modbus",
    "Named",
    "Override",
    "Port",
    "Request",
    "Reset",
    "Timeout",
    "check_caller",
    "check_ranges",
    "checked_frames",
    "checked_port",
]

# --- requests --------------------------------------------------------------------------------------------------------


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


# --- frames and ports ------------------------------------------------------------------------------------------------


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


# --- raw writes ------------------------------------------------------------------------------------------------------


def check_caller(by: Requester, *, enabled: bool) -> None:
    """Look whether a caller may write raw frames at all.

    :param enabled: False: the configuration lets no caller do it.
    :raises EngineerOnly: the caller's role has no raw writes. :raises RawDisabled: see ``enabled``.
    """
    if not may(by.role, "engineer"):
        raise EngineerOnly("raw Modbus writes need the role engineer: they can do anything to a controller")
    if not enabled:
        raise RawDisabled("raw Modbus writes are off: [commands] raw = false")


def check_ranges(profile: Profile, frames: str) -> None:
    """Look whether a profile lets frames write where they do.

    :param frames: as ``checked_frames`` gives them.
    :raises OutOfRange: the first frame that writes elsewhere.
    """
    for number, frame in enumerate(split_frames(frames), 1):
        request = parse_request(frame)
        assert not isinstance(request, ReadRequest), "checked_frames refuses reads"
        reason = profile.writable.why_not(request)
        if reason:
            raise OutOfRange(f"frame {number}: {reason}; profile {profile.name} says where raw frames write")


# --- acceptance ------------------------------------------------------------------------------------------------------


class Acceptance:
    """Checks requests of callers. Every method raises NotAllowed by its kinds; nothing waits in between.

    :param live: the profile of each device.
    :param interlocks: reasons against sending, looked at for each request.
    :param raw: False: no raw Modbus frames are written, but those of a stop.
    """

    def __init__(self, live: Live, interlocks: Interlocks, *, raw: bool) -> None:
        self._live = live
        self._interlocks = interlocks
        self._raw = raw

    def accept(self, hostid: str, request: Request, by: Requester) -> CommandRequest:
        """Accept a request of a caller.

        :raises NotAllowed: one of its kinds.
        """
        match request:
            case Named():
                return self.command(hostid, request.name, by, request.override)
            case Modbus():
                return self.write(hostid, request.frames, by, request.override)
            case Port():
                return self.port(hostid, request.port, request.baud, by, request.override)
            case Reset():
                return self.reset(hostid, by, request.override)

    def command(self, hostid: str, name: str, by: Requester, overridden: str | None) -> CommandRequest:
        """Accept a command of the device's profile.

        :param overridden: the code of a refusal that does not count for this command, see Interlocks; of a stop, which
            needs none, it is not even recorded. The same for all below.
        :raises UnknownCommand: the profile has none of this name, or it was never observed to work.
        """
        sort: Sort = "stop" if name == STOP else "command"
        if sort == "stop":
            overridden = None  # it needs none, and is not refused for whose it is
        self._check(hostid, sort, by, overridden)
        profile = self._live[hostid].profile
        found = profile.command_by_name.get(name)
        if found is None:
            raise errors.UnknownCommand(profile.why_not_offered(name)[:200])
        asked = CommandRequest("modbus", found.frame, sort, found.name, found.confirmed_by, overridden)
        self._interlocks.check(hostid, sort, overridden, asked.toggles)
        return asked

    def write(self, hostid: str, frames: str, by: Requester, overridden: str | None) -> CommandRequest:
        """Accept Modbus writes. The very frame of the profile's stop is a stop, that of a toggle a toggle.

        :raises EngineerOnly: the caller's role has no raw writes. :raises RawDisabled: the configuration allows none.
        :raises OutOfRange: the device's profile does not let them write there.
        """
        if self.is_stop(hostid, frames):
            return self.command(hostid, STOP, by, None)
        self._interlocks.check_override(overridden, by)
        check_caller(by, enabled=self._raw)
        self._check(hostid, "command", by, overridden)
        checked = checked_frames(frames)
        check_ranges(self._live[hostid].profile, checked)
        named = (one for one in self._live[hostid].profile.definition.commands if one.frame in checked.split(";"))
        toggle = next((one.confirmed_by for one in named if isinstance(one.confirmed_by, SignalChanges)), None)
        asked = CommandRequest("modbus", checked, "command", confirmation=toggle, overridden=overridden)
        self._interlocks.check(hostid, "command", overridden, asked.toggles)
        return asked

    def is_stop(self, hostid: str, frames: str) -> bool:
        """Tell whether frames are the very frame of the device's stop."""
        device = self._live.get(hostid)
        stop = None if device is None else device.profile.command_by_name.get(STOP)
        try:
            return stop is not None and checked_frames(frames) == stop.frame
        except errors.BadFrame:
            return False

    def port(self, hostid: str, port: int, baud: int, by: Requester, overridden: str | None) -> CommandRequest:
        """Accept a change of the module's wiring, in the codes of protocol section 4.1."""
        self._check(hostid, "command", by, overridden)
        checked_port(port, baud)
        text = f"modulePort={port},moduleBaud={baud}"
        return CommandRequest("port", text, "command", overridden=overridden, wiring=(port, baud))

    def reset(self, hostid: str, by: Requester, overridden: str | None) -> CommandRequest:
        """Accept a restart of the module."""
        self._check(hostid, "reset", by, overridden)
        return CommandRequest("reset", "", "reset", overridden=overridden)

    def still_fits(self, order: PendingCommand) -> bool:
        """Tell whether a command still means what it meant: in another profile the same frames can be another thing."""
        profile = self._live[order.command.hostid].profile
        if profile is order.profile or order.command.kind != "modbus":
            return True
        # A stop is sent all the same where the new profile's stop is the very same frame.
        stop = profile.command_by_name.get(STOP)
        return order.is_stop and stop is not None and stop.frame == order.command.request

    def _check(self, hostid: str, sort: Sort, by: Requester, overridden: str | None) -> None:
        self._interlocks.check_override(overridden, by)
        self._interlocks.check(hostid, sort, overridden)
