"""The growth of the log over a minute of all attacks."""

from tests import test_log_growth as short


class MinuteTests(short.LogGrowthTests):
    seconds = 60
