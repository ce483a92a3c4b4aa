"""A device's connection below its documents: socket options, idle timeout, the orderly end."""

import socket
from abc import ABC, abstractmethod
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from cmmd.fleet.counters.counters import Counters
from cmmd.server.flow import Flow, Inbound, Limits, Outbound
from cmmd.server.idle_wheel import IdleWheel
from cmmd.server.sockets import socket_of, tune
from cmmd.wire.errors import Reason

__all__ = ["BYTES_A_RECEIVE", "LINGER_S", "DeviceConnection"]

BYTES_A_RECEIVE = 4 * 1024
"""A peer that sends all it can gets no more than this looked at in one turn.

Python allocates as much for each read and gives back what is left over: 4 KiB instead of 16 KiB gain 2.4 µs. Uploads
have some hundred bytes.
"""
LINGER_S = 2.0
"""Seconds that a closing connection waits for the peer to take the last answer and close, too."""


class DeviceConnection(Protocol, ABC):
    """One TCP connection from a device, whatever is said on it.

    :param limits: how much of the peer is tolerated.
    :param clock: for every timeout.
    :param counters: counts the bytes that come in.
    :param wheel: for the idle timeout; None: with a timer of its own.
    """

    # Thousands of these are alive: slots take a third of what a dictionary for each takes.
    __slots__ = (
        "_counters",
        "_flow",
        "_heard_at",
        "_idle",
        "_limits",
        "_linger",
        "_next_turn",
        "_quiet_since",
        "_reading",
        "_socket",
        "_wheel",
        "clock",
        "connected",
        "transport",
    )

    transport: Connection  # or what offers the same

    def __init__(self, limits: Limits, clock: IReactorTime, counters: Counters, wheel: IdleWheel | None = None) -> None:
        self.connected = 0
        self.clock = clock
        self._counters = counters
        self._limits = limits
        self._flow = Flow(limits)
        self._socket: socket.socket | None = None  # to send at once; None: everything is sent by the transport
        self._reading = True
        self._heard_at = 0.0  # when the last segment came
        self._quiet_since = -inf  # when the last message has left
        self._wheel = wheel
        self._idle: IDelayedCall | int | None = None  # a timer, or a place on the wheel
        self._next_turn: IDelayedCall | None = None
        self._linger: IDelayedCall | None = None

    # What a subclass says.

    @abstractmethod
    def dropped(self, reason: Reason) -> None:
        """Note that the connection is given up: the peer was silent, or did not read."""

    @abstractmethod
    def close(self) -> None:
        """Close in order; a subclass that has more to do for it calls ``end`` at last."""

    # The beginning.

    def connectionMade(self) -> None:
        """Set the socket up and start waiting."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.bufferSize = BYTES_A_RECEIVE
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
            handle = socket_of(self.transport)
            if isinstance(handle, socket.socket):
                tune(handle)
                # Nothing may be between us and the socket: TLS, or whatever else an endpoint wraps connections in.
                if getattr(self.transport, "transport", None) is None:
                    self._socket = handle
        self._heard_at = self.clock.seconds()
        self._look_later_whether_idle(self._limits.idle_timeout)

    def _read(self, wanted: bool) -> None:
        if wanted == self._reading or self._flow.peer_closed:
            return
        self._reading = wanted
        if wanted:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    # The end.

    @property
    def ending(self) -> bool:
        """Tell whether the connection takes and sends nothing any more."""
        return self._flow.inbound is Inbound.ENDED

    def end(self) -> None:
        """Send the answers that are unsent, then close.

        The write side is closed first and what still comes is dropped: closing both at once would have the kernel
        answer late bytes with a reset, which could overtake the last answer.
        """
        flow = self._flow
        if flow.inbound is Inbound.ENDED:
            return
        flow.end()
        self._wait_no_more()
        if flow.peer_closed and not flow.has_unsent:
            self._vanish()
            return
        self._linger = self.clock.callLater(LINGER_S, self.transport.abortConnection)
        if flow.outbound is Outbound.UNUSED:
            self.transport.loseConnection()
            return
        self._read(True)
        if not flow.has_unsent:
            self._close_write()

    def drop(self, reason: Reason) -> None:
        """Give the connection up at once, unsent messages with it."""
        self._flow.end()
        self.dropped(reason)
        self.transport.abortConnection()

    def _vanish(self) -> None:
        """End now, both sides are done: what Twisted does by itself where there is no half-close."""
        self.transport.connectionLost(connectionDone)

    def _close_write(self) -> None:
        is_plain = ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport)
        if is_plain and not self._flow.peer_closed:
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _look_later_whether_idle(self, seconds: float) -> None:
        """Look in so many seconds: with other connections a little earlier, with a timer of its own for the rest."""
        self._idle = None if self._wheel is None else self._wheel.add(self, seconds)
        if self._idle is None:
            self._idle = self.clock.callLater(seconds, self.look_whether_idle)

    def look_whether_idle(self) -> None:
        """End a connection on which nothing came for the idle timeout; while its answer is determined, wait on.

        To look again when the timer expires gains the 1.2 µs that it takes to put a timer off with each message.
        """
        if self._idle is None:
            return  # it ended while others were looked at
        flow, timeout = self._flow, self._limits.idle_timeout
        left = timeout if flow.inbound is Inbound.DETERMINING else self._heard_at + timeout - self.clock.seconds()
        if left > 0:
            self._look_later_whether_idle(left)
            return
        self._idle = None
        if flow.outbound is Outbound.SENDING:
            self.drop(Reason.UNREAD_OUTPUT)
        else:
            self.dropped(Reason.IDLE_TIMEOUT)
            self.close()

    def _wait_no_more(self) -> None:
        if isinstance(self._idle, int):
            assert self._wheel is not None, "it is on the wheel"
            self._wheel.remove(self, self._idle)
        elif self._idle is not None:
            self._idle.cancel()
        self._idle = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Cancel all that waits for this connection."""
        self._wait_no_more()
        pacing = self._flow.pacing
        for call in (self._linger, self._next_turn, None if pacing is None else pacing.look):
            if call is not None and call.active():
                call.cancel()
        self._flow.clear()
        self._socket = None
