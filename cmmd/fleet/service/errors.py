"""Why something was not done: one exception for each code, whichever way whoever asked came in.

What speaks against sending to a device is as the fleet has it; for what else goes wrong there, see ``refusals``. A code
is for programs and stays as it is; the text is for people.
"""

from cmmd.fleet.commands.validation import (
    AdminOnly,
    AmbiguousSession,
    BadFrame,
    BadPort,
    Coded,
    CommandsDisabled,
    DeviceDisabled,
    DeviceOffline,
    Expired,
    Locked,
    NotAllowed,
    NotAudited,
    QueueFull,
    RemoteInhibited,
    RemoteLocked,
    Stale,
    UnknownCommand,
    UnknownDevice,
)

__all__ = [
    "BY_CODE",
    "AdminOnly",
    "AlreadyEnrolled",
    "AmbiguousSession",
    "BadArgument",
    "BadFrame",
    "BadPort",
    "Coded",
    "CommandsDisabled",
    "DeviceDisabled",
    "DeviceOffline",
    "Expired",
    "InternalError",
    "Locked",
    "NoSuchAlarm",
    "NoSuchCommand",
    "NoSuchPoint",
    "NotAllowed",
    "NotAudited",
    "QueueFull",
    "RegistryFull",
    "RemoteInhibited",
    "RemoteLocked",
    "Stale",
    "TooLate",
    "TooManyRequests",
    "Unavailable",
    "UnknownCommand",
    "UnknownDevice",
]


class NoSuchPoint(Coded):
    """No profile that ever made a reading has a point of this name."""

    code = "no_such_point"


class NoSuchAlarm(Coded):
    """No alarm with this number is open."""

    code = "no_such_alarm"


class NoSuchCommand(Coded):
    """No command with this number was found."""

    code = "no_such_command"


class TooLate(Coded):
    """The command has been sent, or has ended: it cannot be taken back."""

    code = "too_late"


class AlreadyEnrolled(Coded):
    """A device with this hostid is registered."""

    code = "already_enrolled"


class RegistryFull(Coded):
    """No more devices are taken (``[enrolment] max_devices``)."""

    code = "registry_full"


class BadArgument(Coded):
    """An argument is missing, or has a value that it cannot have."""

    code = "bad_argument"


class Unavailable(Coded):
    """The store cannot work now; the same may go through later."""

    code = "unavailable"


class TooManyRequests(Coded):
    """So many requests of this connection are unanswered already; this one was not looked at."""

    code = "too_many_requests"


class InternalError(Coded):
    """A bug of the daemon; its log has more. Of what was asked, nobody knows how far it came."""

    code = "internal_error"


BY_CODE: dict[str, type[Coded]] = {kind.code: kind for kind in (*NotAllowed.__subclasses__(), *Coded.__subclasses__())}
"""What the daemon answers with, by code; special ones come before NotAllowed."""
