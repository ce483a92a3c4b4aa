"""Errors with a code: one exception for each, raised where the reason is found, the same at every door.

A code is for programs and stays as it is; the text is for people.
"""

from typing import ClassVar

from cmmd.store.interface import StoreUnavailable

__all__ = [
    "BY_CODE",
    "AdminOnly",
    "AlreadyEnrolled",
    "AmbiguousSession",
    "BadArgument",
    "BadFrame",
    "BadPort",
    "BadSetting",
    "Coded",
    "CommandsDisabled",
    "DeviceDisabled",
    "DeviceOffline",
    "EngineerOnly",
    "Expired",
    "Forbidden",
    "InternalError",
    "Locked",
    "NoSuchAlarm",
    "NoSuchCommand",
    "NoSuchDevice",
    "NoSuchPoint",
    "NotAllowed",
    "NotAudited",
    "OutOfRange",
    "QueueFull",
    "RawDisabled",
    "RegistryFull",
    "RemoteInhibited",
    "RemoteLocked",
    "Stale",
    "TooBusy",
    "TooLate",
    "TooManyRequests",
    "TooManyWaiting",
    "Unavailable",
    "UnderWay",
    "UnknownCommand",
    "UnknownDevice",
    "refusal",
]


class Coded(Exception):
    """An operation was not done. ``code`` is for programs and is stable; the text is for people.

    :ivar field: what in the question it is about, where the door has a name for that.
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
    """The frame to be written is no Modbus write."""

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


class EngineerOnly(NotAllowed):
    """Only an engineer or an administrator writes raw Modbus frames."""

    code = "engineer_only"


class RawDisabled(NotAllowed):
    """The configuration lets no raw Modbus frames be written (``[commands] raw``)."""

    code = "raw_disabled"


class OutOfRange(NotAllowed):
    """The device's profile does not let raw frames write there."""

    code = "out_of_range"


class QueueFull(NotAllowed):
    """So many commands wait for this device already."""

    code = "queue_full"


class Expired(NotAllowed):
    """The command came too late, or may have: it was requested too long ago."""

    code = "expired"


class NotAudited(NotAllowed):
    """The store does not take the record of the command, and nothing is sent without one."""

    code = "not_audited"


class NoSuchDevice(Coded):
    """No device with this hostid is registered, and nothing was to be sent: callers get UnknownDevice."""

    code = UnknownDevice.code


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
    """The command has been sent, or has ended: it cannot be cancelled."""

    code = "too_late"


class AlreadyEnrolled(Coded):
    """A device with this hostid is registered."""

    code = "already_enrolled"


class RegistryFull(Coded):
    """No more devices are taken (``[enrolment] max_devices``)."""

    code = "registry_full"


class UnderWay(Coded):
    """Commands of the device wait or are under way; the same is accepted when they have ended."""

    code = "under_way"


class BadArgument(Coded):
    """An argument is missing, or has a value that it cannot have."""

    code = "bad_argument"


class BadSetting(BadArgument):
    """There is no such setting of a device, or it cannot be this: ``name: what``."""


class Unavailable(Coded):
    """The store cannot work now; the same may go through later."""

    code = "unavailable"


class TooBusy(Unavailable):
    """Work is refused that could not be done in time, as too much is waiting already."""


class TooManyWaiting(Unavailable):
    """So many wait for their turn with this device already."""


class Forbidden(Coded):
    """The caller is known, and its role does not have this."""

    code = "forbidden"


class TooManyRequests(Coded):
    """So many requests of this connection are unanswered already; this one was not looked at."""

    code = "too_many_requests"


class InternalError(Coded):
    """A bug of the daemon; its log has more. The outcome of the request is unknown."""

    code = "internal_error"


BY_CODE: dict[str, type[Coded]] = {
    kind.code: kind for kind in (*NotAllowed.__subclasses__(), *Coded.__subclasses__()) if kind is not NoSuchDevice
}
"""What the daemon answers with, by code; special ones come before NotAllowed."""


def refusal(error: BaseException | None) -> Coded | None:
    """Find what to answer instead of an exception of the fleet or the store; None: the exception is a bug."""
    if isinstance(error, StoreUnavailable):
        return Unavailable(f"the store cannot work now: {error}")
    if isinstance(error, NoSuchDevice):
        return UnknownDevice(str(error))
    return error if isinstance(error, Coded) else None
