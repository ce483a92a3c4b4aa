"""Open the port of a line: a serial device, a URL of pyserial, or a plain TCP connection (``socket://``, in here)."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from cmmd.gateway.bus.line import Line, Port, PortOpener, PortUser
from cmmd.gateway.bus.outcomes import PortError
from cmmd.gateway.bus.serial_ports import open_threaded, open_tty
from cmmd.gateway.link.address import tcp_endpoints

__all__ = ["TcpPort", "open_tcp", "port_opener"]

# --- TCP -------------------------------------------------------------------------------------------------------------


class TcpPort(Protocol):
    """A port over a TCP connection.

    :param user: takes what comes.
    """

    def __init__(self, user: PortUser) -> None:
        self._user: PortUser | None = user
        self._ended = False
        self._closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Have frames leave at once, and a peer that is gone noticed some day."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)

    def write(self, frame: bytes) -> None:
        """Send a frame to the controller."""
        assert self.transport is not None
        self.transport.write(frame)

    def drop_unsent(self) -> None:
        """Only closing does that."""

    def close(self) -> Deferred[None]:
        """Break the connection off: what the kernel has not sent yet, it will not send."""
        self._user = None
        if not self._ended and ITCPTransport.providedBy(self.transport):
            self.transport.abortConnection()
        return self._closed

    def dataReceived(self, data: bytes) -> None:
        """Pass received bytes to the user."""
        if self._user is not None:
            self._user.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the loss to the user."""
        self._ended = True
        user, self._user = self._user, None
        self._closed.callback(None)
        if user is not None:
            user.lost(reason.getErrorMessage())


class _OnePort(Factory):
    """Makes a port, without Twisted's two lines in the log for each."""

    noisy = False

    def __init__(self, user: PortUser) -> None:
        self._user = user

    def buildProtocol(self, addr: IAddress | None) -> TcpPort:  # noqa: ARG002
        return TcpPort(self._user)


async def open_tcp(endpoint: IStreamClientEndpoint, user: PortUser) -> TcpPort:
    """Connect to a serial server over TCP.

    :raises PortError: that failed.
    """
    connecting = endpoint.connect(_OnePort(user))
    try:
        return cast("TcpPort", await connecting)
    except Exception as error:
        raise PortError(f"cannot connect: {error}") from None


# --- the kind of a line ----------------------------------------------------------------------------------------------


def port_opener(reactor: Any) -> PortOpener:  # of all interfaces that the kinds want
    """The usual way to open ports.

    A device is opened at once; a ``socket://`` is a TCP connection; whatever else is a URL is opened by pyserial, in a
    thread, because it may block.

    :param reactor: the one they live in.
    """
    endpoints = tcp_endpoints(reactor)

    async def open_port(line: Line, user: PortUser) -> Port:
        if not line.remote:
            return open_tty(line, user, reactor)
        if line.address is not None:
            return await open_tcp(endpoints(line.address), user)
        return await open_threaded(line, user, reactor)

    return lambda line, user: Deferred.fromCoroutine(open_port(line, user))
