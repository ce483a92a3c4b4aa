"""An answer that is written as it is made: no faster than it is taken, and no longer than somebody takes it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

__all__ = ["STALLED_S", "Gone", "StreamingBody"]

STALLED_S = 60.0
"""Seconds that nobody takes anything, after which he is gone."""


class Gone(Exception):
    """Nobody reads the answer any more."""


@implementer(IPushProducer)
class StreamingBody:
    """The body of an answer. Whoever writes it waits in :meth:`write` while it is not taken.

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
        """What to call when the reader has gone, or the answer has ended."""
        if self.gone:
            hook()
        else:
            self._when_gone.append(hook)

    async def write(self, text: bytes) -> None:
        """Write, and wait until more is wanted.

        :raises Gone: see there.
        """
        self.put(text)
        await self.ready()

    def put(self, text: bytes) -> None:
        """Write without waiting: what is last, or short.

        :raises Gone: see there.
        """
        if self.gone:
            raise Gone
        self._request.write(text)

    async def ready(self) -> None:
        """Wait until more is wanted.

        :raises Gone: see there.
        """
        if self.gone:
            raise Gone
        if self.paused:
            self._waiting = Deferred()
            await self._waiting

    def finish(self) -> None:
        """It is whole."""
        if not self.gone:
            self._request.unregisterProducer()
            self._request.finish()

    def break_off(self) -> None:
        """It cannot be made whole, and the reader has to see that: no orderly end."""
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
