"""Enrolment of unknown devices: the policy, the rules that let devices in at once, and the devices that wait."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from hmac import compare_digest
from typing import Literal

from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.devices.candidates import Candidate, Candidates
from cmmd.fleet.devices.networks import BadNetwork, Networks, is_own_host
from cmmd.fleet.devices.password_check import PasswordCheck
from cmmd.fleet.devices.passwords import Passwords
from cmmd.fleet.devices.refused_logins import LoginRefused
from cmmd.fleet.devices.strangers import Strangers
from cmmd.fleet.devices.throttle import Throttled
from cmmd.store.interface import StoreUnavailable
from cmmd.wire.errors import Reason
from cmmd.wire.messages import LoginParams
from cmmd.wire.retcodes import Retcode

__all__ = ["POLICIES", "AcceptRules", "Enrolment", "Policy"]

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
