"""Idempotency keys: a command that is requested again, because its answer was lost, is not sent again."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cmmd.web.http.problems import Refused

__all__ = ["KEPT_S", "MOST_KEYS", "MOST_OF_ONE", "Keys", "Unkeyed"]

KEPT_S = 600.0
"""Seconds that a key is remembered."""

MOST_KEYS = 10_000
"""Further ones are refused: one that is forgotten would be sent twice."""

MOST_OF_ONE = 1000
"""The same for one token: a user of many keys keeps no other from commanding."""


class Unkeyed(Refused):
    """A key cannot stand for this command; nothing was done."""


class _Asked:
    __slots__ = ("at", "number", "waiting", "what")

    def __init__(self, what: bytes, at: float) -> None:
        self.what = what
        self.at = at
        self.number: int | None = None
        self.waiting: list[Deferred[None]] = []


class Keys:
    """The requests of each idempotency key, for some minutes and until the daemon ends.

    :param clock: for the minutes.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._asked: OrderedDict[tuple[str, str], _Asked] = OrderedDict()

    async def once(self, who: str, key: str, what: bytes, do: Callable[[], Awaitable[int]]) -> tuple[int, bool]:
        """Have something done, if it has not been done under this key.

        :param who: keys of different people are different ones. :param what: what it is about, all of it.
        :param do: does it, and tells the number of the command; where it raises, nothing was sent.
        :return: the number, and whether it is of an earlier one.
        :raises Unkeyed: the key was used for something else, or there are too many.
        """
        self._forget()
        place = (who, key)
        asked = self._asked.get(place)
        while asked is not None:
            if asked.what != what:
                raise Unkeyed("key_used", "this key was used for another command", field="header.Idempotency-Key")
            if asked.number is not None:
                return asked.number, True
            known: Deferred[None] = Deferred()
            asked.waiting.append(known)
            await known
            asked = self._asked.get(place)  # gone, where it was refused
        if len(self._asked) >= MOST_KEYS or sum(one == who for one, _ in self._asked) >= MOST_OF_ONE:
            raise Unkeyed("too_many_requests", "too many keys are in use")
        asked = self._asked[place] = _Asked(what, self._clock.seconds())
        try:
            asked.number = await do()
        except BaseException:
            del self._asked[place]
            raise
        finally:
            for one in asked.waiting:
                one.callback(None)
        return asked.number, False

    def number(self, who: str, key: str) -> int | None:
        """Find the number of the command that was requested under this key; None: none is known to be accepted."""
        self._forget()
        asked = self._asked.get((who, key))
        return None if asked is None else asked.number

    def _forget(self) -> None:
        """Those that are too old; the oldest come first."""
        too_old = self._clock.seconds() - KEPT_S
        while self._asked:
            place, asked = next(iter(self._asked.items()))
            if asked.at >= too_old or asked.number is None:
                return
            del self._asked[place]
