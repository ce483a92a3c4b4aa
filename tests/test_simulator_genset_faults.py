"""``cmmd.simulator.genset.faults``: what goes wrong on demand, as the panel shows it."""

from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.genset.controller import MAINS_ABNORMAL_S, START_DELAY_S
from cmmd.simulator.genset.engine import CRANK_ATTEMPTS
from cmmd.simulator.genset.faults import FAULTS, Fault
from cmmd.simulator.genset.panel import DEFAULT_MODEL, panel_of
from tests.watched_genset import WatchedGenset

ALARM, WARNING, SHUTDOWN = 0, 1, 2
COMMON = {ALARM, WARNING, SHUTDOWN}
SENSOR_OPEN = 32766


class FaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.watch(running=True)

    def watch(self, *, running: bool) -> None:
        self.watched = WatchedGenset(running=running)
        self.genset = self.watched.genset
        self.before = self.watched.coils

    def new_coils(self) -> set[int]:
        """The alarm coils that were not set at the beginning."""
        return {coil for coil in self.watched.coils - self.before if coil < 40}

    def assert_shut_down(self, coil: int, within: float) -> None:
        """The engine stops at once, says why, and goes on saying so until it is reset."""
        self.assertEqual(self.new_coils(), set())
        self.watched.wait(within)
        self.assertEqual(self.new_coils(), {ALARM, SHUTDOWN, coil})
        self.assertEqual(self.watched.state, 12)
        self.assertFalse(self.watched.coils & {7, 57})  # not on load, no fuel
        self.assertEqual(self.watched.path(300), [12, 13, 15, 0])
        self.assertEqual(self.new_coils(), {ALARM, SHUTDOWN, coil})
        self.assertEqual(self.watched.register(26), 0)

    def assert_reset(self, fault: str) -> None:
        """Repaired, it says so still; stop resets it; then it carries the load again."""
        self.genset.heal(fault)
        self.watched.wait(100)
        self.assertIn(SHUTDOWN, self.watched.coils)
        self.genset.command("manual")
        self.assertFalse(self.genset.command("start"))
        self.assertTrue(self.genset.command("stop"))
        self.assertEqual(self.new_coils() & COMMON, set())
        self.genset.command("auto")
        self.watched.wait(60)
        self.assertEqual((self.watched.state, self.new_coils() & COMMON), (9, set()))
        self.assertIn(7, self.watched.coils)

    def test_every_signal_is_the_panel_s(self) -> None:
        for fault, kind in FAULTS.items():
            with self.subTest(fault=fault):
                self.assertGreaterEqual(
                    panel_of(DEFAULT_MODEL).coils(name for name in (kind.signal, kind.shows) if name), 0
                )
        self.assertEqual(set(FAULTS), set(Fault))

    def test_names(self) -> None:
        self.assertRaises(ValueError, self.genset.inject, "earthquake")
        self.assertRaises(ValueError, self.genset.heal, "earthquake")

    def test_what_is_wrong(self) -> None:
        self.assertEqual(self.genset.faults, ())
        self.genset.inject("low_fuel")
        self.genset.inject("low_fuel")
        self.genset.inject(Fault.SENSOR_OPEN)
        self.assertEqual(self.genset.faults, (Fault.LOW_FUEL, Fault.SENSOR_OPEN))
        self.genset.heal("low_fuel")
        self.genset.heal("low_fuel")
        self.assertEqual(self.genset.faults, (Fault.SENSOR_OPEN,))

    def test_low_oil_pressure(self) -> None:
        self.assertGreater(self.watched.register(19), 300)
        self.genset.inject("low_oil_pressure")
        self.watched.wait(2)
        self.assertLess(self.watched.register(19), 150)
        self.assert_shut_down(19, within=1)
        self.assert_reset("low_oil_pressure")

    def test_low_oil_pressure_is_not_seen_at_rest(self) -> None:
        self.watch(running=False)
        self.genset.inject("low_oil_pressure")
        self.watched.wait(1000)
        self.assertEqual(self.new_coils(), set())
        self.genset.command("test")
        self.assertEqual(self.watched.path(60), [1, 2, 3, 5, 6, 7, 12, 13, 15, 0])
        self.assertEqual(self.new_coils(), {ALARM, SHUTDOWN, 19})

    def test_a_shutdown_in_test_and_auto_mode_is_final(self) -> None:
        self.genset.inject("low_oil_pressure")
        self.watched.wait(100)
        for mode in ("test", "auto", "manual"):
            self.genset.command(mode)
            self.assertEqual(self.watched.path(60), [0])

    def test_unrepaired_it_comes_back(self) -> None:
        self.genset.inject("low_oil_pressure")
        self.watched.wait(100)
        self.genset.command("stop")
        self.genset.command("auto")
        self.watched.wait(60)
        self.assertEqual((self.watched.state, self.new_coils() & COMMON), (0, {ALARM, SHUTDOWN}))

    def test_high_temperature(self) -> None:
        self.genset.inject("high_temperature")
        self.watched.wait(20)
        self.assertGreater(self.watched.register(17), 95)
        self.assertEqual(self.new_coils(), {ALARM, WARNING, 24})
        self.watched.wait(10)
        self.assertGreater(self.watched.register(17), 98)
        self.assertEqual((self.watched.state, self.new_coils()), (12, {*COMMON, 18, 24}))
        self.genset.heal("high_temperature")
        self.watched.wait(3600)
        self.assertLess(self.watched.register(17), 80)
        self.assertEqual(self.new_coils(), {ALARM, SHUTDOWN, 18})

    def test_overspeed(self) -> None:
        self.genset.inject("overspeed")
        self.watched.wait(3)
        speed, frequency = self.watched.register(23), self.watched.register(13)
        self.assertTrue(1700 < speed < 1810 and abs(speed * 10 - frequency * 3) < 8, (speed, frequency))
        self.assertTrue(self.watched.coils & {75})
        self.assert_shut_down(9, within=1)
        self.assert_reset("overspeed")

    def test_emergency_stop(self) -> None:
        self.genset.inject("emergency_stop")
        self.assertTrue({8, 48} <= self.watched.coils)
        self.assertEqual((self.watched.state, self.new_coils()), (12, {ALARM, SHUTDOWN, 8}))
        self.watched.wait(100)
        self.genset.command("stop")
        self.assertEqual(self.new_coils(), {ALARM, SHUTDOWN, 8})  # still pressed
        self.assertIn(8, self.watched.coils)
        self.assert_reset("emergency_stop")
        self.assertFalse(self.watched.coils & {8, 48})

    def test_emergency_stop_at_rest_and_during_the_start(self) -> None:
        for state, way in {0: [0], 1: [15, 0], 3: [12, 13, 15, 0], 6: [12, 13, 15, 0], 13: [13, 15, 0]}.items():
            with self.subTest(state=state):
                self.watch(running=False)
                if state:
                    self.genset.command("test")
                if state == 13:
                    self.watched.wait(60)
                    self.genset.command("stop")
                self.watched.wait_for(state)
                self.genset.inject("emergency_stop")
                self.assertEqual(self.watched.path(60, 0.5), way)
                self.assertIn(8, self.watched.coils)

    def test_crank_failure(self) -> None:
        self.watch(running=False)
        self.genset.inject("crank_failure")
        starts = self.watched.long(46)
        self.genset.fail_mains()
        self.watched.wait(MAINS_ABNORMAL_S + START_DELAY_S)
        self.assertEqual(
            self.watched.walk(60)[:-1],
            [(1, 2), (2, 1), (3, 4), *[(4, 6), (2, 1), (3, 4)] * (CRANK_ATTEMPTS - 1), (15, 3)],
        )
        self.assertEqual((self.watched.state, self.new_coils()), (0, {ALARM, SHUTDOWN, 17}))
        self.assertEqual(self.watched.path(600), [0])
        self.assertEqual(self.watched.long(46), starts)
        self.assert_reset("crank_failure")
        self.assertEqual(self.watched.long(46), starts + 1)

    def test_cranked_again_it_fires(self) -> None:
        self.watch(running=False)
        self.genset.inject("crank_failure")
        self.genset.command("test")
        self.watched.wait_for(4)
        self.genset.heal("crank_failure")
        self.assertEqual(self.watched.path(60), [4, 2, 3, 5, 6, 7, 8, 9])
        self.assertEqual(self.new_coils() & COMMON, set())

    def test_the_relays_while_it_cranks(self) -> None:
        self.watch(running=False)
        self.genset.inject("crank_failure")
        self.genset.command("test")
        relays = {state: set[int]() for state in (1, 2, 3, 4)}
        for picture in self.watched.watch(20):
            relays[picture.registers[34]] |= {coil for coil in (56, 57) if picture.coils >> coil & 1}
        self.assertEqual(relays, {1: set(), 2: {57}, 3: {56, 57}, 4: set()})

    def test_stop_failure(self) -> None:
        self.genset.inject("stop_failure")
        self.genset.command("stop")
        self.assertEqual(self.watched.path(120), [10, 11, 12, 13, 14])
        self.assertEqual(self.new_coils(), {ALARM, WARNING, 27})
        self.assertGreater(self.watched.register(23), 600)
        self.genset.heal("stop_failure")
        self.assertEqual(self.watched.path(60), [14, 15, 0])
        self.assertEqual((self.watched.register(23), self.new_coils() & COMMON), (0, set()))

    def test_warnings(self) -> None:
        for fault, coil, register, low, high in (
            ("battery_undervoltage", 30, 24, 200, 220),
            ("charging_failure", 29, 25, 0, 60),
            ("sensor_open", 35, 17, SENSOR_OPEN, SENSOR_OPEN),
            ("low_fuel", 28, 21, 1, 9),
        ):
            with self.subTest(fault=fault):
                self.watch(running=True)
                before = self.watched.register(register)
                self.genset.inject(fault)
                self.watched.wait(10)
                self.assertEqual(self.new_coils(), {ALARM, WARNING, coil})
                self.assertTrue(low <= self.watched.register(register) <= high, self.watched.register(register))
                self.assertEqual(self.watched.path(600), [9])
                self.genset.heal(fault)
                self.watched.wait(300)
                self.assertEqual(self.new_coils(), set())
                self.assertTrue(abs(self.watched.register(register) - before) < 60)

    def test_the_charging_alternator_is_not_watched_at_rest(self) -> None:
        self.watch(running=False)
        self.genset.inject("charging_failure")
        self.watched.wait(600)
        self.assertEqual(self.new_coils(), set())

    def test_an_open_sensor_is_no_high_temperature(self) -> None:
        self.genset.inject("high_temperature")
        self.genset.inject("sensor_open")
        self.watched.wait(20)
        self.assertEqual(self.new_coils(), {ALARM, WARNING, 35})

    def test_low_fuel_until_the_tank_is_filled(self) -> None:
        self.genset.inject("low_fuel")
        self.assertEqual(self.watched.register(21), 9)
        self.watched.wait(80_000)
        self.assertEqual(self.watched.register(21), 1)
        self.genset.heal("low_fuel")
        self.assertEqual(self.watched.register(21), 95)

    def test_low_fuel_by_itself(self) -> None:
        levels = [
            (picture.registers[21], bool(picture.coils >> 28 & 1), bool(picture.coils >> WARNING & 1))
            for picture in self.watched.watch(48 * 3600, 600)
        ]
        self.assertTrue(all(low == (level < 15) == common for level, low, common in levels))
        self.assertGreater(sum(low for _, low, _ in levels), 3)
        self.assertEqual(min(level for level, _, _ in levels), 8)
        self.assertGreaterEqual(max(level for level, _, _ in levels), 93)

    def test_two_at_once(self) -> None:
        self.genset.inject("battery_undervoltage")
        self.genset.inject("low_oil_pressure")
        self.watched.wait(10)
        self.assertEqual(self.new_coils(), {*COMMON, 30, 19})
        self.genset.command("stop")
        self.assertEqual(self.new_coils() & COMMON, {ALARM, WARNING})
