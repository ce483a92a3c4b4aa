"""All listeners and connections of devices: one port for each endpoint, whatever its roles (protocol section 1)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from msgspec import Struct
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, ISSLTransport, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from twisted.logger import Logger

from cmmd.fleet.devices.networks import Networks
from cmmd.server.context import Context
from cmmd.server.idle_wheel import IdleWheel
from cmmd.server.proxy_gate import ProxyGate
from cmmd.server.proxy_header import Header
from cmmd.server.session import Session
from cmmd.wire.errors import Reason

__all__ = ["DeviceListeners", "ListenError", "Listener", "Role", "roles_by_endpoint"]

log = Logger()


class Role(StrEnum):
    """The purpose of a listener; any message is accepted at any of them (protocol section 1)."""

    LOGIN = "login"
    LIVE = "live"
    HISTORIC = "historic"


ACCEPTS_A_TURN = 20
"""Connections that one listener takes before others get their turn; by itself Twisted takes ever more."""


class Listener(Struct, frozen=True):
    """One place where devices connect: the endpoint string as it is configured, what it means, and what it is for.

    ``proxies``: only these connect there, and say first for whom they speak; None: devices connect by themselves.
    """

    string: str
    endpoint: IStreamServerEndpoint
    roles: frozenset[Role]
    proxies: Networks | None = None


class ListenError(Exception):
    """A listener cannot be had; one line that names it."""


class _Unwanted(Protocol):
    """A connection too many."""

    transport: Connection

    def connectionMade(self) -> None:
        if ISSLTransport.providedBy(self.transport):  # there, closing waits for the peer
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()


class _DeviceFactory(Factory):
    """Makes the sessions of one listener."""

    noisy = False
    port: Any = None

    def __init__(self, sessions: "DeviceListeners", *, carries_commands: bool, proxies: Networks | None) -> None:
        self._sessions = sessions
        self._carries_commands = carries_commands
        self._proxies = proxies

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        if self.port is not None:
            self.port.numberAccepts = ACCEPTS_A_TURN
        if self._proxies is not None:
            return self._sessions.admit_proxy(addr, self._proxies, self._session) or _Unwanted()
        # Always a protocol: Twisted's TLS does not understand None.
        return self._sessions.admit(addr, carries_commands=self._carries_commands) or _Unwanted()

    def _session(self, header: Header) -> Protocol:
        return self._sessions.admit(None, carries_commands=self._carries_commands, proxied=header) or _Unwanted()


class DeviceListeners:
    """The way in for devices.

    :param around: what the sessions work with.
    :param max_connections: how many may stand at once; one more is closed unanswered.
    """

    def __init__(self, around: Context, max_connections: int) -> None:
        self._context = around
        self._max_connections = max_connections
        self._ports: dict[str, IListeningPort] = {}
        self._connections: set[Session] = set()
        self._gates: set[ProxyGate] = set()
        self._all_gone: Deferred[None] | None = None
        self._wheel = IdleWheel(around.clock, around.limits.idle_timeout)
        self._take_out = self._gone  # one method object for all sessions

    def __len__(self) -> int:
        """Count the open connections of devices."""
        return len(self._connections)

    def by_role(self) -> dict[str, int]:
        """Connections standing, by what they are used for; ``login``: they are no device's, or not yet."""
        counts = {role.value: 0 for role in Role}
        for session in self._connections:
            if session.hostid is None:
                counts["login"] += 1
            elif session.carries_commands:
                counts["live"] += 1
            else:
                counts["historic"] += 1
        return counts

    async def listen(self, listeners: Iterable[Listener]) -> None:
        """Listen on all endpoints.

        :raises ListenError: an address is taken, not ours, or none; nothing is listened on then.
        """
        for listener in listeners:
            factory = _DeviceFactory(self, carries_commands=listener.roles != {Role.HISTORIC}, proxies=listener.proxies)
            try:
                port = await listener.endpoint.listen(factory)
            except (CannotListenError, OSError, OverflowError, ValueError) as error:
                self._stop_listening()
                raise ListenError(f"server.{min(listener.roles)}: {listener.string}: {error}") from None
            factory.port = port
            self._ports[listener.string] = port
            log.info(
                "devices connect to {address} ({roles})", address=_named(port), roles=", ".join(sorted(listener.roles))
            )

    def tcp_port(self, string: str) -> int | None:
        """The TCP port of a listener; None: it has none.

        :param string: the listener's endpoint string.
        """
        address = self._ports[string].getHost()
        return address.port if isinstance(address, IPv4Address | IPv6Address) else None

    def admit(
        self, address: IAddress | None, *, carries_commands: bool, proxied: Header | None = None
    ) -> Session | None:
        """Make the session for a connection from an address, or from where a proxy says; None: there are too many."""
        host = getattr(address, "host", "") if proxied is None else proxied.source
        if not self._has_room(host):
            return None
        session = Session(
            self._context, carries_commands=carries_commands, gone=self._take_out, wheel=self._wheel, proxied=proxied
        )
        self._connections.add(session)
        return session

    def admit_proxy(
        self, address: IAddress | None, proxies: Networks, session: Callable[[Header], Protocol]
    ) -> ProxyGate | None:
        """Make what reads the header of a proxy; None: the peer is none that is believed, or there are too many."""
        host = getattr(address, "host", "")
        if host not in proxies:
            self._refused(host, Reason.UNTRUSTED_PROXY, "closed unanswered: not in server.trusted_proxies", b"")
            return None
        if not self._has_room(host):
            return None
        gate = ProxyGate(self._context.clock, session, partial(self._refused, host), self._gates.discard)
        self._gates.add(gate)
        return gate

    def _has_room(self, host: str) -> bool:
        if len(self._connections) + len(self._gates) < self._max_connections and self._all_gone is None:
            return True
        self._refused(host, Reason.TOO_MANY_CONNECTIONS, "closed unanswered: too many connections", b"")
        return False

    def _refused(self, host: str, reason: Reason, why: str, said: bytes) -> None:
        self._context.counters.peer_errors[reason] += 1
        self._context.peer_log.fault(host, why, said)

    def _gone(self, session: Session) -> None:
        self._connections.discard(session)
        if self._all_gone is not None and not self._connections:
            self._all_gone.callback(None)

    async def stop(self) -> None:
        """Take no more connections; close those that stand and wait for their end, two seconds at most each."""
        await self._stop_listening()
        for gate in tuple(self._gates):
            gate.drop()
        if not self._connections:
            return
        log.info("closing {count} connections", count=len(self._connections))
        self._all_gone = Deferred()
        for session in tuple(self._connections):
            try:
                session.close()
            except Exception:
                log.failure("while closing a connection")
                session.transport.abortConnection()
        await self._all_gone

    def _stop_listening(self) -> Deferred[list[object]]:
        ports, self._ports = self._ports, {}
        return gatherResults([maybeDeferred(port.stopListening) for port in ports.values()])


def _named(port: IListeningPort) -> str:
    address = port.getHost()
    if isinstance(address, IPv4Address | IPv6Address):
        return f"{address.host} port {address.port}"
    return str(address)


def roles_by_endpoint(listeners: Mapping[Role, Sequence[str]]) -> dict[str, frozenset[Role]]:
    """Endpoint string -> the roles that it has: equal strings are one port."""
    found: dict[str, frozenset[Role]] = {}
    for role, strings in listeners.items():
        for string in strings:
            found[string] = found.get(string, frozenset()) | {role}
    return found
