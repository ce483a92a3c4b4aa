"""Answers that are long: made and sent in slices, so that nobody else has to wait for them."""

import zlib
from collections.abc import Callable, Iterator
from typing import cast

from twisted.internet.interfaces import IPullProducer, IReactorTime, ITCPTransport
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["LONGEST_S", "SLICE_S", "SlicedBody"]

log = Logger()

SLICE_S = 0.003
"""Seconds after which others have their turn. Twisted has several slices follow one another, for 10 ms at most."""

LONGEST_S = 120.0
"""Seconds that a client has to take the whole; it is not waited for any longer."""

_GZIP = 16 + zlib.MAX_WBITS


@implementer(IPullProducer)
class SlicedBody:
    """The body of an answer, made while it is sent, as fast as the client takes it.

    :param request: whose answer it is; it is finished with the last piece.
    :param pieces: of the body, each made in less than a millisecond; some may be empty.
    :param compress: with gzip.
    :param monotonic: seconds that go on evenly. :param clock: for the end of patience.
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
        self._ended = ended
        self._patience = clock.callLater(LONGEST_S, self._break_off)

    def start(self) -> None:
        """Begin."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Make and send one slice."""
        if self._pieces is None:
            return
        try:
            body, is_last = self._slice(self._pieces)
        except Exception:
            log.failure("while making an answer")
            self._break_off()
            return
        if body:
            self._request.write(body)
        if is_last and self._pieces is not None:
            self._end()
            self._request.unregisterProducer()
            self._request.finish()

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

    def stopProducing(self) -> None:
        """Nobody wants it any more."""
        if self._pieces is not None:
            self._end()

    def _end(self) -> None:
        self._pieces = None
        if self._patience.active():
            self._patience.cancel()
        self._ended()
