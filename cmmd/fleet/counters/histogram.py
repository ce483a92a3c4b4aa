"""How long things take, as counts in fixed buckets: plain integers, as in :mod:`cmmd.fleet.counters.counters`."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

__all__ = ["Histogram"]


class Histogram:
    """Observations in buckets.

    :param bounds: upper bounds of the buckets, ascending, each included; what is above the last one counts, too.
    :ivar counts: observations of each bucket, and of those above the last one.
    :ivar total: the sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; what is negative, because a clock was set, counts as nothing."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, the last one infinite, with how many observations are not above it."""
        return zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True)
