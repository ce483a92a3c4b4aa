"""The interleavings of the fast lane with more seeds."""

from tests import test_store_interleavings as short


class ManyInterleavingsTests(short.InterleavingTests):
    SEEDS = range(20, 160)
