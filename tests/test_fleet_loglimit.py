"""How often something may be logged."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet import loglimit
from cmmd.fleet.loglimit import BURST, REFILL_S, LogLimit


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

    def test_memory_is_bounded(self) -> None:
        self.patch(loglimit, "MOST_REMEMBERED", 10)
        for number in range(100):
            self.limit.allows(number)
        self.assertEqual(len(self.limit._allowances), 10)
