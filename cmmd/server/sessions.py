"""All listeners and connections of devices: one port for each endpoint, whatever its roles (protocol section 1)."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from cmmd.server.login import Advertised
from cmmd.server.session import Session, Surroundings
from cmmd.wire.errors import Reason

__all__ = ["Role", "Sessions", "roles_by_endpoint"]

log = Logger()


class Role(StrEnum):
    """What a listener is meant for; any message may come in at any (protocol section 1)."""

    LOGIN = "login"
    LIVE = "live"
    HISTORIC = "historic"


ACCEPTS_A_TURN = 20
"""Connections that one listener takes before others get their turn; by itself Twisted takes ever more."""


class _DeviceFactory(Factory):
    """Makes the sessions of one listener."""

    noisy = False
    port: Any = None

    def __init__(self, sessions: "Sessions", *, carries_commands: bool) -> None:
        self._sessions = sessions
        self._carries_commands = carries_commands

    def buildProtocol(self, addr: IAddress | None) -> Session | None:  # noqa: ARG002
        if self.port is not None:
            self.port.numberAccepts = ACCEPTS_A_TURN
        return self._sessions.admit(carries_commands=self._carries_commands)


class Sessions:
    """The way in for devices.

    :param around: what the sessions work with.
    :param advertised: learns the ports of the live and historic listeners.
    :param max_connections: how many may stand at once; one more is closed unanswered.
    """

    def __init__(self, around: Surroundings, advertised: Advertised, max_connections: int) -> None:
        self._around = around
        self._advertised = advertised
        self._max_connections = max_connections
        self._ports: list[IListeningPort] = []
        self._connections: set[Session] = set()
        self._all_gone: Deferred[None] | None = None

    def __len__(self) -> int:
        """Connections standing."""
        return len(self._connections)

    async def listen(self, endpoints: Iterable[tuple[IStreamServerEndpoint, frozenset[Role]]]) -> None:
        """Take connections.

        :param endpoints: where, and for what.
        :raises CannotListenError: an address is taken or not ours; nothing is listened on then.
        """
        for endpoint, roles in endpoints:
            factory = _DeviceFactory(self, carries_commands=roles != {Role.HISTORIC})
            try:
                port = await endpoint.listen(factory)
            except Exception:
                self._stop_listening()
                raise
            factory.port = port
            self._ports.append(port)
            self._advertise(port.getHost(), roles)
            log.info("devices come in at {address} ({roles})", address=_named(port), roles=", ".join(sorted(roles)))

    def _advertise(self, address: IAddress, roles: frozenset[Role]) -> None:
        if not isinstance(address, IPv4Address | IPv6Address):
            return
        if Role.LIVE in roles and self._advertised.live_port is None:
            self._advertised.live_port = address.port
        if Role.HISTORIC in roles and self._advertised.historic_port is None:
            self._advertised.historic_port = address.port

    def admit(self, *, carries_commands: bool) -> Session | None:
        """The session for a connection that has come; None: there are too many."""
        if len(self._connections) >= self._max_connections or self._all_gone is not None:
            self._around.tally.peer_errors[Reason.TOO_MANY_CONNECTIONS] += 1
            return None
        session = Session(self._around, carries_commands=carries_commands, gone=self._gone)
        self._connections.add(session)
        return session

    def _gone(self, session: Session) -> None:
        self._connections.discard(session)
        if self._all_gone is not None and not self._connections:
            self._all_gone.callback(None)

    async def stop(self) -> None:
        """Take no more connections; close those that stand and wait for their end, two seconds at most each."""
        await self._stop_listening()
        if not self._connections:
            return
        log.info("closing {count} connections", count=len(self._connections))
        self._all_gone = Deferred()
        for session in tuple(self._connections):
            session.close()
        await self._all_gone

    def _stop_listening(self) -> Deferred[list[object]]:
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])


def _named(port: IListeningPort) -> str:
    address = port.getHost()
    if isinstance(address, IPv4Address | IPv6Address):
        return f"{address.host} port {address.port}"
    return str(address)


def roles_by_endpoint(listeners: Mapping[Role, Sequence[str]]) -> dict[str, frozenset[Role]]:
    """Endpoint string -> the roles that it stands under: equal strings are one port."""
    found: dict[str, frozenset[Role]] = {}
    for role, strings in listeners.items():
        for string in strings:
            found[string] = found.get(string, frozenset()) | {role}
    return found
