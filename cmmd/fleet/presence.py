"""Who is connected: the sessions of each device, newest last (protocol section 5)."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.events import Events, Kind
from cmmd.fleet.loglimit import LogLimit
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer

__all__ = ["MOST_STANDING", "Attached", "Lost", "NoAnswer", "NotSent", "Presence"]

log = Logger()

MOST_STANDING = 4
"""Sessions of one device that may stand at once; one more ends the oldest."""


class NotSent(Exception):
    """A message never left."""


class NoAnswer(Exception):
    """A message was sent and not answered in time: nobody knows what became of it."""


class Lost(Exception):
    """A message was sent, and the connection ended before an answer: nobody knows what became of it."""


class Attached(Protocol):
    """A long connection of a device, as its presence sees it."""

    @property
    def carries_commands(self) -> bool:
        """Whether commands may go this way: not on a connection that only brings history."""

    @property
    def peer(self) -> str:
        """The host at the other end."""

    def close(self) -> None:
        """Close the connection; ``detach`` follows."""

    def round_trip(
        self, message: WriteConfig | Reset, timeout_s: float, sent: Callable[[], None]
    ) -> Deferred[WriteConfigAnswer | ResetAnswer]:
        """Send a message of ours, and take its answer (protocol sections 4.6 and 4.8).

        Cancelled before it is sent, it is withdrawn; afterwards nobody listens to the answer any more.

        :param message: its uid tells its answer; a reset has none, and one may be in flight.
        :param timeout_s: seconds to wait for quiet on the connection, and, from when it was sent, for the answer.
        :param sent: called once, when it has been handed to the transport: from then on it may have reached the device.
        :return: the answer.
        :raises NotSent: the connection ended, or there was no quiet on it in time.
        :raises NoAnswer: sent, and nothing came in time.
        :raises Lost: sent, and the connection ended before an answer came.
        """


class Presence:
    """The sessions of every device that has one. A device is online while one of them is live.

    An old session that ends takes itself out and nothing else: it never marks a device offline that has come back.

    :param clock: for the limit of what is logged of each device.
    :param events: told when devices come and go.
    """

    def __init__(self, clock: IReactorTime, events: Events) -> None:
        self._sessions: dict[str, list[Attached]] = {}
        self._online = 0
        self._limit = LogLimit(clock)
        self._events = events
        self._subscribers: list[Callable[[str], None]] = []

    def subscribe(self, subscriber: Callable[[str], None]) -> Callable[[], None]:
        """Be told the hostid whenever a device comes or goes: each time, unlike the events, which are limited.

        :return: call it to be told no more.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def __len__(self) -> int:
        """Devices online."""
        return self._online

    @property
    def session_count(self) -> int:
        """Sessions standing, of all devices."""
        return sum(map(len, self._sessions.values()))

    def online(self, hostid: str) -> bool:
        """Whether a device has a live session."""
        return self.carrier(hostid) is not None

    def sessions(self, hostid: str) -> tuple[Attached, ...]:
        """The sessions of a device, oldest first."""
        return tuple(self._sessions.get(hostid, ()))

    def carrier(self, hostid: str) -> Attached | None:
        """The session that carries commands: the newest on a live port. None: there is none."""
        return next((one for one in reversed(self._sessions.get(hostid, ())) if one.carries_commands), None)

    def attach(self, hostid: str, session: Attached) -> None:
        """A session has come; where more than ``MOST_STANDING`` stand the oldest goes, but not the one for commands."""
        was_online = self.online(hostid)
        standing = self._sessions.setdefault(hostid, [])
        standing.append(session)
        if session.carries_commands and not was_online:
            self._online += 1
            self._say(f"online: {hostid} at {session.peer}", hostid)
            self._events.emit(Kind.ONLINE, hostid, address=session.peer)
            self._tell(hostid)
        if len(standing) > MOST_STANDING:
            self._say(f"more than {MOST_STANDING} connections of {hostid}: the oldest goes", hostid)
            carrier = self.carrier(hostid)
            next(one for one in standing if one is not carrier).close()

    def detach(self, hostid: str, session: Attached) -> None:
        """A session has gone."""
        standing = self._sessions.get(hostid)
        if standing is None or session not in standing:
            return
        standing.remove(session)
        if not standing:
            del self._sessions[hostid]
        if session.carries_commands and not self.online(hostid):
            self._online -= 1
            self._say(f"offline: {hostid}", hostid)
            self._events.emit(Kind.OFFLINE, hostid)
            self._tell(hostid)

    def _tell(self, hostid: str) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber(hostid)

    def _say(self, what: str, hostid: str) -> None:
        more = self._limit.allows(hostid)
        if more is not None:
            log.info("{what}{more}", what=what, more=more, hostid=hostid)
