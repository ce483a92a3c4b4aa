"""The growing delay after wrong passwords, per device and address, which delays no other caller."""

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

__all__ = ["Throttle", "Throttled"]

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
