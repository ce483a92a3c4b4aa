"""A whole day of a gateway, on a simulated clock."""

from tests import test_gateway_day as short


class WholeDayTests(short.DayTests):
    hours = 24
    trouble_s = 3600
    troubles_of_changes = len(short.TROUBLES)
