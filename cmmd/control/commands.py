"""The AMP commands, their arguments and answers. docs/control.md is the same for users.

``requester`` is what the client says who asks; the audit has it together with what the door knows.
"""

from typing import Any, ClassVar

import msgspec
from twisted.protocols import amp

from cmmd.control.boxes import JSON
from cmmd.control.errors import BY_CODE, BadArgument
from cmmd.fleet.service import records
from cmmd.fleet.telemetry.live import Monitor
from cmmd.store import records as kept

__all__ = [
    "AcknowledgeAlarm",
    "ApproveDevice",
    "CancelCommand",
    "ClearInput",
    "Enrol",
    "Event",
    "ForgetDevice",
    "GetCommand",
    "GetDevice",
    "GetEnrolment",
    "GetHistory",
    "GetLive",
    "GetMonitor",
    "ListAlarms",
    "ListCommands",
    "ListDevices",
    "ListEvents",
    "ListSecurityEvents",
    "LockDevice",
    "RejectDevice",
    "Reset",
    "ResetPassword",
    "SendCommand",
    "SetDevice",
    "SetEnrolment",
    "Status",
    "UnlockDevice",
    "Unwatch",
    "Watch",
    "WriteConfig",
    "WritePort",
]

_Arguments = list[tuple[bytes, amp.Argument]]


class _Command(amp.Command):
    """A command that may be answered with any of our codes."""

    errors: ClassVar[dict[type[Exception], bytes]] = {
        kind: code.upper().encode("ascii") for code, kind in BY_CODE.items()
    }

    @classmethod
    def parseArguments(cls, box: amp.Box, protocol: object) -> dict[str, Any]:
        """Decode the arguments of a box.

        :raises BadArgument: one is missing or wrong.
        """
        strings, arguments = box.copy(), dict[str, Any]()
        for name, argument in cls.arguments:
            try:
                argument.fromBox(name, strings, arguments, protocol)
            except KeyError:
                raise BadArgument(f"{name.decode()}: missing") from None
            except (ValueError, TypeError, msgspec.MsgspecError) as error:
                raise BadArgument(f"{name.decode()}: {_cut(error)}") from None
        return arguments


def _cut(error: Exception) -> str:
    """Describe a decoding error without the peer's text where that can be long."""
    return str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__


_TEXT, _NUMBER = amp.Unicode(), amp.Integer()
_MAYBE_TEXT, _MAYBE_NUMBER, _MAYBE_SECONDS = (
    amp.Unicode(optional=True),
    amp.Integer(optional=True),
    amp.Float(optional=True),
)
_MAYBE = amp.Boolean(optional=True)
_HOSTID = (b"hostid", _TEXT)
_REQUESTER = (b"requester", _MAYBE_TEXT)
_TIMEOUT = (b"timeout", _MAYBE_SECONDS)
_OVERRIDE = (b"override", _MAYBE_TEXT)
_PAGE: _Arguments = [(b"after", _MAYBE_TEXT), (b"limit", _MAYBE_NUMBER)]
_SPAN: _Arguments = [(b"since", _MAYBE_NUMBER), (b"until", _MAYBE_NUMBER), (b"newestFirst", _MAYBE), *_PAGE]
_NEXT = (b"next", _MAYBE_TEXT)
_RECORDED = (b"recorded", _MAYBE)
"""False: the store does not answer, and what is said is not durable yet. Left out: it is."""


# --- what there is ---------------------------------------------------------------------------------------------------


class Status(_Command):
    """Report the state of the daemon."""

    arguments: ClassVar[_Arguments] = []
    response: ClassVar[_Arguments] = [(b"status", JSON(records.StatusNow))]


class ListDevices(_Command):
    """The devices, by registration number. ``online``: only those that are, or are not."""

    arguments: ClassVar[_Arguments] = [(b"online", _MAYBE), *_PAGE]
    response: ClassVar[_Arguments] = [(b"devices", JSON(list[records.DeviceRow])), _NEXT]


class GetDevice(_Command):
    """One device: registration, settings, commands."""

    arguments: ClassVar[_Arguments] = [_HOSTID]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails))]


class GetLive(_Command):
    """Get the live record of a device. ``raw``: with all known coils and registers."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"raw", _MAYBE)]
    response: ClassVar[_Arguments] = [(b"live", JSON(records.LiveNow))]


class GetMonitor(_Command):
    """The live record of a device as the protocol's paper has it: the raw register image, and what of it is known."""

    arguments: ClassVar[_Arguments] = [_HOSTID]
    response: ClassVar[_Arguments] = [(b"monitor", JSON(Monitor))]


class GetHistory(_Command):
    """The kept uploads of a device. ``points``: names separated by commas; without it all."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"points", _MAYBE_TEXT), *_SPAN]
    response: ClassVar[_Arguments] = [(b"readings", JSON(list[records.ReadingRow])), _NEXT]


class ListEvents(_Command):
    """List the events of a device or of all devices."""

    arguments: ClassVar[_Arguments] = [(b"hostid", _MAYBE_TEXT), *_SPAN]
    response: ClassVar[_Arguments] = [(b"events", JSON(list[kept.Event])), _NEXT]


class ListSecurityEvents(_Command):
    """List security events: who came in, who did not, who changed what, and from where."""

    arguments: ClassVar[_Arguments] = [*_SPAN]
    response: ClassVar[_Arguments] = [(b"events", JSON(list[kept.Event])), _NEXT]


class ListAlarms(_Command):
    """The open alarms, of a device or of all.

    ``ended``: all there ever were, in the order in which they were raised; ``since``, ``until`` and ``newestFirst`` are
    for these.
    """

    arguments: ClassVar[_Arguments] = [(b"hostid", _MAYBE_TEXT), (b"ended", _MAYBE), *_SPAN]
    response: ClassVar[_Arguments] = [(b"alarms", JSON(list[kept.Alarm])), _NEXT]


class AcknowledgeAlarm(_Command):
    """Acknowledge an open alarm. The first one counts."""

    arguments: ClassVar[_Arguments] = [(b"alarm", _NUMBER), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"alarm", JSON(kept.Alarm)), _RECORDED]


# --- devices ---------------------------------------------------------------------------------------------------------


class SetDevice(_Command):
    """Change an owner's settings of a device: a JSON object with those that change; null: back to the default."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"changes", JSON(records.Changes)), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


class Enrol(_Command):
    """Make a device known ahead of its first login. Without a password the first one it comes with is taken."""

    arguments: ClassVar[_Arguments] = [
        _HOSTID,
        (b"hostname", _MAYBE_TEXT),
        (b"moduletype", _MAYBE_TEXT),
        (b"password", _MAYBE_TEXT),
        _REQUESTER,
    ]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


class GetEnrolment(_Command):
    """Give the enrolment policy and the devices that wait for approval."""

    response: ClassVar[_Arguments] = [(b"enrolment", JSON(records.EnrolmentNow))]


class SetEnrolment(_Command):
    """Set the enrolment policy: ``open``, ``approve`` or ``known``."""

    arguments: ClassVar[_Arguments] = [(b"policy", _TEXT), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"enrolment", JSON(records.EnrolmentNow)), _RECORDED]


class ApproveDevice(_Command):
    """Let a device in that waits. It has to show the password of its first login."""

    arguments: ClassVar[_Arguments] = [_HOSTID, _REQUESTER]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


class RejectDevice(_Command):
    """Let a device wait no more; it waits again when it comes again."""

    arguments: ClassVar[_Arguments] = [_HOSTID, _REQUESTER]
    response: ClassVar[_Arguments] = [_RECORDED]


class ForgetDevice(_Command):
    """Let a device be unknown from now on. Its readings, events, alarms and commands stay as long as others."""

    arguments: ClassVar[_Arguments] = [_HOSTID, _REQUESTER]
    response: ClassVar[_Arguments] = [_RECORDED]


class ResetPassword(_Command):
    """Forget the password of a device and end its sessions. Without a new one that of its next login is taken."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"password", _MAYBE_TEXT), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


# --- people beside the machine ---------------------------------------------------------------------------------------


class LockDevice(_Command):
    """Lock a device for maintenance: nothing but stop and reset is sent to it until it is unlocked."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"reason", _TEXT), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


class UnlockDevice(_Command):
    """Remove a maintenance lock. ``force``: also one that another caller has set."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"force", _MAYBE), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


class ClearInput(_Command):
    """Forget what a device last said of one of its own inputs, until it says it again."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"input", _TEXT), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"device", JSON(records.DeviceDetails)), _RECORDED]


# --- to a device -----------------------------------------------------------------------------------------------------


class _ToDevice(_Command):
    """Answered when the outcome is known, at most ``timeout`` seconds after it was sent; without it as configured.

    ``override``: the code of a refusal that does not count for this one command, such as ``remote_inhibited``.
    """

    response: ClassVar[_Arguments] = [
        (b"commandId", _NUMBER),
        (b"uid", _TEXT),
        (b"outcome", _TEXT),
        (b"reply", _TEXT),
        (b"seconds", amp.Float()),
        _RECORDED,
    ]


class SendCommand(_ToDevice):
    """A command of the device's profile, such as ``auto``."""

    arguments: ClassVar[_Arguments] = [_HOSTID, (b"name", _TEXT), _REQUESTER, _TIMEOUT, _OVERRIDE]


class WriteConfig(_ToDevice):
    """Modbus writes: ``result`` in hex, separated by ``;``, with CRC or without. ``datatype``: 1, or left out."""

    arguments: ClassVar[_Arguments] = [
        _HOSTID,
        (b"result", _TEXT),
        (b"datatype", _MAYBE_NUMBER),
        _REQUESTER,
        _TIMEOUT,
        _OVERRIDE,
    ]


class WritePort(_ToDevice):
    """The module's wiring to the controller, in the codes of protocol section 4.1."""

    arguments: ClassVar[_Arguments] = [
        _HOSTID,
        (b"modulePort", _NUMBER),
        (b"moduleBaud", _NUMBER),
        _REQUESTER,
        _TIMEOUT,
        _OVERRIDE,
    ]


class Reset(_ToDevice):
    """Restart the module of a device."""

    arguments: ClassVar[_Arguments] = [_HOSTID, _REQUESTER, _TIMEOUT, _OVERRIDE]


class ListCommands(_Command):
    """The audit, of a device or of all, in the order in which commands were accepted; it may be a moment behind."""

    arguments: ClassVar[_Arguments] = [(b"hostid", _MAYBE_TEXT), *_SPAN]
    response: ClassVar[_Arguments] = [(b"commands", JSON(list[kept.Command])), _NEXT]


class GetCommand(_Command):
    """One command, under way or among the last 10,000 of the audit."""

    arguments: ClassVar[_Arguments] = [(b"commandId", _NUMBER)]
    response: ClassVar[_Arguments] = [(b"command", JSON(kept.Command))]


class CancelCommand(_Command):
    """Take a command back that waits behind another one; it ends as ``not sent``."""

    arguments: ClassVar[_Arguments] = [(b"commandId", _NUMBER), _REQUESTER]
    response: ClassVar[_Arguments] = [(b"command", JSON(kept.Command))]


# --- news ------------------------------------------------------------------------------------------------------------


class Watch(_Command):
    """Be sent ``Event`` from now on, for what happens to a device or to all.

    ``live``: also for new uploads; ``commands``: also for every change of a command. A second Watch takes the place of
    the first. ``lastEvent``: the number of the last event before.
    """

    arguments: ClassVar[_Arguments] = [(b"hostid", _MAYBE_TEXT), (b"live", _MAYBE), (b"commands", _MAYBE)]
    response: ClassVar[_Arguments] = [(b"lastEvent", _NUMBER)]


class Unwatch(_Command):
    """Be sent no more."""

    arguments: ClassVar[_Arguments] = []
    response: ClassVar[_Arguments] = []


class Event(amp.Command):
    """Notify a watcher. The next one is not sent before this one is answered (:mod:`cmmd.control.link`)."""

    arguments: ClassVar[_Arguments] = [
        (b"events", JSON(list[kept.Event])),
        (b"live", JSON(dict[str, int])),
        (b"commands", JSON(list[kept.Command])),
        (b"missed", _NUMBER),
    ]
    response: ClassVar[_Arguments] = []
