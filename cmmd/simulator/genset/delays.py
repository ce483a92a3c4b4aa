"""What the controller waits for before it believes or does something."""

from math import ceil, inf

__all__ = [
    "CLOCK_TOLERANCE_S",
    "MAINS_ABNORMAL_S",
    "MAINS_NORMAL_S",
    "START_DELAY_S",
    "STOP_DELAY_S",
    "TRANSFER_S",
    "Delayed",
    "seconds_left",
]

MAINS_ABNORMAL_S = 5.0
"""How long the mains must be abnormal before the controller takes them for it."""

MAINS_NORMAL_S = 10.0
"""How long they must be normal again."""

START_DELAY_S = 2.0
"""In auto mode, from abnormal mains to the start of the engine."""

STOP_DELAY_S = 5.0
"""In auto mode, from normal mains to the cooling of the engine; the load goes back to the mains meanwhile."""

TRANSFER_S = 2.0
"""From the opening of one breaker to the closing of the other."""


CLOCK_TOLERANCE_S = 1e-3
"""What sums of floating-point seconds may lack: a delay is over when less than this is left of it."""


def seconds_left(until: float, now: float) -> int:
    """What a controller shows of a delay: whole seconds, 0 where none runs (``until`` is infinite)."""
    return 0 if until == inf else max(ceil(until - now - CLOCK_TOLERANCE_S), 0)


class Delayed:
    """A condition that is believed once it has lasted.

    :param value: what is believed at first.
    :param rise_s: how long it must be true, :param fall_s: or false, to be believed.
    :ivar until: when the belief changes if nothing else does; infinite: the belief is as the condition is.
    """

    __slots__ = ("_fall_s", "_rise_s", "until", "value")

    def __init__(self, value: bool, *, rise_s: float, fall_s: float) -> None:
        self.value = value
        self.until = inf
        self._rise_s = rise_s
        self._fall_s = fall_s

    def follow(self, condition: bool, now: float) -> None:
        """See the condition as it is now."""
        if condition == self.value:
            self.until = inf
        elif self.until == inf:
            self.until = now + (self._rise_s if condition else self._fall_s)

    def set(self, value: bool) -> None:
        """Believe at once."""
        self.value = value
        self.until = inf

    def elapse(self, now: float) -> None:
        """Change the belief if its time has come."""
        if self.until <= now:
            self.set(not self.value)
