"""Share the reactor between all long work of the web, so that devices are answered meanwhile."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator

__all__ = ["SLICE_S", "CooperativeScheduler"]

SLICE_S = 0.002
"""Seconds of one turn of the reactor that all long work together may take, and the piece that was begun."""


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
