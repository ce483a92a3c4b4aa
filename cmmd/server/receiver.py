"""What LineReceiver is to lines, for JSON documents: a stream of them in, one message a segment out.

Documents are handled one after the other, the next one only when the answer to the last has left. So answers never
share a segment (modules parse one object per receive, protocol section 1); a peer that does not read its answers is not
read from either; and a peer that sends a lot at once gets one turn of the reactor for each document, like any other.

A message of ours, which answers nothing, waits for a pause between documents (``pacing``): nothing unsent, no answer
being found, and quiet for a while. Where the peer leaves none, one is made: the next document waits.
"""

import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPullProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.server.foreign import GuardedSplitter
from cmmd.server.pacing import Apart, Pacing
from cmmd.server.sockets import socket_of, tune
from cmmd.wire.errors import FrameError, PeerError, Reason

__all__ = ["JSONReceiver", "Limits"]

DOCUMENTS_A_TURN = 16
"""Documents without an answer that one connection may have handled before others get their turn."""
BYTES_A_RECEIVE = 16 * 1024
"""Uploads have some hundred bytes; a peer that sends all it can gets no more than this looked at in one turn."""
MOST_UNSENT = 256 * 1024
"""Bytes waiting for a peer to read them; one more message and the connection is dropped."""
LINGER_S = 2.0
"""How long a closing connection waits for the peer to take the last answer and close, too."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much of a peer is borne. Seconds and bytes; levels of nesting; so many frame errors end a connection.

    ``gap``: quiet before a message of ours, and after it.
    """

    idle_timeout: float = 180.0
    login_timeout: float = 30.0
    max_frame: int = 64 * 1024
    max_depth: int = 16
    max_frame_errors: int = 3
    gap: float = 0.2


@implementer(IPullProducer, IHalfCloseableProtocol)
class JSONReceiver(Protocol, TimeoutMixin, ABC):
    """One TCP connection that speaks JSON documents.

    :param limits: see there.
    :param clock: for every timeout.
    """

    transport: Connection  # or what offers the same

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self.clock = clock
        self._limits = limits
        self._splitter = GuardedSplitter(limits.max_frame, limits.max_depth)
        self._frame_errors = 0
        self._outbox: deque[bytes] = deque()
        self._unsent = 0
        self._leaving = 0  # bytes of the message that the transport has
        self._sending = False
        self._handling: Deferred[None] | None = None
        self._reading = True
        self._peer_closed = False
        self._has_sent = False
        self._quiet_since = -inf  # when the last message has left
        self._pacing: Pacing | None = None  # None: no message of ours waits, or has just gone
        self._ending = False
        self._next_turn: IDelayedCall | None = None
        self._linger: IDelayedCall | None = None

    # What a subclass says.

    @abstractmethod
    def documentReceived(self, document: bytes) -> Deferred[None] | None:
        """Handle one document.

        :return: None, or a Deferred that fires when the next document may be handled.
        :raises PeerError: answered by ``peerErred``; a FrameError counts towards the end of the connection.
        """

    @abstractmethod
    def peerErred(self, error: PeerError) -> None:
        """Answer a fault of the peer."""

    @abstractmethod
    def weErred(self, failure: Failure) -> None:
        """Answer a fault of ours; the connection is closed after it."""

    @abstractmethod
    def dropped(self, reason: Reason) -> None:
        """Note that the connection is given up: the peer was silent, or did not read."""

    @abstractmethod
    def close(self) -> None:
        """Close in order; a subclass that has more to do for it calls ``end`` at last."""

    # In.

    def callLater(self, period: float, call: Callable[[], object]) -> IDelayedCall:
        """TimeoutMixin's hook for the clock."""
        return self.clock.callLater(period, call)

    def connectionMade(self) -> None:
        """Set the socket up and start waiting."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.bufferSize = BYTES_A_RECEIVE
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
            handle = socket_of(self.transport)
            if isinstance(handle, socket.socket):
                tune(handle)
        self.setTimeout(self._limits.idle_timeout)

    def dataReceived(self, segment: bytes) -> None:
        """Take the bytes of one receive."""
        if self._ending:
            return
        if self._splitter.protocols.recognized(
            segment
        ):  # first: no document before or behind it in the segment is obeyed
            self.drop(Reason.FOREIGN_PROTOCOL)
            return
        self.resetTimeout()
        self._splitter.feed(segment)
        if self._busy:
            self._read(False)
        else:
            self._pump()

    @property
    def _busy(self) -> bool:
        """Whether the next document has to wait: for an answer to leave or to be found, for its turn, or for ours."""
        return (
            self._sending
            or self._handling is not None
            or self._next_turn is not None
            or (self._pacing is not None and self._held_back(self._pacing))
        )

    def _held_back(self, pacing: Pacing) -> bool:
        """Whether an answer waits for the pause after ours, or ours for one before."""
        return bool(self._outbox) or pacing.holds_documents(self.clock.seconds())

    def _pump(self) -> None:
        """Handle documents until one has an answer on its way, or others should have a turn."""
        self._next_turn = None
        for _ in range(DOCUMENTS_A_TURN):
            if self._busy or self._ending:
                return
            try:
                document = self._splitter.next_document()
                if document is None:
                    self._out_of_documents()
                    return
                outcome = self.documentReceived(document)
            except Exception:
                self._erred(Failure())
            else:
                if outcome is not None:
                    self._handling = outcome
                    outcome.addErrback(self._erred).addCallback(self._handled)
        if not (self._busy or self._ending):
            self._read(False)
            self._next_turn = self.clock.callLater(0, self._pump)

    def _out_of_documents(self) -> None:
        if self._peer_closed:
            self.close()
        else:
            self._read(True)

    def readConnectionLost(self) -> None:
        """The peer sends no more; what it sent is still answered."""
        self._peer_closed = True
        if self._ending:
            if not self._has_unsent:
                self._vanish()
            return
        self._withdraw_all()  # nobody would answer; who sent them hears of it when we close
        if not self._busy:
            self._pump()

    def writeConnectionLost(self) -> None:
        """We have closed our side."""

    def _handled(self, _: None) -> None:
        self._handling = None
        if self._ending:
            return
        self.resetTimeout()
        self._pace()
        if not self._busy:
            self._next_turn = self.clock.callLater(0, self._pump)

    def _erred(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, PeerError):
            self.weErred(failure)
            self.close()
            return
        self.peerErred(error)
        if isinstance(error, FrameError):
            self._frame_errors += 1
            if self._frame_errors >= self._limits.max_frame_errors:
                self.close()

    def _read(self, wanted: bool) -> None:
        if wanted == self._reading or self._peer_closed:
            return
        self._reading = wanted
        if wanted:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    # Out.

    def send(self, message: bytes) -> None:
        """Write one message in a segment of its own, as soon as those before it have left."""
        if self._ending:
            return
        self._has_sent = True
        self._unsent += len(message)
        if self._unsent > MOST_UNSENT:
            self.drop(Reason.UNREAD_OUTPUT)
            return
        self._outbox.append(message)
        if not self._sending and (self._pacing is None or not self._pacing.holds_answers):
            self._start_sending()

    def send_apart(self, message: bytes, left: Callable[[], None]) -> Callable[[], None]:
        """Write a message of ours in a pause, in the order in which they came; not before this returns.

        It never goes where the connection ends first, or the peer sends no more.

        :param left: called when it has been handed to the transport; must not raise.
        :return: withdraws the message, if it has not been handed over.
        """
        apart = Apart(message, left, self.clock.seconds())
        if not (self._ending or self._peer_closed):
            if self._pacing is None:
                self._pacing = Pacing(self._limits.gap)
            self._pacing.add(apart)
            self._look_later(self._pacing, 0.0)  # we may be called while a document is handled, before its answer
        return partial(self._withdraw, apart)

    def _withdraw(self, apart: Apart) -> None:
        if self._pacing is not None:
            self._pacing.withdraw(apart)

    def _withdraw_all(self) -> None:
        if self._pacing is not None:
            self._pacing.withdraw_all()

    def _look_later(self, pacing: Pacing, seconds: float) -> None:
        if pacing.look is None:
            pacing.look = self.clock.callLater(seconds, self._look_now)

    def _look_now(self) -> None:
        assert self._pacing is not None
        self._pacing.look = None
        self._go_on()

    def _go_on(self) -> None:
        """What waits for a pause first, where there is one; else the next document."""
        self._pace()
        if self._has_more and not (self._busy or self._ending):
            self._pump()

    def _pace(self) -> None:
        """Let one message go where there is a pause, else look again later. After the last one's pause all is over.

        As long as there is pacing, something calls this: the end of a pause, of sending, or of finding an answer.
        """
        pacing = self._pacing
        if pacing is None or pacing.look is not None or self._sending or self._handling is not None:
            return
        missing = pacing.pause_missing(self.clock.seconds() - self._quiet_since, socket_of(self.transport))
        if missing:
            self._look_later(pacing, missing)
            return
        pacing.holds_answers = False
        if self._outbox or pacing.let_go():
            self._start_sending()
        if pacing.over:
            self._pacing = None

    def _start_sending(self) -> None:
        self._sending = True
        self.transport.registerProducer(self, False)  # calls resumeProducing: now, and when it has sent all

    def resumeProducing(self) -> None:
        """The transport has nothing unsent: the next message may go."""
        self._unsent -= self._leaving
        self._leaving = 0
        if self._outbox and (self._pacing is None or not self._pacing.holds_answers):
            message = self._outbox.popleft()
            self._leaving = len(message)
            self.transport.write(message)
            return
        if self._pacing is not None:
            ours = self._pacing.take()
            if ours is not None:
                self._has_sent = True
                self.transport.write(ours.message)
                ours.left()
                return
        self._sending = False
        self._quiet_since = self.clock.seconds()
        self.transport.unregisterProducer()
        if self._ending and not self._outbox:
            self._close_write()
        elif self._pacing is not None:
            self._go_on()
        elif self._has_more and not self._busy:
            self._pump()

    @property
    def _has_unsent(self) -> bool:
        return self._sending or bool(self._outbox)

    @property
    def _has_more(self) -> bool:
        return self._splitter.pending > 0 or not self._reading or self._peer_closed

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` follows."""

    # The end.

    @property
    def ending(self) -> bool:
        """Whether nothing is taken or sent any more."""
        return self._ending

    def end(self) -> None:
        """Send the answers that are unsent, then close.

        The write side is closed first and what still comes is dropped: closing both at once would have the kernel
        answer late bytes with a reset, which could overtake the last answer.
        """
        if self._ending:
            return
        self._ending = True
        self.setTimeout(None)
        self._withdraw_all()
        if self._peer_closed and not self._has_unsent:
            self._vanish()
            return
        self._linger = self.clock.callLater(LINGER_S, self.transport.abortConnection)
        if not self._has_sent:
            self.transport.loseConnection()
            return
        self._read(True)
        if not self._has_unsent:
            self._close_write()

    def drop(self, reason: Reason) -> None:
        """Give the connection up at once, unsent messages with it."""
        self._ending = True
        self._withdraw_all()
        self.dropped(reason)
        self.transport.abortConnection()

    def _vanish(self) -> None:
        """End now, both sides are done: what Twisted does by itself where there is no half-close."""
        self.transport.connectionLost(connectionDone)

    def _close_write(self) -> None:
        is_plain = ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport)
        if is_plain and not self._peer_closed:
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def timeoutConnection(self) -> None:
        """Nothing came for the idle timeout; where that is our own fault, wait on."""
        if self._handling is not None:
            self.setTimeout(self._limits.idle_timeout)
        elif self._sending:
            self.drop(Reason.UNREAD_OUTPUT)
        else:
            self.dropped(Reason.IDLE_TIMEOUT)
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Leave nothing behind."""
        self._ending = True
        self.setTimeout(None)
        pacing, self._pacing = self._pacing, None
        for call in (self._linger, self._next_turn, None if pacing is None else pacing.look):
            if call is not None and call.active():
                call.cancel()
        self._outbox.clear()
