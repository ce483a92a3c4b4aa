"""A queue in which addresses take turns, and the one with the most waiting gives way."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.fair_queue import FairQueue
from cmmd.fleet.errors import TooBusy

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
            self.assertFalse(queue._free and len(queue), "nobody waits while a turn is free")
        while inside:
            inside -= 1
            queue.leave()
        self.assertEqual((len(queue), queue._free), (0, 2))
        self.assertTrue(all(one.called for one in entered), "each was admitted, refused or cancelled")
        self.assertEqual(clock.getDelayedCalls(), [])
