"""Limits of what strangers can do at the devices' ports, by subscriber: see docs/security.md.

Counted are unknown hostids, wrong passwords and fresh registrations, and connections on which no known device
has spoken yet. Never counted is what a known device does, so that a fleet behind one carrier's NAT keeps no other out.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cmmd.fleet.counters.log_throttle import Allowance
from cmmd.fleet.devices.networks import Networks, same_network, subscriber

__all__ = ["FreshConnections", "Homes", "Strangers"]

MOST_REMEMBERED = 20_000
"""Subscribers whose budget is remembered; the one longest not heard of is forgotten first."""
ANSWER_AFTER_S = 1.0
"""Seconds from a login to its refusal where the budget is used up, whatever the reason is: the time tells nothing."""
MOST_HELD = 1000
"""Refusals that wait so at once; further ones are answered immediately."""

T = TypeVar("T", bound=Hashable)


class Homes:
    """The number of devices whose latest login came from each subscriber."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def moved(self, before: str | None, after: str | None) -> None:
        """Count a device at another address; None: it had none before, or is gone."""
        if before == after:
            return
        if after is not None:
            self._counts[subscriber(after)] += 1
        if before is not None:
            of = subscriber(before)
            self._counts[of] -= 1
            if self._counts[of] <= 0:
                del self._counts[of]

    def at(self, address: str) -> int:
        """Count the devices of a subscriber."""
        return self._counts.get(subscriber(address), 0)


class Strangers:
    """The budget of each subscriber for what only strangers do.

    :param clock: for the time.
    :param a_minute: how many unknown hostids, wrong passwords and fresh registrations a subscriber has a minute.
    :param exempt: networks without a limit.
    """

    def __init__(self, clock: IReactorTime, a_minute: int = 20, exempt: Networks | None = None) -> None:
        self._clock = clock
        self._burst, self._refill_s = a_minute, 60.0 / a_minute
        self._exempt = exempt or Networks()
        self._budgets: OrderedDict[str, Allowance] = OrderedDict()
        self._used_up: set[str] = set()
        self._held = 0

    def spend(self, address: str) -> bool:
        """Count one deed of a stranger.

        :return: False: the budget of the address is used up.
        """
        if address in self._exempt:
            return True
        of, now = subscriber(address), self._clock.seconds()
        budget = self._budgets.pop(of, None) or Allowance(now, self._burst, self._refill_s)
        self._budgets[of] = budget  # the newest last
        while len(self._budgets) > MOST_REMEMBERED:
            gone, _ = self._budgets.popitem(last=False)
            self._used_up.discard(gone)
        taken = budget.take(now)
        (self._used_up.add if budget.left(now) < 1 else self._used_up.discard)(of)
        return taken

    def hides(self, address: str, home: str | None) -> bool:
        """Tell whether a device is to be answered as one that does not exist, and count that.

        An address whose budget is used up learns no hostids any more. A module logs in first, and is at home then.

        :param home: the address of the latest login of the device.
        """
        if not self._used_up or (home is not None and same_network(address, home)):
            return False
        return subscriber(address) in self._used_up and not self.spend(address)

    def equal_time(self, since: float) -> Deferred[None] | None:
        """Wait until all refusals of a used-up budget are answered, however long each took to find.

        :param since: when the login came, by the clock.
        :return: None: too many wait so, or there is nothing to wait for.
        """
        left = since + ANSWER_AFTER_S - self._clock.seconds()
        if left <= 0 or self._held >= MOST_HELD:
            return None
        self._held += 1

        def let_go() -> None:
            self._held -= 1

        return deferLater(self._clock, left, let_go)


class FreshConnections(Generic[T]):
    """Connections on which no known device has spoken yet, by subscriber, the oldest first.

    One more than a subscriber can have ends its oldest one. Refusing the new one instead would let a few silent
    connections keep a whole fleet behind the same NAT out.

    :param most: of one subscriber, beside two for each device whose latest login came from there.
    :param at_home: gives the number of those devices, for an address.
    :param exempt: networks without a limit.
    """

    def __init__(self, most: int, at_home: Callable[[str], int], exempt: Networks | None = None) -> None:
        self._most = most
        self._at_home = at_home
        self._exempt = exempt or Networks()
        self._fresh: dict[str, OrderedDict[T, None]] = {}

    def add(self, connection: T, address: str) -> T | None:
        """Count a fresh connection.

        :return: the one that has to end for it; None: there is room.
        """
        if address in self._exempt:
            return None
        fresh = self._fresh.setdefault(subscriber(address), OrderedDict())
        fresh[connection] = None
        if len(fresh) <= self._most or len(fresh) <= self._most + 2 * self._at_home(address):
            return None
        oldest, _ = fresh.popitem(last=False)
        return oldest

    def discard(self, connection: T, address: str) -> None:
        """Count a connection no more: a known device has spoken on it, or it has ended."""
        of = subscriber(address)
        fresh = self._fresh.get(of)
        if fresh is not None:
            fresh.pop(connection, None)
            if not fresh:
                del self._fresh[of]
