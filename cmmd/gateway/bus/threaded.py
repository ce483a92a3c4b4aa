"""A port that only pyserial can open (``rfc2217://`` and other URLs); pyserial blocks, so it runs in threads."""

from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from serial import SerialBase, serial_for_url
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from cmmd.gateway.bus.line import Line
from cmmd.gateway.bus.outcomes import PortError
from cmmd.gateway.bus.port import PortUser
from cmmd.gateway.bus.tty import rs485_settings, serial_settings

__all__ = ["ThreadedPort", "open_threaded"]

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
