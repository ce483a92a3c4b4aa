"""Device passwords: kept as scrypt hashes, checked off the reactor thread, each costly check done once."""

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.devices.fair_queue import FairQueue
from cmmd.fleet.errors import TooBusy

__all__ = ["Abandoned", "Passwords", "TooBusy"]

# 6 ms and 2 MiB a check. A device password has at most 20 characters, mostly six digits, which no cost protects once a
# hash is stolen; a fleet that comes back after a restart has to be checked one by one, and waits for it.
_LOG2_N, _R, _P = 11, 8, 1
_SALT_BYTES = 16
_LONGEST_WAIT_S = 15.0
"""The wait after which a login is answered with "try again": cmm-gateway gives it up after 20 s."""

_MOST_WAITING = 10_000


class Abandoned(Exception):
    """The check was not made: its caller no longer waits."""


class Passwords:
    """Hashes and checks device passwords.

    A verified password is remembered in memory as a keyed hash, so that a fleet that reconnects does not queue behind
    scrypt. The key never leaves the process.

    A login that waits costs nothing, where a refused device costs a connection, an eighth of a computation, each time
    it comes again: so a login is refused when it has waited for long, not when many wait.

    :param elsewhere: carries a function out off the reactor thread.
    :param at_once: how many it may have at once.
    :param clock: for the longest wait.
    """

    def __init__(
        self, elsewhere: Callable[[Callable[[], Any]], Deferred[Any]], at_once: int, clock: IReactorTime
    ) -> None:
        self._elsewhere = elsewhere
        self._queue = FairQueue(at_once, _MOST_WAITING, _LONGEST_WAIT_S, clock)
        self._key = os.urandom(32)
        self._verified: dict[str, tuple[str, bytes]] = {}  # the hash that was kept, and the fingerprint

    async def hash(self, password: str, address: str, wanted: Callable[[], bool]) -> str:
        """Hash a new password: ``scrypt$log2 N$r$p$salt$hash``, base64 where binary.

        :param address: the host that the login comes from; addresses take turns in the queue.
        :param wanted: asked when its turn has come.
        :raises TooBusy: too many wait, or this one has waited for too long.
        :raises Abandoned: the caller no longer waits.
        """
        hashed: str = await self._in_turn(lambda: _hashed(password, os.urandom(_SALT_BYTES)), address, wanted)
        return hashed

    async def matches(self, password: str, kept: str, address: str, wanted: Callable[[], bool]) -> bool:
        """Tell whether a password is the one that was kept.

        :param address: the host that the login comes from; addresses take turns in the queue.
        :param wanted: asked when its turn has come.
        :raises TooBusy: too many wait, or this one has waited for too long.
        :raises Abandoned: the caller no longer waits.
        """
        right: bool = await self._in_turn(lambda: _matches(password, kept), address, wanted)
        return right

    def verdict(self, hostid: str, password: str, kept: str) -> bool | None:
        """Tell whether a password is the one that was kept, without any computing; None: that has to be computed.

        A device has one password: where the right one is remembered, every other one is wrong.
        """
        of, fingerprint = self._verified.get(hostid, ("", b""))
        if of != kept:
            return None
        return hmac.compare_digest(fingerprint, self.fingerprint(password, kept))

    def remember(self, hostid: str, password: str, kept: str) -> None:
        """Spare further checks of a password that is right."""
        self._verified[hostid] = kept, self.fingerprint(password, kept)

    def forget(self, hostid: str) -> None:
        """Remember the password of a device no more."""
        self._verified.pop(hostid, None)

    def fingerprint(self, password: str, kept: str) -> bytes:
        """Give a keyed hash of a password and the hash that is kept of it; the key never leaves the process."""
        # The kept hash is part of it: a password that was changed is not remembered. BLAKE2 with a key is a MAC. HMAC
        # releases the interpreter lock for its 2 µs, and to get it back from a scrypt thread can take much longer.
        return hashlib.blake2b(kept.encode() + b"\0" + password.encode(), key=self._key, digest_size=32).digest()

    async def _in_turn(self, work: Callable[[], Any], address: str, wanted: Callable[[], bool]) -> Any:
        await self._queue.enter(address)
        try:
            if not wanted():
                raise Abandoned
            return await self._elsewhere(work)
        finally:
            self._queue.leave()


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, dklen=32)


def _hashed(password: str, salt: bytes) -> str:
    hashed = _scrypt(password, salt, _LOG2_N, _R, _P)
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(hashed).decode()}"


def _matches(password: str, kept: str) -> bool:
    _, log2_n, r, p, salt, hashed = kept.split("$")
    computed = _scrypt(password, b64decode(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(computed, b64decode(hashed))
