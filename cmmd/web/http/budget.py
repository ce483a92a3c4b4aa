"""Limit the time of HTTP connections in one turn of the reactor, so that many do not keep devices waiting."""

from collections import deque
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["TURN_S", "Reader", "ReadingBudget"]

TURN_S = 0.005
"""Seconds of reading and answering in one turn, all connections together; the request that exceeds them is finished."""


class Reader(Protocol):
    """A connection that holds bytes it has received."""

    def read_held(self) -> None:
        """Read the bytes, and begin to answer; must not raise."""

    def wait(self) -> None:
        """Receive no more bytes until ``read_on``."""

    def read_on(self) -> None:
        """Continue to receive bytes."""


class ReadingBudget:
    """Lets connections read at once while the turn's budget lasts, the others one after the other in later turns.

    :param clock: measures the time, and calls at the next turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._spent_s = 0.0
        self._waiting: deque[Reader] = deque()
        self._next_turn: IDelayedCall | None = None

    def __len__(self) -> int:
        """Count the connections that wait."""
        return len(self._waiting)

    def read(self, reader: Reader) -> None:
        """Let a connection read the bytes that it holds: now, or behind those that wait."""
        if self._spent_s < TURN_S and not self._waiting:
            self._spend(reader)
        elif reader not in self._waiting:
            reader.wait()
            self._waiting.append(reader)
        if self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._turn)

    def forget(self, reader: Reader) -> None:
        """Let a connection that is lost wait no longer."""
        if reader in self._waiting:
            self._waiting.remove(reader)

    def _turn(self) -> None:
        self._next_turn = None
        self._spent_s = 0.0
        while self._waiting and self._spent_s < TURN_S:
            reader = self._waiting.popleft()
            self._spend(reader)
            reader.read_on()
        if self._waiting or self._spent_s:
            self._next_turn = self._clock.callLater(0, self._turn)

    def _spend(self, reader: Reader) -> None:
        began = self._clock.seconds()
        reader.read_held()
        self._spent_s += self._clock.seconds() - began
