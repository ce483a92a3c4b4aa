"""One TCP connection to a server: messages out, answers and commands in."""

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.wire import messages
from cmmd.wire.errors import MessageError, PeerError, Reason
from cmmd.wire.messages import Answer, DeviceMessage, LoginAnswer, Reset, ServerMessage, TimingAnswer, WriteConfig
from cmmd.wire.quoting import quoted
from cmmd.wire.reading import read_from_server
from cmmd.wire.splitter import Splitter

__all__ = [
    "ANSWER_TIMEOUT_S",
    "Command",
    "LinkError",
    "ServerAnswer",
    "ServerConnection",
    "Standstill",
    "never_stood_still",
]

ANSWER_TIMEOUT_S = 20.0
"""How long a server may take to answer."""

CLOSE_TIMEOUT_S = 1.0
"""How long a connection may take to get its last bytes out."""

Command = WriteConfig | Reset
"""What a server sends by itself."""

ServerAnswer = Answer | LoginAnswer | TimingAnswer
"""What a server sends because it was asked."""

Standstill = Callable[[], float]
"""For how many seconds, until just now, this process stood still; 0: it did not."""


def never_stood_still() -> float:
    """Where nobody looks."""
    return 0.0


# The answers that come all day, byte for byte as cmmd writes them: no need to read them each time.
_USUAL: dict[bytes, ServerMessage] = {
    messages.ANSWER_REQDATA: Answer(method="reqdata"),
    messages.ANSWER_HB: Answer(method="HB"),
    messages.ANSWER_LONGCON: Answer(method="LongCon"),
}


class LinkError(Exception):
    """The server, or the way to it, does not let the link go on. The text is fit for a log."""


class ServerConnection(Protocol):
    """Asks the server and hands its commands on. What makes no sense ends the connection, with a :exc:`LinkError`.

    :param clock: for the timeouts.
    :param log: where to say what was ignored.
    :param stood_still: what is read after a standstill is of unknown age, and ends the connection unread.
    :ivar on_command: takes what the server sends by itself; nobody: it is ignored.
    :ivar on_end: called once when the connection can no longer be used, with the reason.
    """

    def __init__(self, clock: IReactorTime, log: Logger, stood_still: Standstill = never_stood_still) -> None:
        self._clock = clock
        self._log = log
        self._stood_still = stood_still
        self._splitter = Splitter()
        self._waiting: dict[str, Deferred[ServerAnswer]] = {}  # by the method of the answer
        self._error: LinkError | None = None  # why the connection can no longer be used
        self._lost = False
        self._closed: Deferred[None] | None = None
        self._unknown_methods = 0
        self.on_command: Callable[[Command], None] | None = None
        self.on_end: Callable[[LinkError], None] | None = None

    def connectionMade(self) -> None:
        """Send each message at once: a module's messages never share a segment."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    # --- out ---------------------------------------------------------------------------------------------------------

    def send(self, message: DeviceMessage) -> None:
        """Send one message in one write.

        :raises LinkError: the connection has ended.
        """
        if self._error is not None:
            raise self._error
        assert self.transport is not None
        self.transport.write(messages.encode(message))

    async def ask(self, message: DeviceMessage, method: str) -> ServerAnswer:
        """Send a message and wait for its answer. One question per method at a time.

        :param method: the method of the answer.
        :raises LinkError: no answer within :data:`ANSWER_TIMEOUT_S`, or the connection ended first.
        """
        assert method not in self._waiting
        self.send(message)
        answer: Deferred[ServerAnswer] = Deferred()
        self._waiting[method] = answer
        answer.addTimeout(ANSWER_TIMEOUT_S, self._clock)
        try:
            return await answer
        except DeferredTimeoutError:
            raise LinkError(f"no answer to {method} within {ANSWER_TIMEOUT_S:.0f} s") from None
        finally:
            self._waiting.pop(method, None)

    async def close(self) -> None:
        """End the connection and wait until it is gone: what was sent gets a second to leave, then it is cut.

        Cancelling cuts it at once, and still waits for it to be gone.
        """
        self._end(LinkError("closed by us"))
        if self._lost:
            return
        assert self.transport is not None
        self.transport.loseConnection()
        cut = self._clock.callLater(CLOSE_TIMEOUT_S, self._abort)
        cancelled: CancelledError | None = None
        while not self._lost:
            self._closed = Deferred()
            try:
                await self._closed
            except CancelledError as error:
                cancelled = error
                self._abort()
        if cut.active():
            cut.cancel()
        if cancelled is not None:
            raise cancelled

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""
        self._end(LinkError("cut by us"))
        if not self._lost:
            self._abort()

    # --- in ----------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take what came: none, one or several messages."""
        stood_still_s = self._stood_still()
        if stood_still_s:
            self._give_up(LinkError(f"this process stood still for {stood_still_s:.0f} s: what came may be as old"))
            return
        self._splitter.feed(data)
        while self._error is None:
            try:
                document = self._splitter.next_document()
                if document is None:
                    return
                message = _USUAL.get(document) or read_from_server(document)
            except MessageError as error:
                if error.reason is Reason.UNKNOWN_METHOD:
                    self._ignore_unknown_method()
                else:
                    self._misunderstood(error)
            except PeerError as error:
                self._misunderstood(error)
            else:
                self._take(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._lost = True
        self._end(LinkError(f"connection lost: {reason.getErrorMessage()}"))
        if self._closed is not None and not self._closed.called:
            self._closed.callback(None)

    def _take(self, message: ServerMessage) -> None:
        if isinstance(message, Command):
            if self.on_command is not None:
                self.on_command(message)
        elif message.method == "error":
            self._give_up(LinkError(f"the server did not understand: {quoted(message.message)}"))
        else:
            answer = self._waiting.pop(message.method, None)  # an answer that nobody waits for is harmless
            if answer is not None:
                answer.callback(message)

    def _ignore_unknown_method(self) -> None:
        """A newer server may say more than we know: no reason to part, but worth a line."""
        self._unknown_methods += 1
        if self._unknown_methods == 1:
            self._log.info("a message with an unknown method came from the server and was ignored")

    def _misunderstood(self, error: PeerError) -> None:
        self._give_up(LinkError(f"nonsense from the server ({error.reason}): {quoted(error)}"))

    def _give_up(self, error: LinkError) -> None:
        self._end(error)
        self._abort()

    def _abort(self) -> None:
        cast("ITCPTransport", self.transport).abortConnection()

    def _end(self, error: LinkError) -> None:
        """Tell everybody who waits, once."""
        if self._error is not None:
            return
        self._error = error
        for answer in list(self._waiting.values()):
            answer.errback(error)
        if self.on_end is not None:
            self.on_end(error)
