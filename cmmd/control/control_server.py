"""All connections of programs, from open doors to an orderly end."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection as TCPConnection
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from cmmd.control.connection import Connection, ConnectionContext
from cmmd.control.listeners import Door, SocketInUse, clear_stale
from cmmd.control.responder import Responder
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.service.operations import ControlService

__all__ = ["LONGEST_CLOSE_S", "MOST_CONNECTIONS", "ControlServer", "DoorError"]

log = Logger()

MOST_CONNECTIONS = 100
"""At one door at once: strangers at one lock no caller out of the others. Of more the oldest one that has shown no
certificate makes room, or else the oldest idle one, or else the new one: a stop is not kept out by idle ones."""

LONGEST_CLOSE_S = 2.0
"""Seconds that answers have to leave in when everything ends."""


class DoorError(Exception):
    """A door cannot be opened; one line that names it."""


class _Unwanted(Protocol):
    """A connection too many."""

    transport: TCPConnection

    def connectionMade(self) -> None:
        self.transport.abortConnection()


class _Programs(Factory):
    """Makes the connections of one door."""

    noisy = False

    def __init__(self, door: Door, around: ConnectionContext) -> None:
        self._door = door
        self._context = around
        self.connections: dict[Connection, None] = {}  # the oldest first
        self.all_gone: Deferred[None] | None = None

    def buildProtocol(self, _: IAddress | None) -> Protocol:
        if len(self.connections) >= MOST_CONNECTIONS and not self._makes_room():
            more = self._context.log_limit.allows(self._door.string)
            if more is not None:
                log.warn("control: {door}: too many connections; one closed{more}", door=self._door.string, more=more)
            return _Unwanted()
        connection = Responder(
            self._context,
            known=self._door.known,
            role=self._door.role,
            counts=self._door.counts,
            gone=self._gone,
            handshake=self._door.tls is not None,
        )
        self.connections[connection] = None
        return connection

    def _makes_room(self) -> bool:
        """End the connection that is needed least; False: all of them are in use."""
        may_go = [one for one in self.connections if one.needs_handshake or one.idle]
        if not may_go:
            return False
        one = min(may_go, key=lambda one: not one.needs_handshake)  # the oldest one of the first that there are
        one.abort()
        return True

    def _gone(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        if not self.connections and self.all_gone is not None:
            self.all_gone.callback(None)

    def end(self) -> Deferred[None]:
        """Let what was answered leave, and end all connections.

        :return: fires when there are none any more.
        """
        self.all_gone = Deferred()
        for connection in tuple(self.connections):
            connection.close()
        if not self.connections:
            self.all_gone.callback(None)
        return self.all_gone


class ControlServer:
    """The way in for programs.

    :param doors: where.
    :param operations: what they can have done.
    :param clock: for whatever waits.
    """

    def __init__(self, doors: Sequence[Door], operations: ControlService, clock: IReactorTime) -> None:
        self._doors = doors
        self._clock = clock
        self._context = ConnectionContext(operations=operations, clock=clock, log_limit=LogLimit(clock))
        self._factories: list[_Programs] = []
        self._ports: list[IListeningPort] = []

    def __len__(self) -> int:
        """Count the open connections of programs."""
        return sum(len(factory.connections) for factory in self._factories)

    @property
    def ports(self) -> Sequence[IListeningPort]:
        """List the listening ports, in the order of the doors."""
        return tuple(self._ports)

    async def listen(self) -> None:
        """Take connections. Call it with the state directory locked.

        :raises DoorError: an address is taken, or not ours; nothing is listened on then.
        """
        for door in self._doors:
            factory = _Programs(door, self._context)
            wrapped = factory if door.tls is None else TLSMemoryBIOFactory(door.tls, False, factory, self._clock)
            try:
                if door.socket is not None:
                    clear_stale(door.socket)
                port = await door.endpoint.listen(wrapped)
            except (SocketInUse, CannotListenError, OSError, OverflowError, ValueError) as error:
                await self._stop_listening()
                raise DoorError(f"control: {door.string}: {error}") from None
            self._factories.append(factory)
            self._ports.append(port)
            log.info("control port: {door}", door=door.socket or door.string)

    def reload(self) -> None:
        """Read certificates again; where they cannot be used, those from before stay."""
        for tls in {id(door.tls): door.tls for door in self._doors if door.tls is not None}.values():
            tls.reload()

    async def stop(self) -> None:
        """Take no more connections; let what was answered leave, two seconds at most, and end them all."""
        await self._stop_listening()
        late = self._clock.callLater(LONGEST_CLOSE_S, self._abort)
        await DeferredList([factory.end() for factory in self._factories])
        if late.active():
            late.cancel()

    def _abort(self) -> None:
        for factory in self._factories:
            for connection in tuple(factory.connections):
                connection.abort()

    async def _stop_listening(self) -> None:
        ports, self._ports = self._ports, []
        # A socket file that was removed is no reason not to end.
        await DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
