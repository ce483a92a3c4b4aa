"""The table of operations: which method of ControlService each door's operation calls.

The AMP commands (``cmmd.control.commands``) and the HTTP API (``cmmd.web.api.table``) are checked against it: an
operation that one door lacks, or that has no method, fails ``make check``. What only one door has is listed as such.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["AMP_ONLY", "HTTP_ONLY", "OPERATIONS", "Doors"]


class Doors(NamedTuple):
    """The names of an operation at each door.

    :ivar amp: AMP commands. :ivar http: names in the HTTP API's table.
    """

    amp: tuple[str, ...]
    http: tuple[str, ...]


OPERATIONS: Mapping[str, Doors] = {
    "status": Doors(("Status",), ("get_status",)),
    "devices": Doors(("ListDevices",), ("list_devices", "get_fleet")),
    "device": Doors(("GetDevice",), ("get_device",)),
    "live": Doors(("GetLive",), ("get_live",)),
    "monitor": Doors(("GetMonitor",), ("get_monitor",)),
    "history": Doors(("GetHistory",), ("list_readings", "get_buckets")),
    "events": Doors(("ListEvents",), ("list_events",)),
    "alarms": Doors(("ListAlarms",), ("list_alarms",)),
    "acknowledge": Doors(("AcknowledgeAlarm",), ("acknowledge_alarm",)),
    "set_device": Doors(("SetDevice",), ("change_settings", "disable_device", "enable_device")),
    "enrol": Doors(("Enrol",), ("enrol_device",)),
    "lock": Doors(("LockDevice",), ("lock_device",)),
    "unlock": Doors(("UnlockDevice",), ("unlock_device",)),
    "clear_input": Doors(("ClearInput",), ("clear_input",)),
    "submit": Doors(("SendCommand", "WriteConfig", "WritePort", "Reset"), ("post_command",)),
    "commands": Doors(("ListCommands",), ("list_commands",)),
    "command": Doors(("GetCommand",), ("get_command",)),
    "cancel": Doors(("CancelCommand",), ("cancel_command",)),
}
"""By the method of ControlService."""

AMP_ONLY = frozenset(("Watch", "Unwatch", "Event"))
"""Notifications, which HTTP has as a stream of events."""

HTTP_ONLY = frozenset(("get_openapi", "sign_in", "get_session", "sign_out", "list_controllers", "get_controller"))
"""What browsers need, and profiles, of which the control port shows the part that a device has."""
