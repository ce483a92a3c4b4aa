"""A simulated CMM module: polls its genset as the server ordered, and feeds a link with what it reads."""

from struct import Struct, pack, unpack

from cmmd.modbus.frames import Function, ReadRequest, parse_plan, read_response
from cmmd.simulator.genset import REGISTERS, Genset, Picture
from cmmd.wire.messages import ChangeParams, Changes, LoginParams

__all__ = ["SimulatedDevice"]

_REGISTERS = Struct(f">{REGISTERS}H")


class SimulatedDevice:
    """A :class:`cmmd.gateway.source.Source` over a :class:`~cmmd.simulator.genset.Genset`.

    It reads any plan: what the genset does not have reads as 0. So far its controller obeys nobody.

    :param identity: how it logs in.
    """

    def __init__(self, identity: LoginParams, genset: Genset) -> None:
        self._identity = identity
        self._genset = genset
        self._plan: tuple[ReadRequest, ...] = ()
        self._uploaded: list[bytes] = []  # values of each request of the plan, as last uploaded

    def identity(self) -> LoginParams:
        """How it logs in (section 4.1)."""
        return self._identity

    def follow(self, plan: str, data_mode: int) -> None:  # noqa: ARG002 - it reads the same way in both modes
        """Take a polling plan.

        :raises cmmd.modbus.frames.ModbusFrameError: it is not one.
        """
        self._plan = parse_plan(plan)
        self._uploaded = []

    def full_upload(self) -> str:
        """Read everything (section 4.4)."""
        self._uploaded = self._read()
        return ";".join(map(read_response, self._plan, self._uploaded))

    def change_upload(self) -> ChangeParams | None:
        """Read everything and tell what changed since the last upload (section 4.5); registers little-endian."""
        values = self._read()
        before = self._uploaded or [bytes(len(payload)) for payload in values]
        self._uploaded = values
        changes: dict[Function, Changes] = {function: [] for function in Function}
        for request, old, new in zip(self._plan, before, values, strict=True):
            if old != new:
                changes[request.function] += _changes(request, old, new)
        if not any(changes.values()):
            return None
        return ChangeParams(
            f01=changes[Function.READ_COILS],
            f02=changes[Function.READ_DISCRETE_INPUTS],
            f03=changes[Function.READ_HOLDING_REGISTERS],
            f04=changes[Function.READ_INPUT_REGISTERS],
        )

    async def write(self, frame: str) -> bool:  # noqa: ARG002
        """Refuse: this controller obeys nobody yet."""
        return False

    async def set_port(self, module_port: int | None, module_baud: int | None) -> bool:  # noqa: ARG002
        """Refuse: likewise."""
        return False

    def _read(self) -> list[bytes]:
        """The values that answer the plan, as they stand in the response frames."""
        picture = self._genset.look()
        registers = _REGISTERS.pack(*picture.registers)
        return [_values(request, picture, registers) for request in self._plan]


def _values(request: ReadRequest, picture: Picture, registers: bytes) -> bytes:
    length = request.payload_length
    match request.function:
        case Function.READ_COILS:
            coils = (picture.coils >> request.address) & ((1 << request.count) - 1)
            return coils.to_bytes(length, "little")
        case Function.READ_HOLDING_REGISTERS:
            start = request.address * 2
            return registers[start : start + length].ljust(length, b"\0")
        case _:
            return bytes(length)


def _changes(request: ReadRequest, old: bytes, new: bytes) -> Changes:
    """What differs: one object per register, little-endian, or per byte of eight coils."""
    if request.function.reads_bits:
        return [
            {f"{request.address + 8 * position:04X}": f"{byte:02X}"}
            for position, byte in enumerate(new)
            if byte != old[position]
        ]
    words = f"{request.count}H"
    return [
        {f"{request.address + position:04X}": pack("<H", after).hex().upper()}
        for position, (before, after) in enumerate(zip(unpack(f">{words}", old), unpack(f">{words}", new), strict=True))
        if before != after
    ]
