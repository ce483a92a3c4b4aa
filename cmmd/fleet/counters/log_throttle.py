"""Limit repeated log lines and events: a peer or a device that repeats itself must not fill a disk."""

from collections import OrderedDict
from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

__all__ = ["Allowance", "LogLimit"]

BURST = 5
REFILL_S = 10.0
MOST_REMEMBERED = 10_000


class Allowance:
    """A token bucket: so many at once, and one more each time that its time has passed. Full at first.

    :param now: in seconds, of any clock; likewise below.
    :param burst: how many at once.
    :param refill_s: seconds for one more.
    """

    __slots__ = ("_burst", "_last", "_left", "_refill_s")

    def __init__(self, now: float, burst: int, refill_s: float) -> None:
        self._burst = self._left = float(burst)
        self._refill_s = refill_s
        self._last = now

    def left(self, now: float) -> float:
        """Give how many there are. A clock that goes back refills nothing."""
        self._left = min(self._left + max(now - self._last, 0.0) / self._refill_s, self._burst)
        self._last = now
        return self._left

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        if self.left(now) < 1:
            return False
        self._left -= 1
        return True


class LogLimit:
    """Allows five lines at once and one every ten seconds, for each of whom they are about.

    Of those that more than 10,000 were about, the ones not heard of longest are forgotten.

    :param clock: for the time.
    :param burst: how many at once.
    :param refill_s: seconds for one more.
    """

    def __init__(self, clock: IReactorTime, *, burst: int = BURST, refill_s: float = REFILL_S) -> None:
        self._clock = clock
        self._burst = burst
        self._refill_s = refill_s
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()

    def left_out(self, about: Hashable) -> int | None:
        """Tell whether it may be told now.

        :param about: whom it is about.
        :return: how many were left out before this one; None: leave this one out, too.
        """
        now = self._clock.seconds()
        known = self._known.pop(about, None) or _Known(now, self._burst, self._refill_s)
        self._known[about] = known  # the newest last
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        if not known.take(now):
            known.left_out += 1
            return None
        left_out, known.left_out = known.left_out, 0
        return left_out

    def allows(self, about: Hashable) -> str | None:
        """The same for a line of a log.

        :return: what to append to the line, how many were left out before it; None: leave this one out, too.
        """
        left_out = self.left_out(about)
        if left_out is None:
            return None
        return f" ({left_out} more not logged)" if left_out else ""


class _Known(Allowance):
    __slots__ = ("left_out",)

    def __init__(self, now: float, burst: int, refill_s: float) -> None:
        super().__init__(now, burst, refill_s)
        self.left_out = 0
