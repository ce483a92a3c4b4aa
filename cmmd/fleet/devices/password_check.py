"""The password of a device at a login: compared first, delayed only where it is wrong.

A verified password is remembered (``passwords``), so that nearly every login is decided by one keyed hash. Only
where none is remembered, as after a restart, scrypt decides: one attempt of a device at a time, those from the device's
own address beside those from elsewhere.

The right password never waits for wrong ones of other addresses, nor for those of its own address: many modules share
the address of a carrier's NAT, a load balancer or a port forwarding. So every password is compared first, and only a
wrong one waits. What is bounded instead is how many are compared:

* from one address, :data:`PAIR_BURST` for one device, then one each :data:`PAIR_REFILL_S`;
* from all addresses but the device's own, an address's first one, within limits, and :data:`ELSEWHERE_BURST` others,
  then one each :data:`ELSEWHERE_REFILL_S`. Strangers use nothing up at the device's own address.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, MutableMapping

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from cmmd.fleet.counters.log_throttle import Allowance
from cmmd.fleet.devices.device_records import MOST_WAITING_A_DEVICE, KeyedLock
from cmmd.fleet.devices.networks import subscriber
from cmmd.fleet.devices.passwords import Passwords
from cmmd.fleet.devices.strangers import Strangers
from cmmd.store.records import Device
from cmmd.wire.errors import PeerError, Reason
from cmmd.wire.messages import LoginParams
from cmmd.wire.retcodes import Retcode

__all__ = [
    "ALARM_AFTER",
    "QUIET_S",
    "Guessing",
    "LoginImpossible",
    "LoginRefused",
    "PasswordCheck",
    "Throttle",
    "Throttled",
]

# --- refusals --------------------------------------------------------------------------------------------------------


class LoginRefused(PeerError):
    """A login is not taken, for a reason on the device's side; ``retcode`` says which."""


class LoginImpossible(Exception):
    """A login cannot be decided or kept now, for a reason on our side; the device may try again."""


# --- delays ----------------------------------------------------------------------------------------------------------


FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
FORGET_AFTER_S = 600.0
MOST_HELD = 1000
MOST_REMEMBERED = 10_000


class Throttled(Exception):
    """Another attempt of the same device from the same address is being held already."""


class _Failures:
    """The failed logins of one device at one address."""

    __slots__ = ("count", "held", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.held = False


class Throttle:
    """Holds an attempt back until 1, 2, 4 ... 30 seconds after the last wrong one of the same device and address.

    One attempt of each pair is held, 1,000 in all; further ones are refused at once. The oldest of more than 10,000
    pairs are forgotten, and any after ten minutes.

    :param clock: for the time and the delays.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._held = 0

    async def admit(self, hostid: str, address: str) -> None:
        """Return when an attempt may be looked at.

        :raises Throttled: another attempt is held already.
        """
        failures = self._failures.get((hostid, address))
        delay = self.delay_left_s(hostid, address)
        if failures is None or delay <= 0:
            return
        if failures.held or self._held >= MOST_HELD:
            raise Throttled
        failures.held = True
        self._held += 1
        try:
            await deferLater(self._clock, delay)
        finally:
            failures.held = False
            self._held -= 1

    def delay_left_s(self, hostid: str, address: str) -> float:
        """Seconds until an attempt may be looked at; 0 or less: now."""
        failures = self._failures.get((hostid, address))
        if failures is None:
            return 0.0
        return failures.last + self.delay_s(failures.count) - self._clock.seconds()

    @staticmethod
    def delay_s(failures: int) -> float:
        """The delay after so many wrong attempts in a row, in seconds."""
        return min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 10), LONGEST_DELAY_S)

    def failed(self, hostid: str, address: str) -> None:
        """An attempt was wrong."""
        now = self._clock.seconds()
        pair = (hostid, address)
        failures = self._failures.pop(pair, None) or _Failures()
        if now - failures.last > FORGET_AFTER_S:
            failures.count = 0
        failures.count += 1
        failures.last = now
        self._failures[pair] = failures  # the newest last
        while len(self._failures) > MOST_REMEMBERED:
            self._failures.popitem(last=False)


# --- budgets and alarms ----------------------------------------------------------------------------------------------


PAIR_BURST, PAIR_REFILL_S = 50, 0.1
ELSEWHERE_BURST, ELSEWHERE_REFILL_S = 50, 1.0
FIRST_BURST, FIRST_REFILL_S = 1000, 1.0
"""First passwords of addresses that have not sent a wrong one for the device: a module that has moved sends one."""

ALARM_AFTER, ALARM_REFILL_S = 30, 60.0
"""So many wrong passwords of one device, and one more a minute, raise no alarm: a mistyped one, tried again and again
by a module, is not a guess."""

QUIET_S = 600.0
"""Seconds without a wrong password after which the alarm is cleared."""


class _Device:
    """Budgets of one device for which a wrong password came."""

    __slots__ = ("alarming", "elsewhere", "firsts", "last", "unalarming")

    def __init__(self, now: float) -> None:
        self.elsewhere = Allowance(now, ELSEWHERE_BURST, ELSEWHERE_REFILL_S)
        self.firsts = Allowance(now, FIRST_BURST, FIRST_REFILL_S)
        self.unalarming = Allowance(now, ALARM_AFTER, ALARM_REFILL_S)
        self.alarming = False
        self.last = now


class Guessing:
    """The consequences of wrong passwords, per device, and per device and address.

    :param clock: for delays and budgets.
    :param throttle: delays the answers to wrong passwords of one device and address.
    :param alarmed: called with a hostid, and whether its passwords are being guessed.
    """

    def __init__(self, clock: IReactorTime, throttle: Throttle, alarmed: Callable[[str, bool], None]) -> None:
        self._clock = clock
        self._throttle = throttle
        self._alarmed = alarmed
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._pairs: OrderedDict[tuple[str, str], Allowance] = OrderedDict()
        self._alarming: set[str] = set()
        self._looking: IDelayedCall | None = None

    def may_compare(self, hostid: str, address: str, *, home: bool) -> bool:
        """Tell whether another password of a device can be compared now, and count it.

        :param home: the address is that of the latest login of the device.
        """
        device = self._devices.get(hostid)
        if device is None:
            return True
        now = self._clock.seconds()
        pair = self._pairs.get((hostid, subscriber(address)))
        if pair is not None and not pair.take(now):
            return False
        if home:
            return True
        return (device.firsts if pair is None else device.elsewhere).take(now)

    def count(self, hostid: str, address: str) -> None:
        """Count a password that was wrong, or that could not be compared."""
        lane, now = subscriber(address), self._clock.seconds()
        device = self._devices.pop(hostid, None) or _Device(now)
        self._devices[hostid] = device  # the newest last
        device.last = now
        if not device.unalarming.take(now) and not device.alarming:
            device.alarming = True
            self._alarming.add(hostid)
            self._alarmed(hostid, True)
            self._look_later()
        pair = self._pairs.pop((hostid, lane), None) or Allowance(now, PAIR_BURST, PAIR_REFILL_S)
        self._pairs[hostid, lane] = pair
        while len(self._pairs) > MOST_REMEMBERED:
            self._pairs.popitem(last=False)
        while len(self._devices) > MOST_REMEMBERED:
            self._forget(next(iter(self._devices)))

    async def wait(self, hostid: str, address: str) -> None:
        """Return when a wrong password can be answered: at once the first time, then later and later.

        :raises Throttled: a wrong one of this device and address waits already.
        """
        lane = subscriber(address)
        await self._throttle.admit(hostid, lane)
        self._throttle.failed(hostid, lane)

    def alarming(self, hostid: str) -> bool:
        """Tell whether the passwords of a device are being guessed."""
        return hostid in self._alarming

    def forget(self, hostid: str) -> None:
        """Forget the wrong passwords of a device: it has another password now, or is gone."""
        if hostid in self._devices:
            self._forget(hostid)
        for pair in [pair for pair in self._pairs if pair[0] == hostid]:
            del self._pairs[pair]

    def _forget(self, hostid: str) -> None:
        if self._devices.pop(hostid).alarming:
            self._alarming.discard(hostid)
            self._alarmed(hostid, False)

    def stop(self) -> None:
        """Look no more whether devices are left in peace."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _look_later(self) -> None:
        if self._looking is None:
            self._looking = self._clock.callLater(QUIET_S, self._look)

    def _look(self) -> None:
        """Clear the alarms of devices for which no wrong password has come for a while."""
        self._looking = None
        before = self._clock.seconds() - QUIET_S
        for hostid in [one for one in self._alarming if self._devices[one].last <= before]:
            self.forget(hostid)
        if self._alarming:
            self._look_later()


# --- the check -------------------------------------------------------------------------------------------------------


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
