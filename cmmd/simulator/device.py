"""A simulated CMM module: polls its genset as the server ordered, and feeds a link with what it reads."""

from struct import pack

from msgspec.structs import replace

from cmmd.gateway.allowed_writes import STOP, stop_request
from cmmd.gateway.link.changes import ByteOrder, change_params, changed_items
from cmmd.gateway.link.source import NO_INPUTS, InputStates, Precondition, unopposed
from cmmd.modbus.frames import (
    Function,
    ModbusFrameError,
    ReadRequest,
    WriteCoilRequest,
    parse_plan,
    parse_request,
    read_response,
)
from cmmd.simulator.fault_profiles import FaultProfile
from cmmd.simulator.genset.genset import Genset
from cmmd.simulator.genset.panel import Picture, panel_of
from cmmd.wire.messages import ChangeParams, Changes, LoginParams

__all__ = ["SimulatedDevice"]

UNITS = (0, 1)
"""The Modbus units that commands may be addressed to."""

PORTS = range(5)
BAUDS = range(3)
"""Codes of the wiring (section 4.1)."""


class SimulatedDevice:
    """A :class:`cmmd.gateway.link.source.Source` over a :class:`~cmmd.simulator.genset.genset.Genset`.

    It reads any plan: what the genset does not have reads as 0.

    :param identity: how it logs in.
    :param misbehaviour: what is wrong with it; None: nothing.
    :param byte_order: of registers in change uploads.
    :ivar input_states: its own four inputs; a module without any until they are set. While remote control is inhibited,
        every order but a stop is refused, as by a gateway.
    """

    def __init__(
        self,
        identity: LoginParams,
        genset: Genset,
        misbehaviour: FaultProfile | None = None,
        byte_order: ByteOrder = "big",
    ) -> None:
        self._identity = identity
        self._genset = genset
        self._misbehaviour = misbehaviour
        self._byte_order = byte_order
        self._plan: tuple[ReadRequest, ...] = ()
        self._uploaded: list[bytes] = []  # values of each request of the plan, as last uploaded
        self.input_states: InputStates = NO_INPUTS

    def identity(self) -> LoginParams:
        """Build the identity for a login (section 4.1), wired as now."""
        return self._identity

    def follow(self, plan: str, data_mode: int) -> None:  # noqa: ARG002 - it reads the same way in both modes
        """Take a polling plan.

        :raises cmmd.modbus.frames.ModbusFrameError: it is not one.
        """
        self._plan = parse_plan(plan)
        self._uploaded = []

    async def full_upload(self) -> str:
        """Read everything (section 4.4)."""
        self._uploaded = self._read()
        return ";".join(map(read_response, self._plan, self._uploaded))

    async def change_upload(self) -> ChangeParams | None:
        """Read everything and tell what changed since the last upload (section 4.5)."""
        values = self._read()
        before = self._uploaded or [bytes(len(payload)) for payload in values]
        self._uploaded = values
        changes: dict[Function, Changes] = {}
        for request, old, new in zip(self._plan, before, values, strict=True):
            if old != new:
                changes.setdefault(request.function, []).extend(changed_items(request, old, new, self._byte_order))
        return change_params(changes)

    def reading(self) -> str:
        """The last reading (section 4.4)."""
        return ";".join(map(read_response, self._plan, self._uploaded)) if self._uploaded else ""

    def inputs(self) -> InputStates:
        """Give the states of its own inputs (section 4.5)."""
        return self.input_states

    async def write(self, frame: str, veto: Precondition = unopposed) -> bool:
        """Carry out a command: function 05, coil on (section 4.6).

        :return: whether the controller obeyed; what is no command, it does not.
        """
        if self._inhibited or veto() is not None:
            return False
        return self._obeyed(frame)

    def is_stop(self, frame: str) -> bool:
        """Say whether a frame is the stop command of the simulated controller."""
        commands = panel_of(self._identity.moduletype).command_by_coil
        coil = next((coil for coil, name in commands.items() if name == STOP), None)
        return stop_request(frame, coil, UNITS) is not None

    async def stop(self, frame: str, waits_s: float) -> bool:  # noqa: ARG002 - there is no bus to wait for
        """Carry out the stop command, though remote control is inhibited.

        :return: whether the controller obeyed.
        """
        return self.is_stop(frame) and self._obeyed(frame)

    def _obeyed(self, frame: str) -> bool:
        says = self._says
        if says is not None:
            return says
        try:
            request = parse_request(frame)
        except ModbusFrameError:
            return False
        if not (isinstance(request, WriteCoilRequest) and request.on and request.unit in UNITS):
            return False
        return self._genset.write_coil(request.address)

    async def set_port(self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed) -> bool:
        """Be wired like that from now on (section 4.6).

        :return: whether there is such a wiring.
        """
        if self._inhibited or veto() is not None:
            return False
        says = self._says
        if says is not None:
            return says
        if not (module_port is None or module_port in PORTS) or not (module_baud is None or module_baud in BAUDS):
            return False
        identity = self._identity
        self._identity = replace(
            identity,
            modulePort=identity.modulePort if module_port is None else module_port,
            moduleBaud=identity.moduleBaud if module_baud is None else module_baud,
        )
        return True

    @property
    def _inhibited(self) -> bool:
        return self.input_states.inhibit_remote == 1

    @property
    def _says(self) -> bool | None:
        """Find the answer that replaces execution; None: the device executes the command."""
        return None if self._misbehaviour is None else self._misbehaviour.says

    def _read(self) -> list[bytes]:
        """The values that answer the plan, as they are in the response frames."""
        picture = self._genset.look()
        registers = pack(f">{len(picture.registers)}H", *picture.registers)
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
