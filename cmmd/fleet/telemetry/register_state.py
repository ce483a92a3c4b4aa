"""Registers and coils of one controller, and how certain each of them is.

Three layers. ``image`` holds what is certain. ``older`` holds values that were certain once and need not be true any
more: from before a restart, or of a frame that the last upload lacks. ``undecided`` holds registers from change uploads
while the byte order of the device is open (protocol section 4.5), read little-endian. A decoder of a controller for
alarms, events or history reads this as a cmmd.controllers.profile.Reader, and gets what is certain or None.
"""

from contextlib import suppress

from cmmd.controllers.evidence.memory import byte_order_of as overridden_byte_order
from cmmd.controllers.evidence.weighing import OPEN, decided_choice, decided_state, opened
from cmmd.controllers.profile import Profile
from cmmd.modbus.frames import Function, ReadRequest
from cmmd.modbus.image import ChangedAddresses, ImageFullError, RegisterImage
from cmmd.store.records import ByteOrder, Device

__all__ = ["ORDERS", "OTHER_ORDER", "CertainRegisters", "RegisterState", "byte_order_of", "with_coil"]


ORDERS: tuple[ByteOrder, ByteOrder] = ("little", "big")
"""The choices of the hypothesis about the byte order."""

_COILS, _HOLDING_REGISTERS = Function.READ_COILS, Function.READ_HOLDING_REGISTERS
_OF_REGISTERS = (_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS)
OTHER_ORDER: dict[ByteOrder, ByteOrder] = {"little": "big", "big": "little"}


class RegisterState:
    """The registers and coils of one controller.

    :param byte_order: of registers in change uploads; None: open.
    :param fixed: the profile or an administrator says so: no evidence counts.
    :ivar image: what is certain, but where ``undecided`` or ``hidden`` says otherwise.
    :ivar undecided: see above; None: none.
    :ivar older: see above; None: none. Never holds an address that ``image`` holds.
    :ivar hidden: holding registers of ``image`` that are not believed now: counters that jump. None: none.
    :ivar byte_order_state: the evidence about the byte order, see cmmd.controllers.evidence.weighing.
    """

    __slots__ = ("byte_order", "byte_order_state", "hidden", "image", "older", "undecided")

    def __init__(self, byte_order: ByteOrder | None, *, fixed: bool = False) -> None:
        self.byte_order = byte_order
        self.image = RegisterImage()
        self.undecided: RegisterImage | None = None
        self.older: RegisterImage | None = None
        self.hidden: frozenset[int] | None = None
        self.byte_order_state = OPEN if byte_order is None else decided_state(ORDERS.index(byte_order), fixed=fixed)

    # --- what is certain (Reader) ------------------------------------------------------------------------------------

    def coil(self, address: int) -> bool | None:
        """The state of a coil; None: not known, or not certain."""
        return self.image.bit(_COILS, address)

    def register(self, address: int) -> int | None:
        """A holding register; None: not known, or not certain."""
        if self.undecided is not None and self.undecided.register(_HOLDING_REGISTERS, address) is not None:
            return None
        if self.hidden is not None and address in self.hidden:
            return None
        return self.image.register(_HOLDING_REGISTERS, address)

    # --- from before -------------------------------------------------------------------------------------------------

    def restore(self, image: bytes, undecided: bytes) -> None:
        """Take over what the store has kept: all of it is from before.

        :raises ImageError: it is damaged; all is as it was.
        """
        older = RegisterImage.from_bytes(image)
        if undecided:
            _forget_all(older, RegisterImage.from_bytes(undecided))
        self.older = older or None

    def outdate(self, function: Function, address: int, count: int) -> None:
        """These addresses were requested and have not come: what is known of them need not be true any more."""
        if not self.image:
            return
        for run in self.image.known(function):
            first, behind = max(run.start, address), min(run.stop, address + count)
            if first < behind:
                if self.older is None:
                    self.older = RegisterImage()
                with suppress(ImageFullError):  # then they are not known at all
                    self.older.copy(self.image, function, first, behind - first)
                self.image.forget(function, first, behind - first)

    def all_known(self) -> RegisterImage:
        """Merge certain values with those from before; undecided ones are left out."""
        if self.older is None and self.undecided is None:
            return self.image
        everything = RegisterImage.from_bytes(self.image.to_bytes())
        if self.older is not None:
            for function in Function:
                if function.reads:
                    for run in self.older.known(function):
                        with suppress(ImageFullError):
                            everything.copy(self.older, function, run.start, len(run))
        if self.undecided is not None:
            _forget_all(everything, self.undecided)
        return everything

    # --- what comes in -----------------------------------------------------------------------------------------------

    def take(self, request: ReadRequest, payload: bytes) -> ChangedAddresses:
        """Take the response to a request over.

        :raises ImageError: see RegisterImage.merge.
        """
        changed = self.image.merge(request, payload)
        self._overtake(request.function, request.address, request.count)
        return changed

    def take_change(self, function: Function, address: int, values: bytes) -> ChangedAddresses:
        """Take an item of a change upload over: of bits, or where the byte order is decided.

        :raises ImageError: see RegisterImage.merge_change.
        """
        changed = self.image.merge_change(function, address, values, self.byte_order or "little")
        if self.older is not None or self.undecided is not None:
            self._overtake(function, address, len(values) * 8 if function.reads_bits else len(values) // 2)
        return changed

    def take_undecided(self, function: Function, address: int, register: bytes) -> None:
        """Take one register over, as it is in a change upload; the byte order is open.

        :raises ImageFullError: there is no room for it.
        """
        if register[0] == register[1]:  # the same either way
            self.image.merge_change(function, address, register, "big")
            self._overtake(function, address, 1)
            return
        if self.undecided is None:
            self.undecided = RegisterImage()
        self.undecided.merge_change(function, address, register, "little")

    def _overtake(self, function: Function, address: int, count: int) -> None:
        """Remove values that a newer one replaces."""
        if self.undecided is not None:
            self.undecided.forget(function, address, count)
            self.undecided = self.undecided or None
        if self.older is not None:
            self.older.forget(function, address, count)
            self.older = self.older or None

    # --- the byte order ----------------------------------------------------------------------------------------------

    def decide(self, byte_order: ByteOrder, profile: Profile) -> None:
        """From now on it is this. What was undecided becomes certain, unless it is not plausible so."""
        self.byte_order = byte_order
        if self.byte_order_state & 15 != ORDERS.index(byte_order) + 1:
            self.byte_order_state = decided_state(ORDERS.index(byte_order))
        undecided, self.undecided = self.undecided, None
        if undecided is None:
            return
        for function in _OF_REGISTERS:
            for run in undecided.known(function):
                for address, read_little in zip(run, undecided.registers(function, run.start, len(run)), strict=True):
                    self._decided(function, address, (read_little or 0).to_bytes(2, "little"), byte_order, profile)

    def _decided(
        self, function: Function, address: int, register: bytes, byte_order: ByteOrder, profile: Profile
    ) -> None:
        self.image.forget(function, address, 1)  # older than this one
        raw = int.from_bytes(register, byte_order)
        if function is not _HOLDING_REGISTERS or profile.plausible_raw(address, raw):
            try:
                self.image.merge_change(function, address, register, byte_order)
            except ImageFullError:
                return
            self._overtake(function, address, 1)

    def reopen(self) -> None:
        """The byte order was decided wrongly: no register is certain any more."""
        self.byte_order = None
        if decided_choice(self.byte_order_state) is not None:  # else it keeps the votes that have opened it
            self.byte_order_state = opened(self.byte_order_state)
        for function in _OF_REGISTERS:
            for run in self.image.known(function):
                self.image.forget(function, run.start, len(run))


def _forget_all(image: RegisterImage, others: RegisterImage) -> None:
    """Forget the registers that another image holds."""
    for function in _OF_REGISTERS:
        for run in others.known(function):
            image.forget(function, run.start, len(run))


_HOLDING_REGISTERS = Function.READ_HOLDING_REGISTERS


class CertainRegisters:
    """A copy of all certain registers of a controller, as a cmmd.controllers.profile.Reader.

    Known gives the same answers, with a search for each register. The copy unpacks each area of the image once, which
    takes less than half of the time where a profile decodes all of its points. Coils are read from Known.

    :param known: the registers and coils of one controller.
    :ivar register: the content of a holding register; None: not known, or not certain.
    """

    __slots__ = ("_known", "register")

    def __init__(self, known: RegisterState) -> None:
        image, undecided = known.image, known.undecided
        registers: dict[int, int | None] = {}
        for run in image.known(_HOLDING_REGISTERS):
            registers.update(zip(run, image.registers(_HOLDING_REGISTERS, run.start, len(run)), strict=True))
        if undecided is not None:
            for run in undecided.known(_HOLDING_REGISTERS):
                registers.update(dict.fromkeys(run))
        if known.hidden is not None:
            registers.update(dict.fromkeys(known.hidden))
        self._known = known
        self.register = registers.get  # the dict's own method: a call into Python would cost more than the look-up

    def coil(self, address: int, /) -> bool | None:
        """The state of a coil; None: not known, or not certain."""
        return self._known.coil(address)


def with_coil(image: RegisterImage, address: int) -> RegisterImage:
    """Give a copy of an image in which a coil is on."""
    copied = RegisterImage.from_bytes(image.to_bytes())
    with suppress(ImageFullError):
        copied.merge(ReadRequest(unit=1, function=_COILS, address=address, count=1), b"\x01")
    return copied


def byte_order_of(device: Device, profile: Profile) -> tuple[ByteOrder | None, bool]:
    """Give the byte order of a device's change uploads (None: open), and whether evidence does not count."""
    for said in (overridden_byte_order(device.read_as), profile.definition.change_byte_order):
        for order in ORDERS:
            if order == said:
                return order, True
    return device.byte_order, False
