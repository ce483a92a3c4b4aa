"""Serial ports of a bus: devices of this machine, and what only pyserial can open.

Twisted serves a device from the reactor. For ``rfc2217://`` and other URLs pyserial blocks, so it runs in threads.
"""

import errno
import fcntl
import os
import termios
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from serial import Serial, SerialBase, serial_for_url
from serial.rs485 import RS485Settings
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.serialport import SerialPort
from twisted.python.failure import Failure

from cmmd.gateway.bus.line import Direction, Line, PortUser
from cmmd.gateway.bus.outcomes import PortError

__all__ = ["ThreadedPort", "TtyPort", "open_device", "open_threaded", "open_tty", "rs485_settings", "serial_settings"]

# --- devices of this machine -----------------------------------------------------------------------------------------


_IN_USE = (errno.EAGAIN, errno.EBUSY)  # of pyserial's lock, and of a device that is locked by another process
_PSEUDO_TERMINALS = range(136, 144)  # major numbers of what openpty gives


def serial_settings(line: Line) -> dict[str, Any]:
    """List pyserial's settings for a line: its framing, and exclusive use of the port."""
    return {
        "baudrate": line.baud_rate,
        "bytesize": line.data_bits,
        "parity": line.parity,
        "stopbits": line.stop_bits,
        "exclusive": True,
    }


def rs485_settings(direction: Direction) -> RS485Settings:
    """List pyserial's settings for the switching of the direction."""
    return RS485Settings(
        rts_level_for_tx=direction.rts_sends,
        rts_level_for_rx=not direction.rts_sends,
        loopback=direction.hears_itself,
        delay_before_tx=direction.delay_before_s,
        delay_before_rx=direction.delay_after_s,
    )


def open_device(line: Line) -> Serial:
    """Open the device of a line; it does not block.

    :raises PortError: it cannot be opened, is in use, or its driver cannot switch the direction.
    """
    port = Serial(timeout=0, **serial_settings(line))
    port.port = line.url
    if line.rs485 is not None:
        port.rts = not line.rs485.rts_sends  # or else opening would begin to send
        port.rs485_mode = rs485_settings(line.rs485)
    try:
        port.open()
        _keep_others_out(port.fd)
    except (OSError, ValueError, termios.error) as error:
        port.close()
        raise PortError(_why(error)) from None
    return port


def _why(error: Exception) -> str:
    """Describe a failed opening in a few words where pyserial has many."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        return str(error)
    return "in use by another program" if number in _IN_USE else os.strerror(number)


def _keep_others_out(fd: int) -> None:
    """Have the kernel refuse further openings, by those too who do not ask for the lock that pyserial takes.

    Not for a pseudo-terminal: that would stay so after a crash of this process.
    """
    if os.major(os.fstat(fd).st_rdev) not in _PSEUDO_TERMINALS:
        fcntl.ioctl(fd, termios.TIOCEXCL)


class _Ends(Protocol):
    """Hands on what a port brings, until it is closed."""

    def __init__(self, user: PortUser) -> None:
        self._user: PortUser | None = user

    def dataReceived(self, data: bytes) -> None:
        if self._user is not None:
            self._user.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        user, self._user = self._user, None
        if user is not None:
            user.lost("the device is gone")

    def forget(self) -> None:
        self._user = None


class TtyPort(SerialPort):
    """An open device; opens it on being made.

    :param line: its line.
    :param user: takes what comes.
    :param reactor: the one that reads and writes.
    :raises PortError: it cannot be opened.
    """

    def __init__(self, line: Line, user: PortUser, reactor: Any) -> None:  # it has no interface with both sides
        self._line = line
        self._ends = _Ends(user)
        super().__init__(self._ends, line.url, reactor)

    def _serialFactory(self, *_: Any, **__: Any) -> Serial:
        """Called by Twisted in the place of pyserial's class."""
        return open_device(self._line)

    def drop_unsent(self) -> None:
        """Forget what neither this process nor the kernel has handed to the hardware."""
        self.dataBuffer, self.offset = b"", 0
        self._tempDataBuffer, self._tempDataLen = [], 0
        self.stopWriting()
        with suppress(termios.error):  # the device is gone; reading will tell
            termios.tcflush(self.fileno(), termios.TCOFLUSH)

    def close(self) -> Deferred[None]:
        """Close the device without waiting for what is unsent."""
        self._ends.forget()
        if not self.disconnected:
            self.drop_unsent()  # or else the kernel would wait for it
            self.connectionLost(Failure(ConnectionDone()))
        return succeed(None)

    def connectionLost(self, reason: Failure) -> None:
        """Called when reading or writing failed, and on closing."""
        FileDescriptor.connectionLost(self, reason)
        with suppress(OSError):  # a device that is gone may say so here too; the descriptor is closed all the same
            self._serial.close()
        self._ends.connectionLost(reason)


def open_tty(line: Line, user: PortUser, reactor: Any) -> TtyPort:
    """Open the device of a line.

    :raises PortError: that cannot be done.
    """
    try:
        return TtyPort(line, user, reactor)
    except (OSError, termios.error) as error:
        raise PortError(str(error)) from None


# --- URLs of pyserial ------------------------------------------------------------------------------------------------


READ_TURN_S = 0.1
"""How long a thread reads before it looks whether it is to end."""


class ThreadedPort:
    """A port of pyserial with two threads: one opens it, reads and closes it, one writes.

    :param line: its line.
    :param user: takes what comes.
    :param reactor: the one that the user lives in.
    """

    def __init__(self, line: Line, user: PortUser, reactor: IReactorFromThreads) -> None:
        self._line = line
        self._user: PortUser | None = user
        self._reactor = reactor
        self._ending = False
        self._frames: SimpleQueue[bytes | None] = SimpleQueue()
        self._opened: Deferred[ThreadedPort] = Deferred(self._cancelled)
        self._closed: Deferred[None] = Deferred()

    def open(self) -> "Deferred[ThreadedPort]":
        """Begin. Fails with :exc:`PortError`; cancelled, it is closed as soon as it is open."""
        self._start(self._run)
        return self._opened

    def write(self, frame: bytes) -> None:
        """Queue a frame for the writing thread."""
        self._frames.put(frame)

    def drop_unsent(self) -> None:
        """Only closing does that."""

    def close(self) -> Deferred[None]:
        """Close it; that may take a second."""
        self._user = None
        self._ending = True
        self._frames.put(None)
        return self._closed

    def _cancelled(self, _: "Deferred[ThreadedPort]") -> None:
        self.close()

    # --- in the threads ----------------------------------------------------------------------------------------------

    def _start(self, function: Any, *arguments: Any) -> None:
        Thread(target=function, args=arguments, name=f"bus {self._line.url}", daemon=True).start()

    def _run(self) -> None:
        port: SerialBase | None = None
        try:
            port = self._open()
            self._reactor.callFromThread(self._is_open)
            self._start(self._write, port)
            while not self._ending:
                chunk = port.read(port.in_waiting or 1)
                if chunk:
                    self._reactor.callFromThread(self._received, chunk)
        except Exception as error:  # pyserial's handlers raise what they like
            self._reactor.callFromThread(self._failed, str(error) or type(error).__name__)
        finally:
            self._frames.put(None)
            if port is not None:
                with suppress(Exception):
                    port.close()
            self._reactor.callFromThread(self._is_closed)

    def _open(self) -> SerialBase:
        line = self._line
        port = serial_for_url(line.url, do_not_open=True, timeout=READ_TURN_S, **serial_settings(line))
        if line.rs485 is not None:
            port.rts = not line.rs485.rts_sends
            port.rs485_mode = rs485_settings(line.rs485)
        port.open()
        return port

    def _write(self, port: SerialBase) -> None:
        try:
            while (frame := self._frames.get()) is not None and not self._ending:
                port.write(frame)
        except Exception as error:
            self._reactor.callFromThread(self._failed, str(error))

    # --- in the reactor ----------------------------------------------------------------------------------------------

    def _is_open(self) -> None:
        if not self._opened.called:
            self._opened.callback(self)

    def _received(self, chunk: bytes) -> None:
        if self._user is not None:
            self._user.received(chunk)

    def _failed(self, reason: str) -> None:
        if not self._opened.called:
            self._opened.errback(PortError(reason))
            return
        user, self._user = self._user, None
        if user is not None:
            user.lost(reason)

    def _is_closed(self) -> None:
        if not self._closed.called:
            self._closed.callback(None)


def open_threaded(line: Line, user: PortUser, reactor: IReactorFromThreads) -> Deferred[ThreadedPort]:
    """Open what pyserial calls by this URL."""
    return ThreadedPort(line, user, reactor).open()
