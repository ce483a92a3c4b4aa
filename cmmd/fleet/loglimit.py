"""How often something may be logged: a peer or a device that repeats itself must not fill a disk."""

from collections import OrderedDict
from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

__all__ = ["LogLimit"]

BURST = 5
REFILL_S = 10.0
MOST_REMEMBERED = 10_000


class _Allowance:
    __slots__ = ("last", "left", "suppressed")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.last = now
        self.suppressed = 0


class LogLimit:
    """Allows five lines at once and one every ten seconds, for each of whom they are about.

    :param clock: for the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._allowances: OrderedDict[Hashable, _Allowance] = OrderedDict()

    def allows(self, about: Hashable) -> str | None:
        """Whether a line may be logged now.

        :param about: whom it is about.
        :return: what to append to the line, how many were left out before it; None: leave this one out, too.
        """
        now = self._clock.seconds()
        allowance = self._allowances.pop(about, None) or _Allowance(now)
        self._allowances[about] = allowance  # the newest last
        if len(self._allowances) > MOST_REMEMBERED:
            self._allowances.popitem(last=False)
        allowance.left = min(allowance.left + max(now - allowance.last, 0.0) / REFILL_S, BURST)
        allowance.last = now
        if allowance.left < 1:
            allowance.suppressed += 1
            return None
        allowance.left -= 1
        suppressed, allowance.suppressed = allowance.suppressed, 0
        return f" ({suppressed} more not logged)" if suppressed else ""
