"""In-memory TCP transports: what all of them have in common, and one that shows what a real one does with writes."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["DirectTransport", "MemoryTransport", "SegmentTransport"]


@implementer(ITCPTransport)
class MemoryTransport(StringTransport):
    """A TCP connection in memory whose protocol hears of its end, once.

    :param protocol: set later where the transport has to be made first.
    :ivar aborted: the protocol has given the connection up.
    :ivar lost: the protocol has been told of the end.
    """

    def __init__(
        self, protocol: IProtocol | None = None, peer: str = "192.0.2.7", host: IPv4Address | None = None
    ) -> None:
        super().__init__(hostAddress=host, peerAddress=IPv4Address("TCP", peer, 40000))
        self.protocol: Any = protocol
        self.aborted = False
        self.lost = False
        self.bufferSize = 64 * 1024  # as a real one has it, until its protocol sets it
        self.no_delay = False
        self.keep_alive = False

    def lose(self, why: Exception | None = None) -> None:
        """Tell the protocol that the connection has ended.

        :param why: None: the line broke.
        """
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionLost() if why is None else why))

    # What the protocol calls.

    def loseConnection(self) -> None:
        super().loseConnection()
        self.closing(ConnectionDone())

    def connectionLost(self, reason: Failure) -> None:
        assert isinstance(reason.value, Exception)
        self.closing(reason.value)

    def loseWriteConnection(self) -> None:
        raise NotImplementedError("only SegmentTransport closes one side")

    def abortConnection(self) -> None:
        self.aborted = True
        self.closing(ConnectionAborted())

    def closing(self, why: Exception) -> None:
        """End the connection, as the protocol wants: at once, unless a transport knows better."""
        self.lose(why)

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


class SegmentTransport(MemoryTransport):
    """Collects what a protocol writes between two turns of the reactor into one segment, as the kernel would.

    :param seconds: the time, for when segments left.
    :ivar segments: what has been sent, one item a send.
    :ivar left_at: when each of them left.
    :ivar peer_reads: False: nothing leaves any more.
    :ivar write_closed: the protocol has closed its side.
    """

    def __init__(self, protocol: Protocol, peer: str = "192.0.2.7", seconds: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(protocol, peer, IPv4Address("TCP", "198.51.100.1", 21318))
        self.segments: list[bytes] = []
        self.left_at: list[float] = []
        self._seconds = seconds
        self.peer_reads = True
        self.write_closed = False
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
        self.lose(ConnectionDone())

    def half_close(self) -> None:
        """The peer sends no more."""
        self.protocol.readConnectionLost()

    def lose(self, why: Exception | None = None) -> None:
        """Tell the protocol, and let go of its producer."""
        if not self.lost:
            self.producer = None
        super().lose(why)

    # What the protocol calls.

    def write(self, data: bytes) -> None:
        self._unsent += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def loseConnection(self) -> None:
        self.write_closed = True
        self.lose(ConnectionDone())

    def loseWriteConnection(self) -> None:
        assert not self._unsent, "closed before everything had left"
        self.write_closed = True


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

    def lose(self, why: Exception | None = None) -> None:
        super().lose(why)
        self._socket.close()
