"""The store that forgets: for tests and for trying things out."""

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from cmmd.store.interface import DuplicateDevice, IStore
from cmmd.store.records import Device

__all__ = ["MemoryStore"]


@implementer(IStore)
class MemoryStore:
    """Keeps records as long as the object lives."""

    def __init__(self) -> None:
        self._devices: dict[int, Device] = {}
        self._numbers: dict[str, int] = {}

    def open(self) -> Deferred[list[Device]]:
        """See IStore."""
        return succeed(list(self._devices.values()))

    def add_device(self, device: Device) -> Deferred[Device]:
        """See IStore."""
        if device.hostid in self._numbers:
            return fail(DuplicateDevice(device.hostid))
        number = len(self._devices) + 1
        self._numbers[device.hostid] = number
        self._devices[number] = replace(device, number=number)
        return succeed(self._devices[number])

    def update_device(self, device: Device) -> Deferred[None]:
        """See IStore."""
        if device.number in self._devices:
            self._devices[device.number] = device
        return succeed(None)

    def close(self) -> Deferred[None]:
        """See IStore."""
        return succeed(None)
