"""TLS to the server: nothing is sent before its identity is verified."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.gateway.link.address import Address, EndpointFactory
from cmmd.tls.reasons import why

__all__ = ["HANDSHAKE_S", "TLSRefused", "expected_name", "tls_endpoints"]

HANDSHAKE_S = 15.0
"""How long the other end may take to show who it is."""

OptionsFor = Callable[[str], IOpenSSLClientConnectionCreator]
"""Make the gateway's side of TLS, towards a server of this name or IP address."""


class TLSRefused(Exception):
    """There is TLS trouble, and nothing was told to the other end. One line that says why."""


def expected_name(address: Address, *, login: Address, configured: str) -> str:
    """Find the name that a server's certificate must have.

    :param address: where we connect to: ``login``, or what its answer said.
    :param configured: overrides everything; empty: nothing is.
    :return: the host of the address. A server often hands out the bare address that it was reached at, for which hardly
        any certificate is: then the host of ``login``, which was known by then.
    """
    if configured:
        return configured
    numeric = isIPAddress(address.host) or isIPv6Address(address.host)
    return login.host if numeric else address.host


def tls_endpoints(
    plain: EndpointFactory, options_for: OptionsFor, *, login: Address, name: str, clock: IReactorTime
) -> EndpointFactory:
    """The way to an address, with TLS.

    :param plain: the way without.
    :param options_for: called for each connection, so that files may be replaced while we run.
    :param login: the configured address.
    :param name: see :func:`expected_name`.
    """

    def endpoint(address: Address) -> IStreamClientEndpoint:
        expected = expected_name(address, login=login, configured=name)
        return _Verified(wrapClientTLS(options_for(expected), plain(address)), expected, clock)

    return endpoint


@implementer(IStreamClientEndpoint)
class _Verified:
    """Connects only once the other end has shown who it is."""

    def __init__(self, endpoint: IStreamClientEndpoint, name: str, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._name = name
        self._clock = clock

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and verify the server's certificate.

        :return: fails with :exc:`TLSRefused`, or as TCP does.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        gate = cast("_Gate", await self._endpoint.connect(_Gates(factory)))
        try:
            return await gate.opened.addTimeout(HANDSHAKE_S, self._clock)
        except CancelledError:
            raise
        except NotInTime:
            raise TLSRefused(f"no TLS within {HANDSHAKE_S:.0f} s; does that port speak it?") from None
        except Exception as error:
            raise TLSRefused(f"{why(error)} ({self._name} was expected)") from None


class _Gates(Factory):
    """Makes gates, without a line in the log for each."""

    noisy = False

    def __init__(self, inside: IProtocolFactory) -> None:
        self._inside = inside

    def buildProtocol(self, addr: IAddress | None) -> "_Gate":
        assert addr is not None
        return _Gate(self._inside, addr)


@implementer(IHandshakeListener)
class _Gate(Protocol):
    """Lets the protocol inside have the connection once TLS is established.

    :ivar opened: fires with that protocol; cancelled: the connection is cut.
    """

    transport: Any

    def __init__(self, inside: IProtocolFactory, address: IAddress) -> None:
        self._factory = inside
        self._address = address
        self._inside: IProtocol | None = None
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def handshakeCompleted(self) -> None:
        """The other end has a certificate that holds."""
        inside = None if self.opened.called else self._factory.buildProtocol(self._address)
        if inside is not None:
            self._inside = inside
            inside.makeConnection(self.transport)
            self.opened.callback(inside)

    def dataReceived(self, data: bytes) -> None:
        """Pass verified bytes to the protocol."""
        if self._inside is not None:
            self._inside.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand on, or say that it came to nothing."""
        if self._inside is not None:
            self._inside.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(reason)
