"""How often something may be logged."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.counters import log_throttle
from cmmd.fleet.counters.log_throttle import ALL_BURST, ALL_REFILL_S, BURST, REFILL_S, Allowance, LogLimit


class LogLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limit = LogLimit(self.clock)

    def test_a_burst_and_then_one_at_a_time(self) -> None:
        said = [self.limit.allows("A") for _ in range(BURST + 7)]
        self.assertEqual(said, [""] * BURST + [None] * 7)
        self.assertEqual(self.limit.allows("B"), "")
        self.clock.advance(REFILL_S)
        self.assertEqual(self.limit.allows("A"), " (7 more not logged)")
        self.assertIsNone(self.limit.allows("A"))
        self.clock.advance(100 * REFILL_S)
        self.assertEqual(self.limit.allows("A"), " (1 more not logged)")
        self.assertEqual([self.limit.allows("A") for _ in range(BURST)], [""] * (BURST - 1) + [None])

    def test_of_all_together(self) -> None:
        """As many addresses as there are IPv6 ones must not fill a disk either; what is left out is told."""
        said = [self.limit.left_out(number) for number in range(ALL_BURST + 50)]
        self.assertEqual(said, [0] * ALL_BURST + [None] * 50)
        self.clock.advance(10 * ALL_REFILL_S)
        said = [self.limit.left_out(f"{number}") for number in range(20)]
        self.assertEqual(said, [50] + [0] * 9 + [None] * 10)
        self.clock.advance(REFILL_S)
        self.assertEqual(self.limit.allows("19"), " (10 more not logged)", "its own five were not used up by that")

    def test_as_a_number(self) -> None:
        limit = LogLimit(self.clock, burst=2, refill_s=3.0)
        self.assertEqual([limit.left_out("A") for _ in range(4)], [0, 0, None, None])
        self.clock.advance(2.9)
        self.assertIsNone(limit.left_out("A"))
        self.clock.advance(0.1)
        self.assertEqual(limit.left_out("A"), 3)

    def test_memory_is_bounded(self) -> None:
        self.patch(log_throttle, "MOST_REMEMBERED", 10)
        for number in range(100):
            for _ in range(BURST + 1):
                self.limit.allows(number)
            self.assertLessEqual(len(self.limit), 10)
            self.assertLessEqual(len(self.limit._left_out), 10)
        self.assertIsNone(self.limit.allows(99))

    def test_those_that_are_quiet_are_forgotten(self) -> None:
        for number in range(100):
            self.limit.allows(number)
        for _ in range(2):
            self.clock.advance(BURST * REFILL_S + 1)
            self.limit.allows("A")
        self.assertEqual(len(self.limit), 1)

    def test_what_was_left_out_is_told_however_late(self) -> None:
        for _ in range(BURST + 2):
            self.limit.allows("A")
        for _ in range(5):
            self.clock.advance(BURST * REFILL_S + 1)
            self.limit.allows("B")
        self.assertEqual(self.limit.allows("A"), " (2 more not logged)")


class AllowanceTests(SynchronousTestCase):
    def test_no_more_than_the_burst_is_saved_up(self) -> None:
        allowance = Allowance(0.0, burst=2, refill_s=1.0)
        self.assertEqual([allowance.take(1000.0) for _ in range(3)], [True, True, False])
        self.assertEqual([allowance.take(1001.0) for _ in range(2)], [True, False])

    def test_a_clock_that_goes_back(self) -> None:
        allowance = Allowance(1000.0, burst=1, refill_s=10.0)
        self.assertTrue(allowance.take(1000.0))
        self.assertFalse(allowance.take(0.0))
        self.assertFalse(allowance.take(9.0))
        self.assertTrue(allowance.take(10.0))
