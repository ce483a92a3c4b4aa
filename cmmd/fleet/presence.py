"""Who is connected: the sessions of each device, newest last (protocol section 5)."""

from typing import Protocol

from twisted.logger import Logger

__all__ = ["MOST_STANDING", "Attached", "Presence"]

log = Logger()

MOST_STANDING = 4
"""Sessions of one device that may stand at once; one more ends the oldest."""


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


class Presence:
    """The sessions of every device that has one.

    An old session that ends takes itself out and nothing else: it never marks a device offline that has come back.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, list[Attached]] = {}

    def __len__(self) -> int:
        """Devices online."""
        return len(self._sessions)

    @property
    def session_count(self) -> int:
        """Sessions standing, of all devices."""
        return sum(map(len, self._sessions.values()))

    def online(self, hostid: str) -> bool:
        """Whether a device has a session."""
        return hostid in self._sessions

    def sessions(self, hostid: str) -> tuple[Attached, ...]:
        """The sessions of a device, oldest first."""
        return tuple(self._sessions.get(hostid, ()))

    def carrier(self, hostid: str) -> Attached | None:
        """The session that carries commands: the newest on a live port. None: there is none."""
        return next((one for one in reversed(self.sessions(hostid)) if one.carries_commands), None)

    def attach(self, hostid: str, session: Attached) -> None:
        """A session has come; the oldest goes where more than ``MOST_STANDING`` stand."""
        standing = self._sessions.setdefault(hostid, [])
        if not standing:
            log.info("online: {hostid} at {peer}", hostid=hostid, peer=session.peer)
        standing.append(session)
        if len(standing) > MOST_STANDING:
            log.info("more than {most} connections of {hostid}: the oldest goes", most=MOST_STANDING, hostid=hostid)
            standing[0].close()

    def detach(self, hostid: str, session: Attached) -> None:
        """A session has gone."""
        standing = self._sessions.get(hostid)
        if standing is None or session not in standing:
            return
        standing.remove(session)
        if not standing:
            del self._sessions[hostid]
            log.info("offline: {hostid}", hostid=hostid)
