"""Notifications to watching programs, as one struct."""

from msgspec import Struct

from cmmd.store.records import Command, Event

__all__ = ["Notification"]


class Notification(Struct, frozen=True, kw_only=True):
    """Everything that has happened since the last notification.

    :ivar events: in the order of their numbers.
    :ivar live: devices with a new upload, and its number.
    :ivar commands: those that have changed, as they are now.
    :ivar missed: events and changed commands that came before these and were left out: the watcher was slow.
    :ivar interrupted: the connection was lost before: there may have been any number of events in between.
    """

    events: list[Event]
    live: dict[str, int]
    commands: list[Command]
    missed: int
    interrupted: bool = False
