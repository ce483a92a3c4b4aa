"""``cmmd.stall_detector``: a process that stood still."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.stall_detector import STANDSTILL_S, TOLD_S, StallDetector


class PulseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.slept_s = 0.0
        self.pulse = StallDetector(self.clock, lambda: self.clock.seconds() + self.slept_s)
        self.pulse.startService()
        self.addCleanup(self.pulse.stopService)

    def test_none(self) -> None:
        for _ in range(100):
            self.clock.advance(0.9)
            self.assertEqual(self.pulse.stood_still_s(), 0.0)

    def test_a_machine_that_slept(self) -> None:
        """Timers do not go on meanwhile. It is told before the next beat, and for a while from then on."""
        self.clock.advance(0.5)
        self.slept_s = 60.0
        self.assertEqual(self.pulse.stood_still_s(), 60.5)
        self.clock.advance(0.5)
        for _ in range(int(TOLD_S)):
            self.assertEqual(self.pulse.stood_still_s(), 61.0)
            self.clock.advance(1)
        self.assertEqual(self.pulse.stood_still_s(), 0.0)

    def test_once_more_while_it_is_told(self) -> None:
        for slept_s in (60.0, 80.0):
            self.slept_s = slept_s
            self.clock.advance(1)
        self.clock.advance(TOLD_S - 1)
        self.assertEqual(self.pulse.stood_still_s(), 21.0)
        self.clock.advance(1)
        self.assertEqual(self.pulse.stood_still_s(), 0.0)

    def test_a_process_that_was_stopped(self) -> None:
        self.clock.rightNow += STANDSTILL_S - 0.1
        self.assertEqual(self.pulse.stood_still_s(), 0.0)
        self.clock.rightNow += 0.1
        self.assertEqual(self.pulse.stood_still_s(), STANDSTILL_S)

    def test_end(self) -> None:
        self.pulse.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
