"""``cmmd.simulator.genset``: values that a controller could show, and that fit together."""

from math import sqrt
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.genset import COILS, REGISTERS, Genset, Picture

# The table of the HGM6120N: register -> what is plausible.
PLAUSIBLE = {
    **dict.fromkeys((0, 1, 2, 7, 8, 9), (0, 500)),
    **dict.fromkeys((3, 4, 5, 10, 11, 12), (0, 900)),
    **dict.fromkeys((6, 13), (0, 7500)),
    **dict.fromkeys((14, 15, 16), (0, 65000)),
    17: (0, 110),
    18: (100, 10000),
    19: (0, 1000),
    20: (100, 2000),
    21: (0, 100),
    22: (100, 1800),
    23: (0, 4000),
    24: (240, 300),
    25: (0, 300),
    29: (0, 100),
    30: (0, 250),
    31: (0, 59),
    34: (0, 15),
    40: (0, 2),
    44: (0, 59),
    55: (0, 110),
}
NO_DATA = (32766, 32767)


def genset(*, running: bool, clock: Clock | None = None, seed: int = 0) -> Genset:
    """The first genset from this seed on that runs, or does not."""
    while True:
        found = Genset(Random(seed), (clock or Clock()).seconds)
        if found.running is running:
            return found
        seed += 1


def coils(picture: Picture) -> set[int]:
    return {address for address in range(picture.coils.bit_length()) if picture.coils >> address & 1}


def long(picture: Picture, address: int) -> int:
    """A value of two registers, high word first."""
    return picture.registers[address] << 16 | picture.registers[address + 1]


class GensetTests(SynchronousTestCase):
    @given(st.integers(0, 2**32), st.integers(0, 30))
    def test_every_picture_is_plausible(self, seed: int, looks: int) -> None:
        clock = Clock()
        one = Genset(Random(seed), clock.seconds)
        for _ in range(looks):
            clock.advance(3)
            one.look()
        picture = one.look()
        self.assertEqual(len(picture.registers), REGISTERS)
        self.assertLessEqual(picture.coils.bit_length(), COILS)
        for address, value in enumerate(picture.registers):
            low, high = PLAUSIBLE.get(address, (0, 0xFFFF))
            self.assertTrue(low <= value <= high, f"register {address}: {value}")
            self.assertNotIn(value, NO_DATA if address != 49 else ())
        self.assert_consistent(one, picture)

    def assert_consistent(self, one: Genset, picture: Picture) -> None:
        registers = picture.registers
        for first in (0, 7):
            phases, lines = registers[first : first + 3], registers[first + 3 : first + 6]
            for number in range(3):
                phase = (phases[number] + phases[(number + 1) % 3]) / 2
                self.assertLessEqual(abs(lines[number] - phase * sqrt(3)), 0.6)
        frequency, speed = registers[13] / 100, registers[23]
        self.assertLessEqual(abs(speed - frequency * 30), 0.6)
        power, reactive, apparent, power_factor = (*registers[26:29], registers[29] / 100)
        self.assertEqual(power, sum(registers[52:55]))
        self.assertLessEqual(abs(apparent**2 - power**2 - reactive**2), 2 * apparent + 2)
        self.assertLessEqual(abs(apparent * power_factor - power), 0.6)
        for number in range(3):
            watts = registers[7 + number] * registers[14 + number] / 10 * power_factor
            self.assertLessEqual(abs(watts / 1000 - registers[52 + number]), 0.05)
        mean_volts, mean_amperes = sum(registers[10:13]) / 3, sum(registers[14:17]) / 30
        three_phase = sqrt(3) * mean_volts * mean_amperes * power_factor / 1000
        self.assertLessEqual(abs(three_phase - power), 0.02 * power + 0.1)
        self.assertLessEqual(abs(registers[55] - 100 * power / one.rating_kw), 0.6)

    def test_standby(self) -> None:
        picture = genset(running=False).look()
        registers = picture.registers
        self.assertTrue(all(210 < volts < 250 for volts in registers[0:3]))
        self.assertTrue(4980 < registers[6] < 5020)
        self.assertEqual(set(registers[7:17] + registers[25:30] + registers[52:56]), {0})
        self.assertEqual((registers[19], registers[23], registers[34], registers[40]), (0, 0, 0, 0))
        self.assertEqual(coils(picture), {6, 41, 65, 74, 76})

    def test_running(self) -> None:
        picture = genset(running=True).look()
        registers = picture.registers
        self.assertEqual(set(registers[0:7]), {0})
        self.assertTrue(all(210 < volts < 250 for volts in registers[7:10]))
        self.assertTrue(1490 < registers[23] < 1510)
        self.assertTrue(70 < registers[17] < 95)
        self.assertTrue(300 < registers[19] < 500)
        self.assertGreater(registers[26], 0)
        self.assertEqual((registers[34], registers[40]), (9, 1))
        self.assertEqual(coils(picture), {7, 41, 57, 64, 67, 69, 72})

    def test_values_drift(self) -> None:
        for running in (False, True):
            one = genset(running=running)
            self.assertGreater(len({one.look().registers for _ in range(20)}), 10)

    def test_counters_of_a_running_one_grow(self) -> None:
        clock = Clock()
        one = genset(running=True, clock=clock)
        before = one.look()
        minutes_before = long(before, 42) * 60 + before.registers[44]
        service_before = before.registers[30] * 60 + before.registers[31]
        for _ in range(60):
            clock.advance(60)
            after = one.look()
        minutes = long(after, 42) * 60 + after.registers[44] - minutes_before
        self.assertIn(minutes, (59, 60, 61))
        energy = long(after, 48) - long(before, 48)
        self.assertLessEqual(abs(energy - before.registers[26]), 1 + one.rating_kw * 0.12)
        service = after.registers[30] * 60 + after.registers[31]
        self.assertIn((service_before - service) % (250 * 60), (59, 60, 61))
        self.assertEqual(long(after, 46), long(before, 46))

    def test_counters_at_rest_stand(self) -> None:
        clock = Clock()
        one = genset(running=False, clock=clock)
        before = one.look()
        clock.advance(7200)
        after = one.look()
        self.assertEqual(before.registers[42:52], after.registers[42:52])
        self.assertEqual(before.registers[21], after.registers[21])

    def test_a_clock_set_back_takes_nothing_away(self) -> None:
        clock = Clock()
        clock.rightNow = 1e9
        one = genset(running=True, clock=clock)
        before = one.look()
        clock.rightNow = 0.0
        self.assertEqual(one.look().registers[42:50], before.registers[42:50])

    def test_the_tank_goes_down_and_is_filled(self) -> None:
        clock = Clock()
        one = genset(running=True, clock=clock)
        levels = []
        for _ in range(24 * 20):
            clock.advance(3600)
            levels.append(one.look().registers[21])
        self.assertLess(levels[1], levels[0])
        self.assertGreaterEqual(min(levels), 20)
        self.assertGreater(max(levels), 85)

    def test_seeds(self) -> None:
        clock = Clock()
        pictures = [[Genset(Random(seed), clock.seconds).look() for seed in range(300)] for _ in range(2)]
        self.assertEqual(*pictures)
        self.assertEqual(len({picture.registers for picture in pictures[0]}), 300)
        running = sum(picture.registers[34] == 9 for picture in pictures[0])
        self.assertTrue(20 < running < 100, running)
