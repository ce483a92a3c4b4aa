"""What points are called as metrics."""

import re

from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.definition import parse_definition
from cmmd.controllers.profile import Profile
from cmmd.web.metrics.device_families import OWN
from cmmd.web.metrics.quantities import FALLBACK, PREFIX, RESERVED, UNITS, Number, States, columns_of

CATALOG = load_catalog()

NO_QUANTITIES = {
    *("ats_state", "automatic_running_state", "auxiliary_sensor", "controller_model"),
    *("software_version", "hardware_version", "software_date_year", "software_date_month", "software_date_day"),
}
"""Points of the shipped profiles that have no unit: they are found in the fallback."""

METRIC = re.compile(r"genset_[a-z0-9]+(_[a-z0-9]+)*")


def profile_of(*points: str) -> Profile:
    """A profile with these points, each as it is in a file."""
    lines = "\n".join(re.sub(r"= \{", f"= {{address = {place * 2}, ", one) for place, one in enumerate(points))
    return Profile(
        "own",
        parse_definition(
            'title = "Own"\npolls = [{unit = 1, function = 3, address = 0, count = 60}]\n'
            '[enums.word]\n0 = "off"\n1 = "on"\n2 = "off"\n'
            f"[points]\n{lines}\n"
        ),
    )


def names(profile: Profile) -> list[str]:
    """Its samples as they are queried."""
    shown = []
    for column in columns_of(profile):
        labels = column.labels if isinstance(column, Number) else ()
        shown.append(column.family + "".join(f",{name}={value}" for name, value in labels))
    return shown


class ShippedTests(SynchronousTestCase):
    def test_every_point_has_a_metric(self) -> None:
        for profile in CATALOG:
            found: dict[str, str] = {}
            for column in columns_of(profile):
                places = [part.place for part in column.parts] if isinstance(column, Number) else [column.place]
                found |= {profile.definition.points[place].name: column.family for place in places}
                self.assertIsNotNone(METRIC.fullmatch(column.family), column.family)
            left = {one.name for one in profile.definition.points} - set(found)
            self.assertEqual({one for one in left if not one.startswith("clock_")}, set())
            self.assertLessEqual({one for one, family in found.items() if family == FALLBACK}, NO_QUANTITIES)

    def test_every_unit_is_known(self) -> None:
        units = {point.unit for profile in CATALOG for point in profile.definition.points}
        self.assertLessEqual(units, {"", *UNITS})

    def test_names(self) -> None:
        profile = CATALOG.profile("hgm6120n")
        assert profile is not None
        shown = names(profile)
        for expected in (
            "genset_frequency_hertz,side=generator",
            "genset_voltage_volts,phase=l1,side=mains",
            "genset_voltage_volts,phase=l1_l2,side=generator",
            "genset_current_amperes,phase=l3",
            *("genset_power_watts", "genset_reactive_power_vars", "genset_apparent_power_volt_amperes"),
            *("genset_phase_power_watts,phase=l2", "genset_power_factor_ratio", "genset_load_ratio"),
            *("genset_coolant_temperature_celsius", "genset_oil_pressure_pascals", "genset_fuel_level_ratio"),
            *("genset_battery_volts", "genset_charger_volts", "genset_engine_speed_rpm", "genset_starts"),
            *("genset_run_time_seconds", "genset_time_to_maintenance_seconds", "genset_energy_joules"),
            *("genset_engine_state", "genset_mains_state", "genset_engine_state_delay_seconds"),
        ):
            self.assertIn(expected, shown)
        self.assertEqual(len(shown), len(set(shown)))

    def test_titles_of_what_is_added_up(self) -> None:
        profile = CATALOG.profile("hgm4000n")
        assert profile is not None
        means = {column.family: column.means for column in columns_of(profile)}
        self.assertEqual(means["genset_run_time_seconds"], "Run time")
        self.assertEqual(means["genset_engine_state_delay_seconds"], "Engine state, delay left")


class OwnTests(SynchronousTestCase):
    def assert_names(self, points: dict[str, str], *expected: str) -> None:
        profile = profile_of(*(f'{name} = {{title = "T", {rest}}}' for name, rest in points.items()))
        self.assertEqual(names(profile), list(expected))

    def test_like_the_shipped_ones(self) -> None:
        self.assert_names(
            {
                "generator_frequency": 'unit = "Hz"',
                "bus_voltage": 'unit = "kV"',
                "load_current_n": 'unit = "mA"',
                "generator_power_factor_l1": "scale = 0.01",
                "power": 'unit = "MW"',
            },
            "genset_frequency_hertz,side=generator",
            "genset_voltage_volts,side=bus",
            "genset_current_amperes,phase=n,side=load",
            "genset_phase_power_factor_ratio,phase=l1,side=generator",
            "genset_power_watts",
        )

    def test_by_name_and_unit(self) -> None:
        self.assert_names(
            {
                "turbo_pressure": 'unit = "bar"',
                "solar_voltage": 'unit = "V"',
                "voltage": 'unit = "Hz"',
                "warm_up_minutes": 'unit = "min"',
                "warm_up_seconds": 'unit = "s"',
                "exhaust": 'unit = "°F"',
            },
            "genset_turbo_pressure_pascals",
            "genset_solar_volts",
            "genset_voltage_hertz",
            "genset_warm_up_seconds",
            "genset_exhaust_celsius",
        )

    def test_by_point(self) -> None:
        self.assert_names(
            {
                "fuel_rate": 'unit = "furlongs"',
                "power_factor": 'unit = "furlongs"',
                "shift": "scale = 2",
                "last_upload_timestamp": 'unit = "s"',
                "mode": 'enum = "word"',
                "clock_second": "scale = 1",
            },
            "genset_point,point=fuel_rate,unit=furlongs",
            "genset_point,point=power_factor,unit=furlongs",
            "genset_point,point=shift",
            "genset_point,point=last_upload_timestamp,unit=s",
            "genset_point,point=mode",
        )

    def test_two_points_of_one_name(self) -> None:
        self.assert_names(
            {
                "battery_voltage": 'unit = "V"',
                "battery": 'unit = "V"',
                "pause_seconds": 'unit = "s"',
                "pause": 'unit = "s"',
            },
            "genset_battery_volts",
            "genset_point,point=battery,unit=V",
            "genset_pause_seconds",
            "genset_point,point=pause,unit=s",
        )

    def test_states(self) -> None:
        (column,) = columns_of(profile_of('choke = {title = "Choke", enum = "word"}'))
        self.assertEqual(
            column,
            States("genset_choke", "Choke: 1 for the state that it is in", 0, ((0, "off"), (1, "on"), (2, "off"))),
        )

    def test_no_point_takes_a_name_of_ours(self) -> None:
        self.assertEqual(RESERVED, {*(family.name for family in OWN), FALLBACK})
        self.assertTrue(all(name.startswith(PREFIX) for name in RESERVED))
