"""A controller of pymodbus' own, and the ways to it: a cable to a pseudo-terminal, TCP, RFC 2217."""

import asyncio
import contextlib
import os
import socket
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from serial import serial_for_url
from serial.rfc2217 import PortManager
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.fdesc import readFromFD, setNonBlocking, writeToFD
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.support import free_port

__all__ = ["COILS", "REGISTERS", "Cable", "PymodbusController", "Rfc2217Server"]

REGISTERS = [(address * 40_503 + 11) & 0xFFFF for address in range(100)]
COILS = [address % 3 == 0 for address in range(100)]


class PymodbusController:
    """A pymodbus server that speaks RTU frames over TCP, in a thread with a loop of its own. Unit 1.

    :ivar port: where it listens.
    :ivar written: what was written: function, address, values.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.written: list[tuple[int, int, list[int]]] = []
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pymodbus", daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._listening.wait(10), "pymodbus does not listen"

    def stop(self) -> None:
        """End it, unless it has ended; afterwards nobody listens."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        blocks = (
            [SimData(0, values=COILS, datatype=DataType.BITS)],
            [SimData(0, values=COILS, datatype=DataType.BITS)],
            [SimData(0, values=REGISTERS, datatype=DataType.REGISTERS)],
            [SimData(0, values=REGISTERS, datatype=DataType.REGISTERS)],
        )
        device = SimDevice(1, simdata=blocks, action=self._note)
        self._server = ModbusTcpServer(
            device, framer=FramerType.RTU, address=("127.0.0.1", self.port), ignore_missing_devices=True
        )
        await self._server.serve_forever(background=True)
        self._listening.set()
        await self._server.serving

    async def _note(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        current: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if values is not None:
            self.written.append((function, address, [int(value) for value in values]))
        return None


class _FarEnd(FileDescriptor):
    """The other end of a pseudo-terminal."""

    def __init__(self, fd: int, received: Callable[[bytes], None], reactor: Any) -> None:
        super().__init__(reactor)
        self._fd = fd
        self._received = received
        self.connected = 1
        setNonBlocking(fd)

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> Any:
        return readFromFD(self._fd, self._received)

    def writeSomeData(self, data: bytes) -> Any:
        return writeToFD(self._fd, data)

    def close(self) -> None:
        self.connectionLost(Failure(connectionDone.value))
        fd, self._fd = self._fd, -1
        os.close(fd)


class _ToController(Protocol):
    def __init__(self, cable: "Cable") -> None:
        self._cable = cable
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._cable.from_controller(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class Cable:
    """An adapter with a cable to a controller: a pseudo-terminal behind a name that stays.

    :param path: the name, as of a device.
    :ivar echoes: the adapter sends back what is sent.
    :ivar cut: nothing gets through to the controller.
    :ivar heard: all bytes that the gateway sent.
    """

    def __init__(self, path: Path, controller: PymodbusController, reactor: Any) -> None:
        self.path = path
        self.echoes = False
        self.cut = False
        self.heard = bytearray()
        self._controller = controller
        self._reactor = reactor
        self._slave = -1
        self._end: _FarEnd | None = None
        self._there: _ToController | None = None

    async def plug_in(self) -> None:
        """Have the device appear."""
        master, self._slave = os.openpty()  # as long as somebody has it open, the other end does not hang up
        tty.setraw(self._slave)
        self.path.symlink_to(os.ttyname(self._slave))
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._controller.port)
        factory = Factory.forProtocol(lambda: _ToController(self))
        factory.noisy = False
        self._there = await endpoint.connect(factory)  # type: ignore[assignment]
        self._end = _FarEnd(master, self._from_gateway, self._reactor)
        self._end.startReading()

    async def pull_out(self) -> None:
        """Have it disappear."""
        if self._end is None or self._there is None:
            return
        self.path.unlink()
        self._end.close()
        self._end = None
        os.close(self._slave)
        assert self._there.transport is not None
        self._there.transport.loseConnection()
        await self._there.gone

    def _from_gateway(self, chunk: bytes) -> None:
        self.heard += chunk
        if self.echoes and self._end is not None:
            self._end.write(chunk)
        if not self.cut and self._there is not None and self._there.transport is not None:
            self._there.transport.write(chunk)

    def from_controller(self, chunk: bytes) -> None:
        if self._end is not None:
            self._end.write(chunk)


class Rfc2217Server:
    """An access server with one serial port, made of pyserial's server side; one connection at a time.

    :param upstream: the URL of its serial port.
    :ivar port: where it listens.
    :ivar settings: baud rate, data bits, parity and stop bits of its port, as the last client set them.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.settings: tuple[Any, ...] = ()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="rfc2217", daemon=True)
        self._ending = False

    def start(self) -> None:
        self._thread.start()

    def hang_up(self) -> None:
        """Break the connection off."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._ending = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._ending:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return
            with self._connection:
                self._serve(self._connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.005)
        serial = serial_for_url(self._upstream, timeout=0)
        lock = threading.Lock()

        class Sender:
            def write(self, chunk: bytes) -> None:
                with lock:
                    connection.sendall(chunk)

        sender = Sender()
        manager = PortManager(serial, sender)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    chunk = connection.recv(1024)
                    if not chunk:
                        return
                    serial.write(b"".join(manager.filter(chunk)))
                self.settings = (serial.baudrate, serial.bytesize, serial.parity, serial.stopbits)
                if answer := serial.read(1024):
                    sender.write(b"".join(manager.escape(answer)))
        except OSError:
            return
        finally:
            serial.close()
