"""Histograms: fixed buckets of plain integers."""

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.counters.counters import Histogram


class HistogramTests(SynchronousTestCase):
    def test_bounds_are_included(self) -> None:
        histogram = Histogram((0.1, 1.0))
        for value in (0.1, 0.05, 0.2, 1.0, 3.0):
            histogram.observe(value)
        self.assertEqual(histogram.counts, [2, 2, 1])
        self.assertAlmostEqual(histogram.total, 4.35)
        self.assertEqual(list(histogram.cumulative()), [(0.1, 2), (1.0, 4), (float("inf"), 5)])

    def test_a_clock_that_was_set_back(self) -> None:
        histogram = Histogram((0.1,))
        histogram.observe(-3600.0)
        self.assertEqual((histogram.counts, histogram.total), ([1, 0], 0.0))
