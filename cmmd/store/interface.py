"""The IStore interface: what every store offers, and how it fails."""

from twisted.internet.defer import Deferred
from zope.interface import Interface

from cmmd.store.records import Device

__all__ = ["DuplicateDevice", "IStore", "SchemaTooNew", "StoreError", "StoreUnavailable"]


class StoreError(Exception):
    """A store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot work now: disk full, file gone, database down. The same call may go through later."""


class SchemaTooNew(StoreError):
    """The store was written by a later version of cmmd; it is left untouched."""


class DuplicateDevice(StoreError):
    """A device with this hostid is there already."""


class IStore(Interface):
    """Keeps records. What a Deferred has confirmed survives the end of the process, however it comes.

    Calls are carried out in the order they were made.
    """

    def open() -> Deferred[list[Device]]:
        """Open, bring the schema up to date, and read the devices.

        :return: every device, by number.
        :raises SchemaTooNew: see there.
        :raises StoreUnavailable: see there.
        """

    def add_device(device: Device) -> Deferred[Device]:
        """Keep a new device.

        :return: the record with its number; numbers start at 1 and never come again.
        :raises DuplicateDevice: see there.
        :raises StoreUnavailable: see there.
        """

    def update_device(device: Device) -> Deferred[None]:
        """Replace the record that has this number.

        :raises StoreUnavailable: see there.
        """

    def close() -> Deferred[None]:
        """Carry out what was asked before, then close. Nothing may be called after it but ``open``."""
