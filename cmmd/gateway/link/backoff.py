"""How long to wait before the next attempt."""

from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Jittered exponential back-off: each wait is between half a step and a step, and steps double up to a cap.

    :param random: where the jitter comes from.
    :param first: the first step, in seconds.
    :param cap: the longest step, in seconds.
    """

    def __init__(self, random: Random, first: float = 1.5, cap: float = 30.0) -> None:
        self._random = random
        self._first = first
        self._cap = cap
        self._step = first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        wait = self._step * self._random.uniform(0.5, 1.0)
        self._step = min(self._step * 2, self._cap)
        return wait

    def reset(self) -> None:
        """Start over: the last attempt was a success."""
        self._step = self._first
