"""Enrolment of unknown devices: the policy, the rules that let devices in at once, and the devices that wait.

Devices that wait are in memory only, so that strangers fill no disk: modules log in again and again, and are back soon
after a restart. The policy that an operator has set while the daemon runs is a file of the state directory.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from hmac import compare_digest
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.devices.networks import BadNetwork, Networks, is_own_host, subscriber
from cmmd.fleet.devices.password_check import LoginRefused, PasswordCheck, Throttled
from cmmd.fleet.devices.passwords import Passwords
from cmmd.fleet.devices.strangers import Strangers
from cmmd.store.interface import StoreUnavailable
from cmmd.wire.errors import Reason
from cmmd.wire.messages import LoginParams
from cmmd.wire.quoting import printable
from cmmd.wire.retcodes import Retcode

__all__ = ["MOST_WAITING", "POLICIES", "AcceptRules", "Candidate", "Candidates", "Enrolment", "KeptPolicy", "Policy"]

log = Logger()

# --- devices that wait -----------------------------------------------------------------------------------------------


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


# --- rules -----------------------------------------------------------------------------------------------------------


Policy = Literal["open", "approve", "known"]
"""``open``: an unknown device is registered at its first login; ``approve``: it waits for an operator; ``known``: it is
refused."""

POLICIES: tuple[Policy, ...] = ("open", "approve", "known")


class AcceptRules:
    """Rules by which the policy ``approve`` lets an unknown device in at once.

    :param texts: patterns of hostids, such as ``34393336*``, or networks, such as ``10.8.0.0/16``.
    :raises BadNetwork: a text with a slash is no network.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        texts = tuple(texts)
        self._networks = Networks(text for text in texts if "/" in text)
        self._patterns = tuple(text for text in texts if "/" not in text)
        if not all(self._patterns):
            raise BadNetwork("an empty text is neither a pattern nor a network")

    def of_name(self, hostid: str) -> bool:
        """Tell whether a device is let in at once by its hostid, which anyone can claim."""
        return any(fnmatchcase(hostid, pattern) for pattern in self._patterns)

    def of_network(self, address: str) -> bool:
        """Tell whether a device is let in at once by where it is."""
        return address in self._networks


class Enrolment:
    """Decides what becomes of a login whose hostid is not known.

    :param policy: of the configuration, or as an operator has set it since.
    :param accept: lets devices in under the policy ``approve``.
    :param passwords: hashes those of devices that wait.
    :param check: refuses. :param strangers: the budget of addresses.
    :param now_ms: milliseconds UTC. :param clock: for the time that a refusal takes.
    :param keep: keeps a policy that an operator has set. :param waits: called with each device that begins to wait.
    :ivar policy: the policy in force.
    :ivar candidates: the devices that wait.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        accept: AcceptRules,
        passwords: Passwords,
        check: PasswordCheck,
        strangers: Strangers,
        now_ms: Callable[[], int],
        clock: IReactorTime,
        keep: Callable[[Policy], None] = lambda _: None,
        waits: Callable[[Candidate], None] = lambda _: None,
    ) -> None:
        self.policy: Policy = policy
        self._keep = keep
        self._waits = waits
        self.candidates = Candidates()
        self._accept = accept
        self._passwords = passwords
        self._check = check
        self._strangers = strangers
        self._now_ms = now_ms
        self._clock = clock

    async def look_at(self, params: LoginParams, address: str, wanted: Callable[[], bool]) -> None:
        """Return where an unknown device is registered now.

        :param wanted: asked before anything costly: whether the device still waits.
        :raises LoginRefused: the policy does not let it in, or its address has tried too many.
        """
        since = self._clock.seconds()
        hostid = params.hostid
        if self.policy == "open":
            # The simulator and a gateway on this machine come from there, in any number.
            if not is_own_host(address) and not self._strangers.spend(address):
                await self._check.refuse_stranger(hostid, address, since, Throttled())
        elif self.policy == "known":
            await self._check.refuse_stranger(hostid, address, since, _refused("enrolment is closed"))
        elif not self._accept.of_network(address):
            named = self._accept.of_name(hostid)
            if named and is_own_host(address):
                return
            # Hostids are easily made up that a pattern fits: the budget counts for them, too.
            if not self._strangers.spend(address):
                await self._check.refuse_stranger(hostid, address, since, Throttled())
            if not named:
                await self._wait(params, address, wanted)
                raise _refused("waits for approval")

    def lets_in(self, hostid: str, address: str) -> bool:
        """Tell whether the policy, as it is now, lets an unknown device in at once; no budget is spent."""
        if self.policy == "approve":
            return self._accept.of_network(address) or self._accept.of_name(hostid)
        return self.policy == "open"

    async def _wait(self, params: LoginParams, address: str, wanted: Callable[[], bool]) -> None:
        waiting = self.candidates.get(params.hostid)
        if waiting is None:
            hashed = await self._passwords.hash(params.password, address, wanted)
            fingerprint = self._passwords.fingerprint(params.password, hashed)
            if self.candidates.add(params, address, hashed, fingerprint, self._now_ms()):
                candidate = self.candidates.get(params.hostid)
                assert candidate is not None, "it has just been added"
                self._waits(candidate)
            return
        fingerprint = self._passwords.fingerprint(params.password, waiting.password_hash)
        same = compare_digest(fingerprint, waiting.fingerprint)
        self.candidates.came_again(params.hostid, address, self._now_ms(), same_password=same)

    def set_policy(self, policy: Policy) -> None:
        """Set the policy from now on.

        :raises StoreUnavailable: it cannot be kept; nothing was changed.
        """
        try:
            self._keep(policy)
        except OSError as error:
            raise StoreUnavailable(f"the policy cannot be kept: {error}") from None
        self.policy = policy

    def reject(self, hostid: str) -> bool:
        """Let a device wait no more; it waits again at its next login.

        :return: whether it did.
        """
        waited = self.candidates.get(hostid) is not None
        self.candidates.remove(hostid)
        return waited


def _refused(text: str) -> LoginRefused:
    return LoginRefused(Reason.NOT_ENROLLED, text, Retcode.NOT_ENROLLED)


# --- the policy that an operator has set -----------------------------------------------------------------------------


class _File(Struct, frozen=True):
    policy: Policy
    configured: Policy


class KeptPolicy:
    """Remembers the policy that was set, until the configuration says another one than it did then.

    :param path: the file.
    :param configured: the policy of the configuration.
    """

    def __init__(self, path: Path, configured: Policy) -> None:
        self._path = path
        self._configured = configured

    def read(self) -> Policy:
        """Give the policy to begin with."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return self._configured
        except (OSError, msgspec.MsgspecError) as error:
            # Closed at the worst: what an operator has closed must not be open because a file is damaged.
            log.error("{path}: {error}; enrolment is `approve` until it is set again", path=self._path, error=error)
            return "known" if self._configured == "known" else "approve"
        return kept.policy if kept.configured == self._configured else self._configured

    def write(self, policy: Policy) -> None:
        """Keep a policy for the next start.

        :raises OSError: it cannot be kept.
        """
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(_File(policy, self._configured)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
