"""The client's connection: made, looked after, and made again when it is lost. Nothing is ever asked twice."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from cmmd.control import commands
from cmmd.control.errors import BadArgument, CannotConnect, NotUnderstood, OutcomeUnknown
from cmmd.control.notifications import Notification
from cmmd.tls.reasons import why

__all__ = ["ALIVE_S", "ATTEMPT_S", "FIRST_RETRY_S", "LONGEST_RETRY_S", "Ask", "Link"]

log = Logger()

ATTEMPT_S = 10.0
"""Seconds that a connection may take, and then the first answer."""

ALIVE_S = 20.0
"""Seconds of silence before the daemon is asked whether it lives, and how long it may take to say so."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 10.0


class Ask(Protocol):
    """Asks the daemon."""

    def __call__(self, command: type[amp.Command], **arguments: Any) -> Coroutine[Deferred[Any], Any, dict[str, Any]]:
        """Send a command once.

        :return: its answer.
        :raises ControlError: it was not done, or nobody knows.
        """


class _Protocol(amp.AMP):
    """One connection."""

    transport: Any

    def __init__(self, hear: Callable[[Notification], object], clock: IReactorTime) -> None:
        super().__init__()
        self._hear = hear
        self._clock = clock
        self._waiting: Deferred[bool] | None = None
        self.standing = False
        self.lost = ""
        self.heard = False

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
        """End it now."""
        if self.transport is not None:
            self.transport.abortConnection()
            await self.stands_for(ATTEMPT_S)

    async def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """See Ask."""
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


class Link:
    """Keeps a connection while it runs.

    :param endpoint: where to.
    :param hear: is given the news that the daemon sends; the next ones come when its result has fired.
    :param greet: called with each new connection before others may use it.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        *,
        hear: Callable[[Notification], object],
        greet: Callable[[Ask], Coroutine[Deferred[Any], Any, object]],
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._factory = Factory.forProtocol(partial(_Protocol, hear, clock))
        self._factory.noisy = False
        self._greet = greet
        self._protocol: _Protocol | None = None
        self._running: Deferred[None] | None = None
        self._waiting: list[Deferred[_Protocol]] = []
        self._failed: str | None = "not started"
        self._stopping = False
        self._telling = False

    async def ask(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """See Ask. While a connection is being made it waits for that; between two attempts it fails at once.

        :raises CannotConnect: nothing was sent.
        :raises OutcomeUnknown: the connection was lost before the answer.
        """
        protocol = self._protocol
        if protocol is not None and not protocol.standing:
            raise CannotConnect(protocol.lost)
        if protocol is None:
            if self._failed is not None:
                raise CannotConnect(self._failed)
            waiting: Deferred[_Protocol] = Deferred()
            self._waiting.append(waiting)
            protocol = await waiting
        return await protocol.ask(command, **arguments)

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        if self._running is None:
            self._failed, self._stopping = None, False
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> Deferred[None]:
        """End the connection, and make no other. What is unanswered fails with OutcomeUnknown.

        :return: fires when it has ended.
        """
        running, self._running, self._stopping = self._running, None, True
        if running is None:
            return succeed(None)
        if self._telling:  # whoever is told stops us, and what tells him is still at it
            self._clock.callLater(0, running.cancel)
        else:
            running.cancel()
        return running

    async def _run(self) -> None:
        failures = 0
        while True:
            protocol: Any = None
            try:
                protocol = await self._endpoint.connect(self._factory).addTimeout(ATTEMPT_S, self._clock)
                await self._in_time(self._greet(protocol.ask), ATTEMPT_S)
                failures = 0
                self._ready(protocol)
                while await protocol.stands_for(ALIVE_S):
                    await self._still_alive(protocol)
                self._unready(protocol.lost)
            except GeneratorExit:  # nobody runs us any more, and nothing can be waited for
                protocol = None
                raise
            except Exception as error:
                failures += 1
                self._unready(why(error) if protocol is None or protocol.standing else protocol.lost)
            finally:
                if protocol is not None:
                    await protocol.end()
            if self._stopping:
                return
            await deferLater(self._clock, min(FIRST_RETRY_S * 2**failures, LONGEST_RETRY_S))
            self._failed = None

    async def _still_alive(self, protocol: _Protocol) -> None:
        """Make sure that the daemon answers. Whatever comes from it says so: it may have much to do."""
        if not protocol.heard:
            try:
                await self._in_time(protocol.ask(commands.Status), ALIVE_S)
            except NotInTime:
                if not protocol.heard:
                    raise
        protocol.heard = False

    def _in_time(self, asking: Coroutine[Deferred[Any], Any, Any], seconds: float) -> Deferred[Any]:
        return Deferred.fromCoroutine(asking).addTimeout(seconds, self._clock)

    def _ready(self, protocol: _Protocol) -> None:
        self._protocol = protocol
        self._tell(lambda one: one.callback(protocol))

    def _unready(self, reason: str) -> None:
        self._protocol = None
        failed = self._failed = "stopped" if self._stopping else reason
        self._tell(lambda one: one.errback(CannotConnect(failed)))

    def _tell(self, tell: Callable[[Deferred[_Protocol]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        self._telling = True
        for one in waiting:
            tell(one)
        self._telling = False
