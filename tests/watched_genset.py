"""A simulated genset with a clock of its own, read by the numbers of docs/controllers.md."""

from itertools import groupby
from random import Random

from twisted.internet.task import Clock

from cmmd.simulator.genset.genset import Genset
from cmmd.simulator.genset.panel import Picture

__all__ = ["WatchedGenset", "coils_of", "long_of"]

ENGINE_STATE = 34


def coils_of(picture: Picture) -> set[int]:
    """The addresses of the coils that are set."""
    return {address for address in range(picture.coils.bit_length()) if picture.coils >> address & 1}


def long_of(picture: Picture, address: int) -> int:
    """A value of two registers, high word first."""
    return picture.registers[address] << 16 | picture.registers[address + 1]


class WatchedGenset:
    """A genset whose mains do what the test says.

    :ivar genset: what is watched; :ivar clock: its time.
    """

    def __init__(self, *, seed: int = 1, running: bool | None = False, mains_schedule: bool = False) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.0
        self.genset = Genset(Random(seed), self.clock.seconds, running=running, mains_schedule=mains_schedule)

    @property
    def coils(self) -> set[int]:
        return coils_of(self.genset.look())

    def register(self, address: int) -> int:
        return self.genset.look().registers[address]

    def long(self, address: int) -> int:
        return long_of(self.genset.look(), address)

    @property
    def state(self) -> int:
        return self.register(ENGINE_STATE)

    def wait(self, seconds: float) -> None:
        """Nobody looks meanwhile."""
        self.clock.advance(seconds)

    def watch(self, seconds: float, step: float = 1.0) -> list[Picture]:
        """Look now, and again and again for so long."""
        pictures = [self.genset.look()]
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            pictures.append(self.genset.look())
        return pictures

    def walk(self, seconds: float, step: float = 1.0) -> list[tuple[int, int]]:
        """The engine's states one after the other, and how many looks saw each."""
        states = [picture.registers[ENGINE_STATE] for picture in self.watch(seconds, step)]
        return [(state, len(list(looks))) for state, looks in groupby(states)]

    def path(self, seconds: float, step: float = 1.0) -> list[int]:
        """The engine's states one after the other."""
        return [state for state, _ in self.walk(seconds, step)]

    def wait_for(self, state: int, limit: float = 300.0) -> float:
        """Look every half second until the engine is in a state.

        :return: how long that took, in seconds.
        :raises AssertionError: it took longer than the limit.
        """
        begin = self.clock.seconds()
        while self.state != state:
            assert self.clock.seconds() - begin < limit, f"in state {self.state}, not {state}, after {limit} s"
            self.clock.advance(0.5)
        return self.clock.seconds() - begin
