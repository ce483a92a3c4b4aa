"""Limit repeated log lines and events: a peer or a device that repeats itself must not fill a disk."""

from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

__all__ = ["Allowance", "LogLimit"]

BURST = 5
REFILL_S = 10.0
ALL_BURST, ALL_REFILL_S = 300, 0.1
"""Lines of one limit at once, about all together, and seconds for one more: a thousand addresses have five each."""
MOST_REMEMBERED = 10_000
_ROUNDING_S = 1e-6


class Allowance:
    """A token bucket: so many at once, and one more each time that its time has passed. Full at first.

    :param now: in seconds, of any clock; the same below.
    :param burst: how many at once.
    :param refill_s: seconds for one more.
    """

    __slots__ = ("_burst", "_last", "_left", "_refill_s")

    def __init__(self, now: float, burst: int, refill_s: float) -> None:
        self._burst = self._left = float(burst)
        self._refill_s = refill_s
        self._last = now

    def left(self, now: float) -> float:
        """Give how many there are. A clock that is set back refills nothing."""
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
    """Allows five lines at once and one every ten seconds, for each of whom they are about; of all together 300 at once
    and ten a second.

    Thousands of devices are remembered here: of each no more than the time at which its allowance is full again, and
    nothing when it has been full for as long as that takes. Of those that more than 10,000 were about, the ones not
    heard of longest are forgotten.

    :param clock: for the time.
    :param burst: how many at once.
    :param refill_s: seconds for one more.
    """

    def __init__(self, clock: IReactorTime, *, burst: int = BURST, refill_s: float = REFILL_S) -> None:
        self._clock = clock
        self._refill_s = refill_s
        self._span_s = burst * refill_s
        self._full_at: dict[Hashable, float] = {}
        self._earlier: dict[Hashable, float] = {}  # whom nothing was about since some time
        self._since = clock.seconds()
        self._left_out: dict[Hashable, int] = {}
        self._all = Allowance(self._since, ALL_BURST, ALL_REFILL_S)
        self._left_out_of_all = 0

    def __len__(self) -> int:
        """Count those who are remembered."""
        return len(self._full_at) + len(self._earlier)

    def left_out(self, about: Hashable) -> int | None:
        """Tell whether it may be logged now.

        :param about: whom it is about.
        :return: how many were left out before this one, because of it or of all; None: leave this one out, too.
        """
        now = self._clock.seconds()
        if len(self._full_at) >= MOST_REMEMBERED // 2 or now - self._since > self._span_s:
            self._earlier, self._full_at, self._since = self._full_at, {}, now
        full_at = self._full_at.get(about)
        if full_at is None:
            full_at = self._earlier.pop(about, now)
        full_at = max(now, min(full_at, now + self._span_s))  # also where the clock was set back
        allowed = full_at + self._refill_s <= now + self._span_s + _ROUNDING_S
        if allowed and not self._all.take(now):
            self._full_at[about] = full_at
            self._left_out_of_all += 1
            return None
        self._full_at[about] = full_at + self._refill_s if allowed else full_at
        if allowed:
            of_all, self._left_out_of_all = self._left_out_of_all, 0
            return of_all + self._left_out.pop(about, 0)
        if len(self._left_out) >= MOST_REMEMBERED and about not in self._left_out:
            self._left_out.clear()
        self._left_out[about] = self._left_out.get(about, 0) + 1
        return None

    def allows(self, about: Hashable) -> str | None:
        """The same for a line of a log.

        :return: what to append to the line, how many were left out before it; None: leave this one out, too.
        """
        left_out = self.left_out(about)
        if left_out is None:
            return None
        return f" ({left_out} more not logged)" if left_out else ""
