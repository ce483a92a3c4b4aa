"""Answers that are long: made and sent in slices, so that nobody else has to wait for them."""

import zlib
from collections.abc import Callable, Iterator
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["LONGEST_S", "SLICE_S", "SlicedBody"]

log = Logger()

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
    :param ended: called once when the body has been sent, or nobody wants it any more.
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
        """Begin."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        self._next_turn()

    def pauseProducing(self) -> None:
        """The client is not as fast."""
        self._paused = True
        self._no_turn()

    def resumeProducing(self) -> None:
        """It has taken what there was."""
        self._paused = False
        self._next_turn()

    def stopProducing(self) -> None:
        """Nobody wants it any more."""
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
