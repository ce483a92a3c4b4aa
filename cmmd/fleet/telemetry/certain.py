"""Read all certain registers of a controller at once, to decode all of its points."""

from cmmd.fleet.telemetry.register_state import RegisterState
from cmmd.modbus.frames import Function

__all__ = ["CertainRegisters"]

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
