"""A thousand simulated devices that all come back at once."""

from tests import test_storm as short


class StormTests(short.StormTests):
    devices = 1000
