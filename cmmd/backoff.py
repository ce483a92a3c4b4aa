"""Choose how long to wait before the next attempt: one rule for database, journal and gateway.

``js/backoff.js`` of the console waits by the same rule; the control client has Twisted's ``backoffPolicy``.
"""

from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Jittered exponential back-off: each wait is between half a step and a step, and steps double up to a cap.

    :param first: the first step, in seconds.
    :param cap: the longest step, in seconds.
    :param random: where the jitter comes from; None: a generator of its own.
    """

    def __init__(self, first: float, cap: float, random: Random | None = None) -> None:
        self._random = Random() if random is None else random  # noqa: S311  # nothing is secret about a pause
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
