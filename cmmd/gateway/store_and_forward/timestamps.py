"""Date moments correctly although clocks are wrong and are corrected later.

A small computer without a battery wakes up with the time at which it was switched off, or with 1970, until the network
tells it better; and just then there is no network. So whatever is kept is stamped with two clocks: the box's calendar,
and the ticks of its machine since it was switched on, which no one sets. As long as the machine is not switched
off, the ticks tell how long ago it was.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

__all__ = ["EARLIEST_S", "Stamp", "Timestamps", "boot_id"]

EARLIEST_S = 1_704_067_200.0
"""2024 begins. A clock that shows an earlier time is wrong, ours or a server's."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Stamp(NamedTuple):
    """A moment on the clocks of this machine.

    :ivar unix_s: by the box's calendar, Unix time in seconds.
    :ivar boot: names the time since the machine was switched on.
    :ivar ticks_s: seconds since then.
    """

    unix_s: float
    boot: str
    ticks_s: float


def boot_id() -> str:
    """The name that the kernel gave to the time since it was started; a random one where it does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid4())


class Timestamps:
    """Stamps moments, and says later when they were by the server's clock.

    The server's clock counts, where it has been learnt: what is uploaded live gets its time from there as well.

    :param now: the box's calendar, Unix time in seconds.
    :param ticks: see :func:`cmmd.stall_detector.ticks_s`. :param boot: see :func:`boot_id`.
    """

    def __init__(self, now: Callable[[], float], ticks: Callable[[], float], boot: str) -> None:
        self._now = now
        self._ticks = ticks
        self._boot = boot
        self._server_zero: float | None = None

    def learn(self, server_zero: float) -> None:
        """Take over what the server's clock showed when the ticks were 0, Unix time in seconds.

        The box's calendar has no part in it: it may be put right between a question and its answer.
        """
        self._server_zero = server_zero

    def stamp(self) -> Stamp:
        """The moment that it is now."""
        return Stamp(self._now(), self._boot, self._ticks())

    @property
    def knows(self) -> bool:
        """Tell whether anybody knows what time it is."""
        return self._best_now() >= EARLIEST_S

    def itime(self, stamp: Stamp) -> int | None:
        """Date a moment as ``itime`` in milliseconds UTC.

        Since the machine was switched on: as long ago as the ticks say. Before that: as its calendar said then, moved
        by what it is wrong now; a time before 2024 or after now shows that it was wrong then.

        :return: None: the time is unknown.
        """
        now_s = self._best_now()
        if stamp.boot == self._boot:
            at_s = now_s - (self._ticks() - stamp.ticks_s)
        else:
            at_s = stamp.unix_s + now_s - self._now()
        return int(at_s * 1000) if EARLIEST_S <= at_s <= now_s else None

    def _best_now(self) -> float:
        return self._now() if self._server_zero is None else self._server_zero + self._ticks()
