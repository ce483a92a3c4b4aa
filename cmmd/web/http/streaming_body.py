"""An answer that is written as it is made: no faster than it is taken, and no longer than its reader stays."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["LONGEST_S", "SLICE_S", "STALLED_S", "CooperativeScheduler", "Gone", "SlicedBody", "StreamingBody"]

log = Logger()

STALLED_S = 60.0
"""Seconds without progress, after which the reader counts as gone."""


class Gone(Exception):
    """The reader of the answer has gone."""


@implementer(IPushProducer)
class StreamingBody:
    """The body of an answer. The writer waits in :meth:`write` while it is not taken.

    :param request: its status and headers are set. :param clock: for readers that stall.
    :param longest_s: seconds after which it is broken off; None: it may take for ever.
    """

    def __init__(self, request: Any, clock: IReactorTime, *, longest_s: float | None = None) -> None:
        self._request = request
        self._clock = clock
        self._waiting: Deferred[None] | None = None
        self._stalled: IDelayedCall | None = None
        self._longest = None if longest_s is None else clock.callLater(longest_s, self._take_too_long)
        self._when_gone: list[Callable[[], None]] = []
        self.paused = False
        self.gone = False
        request.notifyFinish().addBoth(lambda _: self.stopProducing())
        request.registerProducer(self, True)

    def when_gone(self, hook: Callable[[], None]) -> None:
        """Register a call for the end of the answer, or of its reader."""
        if self.gone:
            hook()
        else:
            self._when_gone.append(hook)

    async def write(self, text: bytes) -> None:
        """Write, and wait until more is wanted.

        :raises Gone: the client has disconnected.
        """
        self.put(text)
        await self.ready()

    def put(self, text: bytes) -> None:
        """Write without waiting: what is last, or short.

        :raises Gone: the client has disconnected.
        """
        if self.gone:
            raise Gone
        self._request.write(text)

    async def ready(self) -> None:
        """Wait until more is wanted.

        :raises Gone: the client has disconnected.
        """
        if self.gone:
            raise Gone
        if self.paused:
            self._waiting = Deferred()
            await self._waiting

    def finish(self) -> None:
        """End a body that is whole."""
        if not self.gone:
            self._request.unregisterProducer()
            self._request.finish()

    def break_off(self) -> None:
        """Abort a body that cannot be completed, so that the reader sees it: no orderly end."""
        if not self.gone:
            self._request.unregisterProducer()
            self._request.loseConnection()

    # --- IPushProducer -----------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The reader is behind."""
        self.paused = True
        if self._stalled is None:
            self._stalled = self._clock.callLater(STALLED_S, self._give_up)

    def resumeProducing(self) -> None:
        """The reader has caught up."""
        self.paused = False
        self._stop_timer()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The reader has gone, or the answer has ended."""
        if self.gone:
            return
        self.gone = True
        self._stop_timer()
        if self._longest is not None:
            self._longest.cancel()
            self._longest = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(Gone())
        hooks, self._when_gone = self._when_gone, []
        for hook in hooks:
            hook()

    def _stop_timer(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _take_too_long(self) -> None:
        self._longest = None
        self._abort()

    def _give_up(self) -> None:
        self._stalled = None
        self._abort()

    def _abort(self) -> None:
        channel = self._request.channel
        if channel is not None:
            channel.forceAbortClient()


SLICE_S = 0.002
"""Seconds after which everybody else has a turn."""

LONGEST_S = 30.0
"""Seconds that a client has to take the whole; it is not waited for any longer."""

_GZIP = 16 + zlib.MAX_WBITS


@implementer(IPushProducer)
class SlicedBody:
    """The body of an answer, made while it is sent, as fast as the client takes it: one slice a turn of the reactor.

    It paces itself: a pull producer would be asked by Twisted for several slices in a turn.

    :param request: whose answer it is; it is finished with the last piece.
    :param pieces: of the body, each made in less than a millisecond; some may be empty.
    :param compress: with gzip.
    :param monotonic: seconds that go on evenly. :param clock: for the turns, and the end of patience.
    :param ended: called once when the body has been sent, or its reader has gone.
    """

    def __init__(
        self,
        request: Request,
        pieces: Iterator[str],
        *,
        compress: bool,
        monotonic: Callable[[], float],
        clock: IReactorTime,
        ended: Callable[[], None],
    ) -> None:
        self._request = request
        self._pieces: Iterator[str] | None = pieces
        self._gzip = zlib.compressobj(1, zlib.DEFLATED, _GZIP) if compress else None
        self._monotonic = monotonic
        self._clock = clock
        self._ended = ended
        self._paused = False
        self._turn: IDelayedCall | None = None
        self._patience = clock.callLater(LONGEST_S, self._break_off)

    def start(self) -> None:
        """Begin to send the body."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        self._next_turn()

    def pauseProducing(self) -> None:
        """The client is not as fast."""
        self._paused = True
        self._no_turn()

    def resumeProducing(self) -> None:
        """Send the next part: the reader has taken the last."""
        self._paused = False
        self._next_turn()

    def stopProducing(self) -> None:
        """Stop: the reader has gone."""
        if self._pieces is not None:
            self._end()

    def _next_turn(self) -> None:
        if self._turn is None and self._pieces is not None and not self._paused:
            self._turn = self._clock.callLater(0, self._make)

    def _no_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _make(self) -> None:
        """Make and send one slice."""
        self._turn = None
        assert self._pieces is not None, "there is no turn behind the end"
        try:
            body, is_last = self._slice(self._pieces)
        except Exception:
            log.failure("while making an answer")
            self._break_off()
            return
        if body:
            self._request.write(body)
        if is_last:
            self._end()
            self._request.unregisterProducer()
            self._request.finish()
        else:
            self._next_turn()

    def _slice(self, pieces: Iterator[str]) -> tuple[bytes, bool]:
        until = self._monotonic() + SLICE_S
        made: list[bytes] = []
        for piece in pieces:
            if piece:
                encoded = piece.encode("utf-8", "replace")
                made.append(encoded if self._gzip is None else self._gzip.compress(encoded))
            if self._monotonic() >= until:
                return b"".join(made), False
        if self._gzip is not None:
            made.append(self._gzip.flush())
        return b"".join(made), True

    def _break_off(self) -> None:
        """Break the connection: the client must not take a part for the whole."""
        self._end()
        self._request.unregisterProducer()
        cast("ITCPTransport", self._request.transport).abortConnection()

    def _end(self) -> None:
        self._pieces = None
        self._no_turn()
        if self._patience.active():
            self._patience.cancel()
        self._ended()


class CooperativeScheduler:
    """Gives turns to long work, which waits for one before each piece of it; a piece takes a millisecond or two.

    :param clock: for the turns.
    """

    def __init__(self, clock: IReactorTime) -> None:
        def slice_over() -> Callable[[], bool]:
            until = clock.seconds() + SLICE_S
            return lambda: clock.seconds() > until

        self._cooperator = Cooperator(slice_over, lambda step: clock.callLater(0, step))

    def turn(self) -> Deferred[None]:
        """Fires when the next piece may be done, which has to begin at once."""
        return self._cooperator.coiterate(iter(())).addCallback(lambda _: None)
