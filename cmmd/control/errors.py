"""Why something was not done: one exception for each code, the same ones on both sides of the connection.

What speaks against sending to a device is as the fleet has it; for what else goes wrong there, see ``refusals``. A code
is for programs and stays as it is; the text is for people. On the wire a code stands in capitals.
"""

from cmmd.fleet.allowed import (
    BadFrame,
    BadPort,
    Coded,
    CommandsDisabled,
    DeviceDisabled,
    DeviceOffline,
    NotAllowed,
    NotAudited,
    QueueFull,
    RemoteInhibited,
    RemoteLocked,
    UnknownCommand,
    UnknownDevice,
)

__all__ = [
    "BY_CODE",
    "AlreadyEnrolled",
    "BadArgument",
    "BadFrame",
    "BadPort",
    "CannotConnect",
    "CommandsDisabled",
    "ControlError",
    "DeviceDisabled",
    "DeviceOffline",
    "InternalError",
    "NoSuchAlarm",
    "NoSuchCommand",
    "NoSuchPoint",
    "NotAllowed",
    "NotAudited",
    "NotUnderstood",
    "OutcomeUnknown",
    "QueueFull",
    "RegistryFull",
    "RemoteInhibited",
    "RemoteLocked",
    "TooLate",
    "TooManyRequests",
    "Unavailable",
    "UnknownCommand",
    "UnknownDevice",
]


ControlError = Coded
"""The daemon has not done what it was asked; all of these are kinds of it."""


class NoSuchPoint(ControlError):
    """No profile that ever made a reading has a point of this name."""

    code = "no_such_point"


class NoSuchAlarm(ControlError):
    """No alarm with this number is open."""

    code = "no_such_alarm"


class NoSuchCommand(ControlError):
    """No command with this number was found."""

    code = "no_such_command"


class TooLate(ControlError):
    """The command has been sent, or has ended: it cannot be taken back."""

    code = "too_late"


class AlreadyEnrolled(ControlError):
    """A device with this hostid is registered."""

    code = "already_enrolled"


class RegistryFull(ControlError):
    """No more devices are taken (``[enrolment] max_devices``)."""

    code = "registry_full"


class BadArgument(ControlError):
    """An argument is missing, or has a value that it cannot have."""

    code = "bad_argument"


class Unavailable(ControlError):
    """The store cannot work now; the same may go through later."""

    code = "unavailable"


class TooManyRequests(ControlError):
    """So many requests of this connection are unanswered already; this one was not looked at."""

    code = "too_many_requests"


class InternalError(ControlError):
    """A bug of the daemon; its log has more. Of what was asked, nobody knows how far it came."""

    code = "internal_error"


class NotUnderstood(ControlError):
    """The daemon does not know this command, or answers in words that this client does not know: another version."""

    code = "not_understood"


class CannotConnect(ControlError):
    """There is no connection to the daemon; nothing was sent to it."""

    code = "cannot_connect"


class OutcomeUnknown(ControlError):
    """The connection was lost before the answer: it may have been done or not, and is not asked again by itself."""

    code = "outcome_unknown"


_OF_THE_CLIENT = (CannotConnect, OutcomeUnknown, NotUnderstood)

BY_CODE: dict[str, type[ControlError]] = {
    kind.code: kind
    for kind in (*NotAllowed.__subclasses__(), *ControlError.__subclasses__())
    if kind not in _OF_THE_CLIENT
}
"""What the daemon answers with, by code. AMP takes the first one that fits: special ones come first."""
