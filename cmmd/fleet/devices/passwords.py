"""Device passwords: kept as scrypt hashes, each costly check done once, off the reactor's thread and in turn.

A hash takes milliseconds, and a fleet that comes back after a restart needs thousands: they are computed by threads of
a lower priority, and addresses take turns, so that a flood from one of them does not shut out the others.
"""

import hashlib
import hmac
import os
import sys
from base64 import b64decode, b64encode
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread, get_native_id
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from cmmd.fleet.devices.networks import subscriber
from cmmd.fleet.errors import TooBusy

__all__ = ["Abandoned", "BackgroundThreads", "FairQueue", "Passwords", "TooBusy", "usable_cores"]

# --- threads of a lower priority -------------------------------------------------------------------------------------


_NICENESS = 5
"""Added to that of the process: where cores are scarce, a thread gets a third of what the reactor's thread gets, which
answers uploads while a fleet logs in. With 10 it would get a tenth, and other programs could starve the logins."""

_Job = tuple[Callable[[], Any], "Deferred[Any]"]


def usable_cores() -> int:
    """Count the cores that this process can use, in a container or under taskset fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BackgroundThreads:
    """A fixed number of threads at a lower priority.

    Twisted's own pool takes 0.1 ms of the reactor's thread for each function, most of it to grow and shrink.

    :param reactor: Deferreds fire in its thread.
    :param count: the number of threads.
    :param name: the beginning of their names.
    """

    def __init__(self, reactor: IReactorFromThreads, count: int, name: str) -> None:
        self._reactor = reactor
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(count)]

    def start(self) -> None:
        """Start all threads of the pool."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until all submitted functions have run and all threads have ended."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, work: Callable[[], Any]) -> "Deferred[Any]":
        """Call a function in one of the threads.

        :return: fires with what it returns, or fails with what it raises.
        """
        done: Deferred[Any] = Deferred()
        self._jobs.put((work, done))
        return done

    def _run(self) -> None:
        _give_way()
        while (job := self._jobs.get()) is not None:
            work, done = job
            try:
                result = work()
            except BaseException:  # it belongs to the caller of submit, whatever it is
                result = Failure()
            self._reactor.callFromThread(done.callback, result)
            del job, work, done, result  # a waiting thread must not keep passwords alive


def _give_way() -> None:
    """Lower the priority of the calling thread, on Linux: elsewhere a thread has no priority of its own."""
    if sys.platform == "linux":
        thread = get_native_id()
        with suppress(OSError):  # a sandbox can forbid it, and a thread at full priority still does its work
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)


# --- turns by address ------------------------------------------------------------------------------------------------


BUSY = "too many passwords are being computed"


class FairQueue:
    """Admission of a limited number of jobs at once, in turn by address, and by age within an address.

    In a full queue the address with the most waiting jobs loses the newest of them to an address with fewer; a new job
    of the address with the most is refused. So a fleet behind one address fills the queue in order, and a flood from
    another address costs that fleet half of the turns, never all places.

    :param at_once: the number of jobs that are admitted at once.
    :param most_waiting: the number of jobs that can wait, of all addresses together.
    :param longest_wait_s: the time after which a waiting job is refused.
    :param clock: for that time.
    """

    def __init__(self, at_once: int, most_waiting: int, longest_wait_s: float, clock: IReactorTime) -> None:
        self._free = at_once
        self._most_waiting = most_waiting
        self._longest_wait_s = longest_wait_s
        self._clock = clock
        self._admitting = False
        self._lanes: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()  # the next lane to be served comes first
        self._count = 0
        self._lengths: dict[int, int] = {}  # number of lanes by their length
        self._longest = 0

    def __len__(self) -> int:
        """Return the number of waiting jobs."""
        return self._count

    async def enter(self, address: str) -> None:
        """Wait until the job is admitted; :meth:`leave` ends it.

        :param address: the host that the job comes from.
        :raises TooBusy: immediately; when the place is given to an address with fewer waiting jobs; after the longest
            wait.
        """
        if self._free and not self._lanes:
            self._free -= 1
            return
        lane = subscriber(address)
        refused = self._make_room_for(lane) if self._count >= self._most_waiting else None
        turn: Deferred[None] = Deferred(lambda turn: self._remove(lane, turn))
        turn.addTimeout(self._longest_wait_s, self._clock)
        self._lanes.setdefault(lane, deque()).append(turn)
        self._resized(len(self._lanes[lane]), 1)
        if refused is not None:
            refused.errback(TooBusy(BUSY))  # last, as this can call enter again
        try:
            await turn
        except defer.TimeoutError:
            raise TooBusy(BUSY) from None

    def leave(self) -> None:
        """End a job and admit the next ones."""
        self._free += 1
        if self._admitting:
            return  # called by a job that the loop below has admitted: thousands in a row would recurse too deep
        self._admitting = True
        try:
            while self._free and self._lanes:
                self._free -= 1
                lane, waiting = next(iter(self._lanes.items()))
                turn = waiting[0]
                self._remove(lane, turn)
                if waiting:
                    self._lanes.move_to_end(lane)
                turn.callback(None)
        finally:
            self._admitting = False

    def _make_room_for(self, lane: str) -> "Deferred[None]":
        """Remove the newest job of the longest lane.

        :return: the job, which has to be refused.
        :raises TooBusy: this lane is about as long as the longest one.
        """
        if len(self._lanes.get(lane, ())) + 1 >= self._longest:
            raise TooBusy(BUSY)
        longest = next(one for one, waiting in self._lanes.items() if len(waiting) == self._longest)
        newest = self._lanes[longest][-1]
        self._remove(longest, newest)
        return newest

    def _remove(self, lane: str, turn: "Deferred[None]") -> None:
        waiting = self._lanes[lane]
        if waiting[-1] is turn:
            waiting.pop()
        else:
            waiting.remove(turn)  # nearly always the first one: a cancelled job can be anywhere
        self._resized(len(waiting), -1)
        if not waiting:
            del self._lanes[lane]

    def _resized(self, after: int, by: int) -> None:
        """Update the counts after a lane has got one job more or less.

        They spare a refusal the search through thousands of lanes.
        """
        before = after - by
        self._count += by
        if after:
            self._lengths[after] = self._lengths.get(after, 0) + 1
            self._longest = max(self._longest, after)
        if before:
            self._lengths[before] -= 1
            if not self._lengths[before]:
                del self._lengths[before]
                if before == self._longest:
                    self._longest = after  # lengths change by one


# --- hashes ----------------------------------------------------------------------------------------------------------


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
