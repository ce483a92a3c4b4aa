"""A bus on an in-memory port, with a controller behind it whose frames pymodbus reads and makes."""

from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU, bit_message, register_message
from pymodbus.pdu import ExceptionResponse as ExceptionOfJudge
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus import Bus, Line, Port, PortError, PortUser
from cmmd.modbus.frames import Function, ReadRequest, WriteCoilRequest, WriteRegisterRequest
from tests.scripted_server import run

__all__ = ["READ", "SAME_SHAPE", "START", "WRITE", "BusTestCase", "Controller", "MemoryPort"]

READ = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 4)
SAME_SHAPE = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 100, 4)
START = WriteCoilRequest(1, 0, True)
WRITE = WriteRegisterRequest(1, 7, 1234)

ANSWER_DELAY_S = 0.02

T = TypeVar("T")


class Controller:
    """Reads requests and makes answers with pymodbus. A register's value is made of its address, so are coils.

    :param unit: its address.
    :param version: what else values are made of.
    :ivar refuses: the exception that answers everything; 0: none.
    :ivar written: what was written, in order: function, address, values.
    """

    def __init__(self, unit: int = 1, version: Callable[[], int] = lambda: 0) -> None:
        self.unit = unit
        self.refuses = 0
        self.written: list[tuple[int, int, list[int]]] = []
        self._version = version
        self._framer = FramerRTU(DecodePDU(True))

    def register(self, address: int) -> int:
        return (address * 40_503 + self._version() * 7_919) & 0xFFFF

    def coil(self, address: int) -> bool:
        return bool(self.register(address) >> 7 & 1)

    def answer(self, frame: bytes) -> bytes | None:
        """What it answers to what came; None: nothing, because it is no request, or not for this unit."""
        try:
            _, request = self._framer.handleFrame(frame, 0, 0)
        except ModbusException:  # a function that it does not know
            return None
        if request is None or request.dev_id not in (0, self.unit):
            return None
        if self.refuses:
            return self._framer.buildFrame(ExceptionOfJudge(request.function_code, self.refuses, request.dev_id))
        response = self._response(request)
        if response is None or request.dev_id == 0:
            return None
        response.dev_id = request.dev_id
        return self._framer.buildFrame(response)

    def _response(self, request: ModbusPDU) -> ModbusPDU | None:
        places = range(request.address, request.address + request.count)
        match request:
            case bit_message.ReadCoilsRequest():
                return bit_message.ReadCoilsResponse(bits=[self.coil(place) for place in places])
            case register_message.ReadHoldingRegistersRequest():
                return register_message.ReadHoldingRegistersResponse(
                    registers=[self.register(place) for place in places]
                )
            case bit_message.WriteSingleCoilRequest():
                self._note(request, [int(request.bits[0])])
                return bit_message.WriteSingleCoilResponse(address=request.address, bits=request.bits)
            case register_message.WriteSingleRegisterRequest():
                self._note(request, request.registers)
                return register_message.WriteSingleRegisterResponse(
                    address=request.address, registers=request.registers
                )
            case register_message.WriteMultipleRegistersRequest():
                self._note(request, request.registers)
                return register_message.WriteMultipleRegistersResponse(address=request.address, count=request.count)
        return None

    def _note(self, request: ModbusPDU, values: Sequence[int]) -> None:
        self.written.append((request.function_code, request.address, list(values)))


class MemoryPort:
    """A port that shows what is written, and brings what the test says.

    :ivar sent: what was written, and when.
    :ivar dropped: how often what is unsent was forgotten.
    """

    def __init__(self, world: "BusTestCase", line: Line, user: PortUser) -> None:
        self.world = world
        self.line = line
        self.user = user
        self.sent: list[tuple[float, bytes]] = []
        self.dropped = 0
        self.closed = False
        self.closing: Deferred[None] | None = None  # when it is closed, where that takes its time

    def write(self, frame: bytes) -> None:
        assert not self.closed, "written to a closed port"
        self.sent.append((self.world.clock.seconds(), frame))
        self.world.on_frame(self, frame)

    def drop_unsent(self) -> None:
        self.dropped += 1

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None) if self.closing is None else self.closing

    def bring(self, chunk: bytes, after: float = 0.0) -> None:
        """Have bytes come, later."""
        self.world.clock.callLater(after, self._bring, chunk)

    def lose(self, reason: str = "the device is gone") -> None:
        self.user.lost(reason)

    def _bring(self, chunk: bytes) -> None:
        if not self.closed:
            self.user.received(chunk)


class BusTestCase(SynchronousTestCase):
    """A bus that opens in-memory ports.

    :ivar ports: those opened, oldest first.
    :ivar failures: why the next attempts to open one fail.
    :ivar opening: taken by the next attempts: they end when the test says so.
    :ivar on_frame: what happens to a frame that leaves.
    """

    def setUp(self) -> None:
        self.prepare()

    def prepare(self, **settings: Any) -> None:
        """Make the bus anew."""
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.0
        self.controller = Controller()
        self.ports: list[MemoryPort] = []
        self.failures: list[str] = []
        self.opening: list[Deferred[Port]] = []
        self.attempts: list[tuple[float, Line]] = []
        self.on_frame: Callable[[MemoryPort, bytes], None] = self.answered
        self.line = Line(**{"url": "/dev/ttyUSB0", **settings})
        self.bus = Bus(self.line, clock=self.clock, open_port=self.open, random=Random(1))

    def open(self, line: Line, user: PortUser) -> Deferred[Port]:
        self.attempts.append((self.clock.seconds(), line))
        if self.failures:
            return fail(PortError(self.failures.pop(0)))
        if self.opening:
            return self.opening.pop(0).addCallback(lambda _: self._opened(line, user))
        return succeed(self._opened(line, user))

    def _opened(self, line: Line, user: PortUser) -> Port:
        self.ports.append(MemoryPort(self, line, user))
        return self.ports[-1]

    def start(self, seconds: float = 1.0) -> None:
        """Start the bus; with the default it is ready then."""
        self.bus.start()
        self.addCleanup(self.stop)
        self.run_for(seconds)

    def stop(self) -> None:
        """Stop the bus, which has to leave nothing behind."""
        stopped = Deferred.fromCoroutine(self.bus.stop())
        self.run_for(5.0)
        self.successResultOf(stopped)
        self.assertFalse(self.bus.is_open)
        self.assertTrue(all(port.closed for port in self.ports), "a port was left open")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def run_for(self, seconds: float) -> None:
        run(self.clock, seconds)

    def begin(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(coroutine)

    def read(self, request: ReadRequest = READ, seconds: float = 10.0) -> str:
        """Read, with the time that it takes."""
        result = self.begin(self.bus.read(request))
        self.run_for(seconds)
        return self.successResultOf(result)

    def values(self, response: str, request: ReadRequest = READ) -> list[int]:
        """What a response says, read by pymodbus."""
        raw = bytes.fromhex(response)
        used, pdu = FramerRTU(DecodePDU(False)).handleFrame(raw, request.unit, 0)
        assert pdu is not None
        self.assertEqual(used, len(raw))
        return list(pdu.registers)

    def truth(self, request: ReadRequest = READ) -> list[int]:
        return [self.controller.register(request.address + place) for place in range(request.count)]

    @property
    def port(self) -> MemoryPort:
        """The newest."""
        return self.ports[-1]

    @property
    def frames(self) -> list[str]:
        """All that left, in hex."""
        return [frame.hex().upper() for port in self.ports for _, frame in port.sent]

    # --- what happens to a frame -------------------------------------------------------------------------------------

    def answered(self, port: MemoryPort, frame: bytes) -> None:
        answer = self.controller.answer(frame)
        if answer is not None:
            port.bring(answer, ANSWER_DELAY_S)

    def echoed_and_answered(self, port: MemoryPort, frame: bytes) -> None:
        port.bring(frame, 0.005)
        self.answered(port, frame)

    def echoed(self, port: MemoryPort, frame: bytes) -> None:
        port.bring(frame, 0.005)

    def unheard(self, port: MemoryPort, frame: bytes) -> None:
        """Nothing."""

    def late(self, seconds: float) -> Callable[[MemoryPort, bytes], None]:
        """The controller answers when so much time has passed."""

        def answered_late(port: MemoryPort, frame: bytes) -> None:
            answer = self.controller.answer(frame)
            assert answer is not None
            port.bring(answer, seconds)

        return answered_late
