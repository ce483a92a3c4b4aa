"""Measure how late the reactor is: a delay there delays every device."""

from collections import deque
from collections.abc import Callable
from math import inf

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.fleet.counters.counters import Histogram

__all__ = ["PERIOD_S", "WINDOW_S", "ReactorLag"]

PERIOD_S = 0.1
"""Seconds between two looks."""

WINDOW_S = 60.0
"""The worst of so many seconds counts: longer than most scrape intervals, and the same for every scraper."""

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_PIECE_S = 1.0
"""The worst is kept for each piece of the window of so many seconds."""


class ReactorLag(Service):
    """Has itself called ten times a second, and notes how late that was.

    :param clock: the reactor.
    :param monotonic: seconds that go on evenly, whatever is set.
    :ivar observed: how late each call was, in seconds.
    """

    def __init__(self, clock: IReactorTime, monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._due = inf
        self._call: IDelayedCall | None = None
        self._pieces: deque[tuple[float, float]] = deque()  # when it began, the worst
        self.observed = Histogram(BOUNDS_S)

    def startService(self) -> None:
        """Look from now on."""
        super().startService()
        self._look_later()

    def stopService(self) -> None:
        """Stop measuring the reactor's lag."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._due = inf

    @property
    def worst(self) -> float:
        """The most that the reactor was late within the last :data:`WINDOW_S`, or is now, in seconds."""
        now = self._monotonic()
        overdue = now - self._due  # this is asked before the next look, where the reactor has just been held up
        return max(0.0, overdue, *(lag for begun, lag in self._pieces if now - begun < WINDOW_S))

    def _look_later(self) -> None:
        self._due = self._monotonic() + PERIOD_S
        self._call = self._clock.callLater(PERIOD_S, self._look)

    def _look(self) -> None:
        now = self._monotonic()
        lag = max(now - self._due, 0.0)
        self.observed.observe(lag)
        if self._pieces and now - self._pieces[-1][0] < _PIECE_S:
            begun, worst = self._pieces[-1]
            self._pieces[-1] = begun, max(worst, lag)
        else:
            self._pieces.append((now, lag))
            while now - self._pieces[0][0] >= WINDOW_S:
                self._pieces.popleft()
        self._look_later()
