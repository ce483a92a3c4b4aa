"""More power cuts, with a larger fleet."""

from tests import test_durability as short


class ManyPowerCutsTests(short.PowerCutTests):
    power_cuts = 20
    devices = 120
