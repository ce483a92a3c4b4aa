"""What goes wrong with a genset by itself, and the operator who comes after a while and puts it right."""

from math import inf
from random import Random

from cmmd.simulator.genset.faults import Fault

__all__ = ["WEIGHTS", "RandomFaults"]

# fmt: off
WEIGHTS: dict[Fault, tuple[int, int]] = {
    # fault                     (at rest, turning)
    Fault.LOW_FUEL:             (3, 2),
    Fault.BATTERY_UNDERVOLTAGE: (3, 1),
    Fault.SENSOR_OPEN:          (2, 2),
    Fault.EMERGENCY_STOP:       (1, 1),
    Fault.CHARGING_FAILURE:     (0, 3),
    Fault.HIGH_TEMPERATURE:     (0, 2),
    Fault.LOW_OIL_PRESSURE:     (0, 2),
    Fault.OVERSPEED:            (0, 1),
}
"""How often it is which fault, of those that the controller sees at once in that state of the engine."""
# fmt: on

FIRST_WITHIN_S = 1800.0
SHORTEST_PEACE_S, MEAN_PEACE_S = 900.0, 6900.0
SHORTEST_REPAIR_S, LONGEST_REPAIR_S = 120.0, 480.0
"""The schedule: one fault in two hours, and the first one sooner, so that a demo has something to show."""


class RandomFaults:
    """One fault now and then, and its end.

    :param random: decides when, which, and how long.
    :param schedule: whether anything happens at all.
    :ivar until: when a fault comes or goes; infinite: never.
    :ivar present: the fault that there is; None: there is none.
    """

    def __init__(self, random: Random, *, schedule: bool) -> None:
        self._random = random
        self.present: Fault | None = None
        self.until = random.uniform(60.0, FIRST_WITHIN_S) if schedule else inf

    def elapse(self, now: float, *, turning: bool) -> None:
        """Have a fault come or go if it is time.

        :param turning: the engine runs.
        """
        if self.until > now:
            return
        if self.present is None:
            weights = [weight[turning] for weight in WEIGHTS.values()]
            (self.present,) = self._random.choices(list(WEIGHTS), weights)
            self.until = now + self._random.uniform(SHORTEST_REPAIR_S, LONGEST_REPAIR_S)
        else:
            self.present = None
            self.until = now + SHORTEST_PEACE_S + self._random.expovariate(1 / (MEAN_PEACE_S - SHORTEST_PEACE_S))
