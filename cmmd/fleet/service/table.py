"""The table of operations: which method of ControlService each door's operation calls.

The AMP commands (``cmmd.control.commands``) and the HTTP API (``cmmd.web.api.table``) are checked against it: an
operation that one door lacks, or that has no method, fails ``make check``. What only one door has is listed as such.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cmmd.fleet.roles import Role

__all__ = ["AMP_CHANGES", "AMP_ONLY", "AMP_ROLES", "HTTP_CHANGES", "HTTP_ONLY", "OPERATIONS", "Doors"]


class Doors(NamedTuple):
    """The names of an operation at each door.

    :ivar amp: AMP commands. :ivar http: names in the HTTP API's table. :ivar role: who may.
    :ivar changes: its answer is given when what it has changed is durable. (A command's outcome waits in the audit.)
    """

    amp: tuple[str, ...]
    http: tuple[str, ...]
    role: Role = "viewer"
    changes: bool = False


OPERATIONS: Mapping[str, Doors] = {
    "status": Doors(("Status",), ("get_status",)),
    "devices": Doors(("ListDevices",), ("list_devices", "get_fleet")),
    "device": Doors(("GetDevice",), ("get_device",)),
    "live": Doors(("GetLive",), ("get_live",)),
    "monitor": Doors(("GetMonitor",), ("get_monitor",)),
    "history": Doors(("GetHistory",), ("list_readings", "get_buckets")),
    "events": Doors(("ListEvents",), ("list_events",)),
    "security_events": Doors(("ListSecurityEvents",), ("list_security_events",), "admin"),
    "alarms": Doors(("ListAlarms",), ("list_alarms",)),
    "acknowledge": Doors(("AcknowledgeAlarm",), ("acknowledge_alarm",), "operator", changes=True),
    "set_device": Doors(("SetDevice",), ("change_settings", "disable_device", "enable_device"), "admin", changes=True),
    "enrol": Doors(("Enrol",), ("enrol_device",), "admin", changes=True),
    "enrolment": Doors(("GetEnrolment",), ("get_enrolment",), "operator"),
    "set_enrolment": Doors(("SetEnrolment",), ("set_enrolment",), "admin", changes=True),
    "approve": Doors(("ApproveDevice",), ("approve_device",), "admin", changes=True),
    "reject": Doors(("RejectDevice",), ("reject_device",), "admin", changes=True),
    "forget": Doors(("ForgetDevice",), ("forget_device",), "admin", changes=True),
    "reset_password": Doors(("ResetPassword",), ("reset_password",), "admin", changes=True),
    "lock": Doors(("LockDevice",), ("lock_device",), "operator", changes=True),
    "unlock": Doors(("UnlockDevice",), ("unlock_device",), "operator", changes=True),
    "clear_input": Doors(("ClearInput",), ("clear_input",), "admin", changes=True),
    "submit": Doors(("SendCommand", "WriteConfig", "WritePort", "Reset"), ("post_command",), "operator"),
    "commands": Doors(("ListCommands",), ("list_commands",)),
    "command": Doors(("GetCommand",), ("get_command",)),
    "cancel": Doors(("CancelCommand",), ("cancel_command",), "operator"),
}
"""By the method of ControlService."""

AMP_CHANGES = frozenset(name for one in OPERATIONS.values() if one.changes for name in one.amp)
HTTP_CHANGES = frozenset(name for one in OPERATIONS.values() if one.changes for name in one.http)

AMP_ONLY = frozenset(("Watch", "Unwatch", "Event"))
"""Notifications, which HTTP has as a stream of events."""

HTTP_ONLY = frozenset(("get_openapi", "sign_in", "get_session", "sign_out", "list_controllers", "get_controller"))
"""What browsers need, and profiles, of which the control port shows the part that a device has."""

AMP_ROLES: Mapping[str, Role] = {name: one.role for one in OPERATIONS.values() for name in one.amp} | dict.fromkeys(
    AMP_ONLY, "viewer"
)
"""Who may use which AMP command. An operator's raw writes are refused by the fleet, as at every door."""
