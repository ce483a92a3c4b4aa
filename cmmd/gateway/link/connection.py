"""One TCP connection to a server: messages out, answers and commands in."""

from collections import deque
from collections.abc import Callable
from typing import cast

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.gateway.link.address import Address, EndpointFactory
from cmmd.wire import messages
from cmmd.wire.errors import FrameError, MessageError
from cmmd.wire.messages import Answer, DeviceMessage, LoginAnswer, Reset, ServerMessage, TimingAnswer, WriteConfig
from cmmd.wire.quoting import quoted
from cmmd.wire.reading import read_from_server
from cmmd.wire.retcodes import Retcode
from cmmd.wire.splitter import Splitter

__all__ = [
    "ANSWER_TIMEOUT_S",
    "SEND_GAP_S",
    "Command",
    "Connector",
    "LinkError",
    "NotAnswered",
    "ServerAnswer",
    "ServerConnection",
    "Standstill",
    "never_stood_still",
]


ANSWER_TIMEOUT_S = 20.0
"""How long a server may take to answer."""

CLOSE_TIMEOUT_S = 1.0
"""How long a connection may take to get its last bytes out."""

SEND_GAP_S = 0.2
"""The least time between two messages, unless the server has answered the first one. Some servers parse one message
from what one receive gives, and lose the second one of a segment, or both."""

MOST_UNSENT = 10
"""Messages that wait for their turn; of more than that the first ones leave at once. A server that sends so many orders
must not have the device late with its heartbeat."""

Command = WriteConfig | Reset
"""What a server sends by itself."""

ServerAnswer = Answer | LoginAnswer | TimingAnswer
"""What a server sends because it was asked."""

Standstill = Callable[[], float]
"""For how many seconds, until just now, this process stood still; 0: it did not."""


def never_stood_still() -> float:
    """Report no stall: the clock is not watched."""
    return 0.0


_ANSWERED_BY = {"reqdatachange": "reqdata"}
"""Methods of answers, by those of the questions that wait for them (4.5)."""

_REFUSABLE = ("LongCon", "HB", "reqdata")
"""Questions whose answer says no more than that something was taken, or refused."""

# The answers that come all day, byte for byte as cmmd writes them: no need to read them each time.
_USUAL: dict[bytes, ServerMessage] = {
    messages.ANSWER_REQDATA: Answer(method="reqdata"),
    messages.ANSWER_HB: Answer(method="HB"),
    messages.ANSWER_LONGCON: Answer(method="LongCon"),
}


class LinkError(Exception):
    """The server, or the way to it, does not let the link go on. The text is fit for a log."""


class NotAnswered(LinkError):
    """The server has not answered a question in time. The connection stays open."""


class ServerConnection(Protocol):
    """Asks the server and hands its commands on.

    What is no JSON ends the connection, with a :exc:`LinkError`: from there on it is unknown where messages begin, and
    one of them may be an order. A message that makes no sense is ignored, unless it answers a question, which fails.

    :param clock: for the timeouts.
    :param log: where to say what was ignored.
    :param stood_still: what is read after a standstill is of unknown age, and ends the connection unread.
    :ivar on_command: takes what the server sends by itself; None: it is ignored.
    :ivar on_end: called once when the connection can no longer be used, with the reason.
    """

    def __init__(self, clock: IReactorTime, log: Logger, stood_still: Standstill = never_stood_still) -> None:
        self._clock = clock
        self._log = log
        self._stood_still = stood_still
        self._splitter = Splitter(take_strings=True)
        self._unsent: deque[tuple[bytes, str | None]] = deque()  # messages, and the methods of their answers
        self._sent_at = clock.seconds() - SEND_GAP_S
        self._unread: str | None = (
            ""  # answer that shows that the server has read what was sent last; None: there is none
        )
        self._sending: IDelayedCall | None = None
        self._waiting: dict[str, Deferred[ServerAnswer]] = {}  # by the method of the answer
        self._error: LinkError | None = None  # why the connection can no longer be used
        self._lost = False
        self._closed: Deferred[None] | None = None
        self._ignored = 0
        self.on_command: Callable[[Command], None] | None = None
        self.on_end: Callable[[LinkError], None] | None = None

    def connectionMade(self) -> None:
        """Send each message at once: a module's messages never share a segment."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    @property
    def peer_host(self) -> str:
        """The address of the server at the other end; empty where there is none."""
        return str(getattr(cast("ITCPTransport", self.transport).getPeer(), "host", ""))

    # --- out ---------------------------------------------------------------------------------------------------------

    def send(self, message: DeviceMessage) -> None:
        """Send one message in one write, :data:`SEND_GAP_S` after the last one or when that was answered.

        :raises LinkError: the connection has ended.
        """
        self._send(message, None)

    def _send(self, message: DeviceMessage, answered_by: str | None) -> None:
        if self._error is not None:
            raise self._error
        self._unsent.append((messages.encode(message), answered_by))
        self._send_what_waits()

    def _send_what_waits(self) -> None:
        """Send until one may still be unread at the server; the rest follows."""
        if self._sending is not None and self._sending.active():
            self._sending.cancel()
        self._sending = None
        while self._unsent and self._error is None:
            pause_s = 0.0 if self._unread == "" else self._sent_at + SEND_GAP_S - self._clock.seconds()
            if pause_s > 0 and len(self._unsent) <= MOST_UNSENT:
                self._sending = self._clock.callLater(pause_s, self._send_what_waits)
                return
            document, self._unread = self._unsent.popleft()
            self._sent_at = self._clock.seconds()
            self._write(document)

    def _write(self, document: bytes) -> None:
        assert self.transport is not None
        self.transport.write(document)

    def _stop_sending(self, *, write_rest: bool) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        while self._unsent:
            document, _ = self._unsent.popleft()
            if write_rest:
                self._write(document)

    async def ask(self, message: DeviceMessage, method: str) -> ServerAnswer:
        """Send a message and wait for its answer. One question per method at a time.

        :param method: the method of the answer.
        :raises NotAnswered: no answer within :data:`ANSWER_TIMEOUT_S`, or one without sense.
        :raises LinkError: the connection ended first.
        """
        assert method not in self._waiting
        answer: Deferred[ServerAnswer] = Deferred()
        self._waiting[method] = answer
        try:
            self._send(message, method)
        except LinkError:
            del self._waiting[method]
            raise
        answer.addTimeout(ANSWER_TIMEOUT_S, self._clock)
        try:
            return await answer
        except DeferredTimeoutError:
            raise NotAnswered(f"no answer to {method} within {ANSWER_TIMEOUT_S:.0f} s") from None
        finally:
            self._waiting.pop(method, None)

    async def close(self) -> None:
        """End the connection and wait until it is gone: what was sent gets a second to leave, then it is cut.

        What waits for its turn is sent at once: it may be the answer to an order. Cancelling cuts the connection at
        once, and still waits for it to be gone.
        """
        if self._error is None:
            self._stop_sending(write_rest=True)
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
                if isinstance(message, Reset) and b"retcode" not in document.lower():
                    message = replace(message, retcode="")  # no acknowledgement
            except MessageError as error:
                self._not_a_message(error)
            except FrameError as error:
                self._give_up(LinkError(f"nonsense from the server ({error.reason}): {quoted(error)}"))
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
        elif "login" in self._waiting and not isinstance(message, LoginAnswer) and message.method != "error":
            self._not_a_message(MessageError(f"{message.method} in place of the answer to the login"))
        elif isinstance(message, Answer) and message.method == "error":
            self._error_came(message)
        else:
            self._answered(_ANSWERED_BY.get(message.method, message.method), message)

    def _answered(self, method: str, message: ServerAnswer | LinkError) -> None:
        """Give an answer to the question of its method; one that is for none is harmless."""
        answer = self._waiting.pop(method, None)
        if answer is None:
            return
        if method == self._unread:
            self._unread = ""
        if isinstance(message, LinkError):
            answer.errback(message)
        else:
            answer.callback(message)
        self._send_what_waits()

    def _error_came(self, message: Answer) -> None:
        """Take an error as the answer to the oldest question: it does not say to which, and servers answer in order.

        So a server that does not know ``timing`` does not end a session with it.
        """
        what = f"the server did not understand: {quoted(message.message)}"
        method = next(iter(self._waiting), None)
        if method is None:
            self._ignore(what)
        elif method in _REFUSABLE:
            code = message.retcode if message.retcode != Retcode.OK else Retcode.NOT_UNDERSTOOD.value
            self._answered(method, Answer(method=method, message=message.message, retcode=code))
        else:
            self._answered(method, NotAnswered(what))

    def _not_a_message(self, error: MessageError) -> None:
        """Ignore what makes no sense; but what comes in place of an answer is one, and fails its question at once."""
        what = f"nonsense from the server ({error.reason}): {quoted(error)}"
        if "login" in self._waiting:  # nothing else belongs on that connection
            self._answered("login", NotAnswered(what))
        elif error.method in self._waiting:
            self._answered(error.method, NotAnswered(what))
        else:
            self._ignore(what)

    def _ignore(self, what: str) -> None:
        """Go on: a newer server can say more than the device knows. The first time it is worth a line."""
        self._ignored += 1
        if self._ignored == 1:
            self._log.info("ignored, and more of that is not logged: {what}", what=what)

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
        self._stop_sending(write_rest=False)
        for answer in list(self._waiting.values()):
            answer.errback(error)
        if self.on_end is not None:
            self.on_end(error)


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
