"""``cmmd.simulator.genset.genset``: possible values that fit together, decided by time alone."""

import sys
from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from random import Random
from types import FrameType

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.simulator.genset.controller import Supply
from cmmd.simulator.genset.engine import EngineState
from cmmd.simulator.genset.faults import Fault
from cmmd.simulator.genset.genset import LONGEST_PAUSE_S, Genset
from cmmd.simulator.genset.mains import MainsCondition
from cmmd.simulator.genset.panel import Panel, Picture, Values
from tests.watched_genset import WatchedGenset, coils_of, long_of

# The table of the HGM6120N: register -> what is plausible, and for most of them a little narrower, what is usual.
PLAUSIBLE = {
    **dict.fromkeys((0, 1, 2, 7, 8, 9), (0, 300)),
    **dict.fromkeys((3, 4, 5, 10, 11, 12), (0, 520)),
    6: (0, 5010),
    13: (0, 6100),
    **dict.fromkeys((14, 15, 16), (0, 15000)),
    17: (0, 125),
    18: (100, 10000),
    19: (0, 1000),
    20: (100, 2000),
    21: (0, 100),
    22: (100, 1800),
    23: (0, 1850),
    24: (200, 300),
    25: (0, 300),
    29: (0, 100),
    30: (0, 250),
    31: (0, 59),
    34: (0, 15),
    35: (0, 20),
    36: (0, 2),
    37: (0, 5),
    38: (0, 2),
    39: (0, 2),
    40: (0, 2),
    41: (0, 10),
    44: (0, 59),
    55: (0, 110),
}
REGISTERS, COILS = 56, 90
NO_DATA = (32766, 32767)
COUNTERS = (42, 46, 48)
"""Values of two registers: their low words may be anything."""


MOST_CALLS = 500_000
"""Of Python functions for one look, however long nobody has looked; it takes a fifth of that."""


def counted(look: Callable[[], Picture]) -> tuple[Picture, int]:
    """Return what a function returns, and how many calls of Python functions that took."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        return look(), calls
    finally:
        sys.setprofile(None)


class SeenPicture:
    """A picture as a profile reads it."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def coil(self, address: int) -> bool | None:
        return bool(self.picture.coils >> address & 1)

    def register(self, address: int) -> int | None:
        return self.picture.registers[address]


class PlausibilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        profile = load_catalog().profile("hgm6120n")
        assert profile is not None
        self.profile = profile

    def assert_plausible(self, picture: Picture, *, sensor_open: bool = False) -> None:
        self.assertEqual(len(picture.registers), REGISTERS)
        self.assertLessEqual(picture.coils.bit_length(), COILS)
        for address, register in enumerate(picture.registers):
            if sensor_open and address in (17, 18):
                self.assertEqual(register, NO_DATA[0])
                continue
            low, high = PLAUSIBLE.get(address, (0, 0xFFFF))
            self.assertTrue(low <= register <= high, f"register {address}: {register}")
            self.assertFalse(register in NO_DATA and address - 1 not in COUNTERS, f"register {address}: no data")
        seen = SeenPicture(picture)
        for name, value in self.profile.points(seen).items():
            if value is not None:
                self.assertTrue(self.profile.point_by_name[name].plausible(value), f"{name}: {value}")
        self.assertIsNotNone(self.profile.mode(seen))
        self.assertIsNotNone(self.profile.engine_state(seen))

    def assert_consistent(self, rating_kw: int, picture: Picture) -> None:
        registers, coils = picture.registers, coils_of(picture)
        self.assertLessEqual(abs(registers[23] - registers[13] * 0.3), 0.7)  # r/min and Hz
        power, reactive, apparent, power_factor = (*registers[26:29], registers[29] / 100)
        self.assertLessEqual(abs(power - sum(registers[52:55])), 2)
        self.assertLessEqual(abs(apparent**2 - power**2 - reactive**2), 2.5 * apparent + 1)
        for number in range(3):
            kilowatts = registers[7 + number] * registers[14 + number] / 10 * power_factor / 1000
            self.assertLessEqual(abs(kilowatts - registers[52 + number]), 0.5 + 0.012 * kilowatts)
        mean_volts, mean_amperes = sum(registers[10:13]) / 3, sum(registers[14:17]) / 30
        three_phase = sqrt(3) * mean_volts * mean_amperes * power_factor / 1000
        self.assertLessEqual(abs(three_phase - power), 0.5 + 0.012 * power)
        self.assertLessEqual(abs(registers[55] - 100 * power / rating_kw), 0.5 + 50 / rating_kw)
        self.assertEqual(power > 0, 7 in coils)
        self.assertEqual(power > 0, registers[14] > 0)
        self.assertFalse({6, 7} <= coils)
        self.assertEqual(len(coils & {40, 41, 42, 43}), 1)
        self.assertEqual(len(coils & {64, 65}), 1)
        self.assertEqual(0 in coils, bool(coils & {1, 2}))
        self.assertEqual(1 in coils, bool(coils & set(range(24, 40))))
        self.assertEqual(2 in coils, bool(coils & {*range(8, 24), *range(44, 48)}))
        self.assertEqual(57 in coils, registers[34] in (2, 3, *range(5, 12)))
        self.assertEqual(56 in coils, registers[34] == 3)
        if registers[34] == 0:
            self.assertTrue({74, 76} <= coils)
        if registers[34] in (8, 9) and not coils & {9, 75}:
            self.assertEqual(coils & {72, 74, 76}, {72})

    def assert_line_voltages(self, picture: Picture) -> None:
        for first in (0, 7):
            phases, lines = picture.registers[first : first + 3], picture.registers[first + 3 : first + 6]
            for number in range(3):
                one, other = phases[number], phases[(number + 1) % 3]
                self.assertLessEqual(abs(lines[number] - sqrt(one**2 + other**2 + one * other)), 1.5)

    def test_an_hour_with_mains_that_fail(self) -> None:
        states = set()
        for seed in range(12):
            watched = WatchedGenset(seed=seed, running=None, mains_schedule=True)
            for picture in watched.watch(3600, 3.0):
                self.assert_plausible(picture)
                self.assert_consistent(watched.genset.rating_kw, picture)
                self.assert_line_voltages(picture)
                states.add(picture.registers[34])
        self.assertEqual(states, {0, 1, 2, 3, *range(5, 14), 15})

    @given(
        st.integers(0, 2**32),
        st.lists(
            st.one_of(
                st.sampled_from(["start", "stop", "test", "auto", "manual", "fail", "return"]),
                st.sampled_from(["generator_breaker_toggle", "mains_breaker_toggle"]),
                st.sampled_from(list(Fault)),
                st.floats(0, 120),
            ),
            max_size=20,
        ),
    )
    def test_whatever_is_done_to_it(self, seed: int, acts: list[str | float]) -> None:
        watched = WatchedGenset(seed=seed, running=None, mains_schedule=True)
        genset = watched.genset
        for act in acts:
            if isinstance(act, float):
                watched.wait(act)
            elif isinstance(act, Fault):
                (genset.heal if act in genset.faults else genset.inject)(act)
            elif act == "fail":
                genset.fail_mains()
            elif act == "return":
                genset.return_mains()
            else:
                genset.command(act)
            picture = genset.look()
            self.assert_plausible(picture, sensor_open=Fault.SENSOR_OPEN in genset.faults)
            self.assert_consistent(genset.rating_kw, picture)

    def test_every_point_of_the_hgm6120n_is_modelled(self) -> None:
        modelled: set[str] = set()

        def registers(panel: Panel, values: Values) -> tuple[int, ...]:
            modelled.update(values)
            return ()

        self.patch(Panel, "registers", registers)
        WatchedGenset().genset.look()
        self.assertEqual(modelled, set(self.profile.point_by_name))

    def test_standby(self) -> None:
        picture = WatchedGenset(running=False).genset.look()
        registers = picture.registers
        self.assertTrue(all(210 < volts < 250 for volts in registers[0:3]))
        self.assertTrue(4980 < registers[6] < 5020)
        self.assertEqual(set(registers[7:17] + registers[25:30] + registers[52:56]), {0})
        self.assertEqual((registers[19], registers[23]), (0, 0))
        self.assertEqual(registers[34:42], (0,) * 8)
        self.assertEqual(coils_of(picture), {6, 41, 65, 74, 76})

    def test_running(self) -> None:
        watched = WatchedGenset(running=True)
        picture = watched.genset.look()
        registers = picture.registers
        self.assertEqual(set(registers[0:7]), {0})
        self.assertTrue(all(210 < volts < 250 for volts in registers[7:10]))
        self.assertTrue(1490 < registers[23] < 1510)
        self.assertTrue(70 < registers[17] < 95)
        self.assertTrue(300 < registers[19] < 500)
        self.assertGreater(registers[26], 0)
        self.assertEqual(registers[34:42], (9, 0, 0, 0, 0, 0, 1, 0))
        self.assertEqual(coils_of(picture), {7, 41, 57, 64, 67, 69, 72})
        self.assertEqual((watched.genset.engine_state, watched.genset.mode), (EngineState.RUNNING, "auto"))
        self.assertIs(watched.genset.supply, Supply.GENERATOR)


class ModelTests(SynchronousTestCase):
    """Another controller shows the same genset elsewhere."""

    def genset(self, model: str) -> Genset:
        return Genset(Random(1), Clock().seconds, running=True, mains_schedule=False, model=model)

    def test_hgm4020n(self) -> None:
        pictures, scales = {}, {}
        for model in ("HGM6120N", "HGM4020N"):
            profile = load_catalog().for_moduletype(model)
            profile = profile.settled((0,) * len(profile.hypotheses.all))
            seen = SeenPicture(self.genset(model).look())
            pictures[profile.name] = {**profile.points(seen), "mode": profile.mode(seen)}
            scales[profile.name] = {name: point.scale for name, point in profile.point_by_name.items()}
            for signal in ("generator_on_load", "generator_normal", "mains_blackout_warning"):
                self.assertTrue(seen.coil(profile.signal_by_name[signal].address), signal)
        other, own = pictures["hgm4000n"], pictures["hgm6120n"]
        both = own.keys() & other.keys()
        self.assertEqual(len(both), 49)
        for name in both - {"mode"}:
            one, same = own[name], other[name]
            assert one is not None and same is not None
            coarser = max(scales["hgm6120n"][name], scales["hgm4000n"][name])
            self.assertLessEqual(abs(float(one) - float(same)), coarser, name)
        self.assertEqual(own["mode"], other["mode"])
        self.assertEqual(own.keys() - both, {"remote_start_state", "remote_start_delay"})
        self.assertEqual(len(self.genset("HGM4020N").look().registers), 82)

    def test_only_its_own_commands(self) -> None:
        for model, obeys in (("HGM6120N", True), ("HGM4020N", False)):
            self.assertIs(self.genset(model).write_coil(2), obeys)  # test
            self.assertTrue(self.genset(model).write_coil(3))

    def test_one_breaker(self) -> None:
        """Nothing of the mains, coil 5 opens and coil 6 closes the generator's breaker, each as often as one likes."""
        for model in ("HGM6110N", "HGM4010N"):
            clock = Clock()
            genset = Genset(Random(1), clock.seconds, running=True, mains_schedule=False, model=model)
            signals = load_catalog().for_moduletype(model).signal_by_name
            generator_on_load = signals["generator_on_load"].address
            self.assertFalse(genset.write_coil(5))  # in auto mode
            self.assertTrue(genset.write_coil(4))
            for coil, on_load in ((5, False), (5, False), (6, True), (6, True), (5, False)):
                self.assertTrue(genset.write_coil(coil))
                for _ in range(10):
                    clock.advance(1)
                    genset.look()
                seen = SeenPicture(genset.look())
                self.assertIs(seen.coil(generator_on_load), on_load, (model, coil))
                self.assertFalse(any(seen.coil(coil) for coil in (6, *range(64, 70))))
                self.assertFalse(any(seen.register(register) for register in range(7)))
            self.assertTrue(genset.write_coil(1))
            for _ in range(200):
                clock.advance(1)
                genset.look()
            self.assertTrue(genset.write_coil(4))
            self.assertFalse(genset.write_coil(6))  # nothing to close on

    def test_an_unknown_model_shows_what_the_default_shows(self) -> None:
        self.assertEqual(self.genset("ABC1").look(), self.genset("HGM6120N").look())

    def test_every_shipped_profile(self) -> None:
        """All signals that the model sets are somewhere in each of them."""
        for profile in load_catalog():
            for model in profile.definition.models:
                genset = self.genset(model.replace("x", "1"))
                for fault in Fault:
                    genset.inject(fault)
                for condition in MainsCondition:
                    genset.fail_mains(condition)
                    self.assertGreater(genset.look().coils, 0)


class CurveTests(SynchronousTestCase):
    """What values do in time."""

    def test_values_wander(self) -> None:
        for running in (False, True):
            pictures = WatchedGenset(running=running).watch(60, 3)
            self.assertGreater(len({picture.registers for picture in pictures}), 10)

    def test_the_coolant_warms_up_and_cools_down_slowly(self) -> None:
        watched = WatchedGenset(running=False)
        cold = watched.register(17)
        self.assertLess(cold, 50)
        watched.genset.fail_mains()
        temperatures = [picture.registers[17] for picture in watched.watch(900, 30)]
        self.assertTrue(79 <= temperatures[-1] <= 85, temperatures)
        self.assertTrue(all(-3 < after - before < 15 for before, after in pairwise(temperatures)))
        watched.genset.return_mains()
        watched.wait_for(0)
        stopped = watched.register(17)
        watched.wait(600)
        self.assertTrue(cold + 10 < watched.register(17) < stopped - 3)
        watched.wait(6 * 3600)
        self.assertLessEqual(abs(watched.register(17) - cold), 3)

    def test_speed_and_oil_pressure_of_a_start_and_a_stop(self) -> None:
        watched = WatchedGenset(running=False)
        watched.genset.command("test")
        usual = {
            1: ((0, 0), (0, 0)),
            3: ((0, 210), (0, 110)),
            6: ((750, 810), (190, 300)),
            8: ((1490, 1510), (320, 480)),
            9: ((1490, 1510), (320, 480)),
            13: ((0, 60), (0, 50)),
            0: ((0, 0), (0, 0)),
        }
        pictures = watched.watch(60)
        watched.genset.command("stop")
        for picture in (*pictures[1:], *watched.watch(60)):
            state = picture.registers[34]
            if state in usual:
                for register, (low, high) in zip((23, 19), usual[state], strict=True):
                    value = picture.registers[register]
                    self.assertTrue(low <= value <= high, f"state {state}, register {register}: {value}")

    def test_the_battery_sags_while_it_cranks_and_charges_while_it_runs(self) -> None:
        watched = WatchedGenset(running=False)
        rest = watched.register(24)
        watched.genset.command("test")
        watched.wait_for(3)
        watched.wait(2)
        self.assertTrue(215 < watched.register(24) < rest - 30)
        watched.wait(60)
        self.assertTrue(rest < watched.register(24) < 285)
        self.assertTrue(270 < watched.register(25) < 280)

    def test_fuel_by_load(self) -> None:
        used = []
        for command in ("auto", "test"):
            watched = WatchedGenset(running=True, seed=5)
            watched.genset.command(command)
            if command == "test":
                watched.genset.return_mains()
            before = watched.register(21)
            watched.wait(3 * 3600)
            used.append(before - watched.register(21))
        on_load, idle = used
        self.assertTrue(5 < on_load < 30 and 0 < idle < 5, used)

    def test_counters_of_a_running_one(self) -> None:
        watched = WatchedGenset(running=True)
        before = watched.genset.look()
        powers = [picture.registers[26] for picture in watched.watch(3600, 60)]
        after = watched.genset.look()
        minutes = [long_of(one, 42) * 60 + one.registers[44] for one in (before, after)]
        self.assertEqual(minutes[1] - minutes[0], 60)
        service = [one.registers[30] * 60 + one.registers[31] for one in (before, after)]
        self.assertEqual((service[0] - service[1]) % (250 * 60), 60)
        energy = long_of(after, 48) - long_of(before, 48)
        self.assertLessEqual(abs(energy - sum(powers) / len(powers)), 2)
        self.assertEqual(long_of(after, 46), long_of(before, 46))

    def test_counters_at_rest_stand(self) -> None:
        watched = WatchedGenset(running=False)
        before = watched.genset.look()
        watched.wait(7200)
        after = watched.genset.look()
        self.assertEqual(before.registers[42:52], after.registers[42:52])
        self.assertEqual(before.registers[21], after.registers[21])
        self.assertEqual(before.registers[30:32], after.registers[30:32])

    def test_starts_count(self) -> None:
        watched = WatchedGenset(running=False)
        before = watched.long(46)
        for times in (1, 2, 3):
            watched.genset.fail_mains()
            watched.wait_for(3)
            self.assertEqual(watched.long(46), before + times - 1)
            watched.wait_for(5)
            self.assertEqual(watched.long(46), before + times)
            watched.genset.return_mains()
            watched.wait_for(0)

    def test_run_time_counts_only_what_turns(self) -> None:
        watched = WatchedGenset(running=False)
        before = watched.long(42) * 60 + watched.register(44)
        for _ in range(20):
            watched.genset.command("test")
            watched.wait_for(9)
            watched.genset.command("stop")
            watched.wait_for(0)
        minutes = watched.long(42) * 60 + watched.register(44) - before
        self.assertLessEqual(abs(minutes - 20 * (3 + 3 + 8 + 2 + 20 + 4) / 60), 1)

    def test_the_tank_goes_down_and_is_filled(self) -> None:
        levels = [picture.registers[21] for picture in WatchedGenset(running=True).watch(20 * 86400, 3600)]
        self.assertLess(levels[1], levels[0])
        self.assertTrue(8 <= min(levels) < 15)
        self.assertGreater(max(levels), 85)


class TimeTests(SynchronousTestCase):
    """How often somebody looks makes no difference."""

    def test_every_second_or_every_seven(self) -> None:
        for seed in range(6):
            often, seldom = (WatchedGenset(seed=seed, running=None, mains_schedule=True) for _ in range(2))
            all_of_them = often.watch(7 * 600, 1.0)
            some_of_them = seldom.watch(7 * 600, 7.0)
            self.assertGreater(len({one.registers[34] for one in all_of_them}), 10)
            for one, other in zip(all_of_them[::7], some_of_them, strict=True):
                self.assertEqual(one.coils, other.coils)
                self.assertEqual(one.registers[34:42], other.registers[34:42])
                for address in range(REGISTERS):
                    self.assertLessEqual(abs(one.registers[address] - other.registers[address]), 1)

    def test_one_look_after_a_mains_failure(self) -> None:
        often, seldom = WatchedGenset(), WatchedGenset()
        for one, step in ((often, 1.0), (seldom, 300.0)):
            one.genset.fail_mains()
            one.watch(300, step)
            one.genset.return_mains()
            one.watch(300, step)
            one.genset.inject("crank_failure")
            one.genset.fail_mains()
            one.watch(300, step)
        self.assertEqual(often.genset.look(), seldom.genset.look())
        self.assertIn(17, seldom.coils)

    def test_after_a_long_pause(self) -> None:
        for running in (False, True):
            watched = WatchedGenset(running=running, mains_schedule=True)
            for pause in (86_400, 30 * 86_400, 1e9):
                watched.wait(pause)
                picture, calls = counted(watched.genset.look)
                self.assertLess(calls, MOST_CALLS)
                self.assertTrue(picture.registers[34] in range(16))

    def test_after_a_long_pause_it_has_aged_a_day(self) -> None:
        watched = WatchedGenset(running=True)
        before = watched.long(42)
        watched.wait(30 * 86_400)
        self.assertEqual(watched.long(42) - before, LONGEST_PAUSE_S / 3600)
        watched.wait(3600)
        self.assertEqual(watched.long(42) - before, LONGEST_PAUSE_S / 3600 + 1)

    def test_a_clock_set_back_takes_nothing_away(self) -> None:
        watched = WatchedGenset(running=True)
        before = watched.genset.look()
        watched.clock.rightNow = 0.0
        self.assertEqual(watched.genset.look(), before)
        watched.wait(3600)
        self.assertGreater(watched.long(42), long_of(before, 42))

    def test_delays_end_in_time_on_any_clock(self) -> None:
        """Sums of floating-point seconds may be a little too small."""
        for begin in (0.0, 0.1, 1_700_000_000.3, 123456.789):
            clock = Clock()
            clock.rightNow = begin
            genset = Genset(Random(1), clock.seconds, running=False, mains_schedule=False)
            genset.command("test")
            for state in (1, 2, 3, 5):
                self.assertEqual(genset.engine_state, state)
                for _ in range({1: 20, 2: 10, 3: 40, 5: 0}[state]):
                    clock.advance(0.1)
                    genset.look()


class SeedTests(SynchronousTestCase):
    def test_the_same_seed_the_same_life(self) -> None:
        lives = [WatchedGenset(seed=3, running=None, mains_schedule=True).watch(7200, 3) for _ in range(2)]
        self.assertEqual(*lives)

    def test_the_same_with_the_same_done_to_it(self) -> None:
        lives = []
        for _ in range(2):
            watched = WatchedGenset(seed=3, mains_schedule=True)
            for fault in Fault:
                watched.genset.inject(fault)
            watched.genset.command("test")
            lives.append(watched.watch(600, 3))
        self.assertEqual(*lives)

    def test_other_seeds_other_gensets(self) -> None:
        clock = Clock()
        pictures = [Genset(Random(seed), clock.seconds).look() for seed in range(300)]
        self.assertEqual(len({picture.registers for picture in pictures}), 300)
        running = sum(picture.registers[34] == 9 for picture in pictures)
        self.assertTrue(20 < running < 80, running)

    def test_what_the_seed_does_not_decide(self) -> None:
        for seed in range(50):
            for running in (False, True):
                genset = WatchedGenset(seed=seed, running=running).genset
                self.assertEqual(genset.engine_state, 9 if running else 0)
