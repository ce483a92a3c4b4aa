"""``cmmd.gateway.steps``: an even step, whatever is late."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.steps import Steps
from tests.scripted_server import run

PERIOD_S = 3.0


class StepsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_800_000_000.25
        self.begun = self.clock.seconds()
        self.times: list[float] = []

    def go(self, *takes_s: float, first: float = 1.0) -> None:
        async def walk() -> None:
            steps = Steps(self.clock, PERIOD_S, first)
            for seconds in takes_s:
                await steps.next()
                self.times.append(self.clock.seconds() - self.begun)
                await deferLater(self.clock, seconds)

        self.walking = Deferred.fromCoroutine(walk())

    def test_the_first_one_is_when_it_is_said(self) -> None:
        for first in (0.0, 0.7, 3.0):
            self.times.clear()
            self.begun = self.clock.seconds()
            self.go(0, first=first)
            run(self.clock, 4)
            self.assertEqual([round(time, 6) for time in self.times], [first])

    def test_what_takes_long_leaves_steps_out_and_shifts_none(self) -> None:
        self.go(0.5, 2.9, 3.1, 9.5, 0, 0)
        run(self.clock, 60)
        self.assertEqual([round(time, 6) for time in self.times], [1, 4, 7, 13, 25, 28])

    def test_what_takes_exactly_a_period_leaves_none_out(self) -> None:
        self.go(3.0, 3.0, 3.0)
        run(self.clock, 60)
        self.assertEqual([round(time, 6) for time in self.times], [1, 4, 7])

    def test_no_drift(self) -> None:
        self.go(*[0.01] * 10_000)
        run(self.clock, 30_000)
        self.successResultOf(self.walking)
        self.assertAlmostEqual(self.times[-1], 1 + 9_999 * PERIOD_S, places=5)
