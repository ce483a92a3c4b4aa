"""Device passwords: kept as scrypt hashes, checked off the reactor thread, each costly check done once."""

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["Abandoned", "Passwords", "TooBusy"]

T = TypeVar("T")

# 6 ms and 2 MiB a check. A device password has at most 20 characters, mostly six digits, which no cost protects once a
# hash is stolen; a fleet that comes back after a restart has to be checked one by one, and waits for it.
_LOG2_N, _R, _P = 11, 8, 1
_SALT_BYTES = 16
_MOST_WAITING = 2000


class TooBusy(Exception):
    """More checks are waiting than could be answered in time."""


class Abandoned(Exception):
    """Nobody waits for the check any more; it was not made."""


class Passwords:
    """Hashes and checks device passwords.

    A verified password is remembered in memory as a keyed hash, so that a fleet that reconnects does not queue behind
    scrypt. The key never leaves the process.

    :param reactor: where results are delivered.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        threads = os.cpu_count() or 1
        self._turns = DeferredSemaphore(threads)
        self._threads = ThreadPool(0, threads, "passwords")
        self._key = os.urandom(32)
        self._verified: dict[str, bytes] = {}

    def start(self) -> None:
        """Take work."""
        self._threads.start()

    def stop(self) -> None:
        """Take no more work; wait for what is being computed."""
        self._threads.stop()

    async def hash(self, password: str, wanted: Callable[[], bool]) -> str:
        """What to keep of a new password: ``scrypt$log2 N$r$p$salt$hash``, base64 where binary.

        :param wanted: asked when its turn has come.
        :raises TooBusy: see there.
        :raises Abandoned: see there.
        """
        return await self._off_thread(lambda: _hashed(password, os.urandom(_SALT_BYTES)), wanted)

    async def matches(self, hostid: str, password: str, kept: str, wanted: Callable[[], bool]) -> bool:
        """Whether a password is the one that was kept for a device.

        :param wanted: asked when its turn has come.
        :raises TooBusy: see there.
        :raises Abandoned: see there.
        """
        fingerprint = self._fingerprint(password, kept)
        if hmac.compare_digest(self._verified.get(hostid, b""), fingerprint):
            return True
        right = await self._off_thread(lambda: _matches(password, kept), wanted)
        if right:
            self._verified[hostid] = fingerprint
        return right

    def remember(self, hostid: str, password: str, kept: str) -> None:
        """Spare the first check of a password that has just been hashed."""
        self._verified[hostid] = self._fingerprint(password, kept)

    def _fingerprint(self, password: str, kept: str) -> bytes:
        # The kept hash is part of it: a password that was changed is not remembered.
        return hmac.digest(self._key, kept.encode() + b"\0" + password.encode(), "sha256")

    async def _off_thread(self, work: Callable[[], T], wanted: Callable[[], bool]) -> T:
        if len(self._turns.waiting) >= _MOST_WAITING:
            raise TooBusy
        await self._turns.acquire()
        try:
            if not wanted():
                raise Abandoned
            return await deferToThreadPool(self._reactor, self._threads, work)
        finally:
            self._turns.release()


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, dklen=32)


def _hashed(password: str, salt: bytes) -> str:
    hashed = _scrypt(password, salt, _LOG2_N, _R, _P)
    return f"scrypt${_LOG2_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(hashed).decode()}"


def _matches(password: str, kept: str) -> bool:
    _, log2_n, r, p, salt, hashed = kept.split("$")
    computed = _scrypt(password, b64decode(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(computed, b64decode(hashed))
