"""An emulated controller on a serial line: pymodbus serves what the genset shows, and what is written commands it.

Nothing of cmmd's own Modbus code has a part in it, so that a gateway is not judged by itself.
"""

import asyncio
import logging
from collections.abc import Callable

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from cmmd.simulator.genset.genset import Genset
from cmmd.simulator.genset.panel import Panel

__all__ = ["EmulatedController"]

BROADCAST = 0
READ_COILS, READ_REGISTERS, WRITE_COIL = FUNCTIONS = (1, 3, 5)
"""What it has; whatever else is asked gets exception 1."""

_WORD = 16  # coils that pymodbus keeps in one register


class EmulatedController:
    """Answers requests. Must be made where the loop runs.

    What it does not have is answered with exception 2; ``FF00`` to a command's coil that it does not obey with 4, and
    ``0000`` with 3. A broadcast is obeyed and not answered.

    :param unit: its Modbus address, 1..247.
    :param answer: takes each answer, a whole frame.
    :ivar writes: every command that came, and whether it was obeyed: (coil, obeyed).
    """

    def __init__(self, genset: Genset, panel: Panel, *, unit: int, answer: Callable[[bytes], None]) -> None:
        self.writes: list[tuple[int, bool]] = []
        self._genset = genset
        self._commands = panel.command_by_coil
        self._unit = unit
        self._answer = answer
        self._coil_words = -(-panel.coil_count // _WORD)
        device = SimDevice(
            unit,
            simdata=(  # coils, discrete inputs, holding registers, input registers
                [SimData(0, values=[False] * self._coil_words * _WORD, datatype=DataType.BITS)],
                [SimData(0, values=[False] * _WORD, datatype=DataType.BITS)],
                [SimData(0, count=len(genset.look().registers), datatype=DataType.REGISTERS)],
                [SimData(0, datatype=DataType.REGISTERS)],
            ),
            action=self._act,
        )
        logging.getLogger("pymodbus").setLevel(logging.ERROR)  # it warns of each frame that noise has spoiled
        server = ModbusSerialServer(device, framer=FramerType.RTU, broadcast_enable=True, trace_pdu=_refuse_unknown)
        self._requests = server.handle_new_connection()
        self._requests.connection_made(_Wire(self._answered))

    @property
    def registers(self) -> list[int]:
        """The truth now: holding registers from address 0 on."""
        return list(self._genset.look().registers)

    @property
    def coils(self) -> list[int]:
        """The truth now: coils from address 0 on, 0 or 1."""
        coils = self._genset.look().coils
        return [coils >> address & 1 for address in range(self._coil_words * _WORD)]

    def hear(self, frame: bytes) -> None:
        """Take what came between two silences: a request, one for another unit, or noise."""
        if not frame or frame[0] not in (BROADCAST, self._unit):
            return
        self._requests.recv_buffer = b""  # pymodbus knows no silence: it would wait for the rest of a broken frame
        self._requests.data_received(frame)

    def _answered(self, frame: bytes) -> None:
        if frame[0] == self._unit:  # pymodbus looks for frames within noise, and answers any unit's
            self._answer(frame)

    async def _act(
        self,
        function: int,
        start: int,  # noqa: ARG002 - as pymodbus calls it
        address: int,
        count: int,  # noqa: ARG002
        kept: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Bring up to date what pymodbus keeps and is about to read, or carry out what it is about to write."""
        if values is not None:
            return self._write(address, bool(values[0]))
        if function == READ_REGISTERS:
            registers = self._genset.look().registers
            kept[: len(registers)] = registers
        elif function == READ_COILS:
            coils = self._genset.look().coils
            for word in range(self._coil_words):
                kept[word] = coils >> word * _WORD & 0xFFFF
        return None  # pymodbus reads back what was written: that stays as it was written

    def _write(self, coil: int, on: bool) -> ExcCodes | None:
        if coil not in self._commands:
            return ExcCodes.ILLEGAL_ADDRESS
        if not on:
            return ExcCodes.ILLEGAL_VALUE
        obeyed = self._genset.write_coil(coil)
        self.writes.append((coil, obeyed))
        return None if obeyed else ExcCodes.DEVICE_FAILURE


class _Unknown(ModbusPDU):
    """A request of a function that the controller does not have, and pymodbus does."""

    def __init__(self, request: ModbusPDU) -> None:
        super().__init__(request.dev_id)
        self.function_code = request.function_code

    async def datastore_update(self, context: object, device_id: int) -> ModbusPDU:  # noqa: ARG002 - as above
        """Answer a request of the master."""
        return ExceptionResponse(self.function_code, ExcCodes.ILLEGAL_FUNCTION, device_id)


def _refuse_unknown(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
    return pdu if sending or pdu.function_code in FUNCTIONS else _Unknown(pdu)


class _Wire(asyncio.Transport):
    """The serial port, as pymodbus sees it."""

    def __init__(self, sent: Callable[[bytes], None]) -> None:
        super().__init__()
        self._sent = sent

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send one answer on the line."""
        self._sent(bytes(data))

    def close(self) -> None:
        """Do nothing: no file is open."""
