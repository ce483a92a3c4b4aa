"""A limited queue that addresses share evenly: a flood from one cannot shut out the others."""

from collections import OrderedDict, deque

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.devices.networks import subscriber
from cmmd.fleet.errors import TooBusy

__all__ = ["FairQueue"]

BUSY = "too many passwords are being computed"


class FairQueue:
    """Admission of a limited number of jobs at once, in turn by address, and by age within an address.

    In a full queue the address with the most waiting jobs loses the newest of them to an address with fewer; a new job
    of the address with the most is refused. So a fleet behind one address fills the queue in order, and a flood from
    another address costs that fleet half of the turns, never all places.

    :param at_once: the number of jobs that are admitted at once.
    :param most_waiting: the number of jobs that can wait, of all addresses together.
    :param longest_wait_s: the time after which a waiting job is refused.
    :param clock: for that time.
    """

    def __init__(self, at_once: int, most_waiting: int, longest_wait_s: float, clock: IReactorTime) -> None:
        self._free = at_once
        self._most_waiting = most_waiting
        self._longest_wait_s = longest_wait_s
        self._clock = clock
        self._admitting = False
        self._lanes: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()  # the next lane to be served comes first
        self._count = 0
        self._lengths: dict[int, int] = {}  # number of lanes by their length
        self._longest = 0

    def __len__(self) -> int:
        """Return the number of waiting jobs."""
        return self._count

    async def enter(self, address: str) -> None:
        """Wait until the job is admitted; :meth:`leave` ends it.

        :param address: the host that the job comes from.
        :raises TooBusy: immediately; when the place is given to an address with fewer waiting jobs; after the longest
            wait.
        """
        if self._free and not self._lanes:
            self._free -= 1
            return
        lane = subscriber(address)
        refused = self._make_room_for(lane) if self._count >= self._most_waiting else None
        turn: Deferred[None] = Deferred(lambda turn: self._remove(lane, turn))
        turn.addTimeout(self._longest_wait_s, self._clock)
        self._lanes.setdefault(lane, deque()).append(turn)
        self._resized(len(self._lanes[lane]), 1)
        if refused is not None:
            refused.errback(TooBusy(BUSY))  # last, as this can call enter again
        try:
            await turn
        except defer.TimeoutError:
            raise TooBusy(BUSY) from None

    def leave(self) -> None:
        """End a job and admit the next ones."""
        self._free += 1
        if self._admitting:
            return  # called by a job that the loop below has admitted: thousands in a row would recurse too deep
        self._admitting = True
        try:
            while self._free and self._lanes:
                self._free -= 1
                lane, waiting = next(iter(self._lanes.items()))
                turn = waiting[0]
                self._remove(lane, turn)
                if waiting:
                    self._lanes.move_to_end(lane)
                turn.callback(None)
        finally:
            self._admitting = False

    def _make_room_for(self, lane: str) -> "Deferred[None]":
        """Remove the newest job of the longest lane.

        :return: the job, which has to be refused.
        :raises TooBusy: this lane is about as long as the longest one.
        """
        if len(self._lanes.get(lane, ())) + 1 >= self._longest:
            raise TooBusy(BUSY)
        longest = next(one for one, waiting in self._lanes.items() if len(waiting) == self._longest)
        newest = self._lanes[longest][-1]
        self._remove(longest, newest)
        return newest

    def _remove(self, lane: str, turn: "Deferred[None]") -> None:
        waiting = self._lanes[lane]
        if waiting[-1] is turn:
            waiting.pop()
        else:
            waiting.remove(turn)  # nearly always the first one: a cancelled job can be anywhere
        self._resized(len(waiting), -1)
        if not waiting:
            del self._lanes[lane]

    def _resized(self, after: int, by: int) -> None:
        """Update the counts after a lane has got one job more or less.

        They spare a refusal the search through thousands of lanes.
        """
        before = after - by
        self._count += by
        if after:
            self._lengths[after] = self._lengths.get(after, 0) + 1
            self._longest = max(self._longest, after)
        if before:
            self._lengths[before] -= 1
            if not self._lengths[before]:
                del self._lengths[before]
                if before == self._longest:
                    self._longest = after  # lengths change by one
