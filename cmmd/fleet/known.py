"""What is known of one controller, and what of it is certain: change uploads do not tell their byte order.

While the byte order of a device is open (protocol section 4.5), what its change uploads say of registers stands beside
the image, read little-endian, and is certain for nobody. Evidence decides: an upload speaks for the byte order in which
its values are plausible, or near to what was known before. Three uploads that agree are enough.
"""

from cmmd.controllers.profile import Profile
from cmmd.modbus.frames import Function, ReadRequest
from cmmd.modbus.image import NOTHING_CHANGED, ChangedAddresses, ImageError, ImageFullError, RegisterImage
from cmmd.modbus.packing import pack_registers
from cmmd.store.records import ByteOrder

__all__ = ["Judge", "Known"]

DECIDING = 3
"""Uploads that must speak for a byte order, over and above those that speak for the other one."""

CLEARLY = 3
"""How many times as many registers must speak for a byte order, for an upload to do so."""

NEARER = 8
"""How many times nearer to the value known before a reading must be, to speak for its byte order."""

_COILS, _HOLDING_REGISTERS = Function.READ_COILS, Function.READ_HOLDING_REGISTERS
_OTHER: dict[ByteOrder, ByteOrder] = {"little": "big", "big": "little"}


class Known:
    """The registers and coils of one controller. What it says as a cmmd.controllers.profile.Reader is certain.

    :param byte_order: of registers in change uploads; None: open.
    :ivar image: what is certain, but where ``undecided`` has something newer.
    :ivar undecided: registers of change uploads while their byte order is open, read little-endian; None: none.
    :ivar evidence: uploads that speak for little-endian, less those that speak for big-endian.
    """

    __slots__ = ("byte_order", "evidence", "image", "undecided")

    def __init__(self, byte_order: ByteOrder | None) -> None:
        self.byte_order = byte_order
        self.image = RegisterImage()
        self.undecided: RegisterImage | None = None
        self.evidence = 0

    def restore(self, image: bytes, undecided: bytes) -> None:
        """Take over what the store has kept.

        :raises ImageError: it is damaged; all is as it was.
        """
        restored = RegisterImage.from_bytes(image)
        self.undecided = RegisterImage.from_bytes(undecided) if undecided else None
        self.image = restored
        if self.byte_order is not None:
            self.decide(self.byte_order)

    def coil(self, address: int) -> bool | None:
        """The state of a coil; None: not known."""
        return self.image.bit(_COILS, address)

    def register(self, address: int) -> int | None:
        """A holding register; None: not known, or not certain."""
        if self.undecided is not None and self.undecided.register(_HOLDING_REGISTERS, address) is not None:
            return None
        return self.image.register(_HOLDING_REGISTERS, address)

    def take(self, request: ReadRequest, payload: bytes) -> ChangedAddresses:
        """Take the response to a request over.

        :raises ImageError: see RegisterImage.merge.
        """
        changed = self.image.merge(request, payload)
        if self.undecided is not None:
            self._overtake(request.function, request.address, request.count)
        return changed

    def take_change(self, function: Function, address: int, values: bytes) -> ChangedAddresses:
        """Take an item of a change upload over: of bits, or where the byte order is decided.

        :raises ImageError: see RegisterImage.merge_change.
        """
        return self.image.merge_change(function, address, values, self.byte_order or "little")

    def take_undecided(self, function: Function, address: int, register: bytes) -> None:
        """Take one register over, as it stands in a change upload; the byte order is open.

        :raises ImageFullError: there is no room for it.
        """
        if register[0] == register[1]:  # the same either way
            self.image.merge_change(function, address, register, "big")
            if self.undecided is not None:
                self._overtake(function, address, 1)
            return
        if self.undecided is None:
            self.undecided = RegisterImage()
        self.undecided.merge_change(function, address, register, "little")

    def decide(self, byte_order: ByteOrder) -> None:
        """From now on it is this; what was undecided becomes certain."""
        self.byte_order = byte_order
        undecided, self.undecided = self.undecided, None
        if undecided is None:
            return
        for function in (_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS):
            for run in undecided.known(function):
                registers = [register or 0 for register in undecided.registers(function, run.start, len(run))]
                # They were read little-endian. Packed big-endian they are right if that was right, else swapped.
                try:
                    self.image.merge_change(function, run.start, pack_registers(registers), _OTHER[byte_order])
                except ImageFullError:
                    self.image.forget(function, run.start, len(run))  # older than what there is no room for

    def _overtake(self, function: Function, address: int, count: int) -> None:
        """Something newer has come."""
        assert self.undecided is not None
        self.undecided.forget(function, address, count)
        if not self.undecided:
            self.undecided = None


class Judge:
    """Takes one change upload over while the byte order is open, and weighs what it says about that.

    :param known: what is known of the device's controller.
    :param profile: says what is plausible.
    """

    def __init__(self, known: Known, profile: Profile) -> None:
        self._known = known
        self._points = profile.point_by_address
        self._for: dict[ByteOrder, int] = {"little": 0, "big": 0}

    def take(self, function: Function, address: int, values: bytes) -> ChangedAddresses:
        """Take registers over.

        :param values: as they stand in the upload, two bytes each.
        :return: always the same: what has changed is not certain.
        :raises ImageError: they are no registers, or have no place.
        """
        if not values or len(values) % 2 or address + len(values) // 2 > 0x1_0000:
            raise ImageError("no registers, or none that there are")
        for place in range(0, len(values), 2):
            register = values[place : place + 2]
            at = address + place // 2
            order = self._speaks_for(function, at, register)
            if order is not None:
                self._for[order] += 1
            self._known.take_undecided(function, at, register)
        return NOTHING_CHANGED

    def _speaks_for(self, function: Function, address: int, register: bytes) -> ByteOrder | None:
        """For which byte order one register speaks; None: for neither."""
        readings = {order: int.from_bytes(register, order) for order in _OTHER}
        point = self._points.get(address) if function is _HOLDING_REGISTERS else None
        if point is not None:
            plausible = [order for order, raw in readings.items() if point.plausible_raw(raw)]
            if len(plausible) == 1:
                return plausible[0]
        before = self._known.image.register(function, address)
        if before is None:
            return None
        nearness = {order: abs(raw - before) for order, raw in readings.items()}
        for order, other in _OTHER.items():
            if nearness[order] * NEARER < nearness[other]:
                return order
        return None

    def verdict(self) -> ByteOrder | None:
        """At the end of the upload: the byte order, if it is decided now; what was undecided is certain then."""
        for order, sign in _SIGNS:
            if self._for[order] > CLEARLY * self._for[_OTHER[order]]:
                self._known.evidence += sign
            if self._known.evidence * sign >= DECIDING:
                self._known.decide(order)
                return order
        return None


_SIGNS: tuple[tuple[ByteOrder, int], ...] = (("little", 1), ("big", -1))
