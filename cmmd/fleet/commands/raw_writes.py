"""Permissions and limits of raw Modbus frames, checked before anything is sent."""

from cmmd.controllers.profile import Profile
from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.errors import EngineerOnly, OutOfRange, RawDisabled
from cmmd.fleet.roles import may
from cmmd.modbus.frames import ReadRequest, parse_request, split_frames

__all__ = ["check_caller", "check_ranges"]


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

    :param frames: as ``validation.checked_frames`` gives them.
    :raises OutOfRange: the first frame that writes elsewhere.
    """
    for number, frame in enumerate(split_frames(frames), 1):
        request = parse_request(frame)
        assert not isinstance(request, ReadRequest), "checked_frames refuses reads"
        reason = profile.writable.why_not(request)
        if reason:
            raise OutOfRange(f"frame {number}: {reason}; profile {profile.name} says where raw frames write")
