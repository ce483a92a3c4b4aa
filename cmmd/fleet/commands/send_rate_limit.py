"""How many commands are sent in one turn of the reactor."""

from collections.abc import Callable
from itertools import islice

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["STARTS_A_TURN", "SendRateLimit"]

STARTS_A_TURN = 4
"""Commands that are sent in one turn of the reactor: where hundreds come at once, answers are looked at in between."""


class SendRateLimit:
    """Lets :data:`STARTS_A_TURN` commands start in a turn of the reactor, and remembers whose have to wait.

    :param clock: for the next turn.
    :param start: told each device that had to wait, when there is room; it asks again.
    """

    def __init__(self, clock: IReactorTime, start: Callable[[str], None]) -> None:
        self._clock = clock
        self._start = start
        self._left = 0
        self._next_turn: IDelayedCall | None = None
        self._held_up: dict[str, None] = {}  # devices, in the order in which they came

    def take(self, hostid: str) -> bool:
        """Whether another command may be sent in this turn of the reactor; else the device is remembered."""
        if self._next_turn is None:
            self._begin()
        if self._left > 0:
            self._left -= 1
            return True
        self._held_up[hostid] = None
        return False

    def stop(self) -> None:
        """Start nothing more by itself."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def _begin(self) -> None:
        self._next_turn = self._clock.callLater(0, self._start_more)
        self._left = STARTS_A_TURN

    def _start_more(self) -> None:
        self._next_turn = None
        for hostid in list(islice(self._held_up, STARTS_A_TURN)):
            del self._held_up[hostid]
            self._start(hostid)
        if self._held_up and self._next_turn is None:  # nothing of those was to be sent
            self._begin()
