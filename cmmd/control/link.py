"""The client's connection to the daemon: where it is, how it is made again when it is lost, what it brings unasked.

Nothing is sent twice, and no request waits for a connection: without one it fails at once. A request that waited could
start an engine when the daemon comes back, long after the operator has gone to the machine.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct
from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet import protocol as twisted_protocol
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.control import commands
from cmmd.control.errors import BadArgument, CannotConnect, NotUnderstood, OutcomeUnknown
from cmmd.endpoints import split_endpoint
from cmmd.store.records import Command, Event
from cmmd.tls.reasons import why

if TYPE_CHECKING:
    from cmmd.tls.files import TLSFiles

__all__ = [
    "ALIVE_S",
    "ATTEMPT_S",
    "FIRST_RETRY_S",
    "LONGEST_RETRY_S",
    "RETRY",
    "SOCKET",
    "Ask",
    "Link",
    "Notification",
    "client_endpoint",
]

log = Logger()

# --- where the daemon is ---------------------------------------------------------------------------------------------


SOCKET = "control.sock"
"""Of a daemon, in its state directory, where the configuration says nothing else."""

_FILES = ("certificate", "key", "ca")


def client_endpoint(where: Path | str, reactor: Any, tls: "TLSFiles | None" = None) -> IStreamClientEndpoint:
    """The way to a daemon.

    :param where: its state directory; or ``unix:PATH``; or ``tls:HOST:PORT:ca=FILE:certificate=FILE:key=FILE``, with
        ``:name=NAME`` where the certificate of the daemon is for another name than HOST.
    :param tls: the files, where the string does not name them.
    :raises ValueError: something else, or files that cannot be used.
    """
    if isinstance(where, Path):
        return UNIXClientEndpoint(reactor, str(where / SOCKET))
    scheme, places, named = split_endpoint(where)
    if scheme == "unix" and len(places) == 1 and not named:
        return UNIXClientEndpoint(reactor, places[0])
    if scheme == "tls" and len(places) == 2 and places[1].isdecimal() and named.keys() <= {*_FILES, "name"}:
        return _tls_endpoint(places[0], int(places[1]), named, reactor, tls)
    raise ValueError(f"{where!r}: unix:PATH or tls:HOST:PORT:ca=FILE:certificate=FILE:key=FILE expected")


def _tls_endpoint(
    host: str, port: int, named: dict[str, str], reactor: Any, tls: "TLSFiles | None"
) -> IStreamClientEndpoint:
    from cmmd.tls.files import TLSFiles, client_options  # slow to import, and not needed on a UNIX socket

    if tls is None:
        missing = [name for name in _FILES if name not in named]
        if missing:
            raise ValueError(f"tls:{host}:{port}: {', '.join(missing)} missing")
        tls = TLSFiles(**{name: Path(named[name]) for name in _FILES})
    return wrapClientTLS(client_options(named.get("name", host), tls.ca, tls), HostnameEndpoint(reactor, host, port))


# --- notifications ---------------------------------------------------------------------------------------------------


class Notification(Struct, frozen=True, kw_only=True):
    """Everything that has happened since the last notification.

    :ivar events: in the order of their numbers.
    :ivar live: devices with a new upload, and its number.
    :ivar commands: those that have changed, as they are now.
    :ivar missed: events and changed commands that came before these and were left out: the watcher was slow.
    :ivar interrupted: the connection was lost before: there may have been any number of events in between.
    """

    events: list[Event]
    live: dict[str, int]
    commands: list[Command]
    missed: int
    interrupted: bool = False


# --- the connection --------------------------------------------------------------------------------------------------


ATTEMPT_S = 10.0
"""Seconds that a connection may take, and then the first answer."""

ALIVE_S = 20.0
"""Seconds of silence before the daemon is asked whether it lives, and how long it may take to say so."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0

RETRY = backoffPolicy(FIRST_RETRY_S / 2, LONGEST_RETRY_S, factor=2.0)
"""Seconds before the next attempt: doubling from FIRST_RETRY_S to LONGEST_RETRY_S, and up to one more at random."""

CONNECTING = "no connection yet"


class Ask(Protocol):
    """Sends one request to the daemon."""

    def __call__(self, command: type[amp.Command], **arguments: Any) -> Coroutine[Deferred[Any], Any, dict[str, Any]]:
        """Send a command once.

        :return: its answer.
        :raises ControlError: it was not done, or the outcome is unknown.
        """


class _Protocol(amp.AMP):
    """The AMP protocol of one connection."""

    transport: Any

    def __init__(self, hear: Callable[[Notification], object], clock: IReactorTime) -> None:
        super().__init__()
        self._hear = hear
        self._clock = clock
        self._waiting: Deferred[bool] | None = None
        self.standing = False
        self.lost = ""
        self.heard = False
        self.told: IProtocol | None = None  # of ClientService: is notified of the end

    def makeConnection(self, transport: Any) -> None:
        self.standing = True
        amp.BinaryBoxProtocol.makeConnection(self, transport)  # AMP's own logs every one

    def dataReceived(self, data: bytes) -> None:
        self.heard = True
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.standing = False
        self.lost = why(reason.value)
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None
        if self._waiting is not None:
            self._waiting.callback(False)
        if self.told is not None:
            self.told.connectionLost(reason)

    def stands_for(self, seconds: float) -> Deferred[bool]:
        """Fires with True after so many seconds, or with False as soon as the connection is lost."""
        waiting = self._waiting = Deferred()
        timer = self._clock.callLater(seconds, waiting.callback, True)

        def ended(outcome: Any) -> Any:
            self._waiting = None
            if timer.active():
                timer.cancel()
            return outcome

        if not self.standing:
            waiting.callback(False)
        return waiting.addBoth(ended)

    async def end(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abortConnection()
            await self.stands_for(ATTEMPT_S)

    async def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await self.callRemote(command, **arguments)
        except Exception as error:
            if not self.standing:
                raise OutcomeUnknown(f"the connection was lost before the answer: {self.lost}") from None
            if isinstance(error, amp.TooLong):
                raise BadArgument("an argument has more than 65,535 bytes") from None
            if isinstance(error, amp.AmpError | msgspec.MsgspecError | KeyError | ValueError):
                raise NotUnderstood(f"{command.commandName.decode()}: {error}") from None
            raise
        return answer

    @commands.Event.responder
    def _event(self, **news: Any) -> Deferred[dict[str, object]]:
        heard = maybeDeferred(self._hear, Notification(**news))
        heard.addErrback(lambda failure: log.failure("while hearing news", failure))
        return heard.addCallback(lambda _: {})

    def locateResponder(self, name: bytes) -> Any:
        """Only news: no StartTLS."""
        return super().locateResponder(name) if name == commands.Event.commandName else None


class _Transport:
    """The transport as ClientService uses it: it can be closed at once."""

    def __init__(self, protocol: _Protocol) -> None:
        self._protocol = protocol

    def loseConnection(self) -> None:
        if self._protocol.transport is not None:
            self._protocol.transport.abortConnection()


@implementer(IStreamClientEndpoint)
class _GreetingEndpoint:
    """Makes connections on which the daemon has answered a greeting; others are failed attempts.

    A greeting in ``prepareConnection`` would not do: ClientService knows no transition for a connection that is lost
    meanwhile. Therefore it hears of a connection only after the greeting.

    :param ready: called with each such connection.
    :param failed: called with the reason of a failed attempt.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        *,
        hear: Callable[[Notification], object],
        greet: Callable[[Ask], Coroutine[Deferred[Any], Any, object]],
        ready: Callable[[_Protocol], None],
        failed: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._factory = Factory.forProtocol(partial(_Protocol, hear, clock))
        self._factory.noisy = False
        self._greet = greet
        self._ready = ready
        self._failed = failed

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        protocol: Any = None
        try:
            protocol = await self._endpoint.connect(self._factory).addTimeout(ATTEMPT_S, self._clock)
            await in_time(self._greet(protocol.ask), ATTEMPT_S, self._clock)
            if not protocol.standing:
                raise CannotConnect(protocol.lost)
        except Exception as error:
            reason = why(error) if protocol is None or protocol.standing else protocol.lost
            if protocol is not None:
                await protocol.end()
            self._failed(reason)
            raise
        told = factory.buildProtocol(None)  # type: ignore[arg-type]  # the address is not used
        assert told is not None
        told.makeConnection(_Transport(protocol))  # type: ignore[arg-type]
        protocol.told = told
        self._ready(protocol)
        return told


class Link:
    """Keeps a connection while it runs.

    :param endpoint: where to.
    :param hear: is given the news that the daemon sends; the next ones come when its result has fired.
    :param greet: called with each new connection before others may use it.
    :param retry: seconds before an attempt, by how many have failed.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        *,
        hear: Callable[[Notification], object],
        greet: Callable[[Ask], Coroutine[Deferred[Any], Any, object]],
        retry: Callable[[int], float] = RETRY,
    ) -> None:
        self._clock = clock
        self.unrecorded = False
        self._protocol: _Protocol | None = None
        self._missing = "not started"  # why there is no connection
        self._waiting: list[Deferred[None]] = []
        greeting = _GreetingEndpoint(endpoint, clock, hear=hear, greet=greet, ready=self._ready, failed=self._failed)
        factory = Factory.forProtocol(twisted_protocol.Protocol)
        factory.noisy = False
        self._service = ClientService(greeting, factory, retry, clock)

    async def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """Send a command once, on the connection that is open now.

        :return: its answer.
        :raises CannotConnect: there is no connection: nothing was sent, and nothing will be.
        :raises OutcomeUnknown: the connection was lost before the answer.
        """
        protocol = self._protocol
        if protocol is None:
            raise CannotConnect(self._missing)
        if not protocol.standing:
            raise CannotConnect(protocol.lost)
        answer = await protocol.ask(command, **arguments)
        self.unrecorded = answer.get("recorded") is False
        return answer

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        if not self._service.running:
            self._missing = CONNECTING
            self._service.startService()

    def connected(self) -> Deferred[None]:
        """Wait for the end of the first attempt after a start.

        :return: fires when there is a connection; fails with CannotConnect where there is none by then, at once where
            an attempt has failed before.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if self._protocol is not None or self._missing != CONNECTING:
            self._tell()
        return waiting

    def stop(self) -> Deferred[None]:
        """End the connection, and make no other. What is unanswered fails with OutcomeUnknown.

        :return: fires when it has ended.
        """
        if not self._service.running:
            return succeed(None)
        self._protocol, self._missing = None, "stopped"
        self._tell()
        return self._service.stopService()

    def _ready(self, protocol: _Protocol) -> None:
        self._protocol = protocol
        self._tell()
        Deferred.fromCoroutine(self._look_after(protocol)).addErrback(
            lambda failure: log.failure("while a connection is looked after", failure)
        )

    def _failed(self, reason: str) -> None:
        if self._service.running:
            self._missing = reason
        self._tell()

    def _tell(self) -> None:
        """Notify waiting callers in a turn of the reactor of its own, since they can stop the link."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if self._protocol is not None:
                self._clock.callLater(0, one.callback, None)
            else:
                self._clock.callLater(0, one.errback, CannotConnect(self._missing))

    async def _look_after(self, protocol: _Protocol) -> None:
        """Make sure, time and again, that the daemon answers, and end a connection on which it does not."""
        reason = ""
        while await protocol.stands_for(ALIVE_S):
            try:
                await self._still_alive(protocol)
            except Exception as error:
                if protocol.standing:
                    reason = why(error)
                    await protocol.end()
        if self._protocol is protocol:
            self._protocol, self._missing = None, reason or protocol.lost

    async def _still_alive(self, protocol: _Protocol) -> None:
        """Make sure that the daemon answers. Whatever comes from it says so: it may have much to do."""
        if not protocol.heard:
            try:
                await in_time(protocol.ask(commands.Status), ALIVE_S, self._clock)
            except NotInTime:
                if not protocol.heard:
                    raise
        protocol.heard = False


def in_time(asking: Coroutine[Deferred[Any], Any, Any], seconds: float, clock: IReactorTime) -> Deferred[Any]:
    """Give up waiting for something after so many seconds: a TimeoutError of Twisted's."""
    return Deferred.fromCoroutine(asking).addTimeout(seconds, clock)
