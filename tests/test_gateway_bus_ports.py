"""A bus on real ports: pseudo-terminals, TCP, RFC 2217; behind them pymodbus, which knows nothing of our Modbus."""

import contextlib  # trial reads a module's own name "suppress" as warnings to hide
import fcntl
import os
import struct
import termios
import tty
from pathlib import Path
from random import Random
from select import select
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from cmmd.gateway.bus import Bus, Direction, ExceptionAnswer, Line, NoAnswer, NotSent, PortError, port_opener
from cmmd.gateway.bus import serial_ports as tty_module
from cmmd.modbus.frames import (
    Function,
    ReadRequest,
    ReadResponse,
    WriteCoilRequest,
    WriteRegisterRequest,
    WriteRegistersRequest,
    parse_response,
)
from tests.bus_cable import COILS, REGISTERS, Cable, PymodbusController, Rfc2217Server
from tests.bus_world import Controller

READ_COILS = ReadRequest(1, Function.READ_COILS, 0, 90)
READ_REGISTERS = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 45)
OTHER_REGISTERS = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 46, 10)
START = WriteCoilRequest(1, 3, True)

TIOCGEXCL = 0x80045440
TIOCGRS485, TIOCSRS485 = 0x542E, 0x542F


class PortTestCase(TestCase):
    """A controller, and buses that end with the test."""

    timeout = 180

    def setUp(self) -> None:
        self.controller = PymodbusController()
        self.controller.start()
        self.addCleanup(self.controller.stop)

    def started(self, url: object, **settings: Any) -> Bus:
        line = Line(str(url), **{"baud_rate": 115_200, "quiet_s": 0.02, "timeout_s": 0.5, **settings})
        bus = Bus(line, clock=reactor, open_port=port_opener(reactor), random=Random(1))
        self.addCleanup(lambda: Deferred.fromCoroutine(bus.stop()))
        bus.start()
        return bus

    async def until(self, happens: Any) -> None:
        """Wait for something that comes by itself."""

        def look() -> None:
            if happens():
                looking.stop()

        looking = LoopingCall(look)
        await looking.start(0.005)

    async def assert_raises(self, kind: type[Exception], coroutine: Any) -> Any:
        return await self.assertFailure(Deferred.fromCoroutine(coroutine), kind)

    async def assert_truth(self, bus: Bus) -> None:
        """The gateway reads what the controller has."""
        for request in (READ_REGISTERS, OTHER_REGISTERS):
            response = parse_response(await bus.read(request))
            assert isinstance(response, ReadResponse)
            end = request.address + request.count
            self.assertEqual(list(response.registers(request)), REGISTERS[request.address : end])
        response = parse_response(await bus.read(READ_COILS))
        assert isinstance(response, ReadResponse)
        self.assertEqual(list(response.bits(READ_COILS)), COILS[:90])

    async def assert_written(self, bus: Bus) -> None:
        """What is written reaches the controller, once."""
        await bus.write(START)
        await bus.write(WriteRegisterRequest(1, 60, 0xFFFF))
        await bus.write(WriteRegistersRequest(1, 61, (0x00FF, 0xFF00)))
        self.assertEqual(self.controller.written, [(5, 3, [1]), (6, 60, [0xFFFF]), (16, 61, [0x00FF, 0xFF00])])
        response = parse_response(await bus.read(ReadRequest(1, Function.READ_HOLDING_REGISTERS, 60, 3)))
        assert isinstance(response, ReadResponse)
        self.assertEqual(response.payload.hex(), "ffff00ffff00")


class TtyTests(PortTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.path = Path(self.mktemp())
        self.cable = Cable(self.path, self.controller, reactor)
        await self.cable.plug_in()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.cable.pull_out()))

    async def test_truth(self) -> None:
        bus = self.started(self.path)
        await self.assert_truth(bus)
        await self.assert_written(bus)
        self.assertEqual(bus.statistics.bytes_discarded, 0)
        self.assertEqual(bus.statistics.timeouts, 0)

    async def test_what_the_controller_refuses(self) -> None:
        bus = self.started(self.path)
        error = await self.assert_raises(ExceptionAnswer, bus.read(replace(READ_REGISTERS, address=90)))
        self.assertEqual(error.code, 2)
        error = await self.assert_raises(ExceptionAnswer, bus.write(WriteCoilRequest(1, 1000, True)))
        self.assertEqual(error.code, 2)
        await self.assert_truth(bus)

    async def test_many_at_once(self) -> None:
        bus = self.started(self.path)
        requests = [ReadRequest(1, Function.READ_HOLDING_REGISTERS, place, 5) for place in range(40)]
        reading = [Deferred.fromCoroutine(bus.read(request)) for request in requests]
        for request, result in zip(requests, reading, strict=True):
            response = parse_response(await result)
            assert isinstance(response, ReadResponse)
            self.assertEqual(list(response.registers(request)), REGISTERS[request.address : request.address + 5])

    async def test_nobody_at_the_other_end(self) -> None:
        self.cable.cut = True
        bus = self.started(self.path, timeout_s=0.05)
        await self.assert_raises(NoAnswer, bus.read(READ_REGISTERS))
        self.assertEqual(bytes(self.cable.heard), bytes.fromhex(READ_REGISTERS.to_hex()) * 3)
        await self.assert_raises(NotSent, bus.write(START))
        self.cable.cut = False
        await self.assert_truth(bus)

    async def test_an_adapter_that_echoes(self) -> None:
        self.cable.echoes = True
        bus = self.started(self.path, timeout_s=0.1)
        await self.assert_truth(bus)
        await self.assert_written(bus)
        self.assertEqual(bus.statistics.echoes, bus.statistics.requests)
        self.cable.cut = True
        del self.controller.written[:]
        await self.assert_raises(NoAnswer, bus.write(START))
        self.assertEqual(self.controller.written, [])

    async def test_the_framing(self) -> None:
        """What the kernel is told; a pseudo-terminal itself has no parity."""
        for settings, baud, flags in (
            ({"baud_rate": 9600}, termios.B9600, termios.CS8),
            ({"baud_rate": 19_200, "parity": "E"}, termios.B19200, termios.CS8 | termios.PARENB),
            (
                {"parity": "O", "stop_bits": 2},
                termios.B115200,
                termios.CS8 | termios.PARENB | termios.PARODD | termios.CSTOPB,
            ),
        ):
            with patch.object(termios, "tcsetattr", wraps=termios.tcsetattr) as told:
                bus = self.started(self.path, **settings)
            _, _, control, local, _, speed, _ = told.call_args.args[2]
            mask = termios.CSIZE | termios.PARENB | termios.PARODD | termios.CSTOPB
            self.assertEqual((speed, control & mask), (baud, flags))
            self.assertEqual(local & (termios.ECHO | termios.ICANON), 0)
            await self.assert_truth(bus)
            await bus.stop()

    async def test_rewired(self) -> None:
        bus = self.started(self.path)
        await self.assert_truth(bus)
        await bus.rewire(replace(bus.line, baud_rate=9600))
        with self.path.open("rb", buffering=0) as slave:
            self.assertEqual(termios.tcgetattr(slave)[4], termios.B9600)
        await self.assert_truth(bus)
        error = await self.assert_raises(NotSent, bus.rewire(replace(bus.line, url="/nowhere/ttyUSB7")))
        self.assertEqual(str(error), "No such file or directory")
        await bus.rewire(replace(bus.line, url=str(self.path)))
        await self.assert_truth(bus)

    def ports_open(self) -> int:
        """How many descriptors of this process are terminals; others come and go with the garbage collector."""
        count = 0
        for one in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the one that the listing itself had
                count += str(one.readlink()).startswith("/dev/pts/")
        return count

    async def test_pulled_out_and_in(self) -> None:
        """The device disappears with a request in hand, and comes back as another one of the same name."""
        with capturedLogs() as captured:
            bus = self.started(self.path, timeout_s=5.0)
            await self.assert_truth(bus)
            descriptors = self.ports_open()
            self.cable.cut = True
            reading = Deferred.fromCoroutine(bus.read(READ_REGISTERS))
            writing = Deferred.fromCoroutine(bus.write(START))
            await self.until(lambda: START.to_hex() in self.cable.heard.hex().upper())
            await self.cable.pull_out()
            await self.assertFailure(writing, NoAnswer)
            await self.assertFailure(reading, NotSent)
            self.assertFalse(bus.is_open)
            await self.assert_raises(NotSent, bus.write(START))
            self.cable.cut = False
            await self.cable.plug_in()
            await self.until(lambda: bus.is_open)
            await self.assert_truth(bus)
            await self.assert_written(bus)
        self.assertEqual(bus.statistics.reopenings, 1)
        self.assertEqual(self.ports_open(), descriptors)
        warnings = [event for event in captured if event["log_level"].name == "warn"]
        self.assertEqual([event["reason"] for event in warnings][:1], ["the device is gone"])
        self.assertLessEqual(len(warnings), 2)

    async def test_pulled_out_while_idle(self) -> None:
        bus = self.started(self.path)
        await self.assert_truth(bus)
        await self.cable.pull_out()
        await self.until(lambda: not bus.is_open)
        await self.cable.plug_in()
        await self.until(lambda: bus.is_open)
        await self.assert_truth(bus)

    async def test_ours_alone(self) -> None:
        bus = self.started(self.path)
        await self.assert_truth(bus)
        error = self.assertRaises(PortError, tty_module.open_device, Line(str(self.path)))
        self.assertEqual(str(error), "in use by another program")
        await bus.stop()
        tty_module.open_device(Line(str(self.path))).close()

    async def test_others_are_kept_out_of_a_real_device(self) -> None:
        """By those too who ask for no lock. A pseudo-terminal stands in for one."""

        def exclusive() -> int:
            with self.path.open("rb", buffering=0) as slave:
                (flag,) = struct.unpack("i", fcntl.ioctl(slave, TIOCGEXCL, bytes(4)))
            return int(flag)

        port = tty_module.open_device(Line(str(self.path)))
        self.assertEqual(exclusive(), 0)
        port.close()
        with patch.object(tty_module, "_PSEUDO_TERMINALS", ()):
            port = tty_module.open_device(Line(str(self.path)))
        self.assertEqual(exclusive(), 1)
        fcntl.ioctl(port.fd, termios.TIOCNXCL)
        port.close()

    async def test_stop_does_not_wait_for_what_cannot_leave(self) -> None:
        """The other end does not read: its buffer is full, and so is the kernel's."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        tty.setraw(slave)
        path = os.ttyname(slave)
        os.set_blocking(slave, False)
        while select([], [slave], [], 0.2)[1]:  # the kernel moves bytes from buffer to buffer for a while
            os.write(slave, bytes(4096))
        bus = self.started(path, timeout_s=0.05, retries=0, echo=False)
        await self.assert_raises(NoAnswer, bus.write(START))
        await bus.stop()
        os.set_blocking(master, False)
        heard = b""
        try:
            while True:
                heard += os.read(master, 65536)
        except BlockingIOError:
            pass
        self.assertNotIn(bytes.fromhex(START.to_hex()), heard, "it left when nobody waited for it any more")
        os.close(slave)


class DirectionTests(TestCase):
    """RS485 direction control, by the driver of the port."""

    def setUp(self) -> None:
        self.master, self.slave = os.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.path = os.ttyname(self.slave)

    def test_a_driver_that_cannot(self) -> None:
        error = self.assertRaises(PortError, tty_module.open_device, Line(self.path, rs485=Direction()))
        self.assertEqual(str(error), "Failed to set RS485 mode: [Errno 25] Inappropriate ioctl for device")
        tty_module.open_device(Line(self.path)).close()

    def test_a_driver_that_can(self) -> None:
        """What the kernel is told: flags, and delays in milliseconds; RTS never says "send" meanwhile."""
        for direction, flags, delays in (
            (Direction(), 0b0011, (0, 0)),
            (Direction(rts_sends=False, delay_before_s=0.001, delay_after_s=0.002), 0b0101, (1, 2)),
            (Direction(hears_itself=True), 0b10011, (0, 0)),
        ):
            told: list[tuple[int, ...]] = []
            levels: list[bool] = []
            ioctl = fcntl.ioctl

            def listening(
                fd: int,
                request: int,
                argument: Any = 0,
                told: list[tuple[int, ...]] = told,
                levels: list[bool] = levels,
                ioctl: Any = ioctl,
            ) -> Any:
                if request == TIOCSRS485:
                    told.append(tuple(argument[:3]))
                elif request in (termios.TIOCMBIS, termios.TIOCMBIC):
                    if struct.unpack("I", argument)[0] & termios.TIOCM_RTS:
                        levels.append(request == termios.TIOCMBIS)
                elif request != TIOCGRS485:
                    return ioctl(fd, request, argument)
                return 0

            with patch.object(fcntl, "ioctl", listening):
                tty_module.open_device(Line(self.path, rs485=direction)).close()
            self.assertEqual(told, [(flags, *delays)])
            self.assertEqual(levels, [not direction.rts_sends])

    def test_no_serial_port(self) -> None:
        path = Path(self.mktemp())
        path.touch()
        for url, complaint in (
            (str(path), "Could not configure port: (25, 'Inappropriate ioctl for device')"),
            ("/nowhere/ttyUSB0", "No such file or directory"),
            ("/", "Is a directory"),
        ):
            error = self.assertRaises(PortError, tty_module.open_device, Line(url))
            self.assertEqual(str(error), complaint)


class SocketTests(PortTestCase):
    async def test_truth(self) -> None:
        bus = self.started(f"socket://127.0.0.1:{self.controller.port}")
        await self.assert_truth(bus)
        await self.assert_written(bus)

    async def test_by_name(self) -> None:
        bus = self.started(f"socket://localhost:{self.controller.port}/")
        await self.assert_truth(bus)

    async def test_nobody_there_and_back(self) -> None:
        bus = self.started(f"socket://127.0.0.1:{self.controller.port}")
        await self.assert_truth(bus)
        port = self.controller.port
        self.controller.stop()
        await self.until(lambda: not bus.is_open)
        error = await self.assert_raises(NotSent, bus.read(READ_REGISTERS))
        self.assertNotEqual(str(error), "")
        self.controller = PymodbusController()
        self.controller.port = port
        self.controller.start()
        await self.until(lambda: bus.is_open)
        await self.assert_truth(bus)

    async def test_a_silent_unit(self) -> None:
        """Nothing answers for it: the connection ends with the request, and others are read as before."""
        controller = Controller()

        ends = []

        class Access(Protocol):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                ends.append(reason.type)

            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(controller.answer(data) or b"")

        factory = Factory.forProtocol(Access)
        factory.noisy = False
        listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(listening.stopListening)
        bus = self.started(f"socket://127.0.0.1:{listening.getHost().port}", timeout_s=0.1, retries=0)
        answer = controller.answer(bytes.fromhex(READ_REGISTERS.to_hex())) or b""
        self.assertEqual(bytes.fromhex(await bus.read(READ_REGISTERS)), answer)
        await self.assert_raises(NoAnswer, bus.read(replace(READ_REGISTERS, unit=9)))
        self.assertEqual(bytes.fromhex(await bus.read(READ_REGISTERS)), answer)
        self.assertEqual(bus.statistics.reopenings, 1)
        self.assertEqual(ends, [ConnectionLost], "broken off, not closed after what is unsent has left")


class Rfc2217Tests(PortTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = Rfc2217Server(f"socket://127.0.0.1:{self.controller.port}")
        self.server.start()
        self.addCleanup(self.server.stop)
        self.url = f"rfc2217://127.0.0.1:{self.server.port}"

    async def test_truth(self) -> None:
        bus = self.started(self.url, parity="E")
        await self.assert_truth(bus)
        await self.assert_written(bus)
        self.assertEqual(self.server.settings, (115_200, 8, "E", 1))
        await bus.rewire(replace(bus.line, baud_rate=9600, parity="N", stop_bits=2))
        await self.assert_truth(bus)
        self.assertEqual(self.server.settings, (9600, 8, "N", 2))

    async def test_hung_up(self) -> None:
        bus = self.started(self.url)
        await self.assert_truth(bus)
        self.server.hang_up()
        await self.until(lambda: not bus.is_open)
        await self.until(lambda: bus.is_open)
        await self.assert_truth(bus)
        self.assertEqual(bus.statistics.reopenings, 1)

    async def test_a_server_that_does_not_know_it(self) -> None:
        """Opening takes the time that it takes, in a thread: the reactor goes on."""
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1

        turning = LoopingCall(turn)
        ended = turning.start(0.01)
        bus = self.started(f"rfc2217://127.0.0.1:{self.controller.port}?timeout=0.5")
        error = await self.assert_raises(NotSent, bus.read(READ_REGISTERS))
        self.assertIn("does not seem to support RFC2217", str(error))
        self.assertGreater(turns, 20)
        turning.stop()
        await ended

    async def test_stopped_while_it_is_opened(self) -> None:
        bus = self.started(f"rfc2217://127.0.0.1:{self.controller.port}?timeout=0.2")
        reading = Deferred.fromCoroutine(bus.read(READ_REGISTERS))
        await bus.stop()
        await self.assertFailure(reading, NotSent)

    async def test_an_unknown_scheme(self) -> None:
        bus = self.started("carrier-pigeon://loft")
        error = await self.assert_raises(NotSent, bus.read(READ_REGISTERS))
        self.assertEqual(str(error), "invalid URL, protocol 'carrier-pigeon' not known")

    async def test_a_loop(self) -> None:
        """A plug that connects both lines: nothing but echoes, of which none is an answer."""
        bus = self.started("loop://", timeout_s=0.1, retries=0)
        await self.assert_raises(NoAnswer, bus.read(READ_REGISTERS))
        self.assertEqual(bus.statistics.echoes, 1)
