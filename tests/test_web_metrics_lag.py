"""How late the reactor is."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.web.metrics.lag import PERIOD_S, WINDOW_S, ReactorLag


class Held(Clock):
    """A clock for calls, beside the time that really goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.true = 1000.0

    def run(self, held_s: float = 0.0) -> None:
        """One period, after which the reactor is held up for a while."""
        self.true += PERIOD_S + held_s
        self.advance(PERIOD_S)


class ReactorLagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Held()
        self.lag = ReactorLag(self.clock, lambda: self.clock.true)
        self.lag.startService()

    def test_nothing_holds_it_up(self) -> None:
        for _ in range(50):
            self.clock.run()
        self.assertAlmostEqual(self.lag.worst, 0.0)
        self.assertEqual(sum(self.lag.observed.counts), 50)
        self.assertEqual(self.lag.observed.counts[0], 50)

    def test_the_worst_of_the_window(self) -> None:
        for held_s in (0.0, 0.3, 0.1, 0.0):
            self.clock.run(held_s)
        self.assertAlmostEqual(self.lag.worst, 0.3)
        self.assertAlmostEqual(self.lag.worst, 0.3, msg="however often it is asked")
        self.assertAlmostEqual(self.lag.observed.total, 0.4)
        for _ in range(round(WINDOW_S / PERIOD_S)):
            self.clock.run(0.001)
        self.assertAlmostEqual(self.lag.worst, 0.001)

    def test_what_holds_it_up_right_now_counts(self) -> None:
        self.clock.run()
        self.clock.true += PERIOD_S + 0.7
        self.assertAlmostEqual(self.lag.worst, 0.7)

    def test_memory_is_bounded(self) -> None:
        for _ in range(2000):
            self.clock.run()
        self.assertLessEqual(len(self.lag._pieces), WINDOW_S + 1)

    def test_stopped(self) -> None:
        self.clock.run(0.2)
        self.lag.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.true += 5
        self.assertAlmostEqual(self.lag.worst, 0.2)
        self.lag.startService()
        self.clock.run()
        self.lag.stopService()

    def test_never_started(self) -> None:
        lag = ReactorLag(self.clock, lambda: self.clock.true)
        self.assertEqual(lag.worst, 0.0)
        lag.startService()
        lag.stopService()
        lag.stopService()
