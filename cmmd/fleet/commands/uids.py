"""The uids of commands in flight (protocol section 4.6)."""

from collections import OrderedDict
from random import Random

from cmmd.fleet.errors import QueueFull

__all__ = ["Uids"]

FIRST, LAST = 100_000, 999_999
REMEMBERED = 20_000


class Uids:
    """Gives out six decimal digits that no other command in flight has.

    They go round, from a random one on: a uid comes again as late as may be, so that a late answer to a command finds
    no other command with its uid, not even that of a daemon that has just started.

    :param random: decides the first one.
    """

    def __init__(self, random: Random) -> None:
        self._next = random.randint(FIRST, LAST)
        self._in_flight: set[str] = set()
        self._given: OrderedDict[str, None] = OrderedDict()

    def take(self) -> str:
        """A uid, until it is given back.

        :raises QueueFull: every uid is in use.
        """
        if len(self._in_flight) > LAST - FIRST:
            raise QueueFull("too many commands are under way")
        while True:
            uid = str(self._next)
            self._next = self._next + 1 if self._next < LAST else FIRST
            if uid not in self._in_flight:
                self._in_flight.add(uid)
                self._given[uid] = None
                if len(self._given) > REMEMBERED:
                    self._given.popitem(last=False)
                return uid

    def ours(self, uid: str | None) -> bool:
        """Tell whether it was given to a command not long ago: its answer is for that one and for no other."""
        return uid in self._given

    def give_back(self, uid: str) -> None:
        """Release the uid of a command that has ended."""
        self._in_flight.discard(uid)
