"""The password of a device at a login: compared first, delayed only where it is wrong.

A verified password is remembered (see ``passwords``), so that nearly every login is decided by one keyed hash. Only
where none is remembered, as after a restart, scrypt decides: one attempt of a device at a time, those from the device's
own address beside those from elsewhere.
"""

from collections import Counter
from collections.abc import Callable, MutableMapping

from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.devices.device_records import MOST_WAITING_A_DEVICE
from cmmd.fleet.devices.guessing import Guessing
from cmmd.fleet.devices.keyed_lock import KeyedLock
from cmmd.fleet.devices.networks import subscriber
from cmmd.fleet.devices.passwords import Passwords
from cmmd.fleet.devices.refused_logins import LoginImpossible, LoginRefused
from cmmd.fleet.devices.strangers import Strangers
from cmmd.fleet.devices.throttle import Throttled
from cmmd.store.records import Device
from cmmd.wire.errors import Reason
from cmmd.wire.messages import LoginParams
from cmmd.wire.retcodes import Retcode

__all__ = ["PasswordCheck"]


class PasswordCheck:
    """Decides whether a login has the password of its device.

    :param passwords: compares. :param guessing: bounds and delays wrong ones. :param strangers: budgets of addresses.
    :param device: gives the record of a device as it is now.
    :param clock: for the time that a refusal takes.
    :ivar wrong_passwords: wrong passwords since the start, by hostid.
    """

    def __init__(
        self,
        passwords: Passwords,
        guessing: Guessing,
        strangers: Strangers,
        device: Callable[[str], Device | None],
        clock: IReactorTime,
    ) -> None:
        self._passwords = passwords
        self._guessing = guessing
        self._strangers = strangers
        self._device = device
        self._clock = clock
        self._deciding = KeyedLock(MOST_WAITING_A_DEVICE)
        self.wrong_passwords: MutableMapping[str, int] = Counter()

    async def check(self, params: LoginParams, address: str, wanted: Callable[[], bool]) -> None:
        """Return where the password is the one that was kept.

        :param wanted: asked before anything costly: whether the device still waits.
        :raises LoginRefused: it is wrong, or too many were tried. :raises Throttled: one that was wrong waits already.
        :raises LoginImpossible: the device has another password since a moment.
        """
        hostid, since = params.hostid, self._clock.seconds()
        device = self._device(hostid)
        assert device is not None and device.password_hash is not None, "it has logged in before"
        kept = device.password_hash
        home = device.last_login_address is not None and subscriber(device.last_login_address) == subscriber(address)
        if not self._guessing.may_compare(hostid, address, home=home):
            await self.refuse_stranger(hostid, address, since, Throttled())
        right = self._passwords.verdict(hostid, params.password, kept)
        if right is None:
            right = await self._compute(params, kept, address, wanted, home=home)
        if not right:
            self.wrong_passwords[hostid] += 1
            wrong = LoginRefused(Reason.WRONG_PASSWORD, "wrong password", Retcode.WRONG_PASSWORD)
            await self.refuse_stranger(hostid, address, since, wrong)
        now = self._device(hostid)
        if now is None or now.password_hash != kept:
            raise LoginImpossible("its password was reset just now")

    async def _compute(
        self, params: LoginParams, kept: str, address: str, wanted: Callable[[], bool], *, home: bool
    ) -> bool:
        """Compare a password while none is remembered."""
        async with self._deciding.take(f"{params.hostid} {'home' if home else 'elsewhere'}"):
            right = self._passwords.verdict(params.hostid, params.password, kept)  # the one before may have been right
            if right is None:
                right = await self._passwords.matches(params.password, kept, address, wanted)
                if right:
                    self._passwords.remember(params.hostid, params.password, kept)
            return right

    async def refuse_stranger(self, hostid: str, address: str, since: float, refusal: Exception) -> None:
        """Raise a refusal, or, where the budget of the address is used up, one that says nothing.

        A refusal that says nothing comes after the same time for a device that exists and for one that does not.

        :param since: when the login came, by the clock.
        """
        known = self._device(hostid) is not None
        if known:
            self._guessing.count(hostid, address)
        if self._strangers.spend(address):
            if known:
                await self._guessing.wait(hostid, address)
            raise refusal
        equal_time = self._strangers.equal_time(since)
        if equal_time is not None:
            await equal_time
        raise LoginRefused(Reason.THROTTLED, "too many attempts", Retcode.TRY_AGAIN)
