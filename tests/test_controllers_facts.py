"""The shipped profiles against the facts, which stand here once more, transcribed from their tables by hand."""

from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.entries import PointLeaves, SignalChanges, SignalCleared, SignalSet
from cmmd.controllers.profile import Profile
from cmmd.modbus.frames import parse_plan

Range = tuple[float, float] | None
PointFact = tuple[int, str, str, float, str, Range]

PHASE, LINE = (0, 500), (0, 900)
COMMON_START: list[PointFact] = [
    # address, name, unit, scale, type, plausible
    (0, "mains_voltage_l1_n", "V", 1, "u16", PHASE),
    (1, "mains_voltage_l2_n", "V", 1, "u16", PHASE),
    (2, "mains_voltage_l3_n", "V", 1, "u16", PHASE),
    (3, "mains_voltage_l1_l2", "V", 1, "u16", LINE),
    (4, "mains_voltage_l2_l3", "V", 1, "u16", LINE),
    (5, "mains_voltage_l3_l1", "V", 1, "u16", LINE),
    (7, "generator_voltage_l1_n", "V", 1, "u16", PHASE),
    (8, "generator_voltage_l2_n", "V", 1, "u16", PHASE),
    (9, "generator_voltage_l3_n", "V", 1, "u16", PHASE),
    (10, "generator_voltage_l1_l2", "V", 1, "u16", LINE),
    (11, "generator_voltage_l2_l3", "V", 1, "u16", LINE),
    (12, "generator_voltage_l3_l1", "V", 1, "u16", LINE),
    (17, "coolant_temperature", "°C", 1, "s16", (-50, 200)),
    (18, "temperature_sensor_resistance", "Ω", 0.1, "u16", None),
    (19, "oil_pressure", "kPa", 1, "u16", (0, 1000)),
    (20, "oil_pressure_sensor_resistance", "Ω", 0.1, "u16", None),
    (21, "fuel_level", "%", 1, "u16", (0, 100)),
    (22, "fuel_level_sensor_resistance", "Ω", 0.1, "u16", None),
    (23, "engine_speed", "r/min", 1, "u16", (0, 4000)),
    (24, "battery_voltage", "V", 0.1, "u16", (0, 60)),
    (25, "charger_voltage", "V", 0.1, "u16", (0, 60)),
    (26, "active_power", "kW", 1, "s16", None),
    (27, "reactive_power", "kvar", 1, "s16", None),
    (28, "apparent_power", "kVA", 1, "s16", None),
    (29, "power_factor", "", 0.01, "s16", (-1, 1)),
]
COMMON_END: list[PointFact] = [
    (34, "engine_state", "", 1, "u16", (0, 15)),
    (35, "engine_state_delay", "s", 1, "u16", None),
    (38, "ats_state", "", 1, "u16", None),
    (39, "ats_delay", "s", 1, "u16", None),
    (40, "mains_state", "", 1, "u16", None),
    (41, "mains_state_delay", "s", 1, "u16", None),
    (42, "run_time_hours", "h", 1, "u32", (0, 500_000)),
    (44, "run_time_minutes", "min", 1, "u16", (0, 59)),
    (46, "starts", "", 1, "u32", (0, 1_000_000)),
    (48, "energy_generated", "kWh", 1, "u32", (0, 1_000_000_000)),
    (50, "software_version", "", 0.1, "u16", None),
    (51, "hardware_version", "", 0.1, "u16", None),
    (52, "active_power_l1", "kW", 1, "s16", None),
    (53, "active_power_l2", "kW", 1, "s16", None),
    (54, "active_power_l3", "kW", 1, "s16", None),
    (55, "load", "%", 1, "u16", (0, 200)),
]
POINTS_6120: list[PointFact] = [
    (6, "mains_frequency", "Hz", 0.01, "u16", (0, 75)),
    (13, "generator_frequency", "Hz", 0.01, "u16", (0, 75)),
    (14, "current_l1", "A", 0.1, "u16", (0, 6500)),
    (15, "current_l2", "A", 0.1, "u16", (0, 6500)),
    (16, "current_l3", "A", 0.1, "u16", (0, 6500)),
    (30, "time_to_maintenance_hours", "h", 1, "u16", None),
    (31, "time_to_maintenance_minutes", "min", 1, "u16", None),
    (36, "remote_start_state", "", 1, "u16", None),
    (37, "remote_start_delay", "s", 1, "u16", None),
]
POINTS_4000: list[PointFact] = [
    (6, "mains_frequency", "Hz", 0.1, "u16", (0, 75)),
    (13, "generator_frequency", "Hz", 0.1, "u16", (0, 75)),
    (14, "current_l1", "A", 1, "u16", (0, 6500)),
    (15, "current_l2", "A", 1, "u16", (0, 6500)),
    (16, "current_l3", "A", 1, "u16", (0, 6500)),
    (30, "auxiliary_sensor", "", 1, "u16", None),
    (32, "time_to_maintenance_hours", "h", 1, "u16", None),
    (33, "time_to_maintenance_minutes", "min", 1, "u16", None),
    (36, "automatic_running_state", "", 1, "u16", None),
    (37, "automatic_running_delay", "s", 1, "u16", None),
    (45, "run_time_seconds", "s", 1, "u16", None),
    (58, "coolant_level", "%", 1, "u16", None),
    (59, "oil_temperature", "°C", 1, "s16", None),
    (66, "fuel_consumption", "L/h", 0.1, "u16", None),
    (68, "fuel_used", "L", 0.1, "u32", (0, 100_000_000)),
    (70, "controller_temperature", "°C", 0.1, "s16", None),
    (71, "controller_model", "", 1, "u16", None),
    (72, "clock_year", "", 1, "u16", None),
    (73, "clock_month", "", 1, "u16", None),
    (74, "clock_day", "", 1, "u16", None),
    (75, "clock_weekday", "", 1, "u16", None),
    (76, "clock_hour", "", 1, "u16", None),
    (77, "clock_minute", "", 1, "u16", None),
    (78, "clock_second", "", 1, "u16", None),
    (79, "software_date_year", "", 1, "u16", None),
    (80, "software_date_month", "", 1, "u16", None),
    (81, "software_date_day", "", 1, "u16", None),
]

# Each line: severity, first address, and the names from there on.
COILS_TO_34 = """
alarm 0 common_alarm
warning 1 common_warning
shutdown 2 common_shutdown
status 3 remote_mode
inhibit 4 remote_control_locked
status 6 mains_on_load generator_on_load
shutdown 8 emergency_stop_shutdown
shutdown 9 overspeed_shutdown underspeed_shutdown speed_signal_loss_shutdown overfrequency_shutdown
shutdown 13 underfrequency_shutdown
shutdown 14 overvoltage_shutdown undervoltage_shutdown generator_overcurrent_shutdown
shutdown 17 crank_failure_shutdown
shutdown 18 high_temperature_shutdown low_oil_pressure_shutdown
shutdown 20 frequency_loss_shutdown
shutdown 21 input_shutdown low_fuel_shutdown low_coolant_shutdown
warning 24 high_temperature_warning low_oil_pressure_warning generator_overcurrent_warning
warning 27 stop_failure_warning
warning 28 low_fuel_warning charging_failure_warning battery_undervoltage_warning battery_overvoltage_warning
warning 32 input_warning speed_signal_loss_warning low_coolant_warning
"""
COILS_FROM_40 = """
mode 40 test_mode auto_mode manual_mode stop_mode
status 48 emergency_stop_input auxiliary_input_1 auxiliary_input_2 auxiliary_input_3 auxiliary_input_4 auxiliary_input_5
status 56 crank_relay fuel_relay auxiliary_output_1 auxiliary_output_2 auxiliary_output_3 auxiliary_output_4
warning 64 mains_fault_warning
status 65 mains_normal
warning 66 mains_overvoltage_warning mains_undervoltage_warning mains_phase_loss_warning mains_blackout_warning
status 72 generator_normal
warning 73 generator_overvoltage_warning generator_undervoltage_warning generator_overfrequency_warning
warning 76 generator_underfrequency_warning generator_overcurrent_2_warning
warning 78 scheduled_run_skipped_warning
"""
COILS_6120 = """
warning 35 temperature_sensor_open_warning oil_pressure_sensor_open_warning
warning 37 maintenance_due_warning charger_failure_warning overpower_warning
shutdown 44 temperature_sensor_open_shutdown oil_pressure_sensor_open_shutdown
shutdown 46 maintenance_due_shutdown overpower_shutdown
"""
COILS_4000 = """
warning 35 temperature_sensor_open_warning oil_pressure_sensor_open_warning fuel_level_sensor_open_warning
warning 38 auxiliary_sensor_open_warning
warning 39 auxiliary_sensor_warning
shutdown 44 temperature_sensor_open_shutdown oil_pressure_sensor_open_shutdown fuel_level_sensor_open_shutdown
shutdown 47 auxiliary_sensor_open_shutdown
status 62 auxiliary_output_5
warning 63 maintenance_due_warning
warning 70 charger_failure_warning overpower_warning
warning 79 ecu_warning
shutdown 80 auxiliary_sensor_shutdown maintenance_due_shutdown overpower_shutdown
shutdown 83 ecu_alarm_shutdown ecu_failure_shutdown
"""

ENGINE_STATES = [
    *("standby", "preheat", "fuel output", "crank", "crank rest", "safety run", "start idle", "high-speed warm-up"),
    *("wait for load", "normal running", "high-speed cooling", "stop idle", "ETS (energise to stop)", "wait for stop"),
    *("stop failure", "after stop"),
]
MAINS_STATES = ["normal", "abnormal", "no delay running"]

LEAVES_STANDBY = PointLeaves(point="engine_state", value=0)
GENERATOR_CHANGES = SignalChanges(signal="generator_on_load")
MAINS_CHANGES = SignalChanges(signal="mains_on_load")
# name -> coil, idempotent, confirmed by
COMMANDS = {
    "start": (0, False, LEAVES_STANDBY),
    "stop": (1, True, SignalSet(signal="stop_mode")),
    "test": (2, True, SignalSet(signal="test_mode")),
    "auto": (3, True, SignalSet(signal="auto_mode")),
    "manual": (4, True, SignalSet(signal="manual_mode")),
    "generator_breaker_toggle": (5, False, GENERATOR_CHANGES),
    "mains_breaker_toggle": (6, False, MAINS_CHANGES),
    "generator_breaker_open": (5, True, SignalCleared(signal="generator_on_load")),
    "generator_breaker_close": (6, True, SignalSet(signal="generator_on_load")),
}
TWO_BREAKERS = [name for name in COMMANDS if not name.endswith(("_open", "_close"))]
ONE_BREAKER = [name for name in COMMANDS if not name.endswith("_toggle")]

NO_MAINS_REGISTERS = {*range(7), *range(38, 42)}
NO_MAINS_COILS = {6, *range(64, 70)}
"""What carries nothing on models with one breaker."""


def coils(*tables: str) -> set[tuple[int, str, str]]:
    found = set()
    for line in "".join(tables).split("\n"):
        if line:
            severity, first, *names = line.split()
            found |= {(int(first) + step, name, severity) for step, name in enumerate(names)}
    return found


class ShippedTestCase(SynchronousTestCase):
    def profile(self, name: str) -> Profile:
        profile = load_catalog().profile(name)
        assert profile is not None
        return profile

    def assert_points(self, profile: Profile, expected: list[PointFact]) -> None:
        points = profile.definition.points
        found = [(one.address, one.name, one.unit, one.scale, one.type, one.plausible_range) for one in points]
        self.assertEqual(sorted(found), sorted(expected))
        self.assertEqual(found, sorted(found), "in the order of their addresses")

    def assert_signals(self, profile: Profile, expected: set[tuple[int, str, str]]) -> None:
        signals = profile.as_written.signals
        self.assertEqual({(one.address, one.name, one.severity) for one in signals}, expected)
        addresses = [one.address for one in signals]
        self.assertEqual(addresses, sorted({address for address, _, _ in expected}), "in the order of their addresses")
        at_rest = {one.address: one.only_in_engine_states for one in signals if one.only_in_engine_states is not None}
        self.assertEqual(at_rest, {74: {8, 9}, 76: {8, 9}})
        for one in signals:
            if one.severity in ("warning", "shutdown"):
                self.assertTrue(one.name.endswith(f"_{one.severity}"), one.name)

    def assert_modes_and_engine(self, profile: Profile) -> None:
        addresses = {mode: profile.signal_by_name[name].address for mode, name in profile.definition.modes.items()}
        self.assertEqual(addresses, {"test": 40, "auto": 41, "manual": 42, "stop": 43})
        engine = profile.definition.engine
        assert engine is not None
        self.assertEqual(profile.point_by_name[engine.state].address, 34)
        self.assertEqual(engine.turns, {5, 6, 7, 8, 9, 10, 11})

    def assert_commands(self, profile: Profile, unit: int, names: list[str]) -> None:
        commands = profile.definition.commands
        self.assertEqual([one.name for one in commands], names)
        for one in commands:
            self.assertEqual((one.coil, one.idempotent, one.confirmed_by), COMMANDS[one.name])
            self.assertEqual(one.unit, unit)
            self.assertEqual(one.only_in_mode, "manual" if one.name == "start" else None)


class HGM6120NTests(ShippedTestCase):
    def setUp(self) -> None:
        self.hgm6120n = self.profile("hgm6120n")

    def test_plan(self) -> None:
        self.assertEqual(self.hgm6120n.plan, "01010000005ABC31;01030000002D85D7;0103002E000AA5C4")
        self.assertEqual(self.hgm6120n.definition.change_byte_order, "auto")

    def test_models(self) -> None:
        self.assertEqual(self.hgm6120n.definition.models, ("HGM6120", "HGM6100"))
        verified = ("HGM6120", "HGM6120N", "HGM6120NC", "HGM6120N-4G")
        self.assertEqual(self.hgm6120n.definition.command_models, verified)

    def test_points(self) -> None:
        self.assert_points(self.hgm6120n, COMMON_START + COMMON_END + POINTS_6120)

    def test_enums(self) -> None:
        words = {enum.name: enum.words for enum in self.hgm6120n.definition.enums}
        self.assertEqual(
            words,
            {
                "engine_state": dict(enumerate(ENGINE_STATES)),
                "remote_start_state": {0: "none", 1: "start delay", 2: "stop delay"},
                "mains_state": dict(enumerate(MAINS_STATES)),
            },
        )
        of = {one.address: one.enum for one in self.hgm6120n.definition.points if one.enum is not None}
        self.assertEqual(of, {34: "engine_state", 36: "remote_start_state", 40: "mains_state"})

    def test_signals(self) -> None:
        self.assert_signals(self.hgm6120n, coils(COILS_TO_34, COILS_FROM_40, COILS_6120))

    def test_modes_and_engine(self) -> None:
        self.assert_modes_and_engine(self.hgm6120n)

    def test_commands(self) -> None:
        self.assert_commands(self.hgm6120n, 0, TWO_BREAKERS)
        self.assertEqual(
            {one.name: one.frame for one in self.hgm6120n.definition.commands},
            {
                "start": "00050000FF008DEB",
                "stop": "00050001FF00DC2B",
                "test": "00050002FF002C2B",
                "auto": "00050003FF007DEB",
                "manual": "00050004FF00CC2A",
                "generator_breaker_toggle": "00050005FF009DEA",
                "mains_breaker_toggle": "00050006FF006DEA",
            },
        )


class HGM4000NTests(ShippedTestCase):
    def setUp(self) -> None:
        self.hgm4000n = self.profile("hgm4000n")

    def test_plan(self) -> None:
        requests = [(one.unit, one.function, one.address, one.count) for one in parse_plan(self.hgm4000n.plan)]
        self.assertEqual(requests, [(1, 1, 0, 85), (1, 3, 0, 82)])
        self.assertEqual(self.hgm4000n.definition.change_byte_order, "auto")

    def test_points(self) -> None:
        self.assert_points(self.hgm4000n, COMMON_START + COMMON_END + POINTS_4000)

    def test_enums(self) -> None:
        words = {enum.name: enum.words for enum in self.hgm4000n.definition.enums}
        self.assertEqual(
            words, {"engine_state": dict(enumerate(ENGINE_STATES)), "mains_state": dict(enumerate(MAINS_STATES))}
        )
        of = {one.address: one.enum for one in self.hgm4000n.definition.points if one.enum is not None}
        self.assertEqual(of, {34: "engine_state", 40: "mains_state"})

    def test_signals(self) -> None:
        self.assert_signals(self.hgm4000n, coils(COILS_TO_34, COILS_FROM_40, COILS_4000))

    def test_modes_and_engine(self) -> None:
        self.assert_modes_and_engine(self.hgm4000n)

    def test_commands(self) -> None:
        self.assert_commands(self.hgm4000n, 1, [name for name in TWO_BREAKERS if name != "test"])
        self.assertEqual(self.hgm4000n.definition.models, ("HGM4020", "HGM40x0"))
        self.assertEqual(self.hgm4000n.definition.command_models, ("HGM4020N",))


class OneBreakerTests(ShippedTestCase):
    """HGM6110N and HGM4010N: no mains, and coils 5 and 6 open and close the generator's breaker."""

    def without_mains(self, points: list[PointFact]) -> list[PointFact]:
        return [point for point in points if point[0] not in NO_MAINS_REGISTERS]

    def test_points(self) -> None:
        for name, own in (("hgm6110n", POINTS_6120), ("hgm4010n", POINTS_4000)):
            self.assert_points(self.profile(name), self.without_mains(COMMON_START + COMMON_END + own))

    def test_signals(self) -> None:
        for name, own in (("hgm6110n", COILS_6120), ("hgm4010n", COILS_4000)):
            expected = {one for one in coils(COILS_TO_34, COILS_FROM_40, own) if one[0] not in NO_MAINS_COILS}
            self.assert_signals(self.profile(name), expected)

    def test_plans_and_modes(self) -> None:
        for name, other in (("hgm6110n", "hgm6120n"), ("hgm4010n", "hgm4000n")):
            self.assertEqual(self.profile(name).plan, self.profile(other).plan)
            self.assert_modes_and_engine(self.profile(name))

    def test_commands(self) -> None:
        for name in ("hgm6110n", "hgm4010n"):
            profile = self.profile(name)
            self.assertEqual(set(profile.command_by_name), set(ONE_BREAKER))
            self.assert_commands(profile, 0, list(profile.command_by_name))
            self.assertEqual(profile.command_by_name["generator_breaker_open"].frame, "00050005FF009DEA")
            self.assertEqual(profile.command_by_name["generator_breaker_close"].frame, "00050006FF006DEA")
            self.assertEqual(profile.definition.command_models, ())
            self.assertEqual(profile.definition.lacks_commands, ("generator_breaker_toggle", "mains_breaker_toggle"))
        self.assertEqual(self.profile("hgm6110n").definition.models, ("HGM6110",))
        self.assertEqual(self.profile("hgm4010n").definition.models, ("HGM4010",))


class GenericTests(ShippedTestCase):
    def test_the_papers_plan_and_no_names(self) -> None:
        generic = self.profile("generic")
        self.assertEqual(generic.plan, "01030000005045F6")
        self.assertEqual(generic.definition.change_byte_order, "auto")
        self.assertEqual((generic.definition.points, generic.definition.signals), ((), ()))
        self.assertEqual((generic.definition.commands, generic.definition.models), ((), ()))
