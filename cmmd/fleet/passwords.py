"""Device passwords: kept as scrypt hashes, checked off the reactor thread, each costly check done once."""

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from cmmd.fleet.fair_queue import FairQueue, TooBusy

__all__ = ["Abandoned", "Passwords", "TooBusy"]

# 6 ms and 2 MiB a check. A device password has at most 20 characters, mostly six digits, which no cost protects once a
# hash is stolen; a fleet that comes back after a restart has to be checked one by one, and waits for it.
_LOG2_N, _R, _P = 11, 8, 1
_SALT_BYTES = 16
_LONGEST_WAIT_S = 15.0
"""The wait for a computation that is accepted: cmm-gateway gives a login up after 20 s, and comes again."""

_FIRST_PACE_S = 0.0075
"""The time from one computation to the next until it is measured: that of a slow core."""

_PACE_WEIGHT = 1 / 64
_LEAST_WAITING, _MOST_WAITING = 100, 10_000


def _most_waiting(pace_s: float) -> int:
    """Return the number of computations that can wait."""
    return int(min(max(_LONGEST_WAIT_S / max(pace_s, 1e-6), _LEAST_WAITING), _MOST_WAITING))


class Abandoned(Exception):
    """Nobody waits for the check any more; it was not made."""


class Passwords:
    """Hashes and checks device passwords.

    A verified password is remembered in memory as a keyed hash, so that a fleet that reconnects does not queue behind
    scrypt. The key never leaves the process.

    The queue is as long as can be computed within 15 s at the pace of this machine, measured while there is a queue.
    A device that waits costs nothing; a refused one costs a connection, an eighth of a computation, whenever it comes
    again.

    :param elsewhere: carries a function out off the reactor thread.
    :param at_once: how many it may have at once.
    :param seconds: a clock for the pace.
    """

    def __init__(
        self,
        elsewhere: Callable[[Callable[[], Any]], Deferred[Any]],
        at_once: int,
        seconds: Callable[[], float],
    ) -> None:
        self._elsewhere = elsewhere
        self._seconds = seconds
        self._pace_s = _FIRST_PACE_S
        self._last_end: float | None = None  # of a computation, where others were waiting then
        self._queue = FairQueue(at_once, _most_waiting(self._pace_s))
        self._key = os.urandom(32)
        self._verified: dict[str, bytes] = {}

    async def hash(self, password: str, address: str, wanted: Callable[[], bool]) -> str:
        """What to keep of a new password: ``scrypt$log2 N$r$p$salt$hash``, base64 where binary.

        :param address: the host that the login comes from; addresses take turns in the queue.
        :param wanted: asked when its turn has come.
        :raises TooBusy: see there.
        :raises Abandoned: see there.
        """
        hashed: str = await self._in_turn(lambda: _hashed(password, os.urandom(_SALT_BYTES)), address, wanted)
        return hashed

    async def matches(self, password: str, kept: str, address: str, wanted: Callable[[], bool]) -> bool:
        """Whether a password is the one that was kept.

        :param address: the host that the login comes from; addresses take turns in the queue.
        :param wanted: asked when its turn has come.
        :raises TooBusy: see there.
        :raises Abandoned: see there.
        """
        right: bool = await self._in_turn(lambda: _matches(password, kept), address, wanted)
        return right

    def remembers(self, hostid: str, password: str, kept: str) -> bool:
        """Whether a device's password is known to be the one that was kept, without any computing."""
        return hmac.compare_digest(self._verified.get(hostid, b""), self._fingerprint(password, kept))

    def remember(self, hostid: str, password: str, kept: str) -> None:
        """Spare further checks of a password that is right."""
        self._verified[hostid] = self._fingerprint(password, kept)

    def _fingerprint(self, password: str, kept: str) -> bytes:
        # The kept hash is part of it: a password that was changed is not remembered. BLAKE2 with a key is a MAC; HMAC
        # would take ten times as long, and lets other threads have the interpreter while it computes.
        return hashlib.blake2b(kept.encode() + b"\0" + password.encode(), key=self._key, digest_size=32).digest()

    async def _in_turn(self, work: Callable[[], Any], address: str, wanted: Callable[[], bool]) -> Any:
        await self._queue.enter(address)
        try:
            if not wanted():
                raise Abandoned
            result = await self._elsewhere(work)
            self._keep_pace()
            return result
        finally:
            self._queue.leave()

    def _keep_pace(self) -> None:
        """Adapt the length of the queue to the pace of computations that were made."""
        now = self._seconds()
        if self._last_end is not None:
            self._pace_s += (now - self._last_end - self._pace_s) * _PACE_WEIGHT
            self._queue.most_waiting = _most_waiting(self._pace_s)
        self._last_end = now if self._queue else None


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, dklen=32)


def _hashed(password: str, salt: bytes) -> str:
    hashed = _scrypt(password, salt, _LOG2_N, _R, _P)
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(hashed).decode()}"


def _matches(password: str, kept: str) -> bool:
    _, log2_n, r, p, salt, hashed = kept.split("$")
    computed = _scrypt(password, b64decode(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(computed, b64decode(hashed))
