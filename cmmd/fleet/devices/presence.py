"""The connected sessions of each device, newest last, and the one that carries commands (protocol section 5).

The events of devices that connect and disconnect leave out short interruptions: real modules reconnect all day.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.events import Events, Kind
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer

__all__ = ["MOST_STANDING", "REATTACH_S", "Attached", "Lost", "NoAnswer", "NotSent", "OnlineEvents", "Presence"]

log = Logger()

# --- events ----------------------------------------------------------------------------------------------------------


class OnlineEvents:
    """Emits ``online`` and ``offline``, but not for a device that is back within the grace.

    Only events wait: presence, what is shown and where commands go change at once.

    :param grace_s: seconds that a device may be without a session; 0: each end is an event.
    :param now: Unix time in seconds.
    """

    def __init__(self, events: Events, clock: IReactorTime, grace_s: float, now: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._grace_s = grace_s
        self._now = now
        self._gone: dict[str, tuple[float, int]] = {}  # when it is due, and when the session ended (ms UTC); in order
        self._looking: IDelayedCall | None = None

    def came(self, hostid: str, address: str) -> None:
        """A device that had no live session has one."""
        if self._gone.pop(hostid, None) is None:
            self._events.emit(Kind.ONLINE, hostid, address=address)

    def went(self, hostid: str) -> None:
        """The last live session of a device has ended."""
        since = int(self._now() * 1000)
        if self._grace_s <= 0:
            self._events.emit(Kind.OFFLINE, hostid, since=since)
            return
        self._gone[hostid] = self._clock.seconds() + self._grace_s, since
        if self._looking is None:
            self._looking = self._clock.callLater(self._grace_s, self._look)

    def flush(self) -> None:
        """Tell all that have gone, and wait with none from now on: the daemon ends."""
        self._grace_s = 0
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        gone, self._gone = self._gone, {}
        for hostid, (_, since) in gone.items():
            self._events.emit(Kind.OFFLINE, hostid, since=since)

    def _look(self) -> None:
        self._looking = None
        now = self._clock.seconds()
        while self._gone:
            hostid = next(iter(self._gone))
            due, since = self._gone[hostid]
            if due > now:
                self._looking = self._clock.callLater(due - now, self._look)
                return
            del self._gone[hostid]
            self._events.emit(Kind.OFFLINE, hostid, since=since)


# --- sessions --------------------------------------------------------------------------------------------------------


MOST_STANDING = 4
"""Sessions of one device that may stand at once; one more ends the oldest."""

REATTACH_S = 60.0
"""Seconds after a password login in which a module attaches anew. Firmware that logs in again and keeps its long
connection gets commands there from then on; before, that connection may be one that has died unnoticed."""


class NotSent(Exception):
    """A message never left."""


class NoAnswer(Exception):
    """A message was sent and not answered in time: its outcome is unknown."""


class Lost(Exception):
    """A message was sent, and the connection ended before an answer: its outcome is unknown."""


class Attached(Protocol):
    """A long connection of a device, as its presence sees it."""

    @property
    def carries_commands(self) -> bool:
        """Tell whether commands may go this way: not on a connection that only brings history."""

    @property
    def peer(self) -> str:
        """The host at the other end."""

    def close(self) -> None:
        """Close the connection; ``detach`` follows."""

    def round_trip(
        self, message: WriteConfig | Reset, timeout_s: float, leaves: Callable[[], bool]
    ) -> Deferred[WriteConfigAnswer | ResetAnswer]:
        """Send a server-initiated message, and take its answer (protocol sections 4.6 and 4.8).

        Cancelled before it is sent, it is withdrawn; afterwards its answer is ignored.

        :param message: its uid tells its answer; a reset has none, and one may be in flight.
        :param timeout_s: seconds to wait for quiet on the connection, and, from when it was sent, for the answer.
        :param leaves: called once, directly before it is handed to the transport. True: from then on it may have
            reached the device; False: it must not go any more.
        :return: the answer.
        :raises NotSent: the connection ended, there was no quiet on it in time, or it must not go any more.
        :raises NoAnswer: sent, and nothing came in time.
        :raises Lost: sent, and the connection ended before an answer came.
        """


class Presence:
    """The sessions of every device that has one. A device is online while one of them is live.

    An old session that ends takes itself out and nothing else: it never marks a device offline that has come back.

    A hostid is no secret, a password is one. So the address of a device's latest password login is its *home*:

    * sessions older than that login are *superseded*: they get no commands and raise no doubt by standing there;
    * a session from elsewhere that came after it, or one that uploads from elsewhere while a session from home is open,
      is *foreign*: with one of those it is doubtful who the device is.

    :param clock: for the limit of what is logged of each device.
    :param events: notified when devices come and go, and when a session is foreign.
    :param home: gives the address of a device's latest password login; None: not known, then no session is foreign.
    :param doubtful: notified of the hostid, and whether a foreign session of it is open.
    :param moved: notified of the hostid when another session may carry its commands from now on.
    :param grace_s: seconds without a session before there is an event of it; :param now: Unix time in seconds.
    :ivar untrusted: sessions that are foreign, or superseded and from elsewhere: what they upload need not be of the
        device. One that uploads is to be handed to :meth:`uploaded`; nearly always there are none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        home: Callable[[str], str | None] = lambda _: None,
        doubtful: Callable[[str, bool], None] = lambda *_: None,
        moved: Callable[[str], None] = lambda _: None,
        *,
        grace_s: float = 0.0,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock
        self._online_events = OnlineEvents(events, clock, grace_s, clock.seconds if now is None else now)
        self._sessions: dict[str, list[Attached]] = {}
        self._online = 0
        self._limit = LogLimit(clock)
        self._events = events
        self._home = home
        self._doubtful = doubtful
        self._moved = moved
        self._superseded: dict[str, list[Attached]] = {}  # those that stand; a device without any has no entry
        self._foreign: dict[str, list[Attached]] = {}  # the same
        self._login_at: dict[str, float] = {}  # of devices with superseded sessions, by the clock
        self.untrusted: set[Attached] = set()
        self._subscribers: list[Callable[[str], None]] = []

    def subscribe(self, subscriber: Callable[[str], None]) -> Callable[[], None]:
        """Get the hostid whenever a device connects or disconnects: each time, unlike the events, which are limited.

        :return: call it to unsubscribe.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def __len__(self) -> int:
        """Count the devices that are online."""
        return self._online

    @property
    def session_count(self) -> int:
        """Sessions standing, of all devices."""
        return sum(map(len, self._sessions.values()))

    # --- what is open ------------------------------------------------------------------------------------------------

    def online(self, hostid: str) -> bool:
        """Tell whether a device has a live session."""
        return any(one.carries_commands for one in self._sessions.get(hostid, ()))

    def sessions(self, hostid: str) -> tuple[Attached, ...]:
        """The sessions of a device, oldest first."""
        return tuple(self._sessions.get(hostid, ()))

    def address(self, hostid: str) -> str | None:
        """The host that a device's live session comes from, the one that stop would go to; None: it is offline."""
        carrier = self.carrier(hostid, stop=True)
        return None if carrier is None else carrier.peer

    def carrier(self, hostid: str, *, stop: bool = False) -> Attached | None:
        """The session that carries commands: the newest on a live port, from home before others. None: there is none.

        :param stop: for stop, which is sent by a superseded session from home rather than by one from elsewhere.
        """
        live = [one for one in reversed(self._sessions.get(hostid, ())) if one.carries_commands]
        superseded: Sequence[Attached] = self._superseded.get(hostid, ())
        if not live or not (superseded or hostid in self._foreign):
            return live[0] if live else None
        home = self._home(hostid)
        current = [one for one in live if one not in superseded]
        for one in current:
            if one.peer == home:
                return one
        if superseded and (stop or self._clock.seconds() - self._login_at[hostid] >= REATTACH_S):
            for one in live:
                if one.peer == home:
                    return one
        return current[0] if current else None

    def in_doubt(self, hostid: str) -> tuple[str, ...]:
        """The addresses of the foreign sessions that stand; none: it is certain which device is there."""
        return tuple(one.peer for one in self._foreign.get(hostid, ()))

    def trusts(self, hostid: str, session: Attached) -> bool:
        """Tell whether what a session says is of the device; what one without trust says can do no harm."""
        return session not in self.untrusted and session in self._sessions.get(hostid, ())

    def at_home(self, hostid: str, address: str | None) -> bool:
        """Tell whether an address is that of the latest password login, as far as that is known."""
        return self._home(hostid) in (None, address)

    # --- what happens ------------------------------------------------------------------------------------------------

    def logged_in(self, hostid: str) -> None:
        """A device has shown its password: sessions that stand are superseded, and raise no doubt any more."""
        standing = self._sessions.get(hostid)
        self._foreign.pop(hostid, None)
        if standing:
            self._superseded[hostid] = list(standing)
            self._login_at[hostid] = self._clock.seconds()
            self.untrusted.difference_update(standing)
            self.untrusted.update(one for one in standing if not self.at_home(hostid, one.peer))
        self._doubtful(hostid, False)
        self._moved(hostid)

    def vouched_for(self, hostid: str, session: Attached) -> None:
        """Mark a session as current: the device has shown its password on it."""
        self._no_longer(self._superseded, hostid, session)
        self.untrusted.discard(session)

    def attach(self, hostid: str, session: Attached) -> None:
        """A session has come; of more than ``MOST_STANDING`` one is closed, but not the one for commands."""
        was_online = self.online(hostid)
        standing = self._sessions.setdefault(hostid, [])
        standing.append(session)
        if session.carries_commands and not was_online:
            self._online += 1
            self._say(f"online: {hostid} at {session.peer}", hostid)
            self._online_events.came(hostid, session.peer)
            self._tell(hostid)
        if self.at_home(hostid, session.peer):
            self._doubtful(hostid, hostid in self._foreign)
        else:
            self._is_foreign(hostid, session)
        if len(standing) > MOST_STANDING:
            self._say(f"more than {MOST_STANDING} connections of {hostid}: one is closed", hostid)
            carrier = self.carrier(hostid, stop=True)
            least = (*self._foreign.get(hostid, ()), *self._superseded.get(hostid, ()), *standing)
            next(one for one in least if one is not carrier).close()
        self._moved(hostid)

    def uploaded(self, hostid: str, session: Attached) -> None:
        """One without trust has uploaded: where a session from home is open, two devices claim to be the same one."""
        home = self._home(hostid)
        if session in self._foreign.get(hostid, ()):
            return
        if any(one.peer == home for one in self._sessions.get(hostid, ())):
            self._is_foreign(hostid, session)

    def detach(self, hostid: str, session: Attached) -> None:
        """A session has gone."""
        standing = self._sessions.get(hostid)
        if standing is None or session not in standing:
            return
        standing.remove(session)
        self.untrusted.discard(session)
        self._no_longer(self._superseded, hostid, session)
        if self._no_longer(self._foreign, hostid, session):
            self._doubtful(hostid, hostid in self._foreign)
        if not standing:
            del self._sessions[hostid]
        if session.carries_commands and not self.online(hostid):
            self._online -= 1
            self._say(f"offline: {hostid}", hostid)
            self._online_events.went(hostid)
            self._tell(hostid)

    def stop(self) -> None:
        """Tell of all devices that have gone."""
        self._online_events.flush()

    def _is_foreign(self, hostid: str, session: Attached) -> None:
        home = self._home(hostid)
        self._foreign.setdefault(hostid, []).append(session)
        self.untrusted.add(session)
        self._say(f"{hostid} at {session.peer}, and its latest login came from {home}: which one is it?", hostid)
        self._events.emit(Kind.SESSION_TAKEN_OVER, hostid, address=session.peer, login_address=home)
        self._doubtful(hostid, True)

    def _no_longer(self, which: dict[str, list[Attached]], hostid: str, session: Attached) -> bool:
        """Take a session out of one of the lists; whether it was in it."""
        listed: Iterable[Attached] = which.get(hostid, ())
        if session not in listed:
            return False
        which[hostid].remove(session)
        if not which[hostid]:
            del which[hostid]
            if which is self._superseded:
                del self._login_at[hostid]
        return True

    def _tell(self, hostid: str) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber(hostid)

    def _say(self, what: str, hostid: str) -> None:
        more = self._limit.allows(hostid)
        if more is not None:
            log.info("{what}{more}", what=what, more=more, hostid=hostid)
