"""Admit connections of HTTP, and share the time of a turn of the reactor between them.

Strangers are limited by their address, known callers by their identity: behind a reverse proxy all come from one
address, so an address says nothing of a caller that has shown a token. What comes when no place is left is let in to be
answered: health checks and administrators always are, others get 503 and the reason.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.web.http.problems import Refused

__all__ = [
    "MOST_CONNECTIONS",
    "MOST_OF_CALLER",
    "MOST_STRANGERS",
    "RESERVED",
    "TURN_S",
    "Admission",
    "Place",
    "Reader",
    "ReadingBudget",
]

log = Logger()

# --- time ------------------------------------------------------------------------------------------------------------


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


# --- places ----------------------------------------------------------------------------------------------------------


MOST_CONNECTIONS = 300
"""Of more the oldest stranger makes room, or else the oldest idle one, or else there is no room."""

MOST_STRANGERS = 40
"""Of one address that have shown no token. Of more the oldest idle one makes room, or else there is no room. A Unix
socket and this machine, where a proxy may be, may have all."""

MOST_OF_CALLER = 100
"""Of one token, from wherever; of more its oldest idle one makes room, or else there is no room."""

RESERVED = 40
"""Connections besides, for one request each, that are answered where there is no room. Of more the oldest one ends."""

LOG_S = 300.0
"""Seconds between two lines of the log that say the same."""


class Place(Protocol):
    """A connection that can be ended.

    :ivar address: of the other end; empty: it counts with no other one.
    :ivar caller: who has been shown to be there; empty: a stranger.
    :ivar no_room: why there is no room for it; empty: it has a place.
    """

    address: str
    caller: str
    no_room: str

    @property
    def idle(self) -> bool:
        """Tell whether nothing is being answered."""

    def forceAbortClient(self) -> None:
        """End the connection at once."""


class Admission:
    """The connections that stand.

    :param clock: for the log.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._standing: dict[Place, None] = {}  # the oldest first
        self._log_limit = LogLimit(clock, burst=1, refill_s=LOG_S)

    def __len__(self) -> int:
        """Count the admitted connections."""
        return len(self._standing)

    def __iter__(self) -> Iterator[Any]:
        """Give the connections, the oldest first."""
        return iter(tuple(self._standing))

    def come(self, place: Place) -> None:
        """Give a new connection a place, or say in its ``no_room`` why there is none."""
        place.no_room = self._no_room(place)
        if place.no_room:
            waiting = [one for one in self._standing if one.no_room]
            if len(waiting) >= RESERVED:
                self._end(waiting[0])
            self._log(place.no_room)
        self._standing[place] = None

    def gone(self, place: Place) -> None:
        """Take out a connection that has ended."""
        self._standing.pop(place, None)

    def known(self, place: Place, caller: str, *, admin: bool) -> None:
        """Note who is at the other end of a connection, and give it a place of its own.

        :param caller: not empty. :param admin: whether it has the reserved places, too.
        :raises Refused: there is no room for it.
        """
        if place.caller != caller:
            place.caller = caller
            mine = [one for one in self._standing if one.caller == caller]
            if len(mine) > MOST_OF_CALLER and not self._make_room(mine, lambda one: one.idle and one is not place):
                self._refuse(f"{MOST_OF_CALLER} connections of {caller} are in use")
        if place.no_room and not admin and not self._has_room():
            self._refuse(place.no_room)
        place.no_room = ""

    # --- whether there is room ---------------------------------------------------------------------------------------

    def _no_room(self, place: Place) -> str:
        if place.address:
            strangers = [one for one in self._placed() if one.address == place.address and not one.caller]
            if len(strangers) >= MOST_STRANGERS and not self._make_room(strangers, lambda one: one.idle):
                return f"{MOST_STRANGERS} connections of {place.address} that have shown no token are in use"
        return "" if self._has_room() else f"{MOST_CONNECTIONS} connections are in use"

    def _has_room(self) -> bool:
        placed = self._placed()
        return len(placed) < MOST_CONNECTIONS or self._make_room(placed, lambda one: one.idle or not one.caller)

    def _placed(self) -> list[Place]:
        return [one for one in self._standing if not one.no_room]

    def _make_room(self, among: Iterable[Place], may_go: Callable[[Place], bool]) -> bool:
        """End one of these."""
        found = [one for one in among if may_go(one)]
        if found:  # the oldest one of the first sort that there is
            self._end(min(found, key=lambda one: (bool(one.caller), not one.idle)))
        return bool(found)

    def _end(self, place: Place) -> None:
        self.gone(place)
        place.forceAbortClient()

    def _refuse(self, why: str) -> None:
        self._log(why)
        raise Refused("too_many_connections", why)

    def _log(self, why: str) -> None:
        more = self._log_limit.allows(why)
        if more is not None:
            log.warn("web: {why}: others are answered 503{more}", why=why, more=more)
