"""Connections by a proxy: nothing is a session before the proxy has said for whom it speaks."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from cmmd.server.proxy_header import Header, ProxyHeaderError, read_header
from cmmd.wire.errors import EXCERPT, Reason

__all__ = ["HEADER_S", "ProxyGate"]

HEADER_S = 5.0
"""Seconds that a proxy may take for its header; it sends that first of all."""


class ProxyGate(Protocol):
    """Reads the header of one connection, and puts a session in its own place.

    :param clock: for the limit of time.
    :param session: makes the protocol for a header; it is told where the connection came from.
    :param refused: notified of the gate, the reason, words for the log, and what was said.
    :param gone: notified of the gate when it has ended or has been replaced.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        session: Callable[[Header], Protocol],
        refused: Callable[[Reason, str, bytes], None],
        gone: "Callable[[ProxyGate], None]",
    ) -> None:
        self._clock = clock
        self._session = session
        self._refused = refused
        self._gone = gone
        self._received = b""
        self._waiting: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Begin to wait for the header."""
        self._waiting = self._clock.callLater(HEADER_S, self._overdue)

    def dataReceived(self, data: bytes) -> Any:
        """Take in the header, or a part of it: a part is never longer than a header can be."""
        if self._waiting is None:
            return None
        self._received += data
        try:
            header = read_header(self._received)
        except ProxyHeaderError as error:
            self._refuse(str(error))
            return None
        if header is None:
            return None
        rest, self._received = self._received[header.length :], b""
        self._end_waiting()
        if not header.source:  # its health check
            self.transport.loseConnection()
            return None
        self._gone(self)  # first: it takes the place of the session
        session = self._session(header)
        # In the place of this one, not around it: a session reads and writes its socket without a detour.
        transport = self.transport
        transport.protocol = session
        session.makeConnection(transport)
        return session.dataReceived(rest) if rest else None

    def connectionLost(self, _: Failure = connectionDone) -> None:
        """Stop waiting for the header."""
        self._end_waiting()
        self._gone(self)

    def drop(self) -> None:
        """End the connection at once."""
        self._end_waiting()
        self.transport.abortConnection()

    def _overdue(self) -> None:
        self._waiting = None
        self._refuse("no PROXY header in time")

    def _refuse(self, why: str) -> None:
        said, self._received = self._received[:EXCERPT], b""
        self._refused(Reason.PROXY_HEADER, why, said)
        self.drop()

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
