"""Wrong passwords of devices: who waits for them, how many are compared, and when a device raises an alarm.

The right password never waits for wrong ones of other addresses, nor for those of its own address: many modules share
the address of a carrier's NAT, a load balancer or a port forwarding. So every password is compared first, and only a
wrong one waits. What is bounded instead is how many are compared:

* from one address, :data:`PAIR_BURST` for one device, then one each :data:`PAIR_REFILL_S`;
* from all addresses but the device's own, an address's first one, within limits, and :data:`ELSEWHERE_BURST` others,
  then one each :data:`ELSEWHERE_REFILL_S`. Strangers use nothing up at the device's own address.
"""

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.fleet.counters.log_throttle import Allowance
from cmmd.fleet.devices.networks import subscriber
from cmmd.fleet.devices.throttle import MOST_REMEMBERED, Throttle, Throttled

__all__ = ["ALARM_AFTER", "QUIET_S", "Guessing", "Throttled"]

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
