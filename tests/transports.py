"""An in-memory TCP transport that shows what a real one does with writes: one send for what is unsent at a time."""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["SegmentTransport"]


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
