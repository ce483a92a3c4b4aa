"""Passwords of devices: hashes, the threads that compute them, and the order in which they are computed."""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cmmd.fleet.devices import passwords
from cmmd.fleet.devices.passwords import Abandoned, BackgroundThreads, FairQueue, Passwords, usable_cores
from cmmd.fleet.errors import TooBusy

ADDRESS = "192.0.2.7"


def always() -> bool:
    return True


class PasswordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.computed = 0
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.clock = Clock()
        self.passwords = Passwords(self.compute, 2, self.clock)

    def compute(self, work: Callable[[], Any]) -> Deferred[Any]:
        self.computed += 1
        if self.held is None:
            return maybeDeferred(work)
        waiting: Deferred[Any] = Deferred()
        self.held.append((waiting, work))
        return waiting

    def finish(self) -> None:
        """Compute what is held."""
        while self.held:
            held, work = self.held.pop()
            held.callback(work())

    def matches(self, hostid: str, password: str, kept: str) -> bool:
        verdict = self.passwords.verdict(hostid, password, kept)
        if verdict is not None:
            return verdict
        right = self.successResultOf(Deferred.fromCoroutine(self.passwords.matches(password, kept, ADDRESS, always)))
        if right:
            self.passwords.remember(hostid, password, kept)
        return right

    def hashed(self, password: str) -> str:
        return self.successResultOf(Deferred.fromCoroutine(self.passwords.hash(password, ADDRESS, always)))

    def test_hash_is_salted_scrypt(self) -> None:
        first, second = self.hashed("123456"), self.hashed("123456")
        self.assertNotEqual(first, second)
        self.assertTrue(first.startswith("scrypt$11$8$1$"))
        self.assertNotIn("123456", first)

    def test_right_and_wrong(self) -> None:
        kept = self.hashed("123456")
        self.assertTrue(self.matches("A", "123456", kept))
        self.assertFalse(self.matches("A", "123457", kept))
        self.assertFalse(self.matches("A", "", kept))

    def test_hash_of_a_published_vector(self) -> None:
        # RFC 7914, section 12: scrypt(P="pleaseletmein", S="SodiumChloride", N=16384, r=8, p=1), first 32 bytes
        kept = "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU=$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI="
        self.assertTrue(self.matches("A", "pleaseletmein", kept))
        self.assertFalse(self.matches("A", "pleaseletmeout", kept))

    def test_costly_check_is_made_once(self) -> None:
        kept = self.hashed("123456")
        for _ in range(10):
            self.assertTrue(self.matches("A", "123456", kept))
        self.assertEqual(self.computed, 2)

    def test_wrong_ones_are_computed_until_the_right_one_is_known(self) -> None:
        kept = self.hashed("123456")
        self.assertFalse(self.matches("A", "654321", kept))
        self.assertFalse(self.matches("A", "654321", kept))
        self.assertEqual(self.computed, 3)
        self.matches("A", "123456", kept)
        for _ in range(3):
            self.assertFalse(self.matches("A", "654321", kept))
        self.assertTrue(self.matches("A", "123456", kept))
        self.assertEqual(self.computed, 4)

    def test_remembered_for_that_device_and_hash_only(self) -> None:
        first, second = self.hashed("123456"), self.hashed("other")
        self.passwords.remember("A", "123456", first)
        self.assertTrue(self.matches("A", "123456", first))
        self.assertEqual(self.computed, 2)
        self.assertFalse(self.matches("A", "123456", second))
        self.assertTrue(self.matches("B", "123456", first))
        self.assertEqual(self.computed, 4)

    def test_so_many_at_once_and_no_more(self) -> None:
        self.held = []
        waiting = [Deferred.fromCoroutine(self.passwords.hash(f"{n}", ADDRESS, always)) for n in range(5)]
        self.assertEqual(len(self.held), 2)
        self.finish()
        self.assertEqual([len(self.successResultOf(one).split("$")) for one in waiting], [6] * 5)

    def test_nobody_waits(self) -> None:
        self.failureResultOf(Deferred.fromCoroutine(self.passwords.hash("1", ADDRESS, lambda: False)), Abandoned)
        self.assertEqual(self.computed, 0)
        self.hashed("1")

    def test_too_many_waiting(self) -> None:
        self.patch(passwords, "_MOST_WAITING", 3)
        self.passwords = Passwords(self.compute, 2, self.clock)
        self.held = []
        waiting = [Deferred.fromCoroutine(self.passwords.hash(f"{number}", ADDRESS, always)) for number in range(5)]
        self.failureResultOf(Deferred.fromCoroutine(self.passwords.hash("5", ADDRESS, always)), TooBusy)
        self.finish()
        for one in waiting:
            self.successResultOf(one)

    def test_waiting_for_too_long(self) -> None:
        self.held = []
        waiting = [Deferred.fromCoroutine(self.passwords.hash(f"{number}", ADDRESS, always)) for number in range(3)]
        self.clock.advance(14.9)
        self.assertNoResult(waiting[2])
        self.clock.advance(0.2)
        self.failureResultOf(waiting.pop(), TooBusy)
        self.finish()
        for one in waiting:
            self.successResultOf(one)
        self.assertEqual(self.computed, 2)


class BackgroundThreadsTests(TestCase):
    def setUp(self) -> None:
        self.threads = BackgroundThreads(reactor, 2, "test")  # type: ignore[arg-type]
        self.threads.start()
        self.addCleanup(self.stop)
        self.running = True

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.threads.stop()

    async def test_what_it_returns(self) -> None:
        thread = await self.threads.submit(threading.current_thread)
        self.assertRegex(thread.name, r"\Atest-[01]\Z")
        self.assertIsNot(thread, threading.current_thread())

    async def test_what_it_raises(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            await self.threads.submit(lambda: 1 // 0)
        self.assertEqual(await self.threads.submit(lambda: 1), 1, "the thread goes on")

    async def test_at_the_same_time_and_no_more(self) -> None:
        both = threading.Barrier(2, timeout=30)
        self.assertEqual(
            sorted(await gatherResults([self.threads.submit(both.wait) for _ in range(2)], consumeErrors=True)), [0, 1]
        )
        self.assertLessEqual(len({await self.threads.submit(threading.get_ident) for _ in range(20)}), 2)

    async def test_gives_way(self) -> None:
        def niceness() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        self.assertEqual(sys.platform, "linux", "the only platform on which cmmd is tested")
        self.assertEqual(await self.threads.submit(niceness), min(niceness() + 5, 19))

    def test_stop_has_done_what_was_submitted(self) -> None:
        done: list[int] = []
        for number in range(50):
            self.threads.submit(partial(done.append, number))
        before = threading.active_count()
        self.stop()
        self.assertEqual(sorted(done), list(range(50)))
        self.assertEqual(threading.active_count(), before - 2)


class UsableCoresTests(TestCase):
    def test_as_many_as_the_process_may_use(self) -> None:
        usable = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, usable)
        os.sched_setaffinity(0, {min(usable)})
        self.assertEqual(usable_cores(), 1)


FLEET, FLOOD = "192.0.2.7", "192.0.2.66"


class FairQueueTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = FairQueue(2, 4, 15, self.clock)
        self.inside: list[str] = []
        self.refused: list[str] = []

    def enter(self, address: str, name: str) -> "Deferred[None]":
        """Note who is admitted, and who is refused."""

        async def enter() -> None:
            try:
                await self.queue.enter(address)
            except TooBusy:
                self.refused.append(name)
            else:
                self.inside.append(name)

        return Deferred.fromCoroutine(enter())

    def enter_many(self, address: str, names: str) -> None:
        for name in names:
            self.enter(address, name)

    def leave_all(self) -> None:
        """Let everyone leave, in the order in which they were admitted."""
        for _ in iter(self.inside):
            self.queue.leave()


class OrderTests(FairQueueTestCase):
    def test_so_many_at_once_and_the_oldest_first(self) -> None:
        self.enter_many(FLEET, "ABCDE")
        self.assertEqual((self.inside, len(self.queue)), (["A", "B"], 3))
        self.queue.leave()
        self.assertEqual(self.inside, ["A", "B", "C"])
        self.leave_all()
        self.assertEqual((self.inside, len(self.queue)), (["A", "B", "C", "D", "E"], 0))

    def test_addresses_take_turns(self) -> None:
        self.queue = FairQueue(1, 10, 15, self.clock)
        self.enter_many(FLOOD, "1234")
        self.enter_many(FLEET, "AB")
        self.leave_all()
        self.assertEqual(self.inside, ["1", "2", "A", "3", "B", "4"])

    def test_those_that_leave_at_once_do_not_pile_up(self) -> None:
        self.queue = FairQueue(1, 10_000, 15, self.clock)
        left: list[int] = []

        async def pass_through(number: int) -> None:
            await self.queue.enter(FLEET)
            left.append(number)
            self.queue.leave()

        self.enter(FLEET, "A")
        for number in range(5000):
            Deferred.fromCoroutine(pass_through(number))
        self.queue.leave()
        self.assertEqual(left, list(range(5000)))
        self.enter(FLEET, "B")
        self.assertEqual(self.inside, ["A", "B"])

    def test_one_that_is_cancelled_leaves_no_gap(self) -> None:
        self.enter_many(FLEET, "AB")
        cancelled = self.enter(FLEET, "C")
        self.enter(FLEET, "D")
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(len(self.queue), 1)
        self.leave_all()
        self.assertEqual(self.inside, ["A", "B", "D"])
        for name in "EF":
            self.enter(FLEET, name)
        self.assertEqual(self.inside, ["A", "B", "D", "E", "F"], "both turns are free again")


class WaitTests(FairQueueTestCase):
    def test_refused_after_the_longest_wait(self) -> None:
        self.enter_many(FLEET, "ABC")
        self.clock.advance(10)
        self.enter_many(FLEET, "D")
        self.clock.advance(5)
        self.assertEqual((self.inside, self.refused, len(self.queue)), (["A", "B"], ["C"], 1))
        self.queue.leave()
        self.assertEqual(self.inside, ["A", "B", "D"])
        self.clock.advance(100)
        self.assertEqual((self.refused, self.clock.getDelayedCalls()), (["C"], []))


class FullTests(FairQueueTestCase):
    def test_the_newest_of_one_address(self) -> None:
        self.enter_many(FLEET, "ABCDEFGH")
        self.assertEqual(self.refused, ["G", "H"])

    def test_the_longest_lane_gives_its_newest_place(self) -> None:
        self.enter_many(FLOOD, "123456")
        self.enter_many(FLEET, "ABC")
        self.assertEqual(self.refused, ["6", "5", "C"], "two and two wait now")
        self.leave_all()
        self.assertEqual(self.inside, ["1", "2", "3", "A", "4", "B"])

    def test_many_addresses_with_one_each(self) -> None:
        for number in range(8):
            self.enter(f"192.0.2.{number}", f"{number}")
        self.assertEqual(self.refused, ["6", "7"])

    def test_one_that_enters_anew_when_it_is_refused(self) -> None:
        async def stubborn() -> None:
            try:
                await self.queue.enter(FLOOD)
            except TooBusy:
                await self.queue.enter(FLOOD)

        self.enter_many(FLOOD, "12345")
        again = Deferred.fromCoroutine(stubborn())
        self.enter(FLEET, "A")
        self.failureResultOf(again, TooBusy)
        self.leave_all()
        self.assertEqual(self.inside, ["1", "2", "3", "A", "4", "5"])

    def test_subscriber_with_many_addresses(self) -> None:
        for number in range(6):
            self.enter(f"2001:db8:0:7::{number:x}", f"{number}")
        self.enter("2001:db8:0:8::1", "A")
        self.assertEqual(self.refused, ["5"])

    def test_ipv4_address_in_ipv6(self) -> None:
        self.enter_many(FLOOD, "12345")
        self.enter(f"::ffff:{FLOOD}", "6")
        self.enter("fe80::1%eth0", "A")
        self.enter("no:address", "B")
        self.assertEqual(self.refused, ["6", "5"])


class AnyOrderTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from(("A", "B", "C", "D", "leave", "cancel", "time")), max_size=60))
    def test_counts(self, steps: list[str]) -> None:
        clock = Clock()
        queue = FairQueue(2, 5, 15, clock)
        entered: list[Deferred[None]] = []
        inside = 0

        async def enter(address: str) -> None:
            nonlocal inside
            await queue.enter(address)
            inside += 1

        for step in steps:
            if step == "leave":
                if inside:
                    inside -= 1
                    queue.leave()
            elif step == "time":
                clock.advance(5)
            elif step == "cancel":
                if entered:
                    entered[len(entered) // 2].cancel()
            else:
                entered.append(Deferred.fromCoroutine(enter(step)))
                entered[-1].addErrback(lambda failure: failure.trap(TooBusy, CancelledError) and None)
            lengths = sorted(len(waiting) for waiting in queue._lanes.values())
            self.assertEqual(len(queue), sum(lengths))
            self.assertLessEqual(len(queue), 5)
            self.assertEqual(queue._longest, max(lengths, default=0))
            self.assertEqual(sorted(queue._lengths), sorted(set(lengths)))
            self.assertTrue(all(first <= second for first, second in pairwise(lengths)) and 0 not in lengths)
            self.assertEqual(queue._free + inside, 2)
            self.assertFalse(queue._free and len(queue), "no login waits while a turn is free")
        while inside:
            inside -= 1
            queue.leave()
        self.assertEqual((len(queue), queue._free), (0, 2))
        self.assertTrue(all(one.called for one in entered), "each was admitted, refused or cancelled")
        self.assertEqual(clock.getDelayedCalls(), [])
