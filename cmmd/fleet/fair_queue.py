"""A limited queue in which no address can take the places of the others."""

from collections import OrderedDict, deque
from ipaddress import IPv6Address

from twisted.internet.defer import Deferred

__all__ = ["FairQueue", "TooBusy"]

_SUBSCRIBER_PREFIX_BITS = 64
"""Of an IPv6 address: a subscriber has all addresses behind these bits, so they are one address here."""


class TooBusy(Exception):
    """More work is waiting than could be done in time."""


class FairQueue:
    """Admits so many at once; addresses with work that waits take turns, each with its oldest first.

    When the queue is full, the address with the most waiting gives up its newest place to an address that has fewer; an
    address that has the most itself is refused. So a fleet behind one address fills the queue in order, and a flood
    from another address costs that fleet half of the turns, never all places.

    :param at_once: how many may be admitted.
    :param most_waiting: how many may wait, of all addresses together.
    """

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._free = at_once
        self._most_waiting = most_waiting
        self._admitting = False
        self._lanes: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()  # whose turn is next comes first
        self._count = 0
        self._lengths: dict[int, int] = {}  # how many lanes have that length
        self._longest = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    async def enter(self, address: str) -> None:
        """Wait for the turn; :meth:`leave` ends it.

        :param address: the host that the work comes from.
        :raises TooBusy: at once, or later, when another address has a better right to the place.
        """
        if self._free and not self._lanes:
            self._free -= 1
            return
        lane = _lane(address)
        refused = self._make_room_for(lane) if self._count >= self._most_waiting else None
        turn: Deferred[None] = Deferred(lambda turn: self._remove(lane, turn))
        self._lanes.setdefault(lane, deque()).append(turn)
        self._resized(len(self._lanes[lane]), 1)
        if refused is not None:
            refused.errback(TooBusy())  # when all is in order: what waited for it may enter anew in here
        await turn

    def leave(self) -> None:
        """Give the turn to the next one."""
        self._free += 1
        if self._admitting:
            return  # one that was admitted below has left at once; the loop goes on, where recursion would get deep
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
        """Take the newest place of the longest lane.

        :return: who had it.
        :raises TooBusy: that lane would not be longer than this one afterwards.
        """
        if len(self._lanes.get(lane, ())) + 1 >= self._longest:
            raise TooBusy
        longest = next(one for one, waiting in self._lanes.items() if len(waiting) == self._longest)
        newest = self._lanes[longest][-1]
        self._remove(longest, newest)
        return newest

    def _remove(self, lane: str, turn: "Deferred[None]") -> None:
        waiting = self._lanes[lane]
        if waiting[-1] is turn:
            waiting.pop()
        else:
            waiting.remove(turn)  # nearly always the first one
        self._resized(len(waiting), -1)
        if not waiting:
            del self._lanes[lane]

    def _resized(self, after: int, by: int) -> None:
        """Keep count, so that a refusal among thousands of addresses does not have to look at each."""
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


def _lane(address: str) -> str:
    """The address as the queue counts it."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - _SUBSCRIBER_PREFIX_BITS):x}/{_SUBSCRIBER_PREFIX_BITS}"
