"""Connections of browsers and programs: HTTP/1.1 within limits that strangers cannot stretch."""

from collections import deque
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.web.http.access import is_loopback
from cmmd.web.http.admission import Admission, ReadingBudget
from cmmd.web.http.browser_sessions import Cookies
from cmmd.web.http.channel import Channel
from cmmd.web.http.problems import MEDIA_TYPE, Refused, encoded, problem_of
from cmmd.web.http.request import HEADERS, LimitedRequest

__all__ = [
    "REQUEST_S",
    "Limited",
    "LimitedSite",
]

log = Logger()

MOST_HEADERS = 100
"""Header fields of one request. A browser behind two proxies sends about 40."""

BYTES_A_RECEIVE = 8 * 1024
"""The most of one connection that is parsed in one turn of the reactor, so that devices never wait long for theirs."""

REQUEST_S = 30.0
"""Seconds that a request may take to come in, from its first byte."""

IDLE_S = 75.0
"""Seconds without a byte between two requests."""

ANSWERED_ONCE_S = 5.0
"""Seconds that a request may take to come in for which there is no room."""

LINGER_S = 2.0
"""Seconds that a connection is still read, and not listened to, after a request that was refused halfway."""


class Limited(Channel):
    """A connection of an HTTP client, within limits.

    :ivar address: of the other end; empty: it counts with no other one.
    :ivar caller: who has been shown to be there; empty: a stranger.
    :ivar no_room: why there is no room for it, so that it is answered once; empty: it has a place.
    """

    address = ""
    caller = ""
    no_room = ""
    transport: Any
    site: "LimitedSite"
    requestFactory = LimitedRequest
    maxHeaders = MOST_HEADERS

    def __init__(self) -> None:
        super().__init__()
        self._patience: IDelayedCall | None = None
        self._refused = False
        self._answered: Any = None
        self._next_turn: IDelayedCall | None = None
        self._held: deque[bytes] = deque()  # received, and not read yet

    @property
    def idle(self) -> bool:
        """Tell whether nothing is being answered."""
        return not self.handles_request or self._answered is not None

    def connectionMade(self) -> None:
        """Limit how much is read at once, and count the connection."""
        super().connectionMade()
        _socket_below(self.transport).bufferSize = BYTES_A_RECEIVE
        self.site.admission.come(self)
        if self.no_room:
            self._set_patience(self.site.clock.callLater(ANSWERED_ONCE_S, self._too_slow))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the request: the client has gone."""
        self._set_patience(None)
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self._held.clear()
        self.site.budget.forget(self)
        super().connectionLost(reason)
        self.site.admission.gone(self)

    def known_as(self, caller: str, *, admin: bool) -> None:
        """Note who is at the other end.

        :raises Refused: there is no room.
        """
        if caller != self.caller or self.no_room:
            self.site.admission.known(self, caller, admin=admin)

    def dataReceived(self, data: bytes) -> None:
        """Take the bytes of one receive, to be read when the budget allows it."""
        if not self._refused:
            self._held.append(data)
            self.site.budget.read(self)

    def setLineMode(self, extra: bytes = b"") -> None:
        """Read the next request, of which ``extra`` has come before the bytes that are held."""
        self.line_mode = 1
        if extra:
            self._held.appendleft(extra)
            self.site.budget.read(self)

    def wait(self) -> None:
        """Receive no more bytes until ``read_on``."""
        self.transport.pauseProducing()

    def read_on(self) -> None:
        """Receive bytes again, unless Twisted has a reason of its own not to."""
        if not (self.backed_up or self.holds_too_much or self.transport.disconnecting):
            self.receive_again()

    def read_held(self) -> None:
        """Read the bytes that are held.

        An exception of the parser ends the connection here. The reactor would log a traceback for each one, and a
        client that repeats its request would fill a disk with them.
        """
        data = b"".join(self._held)
        self._held.clear()
        if self._refused:
            return
        if self._patience is None and not self.handles_request:
            self._set_patience(self.site.clock.callLater(REQUEST_S, self._too_slow))
        try:
            super().dataReceived(data)
        except Exception:
            self.site.parser_failed(Failure())
            self.forceAbortClient()

    def lineReceived(self, line: bytes) -> None:
        """Read one line of a head. A folded header, which RFC 9112 lets a server refuse, costs as much as a whole one
        and is not counted as one.
        """
        if line.startswith((b" ", b"\t")):
            self.bad_request()
        else:
            super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """Read one header; a Content-Length of thousands of digits is none that Python converts."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            self.bad_request()
            return False

    def rawDataReceived(self, data: bytes) -> None:
        """Read bytes of a body, or keep those of the next request."""
        if self._refused:
            return
        try:
            super().rawDataReceived(data)
        except Refused as error:
            self.refuse(error)
            return
        if self.handles_request and self.holds_too_much:
            self.receive_no_more()  # Twisted does not while the transport is backed up

    def lineLengthExceeded(self, _: bytes) -> None:
        """A line of the head is endless."""
        self.refuse(Refused("uri_too_long", "a line of the request is too long"))

    def allContentReceived(self) -> None:
        """A request is there."""
        if not self._refused:
            self._set_patience(None)
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """A request is answered. The next one has to wait for a turn of the reactor, and for the answer to leave."""
        if not self.persistent:
            super().requestDone(request)
            return
        self._answered = request
        self.restart_timeout()
        self._take_next_soon()

    def resumeProducing(self) -> None:
        """The transport wants more."""
        super().resumeProducing()
        if self._answered is not None:
            self._take_next_soon()

    def _take_next_soon(self) -> None:
        if self._next_turn is None:
            self._next_turn = self.site.clock.callLater(0, self._take_next)

    def _take_next(self) -> None:
        self._next_turn = None
        if not self.backed_up:
            answered, self._answered = self._answered, None
            super().requestDone(answered)

    def _too_slow(self) -> None:
        self._patience = None
        self.forceAbortClient()

    def _set_patience(self, timer: IDelayedCall | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = timer

    def timeoutConnection(self) -> None:
        """Nothing has come for long."""
        self.abort_after(LINGER_S)

    def refuse(self, error: Refused) -> None:
        """Answer a request that is not there yet, or cannot be read, and end the connection after that."""
        if self._refused:
            return
        self._refused = True
        self.clearLineBuffer()  # or each line that is left in it would be cut off, for nothing
        problem, _ = problem_of(error)
        body = encoded(problem)
        head = [b"HTTP/1.1 %d %s" % (problem.status, problem.title.encode("ascii"))]
        head += [b"%s: %s" % pair for pair in HEADERS]
        head += [b"Content-Type: " + MEDIA_TYPE.encode(), b"Content-Length: %d" % len(body), b"Connection: close"]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        # Closed at once, the kernel's reset would overtake the answer while more of the request comes.
        self.setTimeout(None)
        self._set_patience(self.site.clock.callLater(LINGER_S, self._lingered))

    def _lingered(self) -> None:
        self._patience = None
        self.forceAbortClient()

    def bad_request(self) -> None:
        """Answer with a problem, as every refusal."""
        self.refuse(Refused("bad_argument", "that is not HTTP/1.1, or too many headers"))

    def takes_expectation(self) -> bool:
        """Tell whether the request that is announced has not been refused."""
        return not self._refused


class LimitedSite(Site):
    """The connections of all endpoints, and what is at which address.

    :param clock: for whatever waits.
    :param cookies: how the session's is called; None: without an instance.
    :ivar cookies: the same.
    :ivar budget: how much time all connections get in one turn of the reactor.
    """

    protocol: Any = Limited
    noisy = False

    def __init__(self, root: Any, clock: IReactorTime, cookies: Cookies | None = None) -> None:
        # Twisted sets what it parses on each request, from here: an attribute of the request class would not do.
        super().__init__(
            root, requestFactory=LimitedRequest, parsePOSTFormSubmission=False, timeout=IDLE_S, reactor=clock
        )
        self.clock = clock
        self.cookies = cookies or Cookies()
        self.budget = ReadingBudget(clock)
        self._log_limit = LogLimit(clock)
        self.displayTracebacks = False
        self.admission = Admission(clock)

    def __len__(self) -> int:
        """Count the open connections of clients."""
        return len(self.admission)

    def startFactory(self) -> None:
        """No log of every access."""

    def stopFactory(self) -> None:
        """Do nothing: no log file was opened."""

    def log(self, _: object) -> None:
        """Write no access log."""

    def parser_failed(self, failure: Failure) -> None:
        """Log a bug in how a request is read, a few times for each type of exception."""
        more = self._log_limit.allows(str(failure.type))
        if more is not None:
            log.failure("web: while reading a request{more}", failure, more=more)

    def buildProtocol(self, addr: Any) -> Any:
        """Build the connection of a new client."""
        host = str(getattr(addr, "host", ""))
        channel = super().buildProtocol(addr)
        channel.address = "" if is_loopback(host) else host
        channel.callLater = self.clock.callLater
        return channel

    def end_idle(self) -> None:
        """End those on which nothing is being answered."""
        for channel in self.admission:
            if channel.idle:
                channel.loseConnection()

    def end(self) -> None:
        """End all connections, now."""
        for channel in self.admission:
            channel.forceAbortClient()


def _socket_below(transport: Any) -> Any:
    """Return the transport that reads from the socket: TLS is a layer above it."""
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    return transport
