"""Why something was not done: one exception for each code, the same ones on both sides of the connection.

A code is for programs and stays as it is; the text is for people. On the wire a code stands in capitals.
"""

from typing import ClassVar

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


class ControlError(Exception):
    """The daemon has not done what it was asked."""

    code: ClassVar[str]


class NotAllowed(ControlError):
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


class QueueFull(NotAllowed):
    """So many commands wait for this device already."""

    code = "queue_full"


class NotAudited(NotAllowed):
    """The store does not take the record of the command, and nothing is sent without one."""

    code = "not_audited"


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
