"""Read all certain registers of a controller at once, to decode all of its points."""

from cmmd.fleet.known import Known
from cmmd.modbus.frames import Function

__all__ = ["CertainRegisters"]

_HOLDING_REGISTERS = Function.READ_HOLDING_REGISTERS


class CertainRegisters:
    """A cmmd.controllers.profile.Reader of the registers as they are now; later uploads do not change it.

    Known answers the same, one register after the other. This reads each area of the image with one unpacking and
    answers from a dict, which takes a fifth of the time where a profile decodes all of its points.

    :param known: the registers and coils of one controller.
    :ivar register: the content of a holding register; None: not known, or not certain.
    """

    __slots__ = ("_known", "register")

    def __init__(self, known: Known) -> None:
        image, undecided = known.image, known.undecided
        registers: dict[int, int | None] = {}
        for run in image.known(_HOLDING_REGISTERS):
            registers.update(zip(run, image.registers(_HOLDING_REGISTERS, run.start, len(run)), strict=True))
        if undecided is not None:
            for run in undecided.known(_HOLDING_REGISTERS):
                registers.update(dict.fromkeys(run))
        self._known = known
        self.register = registers.get  # the dict's own method: a call into Python would cost more than the look-up

    def coil(self, address: int, /) -> bool | None:
        """The state of a coil; None: not known, or not certain."""
        return self._known.coil(address)
