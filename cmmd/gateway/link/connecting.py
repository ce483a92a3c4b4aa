"""Making connections to a server."""

from typing import cast

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from cmmd.gateway.link.address import Address, EndpointFactory
from cmmd.gateway.link.connection import LinkError, ServerConnection, Standstill, never_stood_still
from cmmd.wire.quoting import quoted

__all__ = ["Connector"]


class _OneConnection(Factory):
    """Makes a connection, without Twisted's two lines in the log for each."""

    noisy = False

    def __init__(self, clock: IReactorTime, log: Logger, stood_still: Standstill) -> None:
        self._clock = clock
        self._log = log
        self._stood_still = stood_still

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:  # noqa: ARG002
        return ServerConnection(self._clock, self._log, self._stood_still)


class Connector:
    """Makes the connections of a link.

    :param endpoints: the way to an address.
    :param clock: for the timeouts of connections.
    :param log: takes what connections have to say.
    :param stood_still: see ServerConnection.
    """

    def __init__(
        self, endpoints: EndpointFactory, clock: IReactorTime, log: Logger, stood_still: Standstill = never_stood_still
    ) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._log = log
        self._stood_still = stood_still

    async def connect(self, address: Address) -> ServerConnection:
        """Connect to the first address that answers.

        :raises LinkError: that failed.
        """
        try:
            endpoint = self._endpoints(address)
            factory = _OneConnection(self._clock, self._log, self._stood_still)
            return cast("ServerConnection", await endpoint.connect(factory))
        except ConnectingCancelledError:
            raise CancelledError from None
        except CancelledError:
            raise
        except Exception as error:
            raise LinkError(f"cannot connect to {address}: {quoted(error)}") from None
