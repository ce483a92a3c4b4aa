"""Unknown devices that wait for an operator: the queue of the enrolment policy ``approve``.

It is in memory only, so that strangers fill no disk: modules log in again and again, and are back soon after a restart.
"""

from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from cmmd.fleet.devices.networks import subscriber
from cmmd.wire.messages import LoginParams
from cmmd.wire.quoting import printable

__all__ = ["MOST_WAITING", "Candidate", "Candidates"]

MOST_WAITING = 1000


class Candidate(Struct, frozen=True, kw_only=True):
    """A device that waits to be let in.

    ``first_at``, ``last_at``: its first and latest login, milliseconds UTC. ``attempts``: its logins. ``contested``: a
    login came with another password, or from another address: two claim to be this device. ``password_hash``: of the
    password of its first login, which it has to show when it is let in; ``fingerprint``: see ``Passwords``.
    """

    hostid: str
    hostname: str
    moduletype: str
    address: str
    first_at: int
    last_at: int
    attempts: int = 1
    contested: bool = False
    password_hash: str
    fingerprint: bytes


class Candidates:
    """The devices that wait, the longest waiting first.

    When there are as many as there can be, the subscriber with the most of them loses its newest one; a newcomer of
    that subscriber is not taken.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Candidate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def get(self, hostid: str) -> Candidate | None:
        """Give the candidate of a hostid; None: none waits."""
        return self._waiting.get(hostid)

    def all(self) -> list[Candidate]:
        """List all that wait, the longest waiting first."""
        return list(self._waiting.values())

    def add(self, params: LoginParams, address: str, password_hash: str, fingerprint: bytes, at_ms: int) -> bool:
        """Have a device wait.

        :return: whether there is room for it.
        """
        if len(self._waiting) >= MOST_WAITING and not self._make_room(address):
            return False
        self._waiting[params.hostid] = Candidate(
            hostid=params.hostid,
            hostname=printable(params.hostname).strip(),
            moduletype=printable(params.moduletype).strip(),
            address=address,
            first_at=at_ms,
            last_at=at_ms,
            password_hash=password_hash,
            fingerprint=fingerprint,
        )
        return True

    def came_again(self, hostid: str, address: str, at_ms: int, *, same_password: bool) -> None:
        """Count a further login of a device that waits."""
        one = self._waiting[hostid]
        same = same_password and subscriber(one.address) == subscriber(address)
        self._waiting[hostid] = replace(
            one, last_at=at_ms, attempts=one.attempts + 1, contested=one.contested or not same
        )

    def remove(self, hostid: str) -> None:
        """Let a device wait no more."""
        self._waiting.pop(hostid, None)

    def _make_room(self, address: str) -> bool:
        lanes: dict[str, list[str]] = {}
        for one in self._waiting.values():
            lanes.setdefault(subscriber(one.address), []).append(one.hostid)
        longest = max(lanes.values(), key=len)
        if len(lanes.get(subscriber(address), ())) + 1 >= len(longest):
            return False
        del self._waiting[longest[-1]]
        return True
