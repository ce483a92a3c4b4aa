"""The transfer switch: two breakers that are never closed both."""

from enum import Enum
from math import inf

from cmmd.simulator.genset.delays import TRANSFER_S

__all__ = ["Supply", "Transfer"]


class Supply(Enum):
    """What feeds the load. The value: register 38 while the switch is on its way there."""

    NOTHING = 0
    GENERATOR = 1
    MAINS = 2


class Transfer:
    """Opens at once, closes after the transfer time.

    :param supply: what feeds the load at first.
    :ivar supply: what feeds the load.
    :ivar target: what is to feed it.
    :ivar until: when it closes; infinite: nothing is to be closed.
    """

    def __init__(self, supply: Supply) -> None:
        self.supply = self.target = supply
        self.until = inf

    def aim(self, target: Supply, now: float) -> None:
        """Feed the load from there."""
        if target is not self.target:
            self.target = target
            self.supply = Supply.NOTHING
            self.until = inf if target is Supply.NOTHING else now + TRANSFER_S

    def elapse(self, now: float) -> None:
        """Close if it is time."""
        if self.until <= now:
            self.supply = self.target
            self.until = inf
