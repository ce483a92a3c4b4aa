"""Connections of browsers and programs: HTTP/1.1 within limits that strangers cannot stretch."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

from cmmd.web.access import is_loopback
from cmmd.web.problems import MEDIA_TYPE, Refused, encoded, problem_of, refuse

__all__ = [
    "MOST_BODY_BYTES",
    "MOST_CONNECTIONS",
    "MOST_CONNECTIONS_EACH",
    "REQUEST_S",
    "Limited",
    "LimitedRequest",
    "LimitedSite",
]

log = Logger()

MOST_CONNECTIONS = 300
"""Of more the oldest one makes room whose caller nobody knows, or else the oldest idle one, or else the new one."""

MOST_CONNECTIONS_EACH = 40
"""Of one address, likewise. A Unix socket and this machine, where a proxy may be, may have all."""

MOST_BODY_BYTES = 64 * 1024
MOST_URI_BYTES = 8192

REQUEST_S = 30.0
"""Seconds that a request may take to come in, from its first byte."""

IDLE_S = 75.0
"""Seconds without a byte between two requests."""

LINGER_S = 2.0
"""Seconds that a connection is still read, and not listened to, after a request that was refused halfway."""

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"Server", b"cmmd"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"Cache-Control", b"no-store"),
)
"""Of every answer, unless it says otherwise."""


class LimitedRequest(Request):
    """A request whose body is short, and whose answer is careful."""

    channel: "Limited"
    content: BytesIO
    _parsePOSTFormSubmission = False  # forms are not taken

    def gotLength(self, length: int | None) -> None:
        """Its headers are there."""
        self.content = BytesIO()
        if length is not None and length > MOST_BODY_BYTES:
            self.channel.refuse(Refused("too_large", f"the body has {length} bytes, {MOST_BODY_BYTES} are taken"))

    def handleContentChunk(self, data: bytes) -> None:
        """More of its body is there."""
        if self.content.tell() + len(data) > MOST_BODY_BYTES:
            self.channel.refuse(Refused("too_large", f"the body has more than {MOST_BODY_BYTES} bytes"))
        else:
            self.content.write(data)

    def process(self) -> None:
        """All of it is there."""
        if len(self.uri) > MOST_URI_BYTES:
            self.channel.refuse(Refused("uri_too_long", f"{len(self.uri)} bytes, {MOST_URI_BYTES} are taken"))
            return
        super().process()

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource has a bug: it is answered as one of the API, unless some of another answer is on its way."""
        if self.startedWriting:
            log.failure("web: while answering", reason)
            self.channel.forceAbortClient()
        else:
            assert reason.value is not None, "it failed"
            refuse(self, reason.value)
        return reason

    def getHeader(self, key: Any) -> Any:
        """A header; what is no UTF-8 in it is none of ours, and no reason to fail."""
        if isinstance(key, bytes):
            return super().getHeader(key)
        raw = super().getHeader(key.encode("ascii"))
        return None if raw is None else raw.decode("utf-8", "replace")

    def render(self, resrc: Any) -> None:
        """Answer it."""
        for name, value in HEADERS:
            self.responseHeaders.setRawHeaders(name, [value])
        super().render(resrc)


class Limited(HTTPChannel):
    """A connection.

    :ivar address: of the other end; empty: it counts with no other one.
    :ivar known: whether it has shown who asks.
    """

    address = ""
    known = False
    transport: Any
    site: "LimitedSite"
    requestFactory = LimitedRequest

    def __init__(self) -> None:
        super().__init__()
        self._patience: IDelayedCall | None = None
        self._refused = False
        self._answered: Any = None
        self._next_turn: IDelayedCall | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return not self._handlingRequest or self._answered is not None

    def connectionMade(self) -> None:
        """Somebody has come."""
        super().connectionMade()
        self.site.come(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """He has gone."""
        self._set_patience(None)
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        super().connectionLost(reason)
        self.site.gone(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        if self._refused:
            return
        if self._patience is None and not self._handlingRequest:
            self._set_patience(self.site.clock.callLater(REQUEST_S, self._too_slow))
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """A line of a head has come."""
        if not self._refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes of a body have come."""
        if self._refused:
            return
        super().rawDataReceived(data)
        if self._handlingRequest and sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()  # Twisted does not while the transport is backed up

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
        self.setTimeout(self._savedTimeOut)
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
        if not self._waitingForTransport:
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
        self.loseConnection()
        self._abortingCall = self.callLater(LINGER_S, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """End it now."""
        self._abortingCall = None
        if self.transport is not None:
            self.transport.abortConnection()

    def refuse(self, error: Refused) -> None:
        """Answer a request that is not there yet, or cannot be read, and end the connection after that."""
        if self._refused:
            return
        self._refused = True
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

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(Refused("bad_argument", "that is not HTTP/1.1, or too many headers"))

    def _send100Continue(self) -> None:
        if not self._refused:
            super()._send100Continue()


class LimitedSite(Site):
    """The connections of all endpoints, and what is at which address.

    :param clock: for whatever waits.
    """

    protocol: Any = Limited
    noisy = False

    def __init__(self, root: Any, clock: IReactorTime) -> None:
        super().__init__(root, requestFactory=LimitedRequest, timeout=IDLE_S, reactor=clock)
        self.clock = clock
        self.displayTracebacks = False
        self._standing: dict[Limited, None] = {}

    def __len__(self) -> int:
        """Connections standing."""
        return len(self._standing)

    def startFactory(self) -> None:
        """No log of every access."""

    def stopFactory(self) -> None:
        """Nothing was begun."""

    def log(self, _: object) -> None:
        """Accesses are nobody's business."""

    def buildProtocol(self, addr: Any) -> Any:
        """Somebody comes."""
        host = str(getattr(addr, "host", ""))
        address = "" if is_loopback(host) else host
        same = [one for one in self._standing if address and one.address == address]
        if len(same) >= MOST_CONNECTIONS_EACH:
            if not self._make_room(same):
                return None
        elif len(self._standing) >= MOST_CONNECTIONS and not self._make_room(tuple(self._standing)):
            return None
        channel = super().buildProtocol(addr)
        channel.address = address
        channel.callLater = self.clock.callLater
        return channel

    def _make_room(self, among: Sequence[Limited]) -> bool:
        """End one of these."""
        may_go = [one for one in among if one.idle or not one.known]
        if not may_go:
            return False
        one = min(may_go, key=lambda one: (one.known, not one.idle))  # the oldest one of the first that there are
        one.forceAbortClient()
        self.gone(one)
        return True

    def come(self, channel: Limited) -> None:
        """A connection stands."""
        self._standing[channel] = None

    def gone(self, channel: Limited) -> None:
        """It stands no more."""
        self._standing.pop(channel, None)

    def end_idle(self) -> None:
        """End those on which nothing is being answered."""
        for channel in tuple(self._standing):
            if channel.idle:
                channel.loseConnection()

    def end(self) -> None:
        """End all connections, now."""
        for channel in tuple(self._standing):
            channel.forceAbortClient()
