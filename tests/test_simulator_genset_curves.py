"""``cmmd.simulator.genset.curves``: functions of time alone."""

from math import exp
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.genset.curves import Approach, Wave

times = st.floats(0, 1e7)


class WaveTests(SynchronousTestCase):
    @given(st.integers(0, 2**32), times)
    def test_within_its_reach(self, seed: int, now: float) -> None:
        self.assertLessEqual(abs(Wave(Random(seed), 50.0, 2.0, 60.0).at(now) - 50.0), 2.0 + 1e-9)

    def test_it_moves(self) -> None:
        wave = Wave(Random(1), 0.0, 1.0, 60.0)
        values = [wave.at(now) for now in range(200)]
        self.assertGreater(max(values) - min(values), 1.0)

    @given(st.integers(0, 2**32), st.floats(0, 1e5), st.floats(0, 200))
    def test_integral(self, seed: int, start: float, seconds: float) -> None:
        wave = Wave(Random(seed), 3.0, 1.0, 60.0)
        parts = 2000
        middles = (start + seconds * (part + 0.5) / parts for part in range(parts))
        wanted = sum(map(wave.at, middles)) * seconds / parts
        self.assertAlmostEqual(wave.integral(start, start + seconds), wanted, places=2)


class ApproachTests(SynchronousTestCase):
    def test_it_rests_until_it_has_a_target(self) -> None:
        self.assertEqual([Approach(20.0).at(now) for now in (0.0, 5.0, 1e9)], [20.0] * 3)

    def test_a_time_constant(self) -> None:
        approach = Approach(20.0)
        approach.aim(80.0, 150.0, 1000.0)
        self.assertEqual(approach.at(1000.0), 20.0)
        self.assertAlmostEqual(approach.at(1150.0), 80 - 60 * exp(-1))
        self.assertAlmostEqual(approach.at(1e6), 80.0)

    def test_the_same_target_again_changes_nothing(self) -> None:
        approach = Approach(0.0)
        approach.aim(10.0, 5.0, 0.0)
        expected = approach.at(7.0)
        approach.aim(10.0, 5.0, 3.0)
        self.assertEqual(approach.at(7.0), expected)

    @given(st.floats(0, 100), st.floats(-100, 100), st.floats(0.1, 100))
    def test_no_jump_on_another_target(self, now: float, target: float, time_constant_s: float) -> None:
        approach = Approach(5.0)
        approach.aim(50.0, 10.0, 0.0)
        before = approach.at(now)
        approach.aim(target, time_constant_s, now)
        self.assertAlmostEqual(approach.at(now), before)
