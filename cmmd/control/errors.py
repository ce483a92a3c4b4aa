"""Errors of the control port: one exception for each code, the same ones on both sides of the connection.

Most are the fleet's (:mod:`cmmd.fleet.errors`): the daemon answers with them. On the wire codes are in capitals.
"""

from cmmd.fleet.errors import (
    BY_CODE,
    AdminOnly,
    AlreadyEnrolled,
    AmbiguousSession,
    BadArgument,
    BadFrame,
    BadPort,
    Coded,
    CommandsDisabled,
    DeviceDisabled,
    DeviceOffline,
    EngineerOnly,
    Expired,
    Forbidden,
    InternalError,
    Locked,
    NoSuchAlarm,
    NoSuchCommand,
    NoSuchPoint,
    NotAllowed,
    NotAudited,
    OutOfRange,
    QueueFull,
    RawDisabled,
    RegistryFull,
    RemoteInhibited,
    RemoteLocked,
    Stale,
    TooLate,
    TooManyRequests,
    Unavailable,
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
    "CannotConnect",
    "CommandsDisabled",
    "ControlError",
    "DeviceDisabled",
    "DeviceOffline",
    "EngineerOnly",
    "Expired",
    "Forbidden",
    "InternalError",
    "Locked",
    "NoSuchAlarm",
    "NoSuchCommand",
    "NoSuchPoint",
    "NotAllowed",
    "NotAudited",
    "NotUnderstood",
    "OutOfRange",
    "OutcomeUnknown",
    "QueueFull",
    "RawDisabled",
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


ControlError = Coded
"""The daemon has not done what it was asked; all of these are kinds of it."""


class NotUnderstood(ControlError):
    """The daemon does not know this command, or answers in words that this client does not know: another version."""

    code = "not_understood"


class CannotConnect(ControlError):
    """There is no connection to the daemon; nothing was sent to it."""

    code = "cannot_connect"


class OutcomeUnknown(ControlError):
    """The connection was lost before the answer: it may have been done or not, and is not asked again by itself."""

    code = "outcome_unknown"
