"""An in-memory TCP transport that shows what a real one does with writes: one send for what is unsent at a time."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["DirectTransport", "SegmentTransport"]


@implementer(ITCPTransport)
class SegmentTransport(StringTransport):
    """Collects what a protocol writes between two turns of the reactor into one segment, as the kernel would.

    :param seconds: the time, for when segments left.
    :ivar segments: what has been sent, one item a send.
    :ivar left_at: when each of them left.
    :ivar peer_reads: False: nothing leaves any more.
    :ivar write_closed: the protocol has closed its side.
    :ivar aborted: the protocol has given the connection up.
    """

    def __init__(self, protocol: Protocol, peer: str = "192.0.2.7", seconds: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(
            hostAddress=IPv4Address("TCP", "198.51.100.1", 21318), peerAddress=IPv4Address("TCP", peer, 40000)
        )
        self.protocol = protocol
        self.segments: list[bytes] = []
        self.left_at: list[float] = []
        self._seconds = seconds
        self.peer_reads = True
        self.write_closed = False
        self.aborted = False
        self.lost = False
        self.no_delay = False
        self.keep_alive = False
        self._unsent = b""

    def connect(self) -> None:
        """Hand the transport to the protocol."""
        self.protocol.makeConnection(self)

    def deliver(self, segment: bytes) -> None:
        """Have the protocol receive a segment, then let one turn of the reactor pass."""
        self.protocol.dataReceived(segment)
        self.turn()

    def turn(self) -> bool:
        """One turn of the reactor: what is unsent leaves. False: nothing was."""
        if not self.peer_reads or self.lost:
            return False
        segment, self._unsent = self._unsent, b""
        if segment:
            self.segments.append(segment)
            self.left_at.append(self._seconds())
        if self.producer is not None:
            self.producer.resumeProducing()
        return bool(segment)

    def turns(self) -> None:
        """Turns of the reactor until nothing leaves any more."""
        while self.turn():
            pass

    def hang_up(self) -> None:
        """The connection breaks."""
        self._lose(Failure(ConnectionDone()))

    def half_close(self) -> None:
        """The peer sends no more."""
        self.protocol.readConnectionLost()  # type: ignore[attr-defined]

    def _lose(self, reason: Failure) -> None:
        if not self.lost:
            self.lost = True
            self.producer = None
            self.protocol.connectionLost(reason)

    # What the protocol calls.

    def write(self, data: bytes) -> None:
        self._unsent += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def loseConnection(self) -> None:
        self.write_closed = True
        self._lose(Failure(ConnectionDone()))

    def connectionLost(self, reason: Failure) -> None:
        self._lose(reason)

    def loseWriteConnection(self) -> None:
        assert not self._unsent, "closed before everything had left"
        self.write_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        self._lose(Failure(ConnectionAborted()))

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getTcpKeepAlive(self) -> bool:
        return self.keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def getHandle(self) -> object:
        return None


class _Socket(socket.socket):
    """The socket of a transport: it takes what is sent at once, where nothing is unsent before it."""

    def __init__(self, transport: "DirectTransport") -> None:
        super().__init__(socket.AF_UNIX)
        self._transport = transport

    def setsockopt(self, *option: Any) -> None:
        pass

    def send(self, data: Any, flags: int = 0) -> int:
        return self._transport.take(bytes(data))


class DirectTransport(SegmentTransport):
    """The same with a socket, to which the protocol may send by itself.

    :ivar room: how many bytes the kernel takes at once.
    :ivar clock: turns of the reactor run what is due on it.
    :ivar sent_at_once: how many messages the protocol has sent by itself.
    """

    clock: Clock | None = None

    def __init__(self, protocol: Protocol, peer: str = "192.0.2.7", seconds: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(protocol, peer, seconds)
        self.room = 65536
        self.sent_at_once = 0
        self._socket = _Socket(self)

    def take(self, data: bytes) -> int:
        assert not self._unsent, "sent past what the transport has"
        if not self.peer_reads:
            raise BlockingIOError
        taken = data[: self.room]
        if taken == data:
            self.segments.append(data)
            self.left_at.append(self._seconds())
            self.sent_at_once += 1
        else:
            self._begun = taken
        return len(taken)

    _begun = b""

    def turn(self) -> bool:
        begun = bool(self._begun) and self.peer_reads and not self.lost and bool(self._unsent)
        if begun:
            self._unsent, self._begun = self._begun + self._unsent, b""
        return super().turn()

    def turns(self) -> None:
        while self.turn() or self._due():
            pass

    def _due(self) -> bool:
        clock = self.clock
        if clock is None or all(call.getTime() > clock.seconds() for call in clock.getDelayedCalls()):
            return False
        clock.advance(0)
        return True

    def getHandle(self) -> object:
        return self._socket

    def _lose(self, reason: Failure) -> None:
        super()._lose(reason)
        self._socket.close()
