"""Accept requests of callers: check them, and turn them into requests to a device, before anything is sent."""

from cmmd.controllers.entries import SignalChanges
from cmmd.fleet import errors
from cmmd.fleet.commands import validation
from cmmd.fleet.commands.interlocks import Interlocks
from cmmd.fleet.commands.queue import STOP, CommandRequest, PendingCommand, Requester, Sort
from cmmd.fleet.commands.raw_writes import check_caller, check_ranges
from cmmd.fleet.telemetry.live import Live

__all__ = ["Acceptance"]


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

    def command(self, hostid: str, name: str, by: Requester, overridden: str | None) -> CommandRequest:
        """Accept a command of the device's profile.

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
        checked = validation.checked_frames(frames)
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
            return stop is not None and validation.checked_frames(frames) == stop.frame
        except errors.BadFrame:
            return False

    def port(self, hostid: str, port: int, baud: int, by: Requester, overridden: str | None) -> CommandRequest:
        """Accept a change of the module's wiring, in the codes of protocol section 4.1."""
        self._check(hostid, "command", by, overridden)
        validation.checked_port(port, baud)
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
