"""The fuzzer for ten minutes each: nothing escapes, no step is long, and memory is flat."""

from fuzz.__main__ import MOST_GROWTH
from tests_slow import test_fuzz


class LongFuzzTests(test_fuzz.FuzzTests):
    """Each step within 10 ms, as measured without the engine."""

    seconds = 600.0
    timeout = 1200
    bound_ms = 10.0
    most_growth = MOST_GROWTH
