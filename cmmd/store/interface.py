"""The IStore interface: what every store offers, and how it fails."""

from collections.abc import Sequence

from msgspec import Struct
from twisted.internet.defer import Deferred
from zope.interface import Interface

from cmmd.store.records import (
    Alarm,
    Command,
    Device,
    Event,
    LastUpload,
    Numbers,
    ProfileVersion,
    Query,
    Reading,
    Redecoded,
    Row,
)

__all__ = [
    "MOST_A_PAGE",
    "DuplicateDevice",
    "Health",
    "IStore",
    "SchemaTooNew",
    "Snapshot",
    "StoreError",
    "StoreTaken",
    "StoreUnavailable",
]

MOST_A_PAGE = 1000
"""Most records that one query returns, whatever its limit."""


class StoreError(Exception):
    """A store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot work now: disk full, file gone, database down. The same call may go through later."""


class StoreTaken(StoreUnavailable):
    """The store is there, but takes nothing from this process: another one writes to it, or has written since.

    Rows that wait for it can have numbers that are taken. A new start looks at it anew.
    """


class SchemaTooNew(StoreError):
    """The store was written by a later version of cmmd; it is left untouched."""


class DuplicateDevice(StoreError):
    """A device with this hostid is there already."""


class Health(Struct, frozen=True):
    """The health of the store: up or not, and the number of rows that wait elsewhere for it."""

    up: bool = True
    backlog: int = 0


class Snapshot(Struct, kw_only=True):
    """The content of a store at its opening, as far as a daemon needs it to continue.

    :ivar devices: every device, by number.
    :ivar profiles: every profile version, by number.
    :ivar uploads: the newest upload of each device.
    :ivar alarms: those that are open, by number.
    :ivar unfinished: commands without an outcome, by number.
    :ivar numbers: the highest ones so far; 0: there was none.
    :ivar identity: of this store, for as long as it exists; random.
    :ivar writer: the identity of what claimed it last; empty: nothing has.
    """

    devices: list[Device]
    profiles: list[ProfileVersion]
    uploads: list[LastUpload]
    alarms: list[Alarm]
    unfinished: list[Command] = []
    numbers: Numbers = Numbers()
    identity: str = ""
    writer: str = ""


class IStore(Interface):
    """Keeps records. What a Deferred has confirmed survives the end of the process, however it comes.

    Calls that write are carried out, and confirmed or failed, in the order they were made. What has failed is not
    carried out later.
    """

    def open() -> Deferred[Snapshot]:
        """Open, bring the schema up to date, and read what is needed to go on.

        :raises SchemaTooNew: a newer cmmd has written to the store.
        :raises StoreUnavailable: the store cannot work now.
        """

    def add_device(device: Device) -> Deferred[Device]:
        """Keep a new device.

        :return: the record with its number; numbers start at 1 and never come again.
        :raises DuplicateDevice: a device with this hostid is there already.
        :raises StoreUnavailable: the store cannot work now.
        """

    def remove_device(device: Device) -> Deferred[None]:
        """Delete a device and its last upload; its readings, events, alarms and commands stay as long as others.

        Where it is not there, nothing happens. Nothing that is written later may have its number.

        :raises StoreUnavailable: the store cannot work now, or rows wait elsewhere that could be about it.
        """

    def write(rows: Sequence[Row]) -> Deferred[None]:
        """Keep records, in this order, all of them or none.

        A reading, an event or a profile version whose number (a reading's: and time) is there already is left as it is.
        A device, an alarm or a command replaces the one with its number, a last upload the one of its device. Numbers
        are raised, never lowered.

        :raises StoreUnavailable: the store cannot work now.
        """

    def redecode(readings: Sequence[Redecoded]) -> Deferred[None]:
        """Give readings that are kept other points, all or none. What is not there any more is left out.

        :raises StoreUnavailable: the store cannot work now.
        """

    def readings(query: Query) -> Deferred[list[Reading]]:
        """Readings in the order of ``(at, number)``; at most :data:`MOST_A_PAGE`, the same below.

        :raises StoreUnavailable: the store cannot work now.
        """

    def alarms(query: Query) -> Deferred[list[Alarm]]:
        """Alarms, open or cleared, in the order of ``(raised_at, number)``.

        :raises StoreUnavailable: the store cannot work now.
        """

    def events(query: Query) -> Deferred[list[Event]]:
        """Events in the order of ``(at, number)``.

        :raises StoreUnavailable: the store cannot work now.
        """

    def commands(query: Query) -> Deferred[list[Command]]:
        """Commands in the order of ``(accepted_at, number)``.

        :raises StoreUnavailable: the store cannot work now.
        """

    def forget(before: int, limit: int) -> Deferred[int]:
        """Delete readings, events, cleared alarms and ended commands that are older, oldest first.

        :param before: Unix time in milliseconds; an alarm counts from when it was cleared, a command from its end.
        :param limit: how many of each at most.
        :return: how many were deleted, of all four together.
        :raises StoreUnavailable: the store cannot work now.
        """

    def claim(writer: str) -> Deferred[None]:
        """Note the writer from now on: rows that another one still holds can have numbers that are taken.

        :param writer: an identity, see Kept.
        :raises StoreUnavailable: the store cannot work now.
        """

    def close() -> Deferred[None]:
        """Carry out what was asked before, then close. Nothing may be called after it but ``open``."""
