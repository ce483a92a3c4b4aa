"""Long work in small pieces, so that devices are answered meanwhile."""

from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["SLICE_S", "Pieces"]

SLICE_S = 0.002
"""Seconds of one turn of the reactor that all long work together may take, and the piece that was begun."""


class Pieces:
    """Whoever has long work to do waits for his turn before each piece of it, which takes a millisecond or two.

    :param clock: for the turns.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Deferred[None]] = deque()
        self._scheduled = False

    def turn(self) -> Deferred[None]:
        """Fires when the next piece may be done, which has to begin at once."""
        mine: Deferred[None] = Deferred()
        self._waiting.append(mine)
        self._schedule()
        return mine

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._work)

    def _work(self) -> None:
        until = self._clock.seconds() + SLICE_S
        try:
            while self._waiting and self._clock.seconds() <= until:
                self._waiting.popleft().callback(None)
        finally:
            self._scheduled = False
            self._schedule()
