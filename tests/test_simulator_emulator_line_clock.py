"""The clock that can be stopped and put forward."""

from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.emulator.line import WorldClock


class WorldClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall = 100.0
        self.clock = WorldClock(lambda: self.wall)

    def test_it_goes_with_the_wall_clock(self) -> None:
        self.wall += 5
        self.assertEqual(self.clock.seconds(), 105)
        self.assertFalse(self.clock.stopped)

    def test_stopped_it_stands_and_then_goes_on_from_there(self) -> None:
        self.clock.stop()
        self.wall += 5
        self.assertTrue(self.clock.stopped)
        self.assertEqual(self.clock.seconds(), 100)
        self.clock.stop()  # again: nothing
        self.assertEqual(self.clock.seconds(), 100)
        self.clock.go()
        self.assertEqual(self.clock.seconds(), 100)
        self.wall += 1
        self.assertEqual(self.clock.seconds(), 101)
        self.clock.go()  # again: nothing
        self.assertEqual(self.clock.seconds(), 101)

    def test_advance(self) -> None:
        self.clock.advance(10)
        self.assertEqual(self.clock.seconds(), 110)
        self.clock.stop()
        self.clock.advance(10)
        self.wall += 1
        self.assertEqual(self.clock.seconds(), 120)
        self.clock.go()
        self.wall += 1
        self.assertEqual(self.clock.seconds(), 121)
