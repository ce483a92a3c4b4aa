"""``/metrics/devices``: what every device reports."""

import gzip
import json
import math
from typing import Any, cast

from msgspec.structs import replace
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from twisted.internet import reactor
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from cmmd.controllers.catalog import load_catalog
from cmmd.modbus.frames import read_response
from cmmd.web.metrics.device_families import OWN
from cmmd.web.metrics.device_metrics import MOST_AT_ONCE, DeviceMetricsResource
from cmmd.wire.messages import ReqData
from tests.uploads import HGM6120N_PLAN, STANDBY, change_upload, full_upload
from tests.web_client import get
from tests.world import HOSTID, World

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"
MAX_AGE_S = 300.0

RUNNING = {
    **STANDBY,
    7: 231,
    8: 230,
    9: 232,
    10: 400,
    13: 5001,
    14: 523,
    17: 82,
    19: 350,
    21: 67,
    23: 1500,
    26: 120,
    28: 0xFFFF,
    29: 98,
    30: 100,
    31: 30,
    34: 9,
    42: 1,
    43: 2,
    44: 59,
    46: 0,
    47: 12,
    48: 0,
    49: 100,
    55: 44,
}
ON_LOAD = {7, 41, 72}


def resource_of(world: World, clock: IReactorTime | None = None) -> DeviceMetricsResource:
    return DeviceMetricsResource(
        world.fleet,
        now=world.clock.seconds,
        monotonic=world.clock.seconds,
        clock=clock or world.clock,
        max_age_s=MAX_AGE_S,
    )


class DevicesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.register()
        self.resource = resource_of(self.world)

    def upload(self, registers: dict[int, int] | None = None, coils: set[int] = ON_LOAD, hostid: str = HOSTID) -> None:
        self.world.fleet.uploads.full(
            full_upload(RUNNING if registers is None else registers, coils, hostid), HGM6120N_PLAN, historic=False
        )
        self.world.write_batch()

    def metrics(self) -> dict[str, Metric]:
        """What both formats say, which has to be the same."""
        texts = ["".join(self.resource.pieces(openmetrics=openmetrics)) for openmetrics in (False, True)]
        plain = {metric.name.removesuffix("_info"): metric for metric in text_families(texts[0])}
        strict = {metric.name: metric for metric in openmetrics_families(texts[1])}
        self.assertEqual(list(plain), list(strict))
        for name, metric in strict.items():
            self.assertEqual(plain[name].samples, metric.samples)
        return strict

    def value(self, metric_name: str, hostid: str = HOSTID, **labels: str) -> float | None:
        metric = self.metrics().get(metric_name)
        wanted = {"hostid": hostid, **labels}
        found = [
            sample.value for sample in (metric.samples if metric else ()) if wanted.items() <= sample.labels.items()
        ]
        self.assertLessEqual(len(found), 1, metric_name)
        return found[0] if found else None


class ValueTests(DevicesTestCase):
    def test_base_units(self) -> None:
        for _ in range(3):  # what three uploads agree on is decided
            self.upload({**RUNNING, 42: 0})
        for name, labels, expected in (
            ("genset_frequency_hertz", {"side": "generator"}, 50.01),
            ("genset_frequency_hertz", {"side": "mains"}, 50),
            ("genset_voltage_volts", {"side": "generator", "phase": "l1"}, 231),
            ("genset_voltage_volts", {"side": "generator", "phase": "l1_l2"}, 400),
            ("genset_current_amperes", {"phase": "l1"}, 52.3),
            ("genset_coolant_temperature_celsius", {}, 82),
            ("genset_oil_pressure_pascals", {}, 350_000),
            ("genset_fuel_level_ratio", {}, 0.67),
            ("genset_engine_speed_rpm", {}, 1500),
            ("genset_battery_volts", {}, 26.8),
            ("genset_power_watts", {}, 120_000),
            ("genset_apparent_power_volt_amperes", {}, -1000),
            ("genset_power_factor_ratio", {}, 0.98),
            ("genset_time_to_maintenance_seconds", {}, 100 * 3600 + 30 * 60),
            ("genset_run_time_seconds", {}, 2 * 3600 + 59 * 60),
            ("genset_starts", {}, 12),
            ("genset_energy_joules", {}, 360_000_000),
            ("genset_load_ratio", {}, 0.44),
            ("genset_point", {"point": "ats_state"}, 0),
            ("genset_engine_state", {"state": "normal running"}, 1),
            ("genset_engine_state", {"state": "standby"}, 0),
            ("genset_mains_state", {"state": "normal"}, 1),
            ("genset_mode", {"mode": "auto"}, 1),
            ("genset_mode", {"mode": "stop"}, 0),
            ("genset_engine_running", {}, 1),
            ("genset_mains_normal", {}, 0),
            ("genset_breaker_closed", {"breaker": "generator"}, 1),
            ("genset_breaker_closed", {"breaker": "mains"}, 0),
            ("genset", {"profile": "hgm6120n"}, 1),
        ):
            self.assertEqual(self.value(name, **labels), expected, name)

    def test_all_states_of_a_device(self) -> None:
        self.upload()
        states = self.metrics()["genset_engine_state"].samples
        self.assertEqual((len(states), sum(sample.value for sample in states)), (16, 1))

    def test_a_state_without_a_word(self) -> None:
        self.upload({**RUNNING, 40: 77})
        self.assertEqual(self.metrics()["genset_mains_state"].samples, [])

    def test_what_is_no_data_or_not_plausible_is_left_out(self) -> None:
        self.upload({**RUNNING, 19: 32766, 17: 32767, 13: 9000, 31: 32766})
        for name in (
            *("genset_oil_pressure_pascals", "genset_coolant_temperature_celsius"),
            "genset_time_to_maintenance_seconds",  # of which the minutes are not known
        ):
            self.assertIsNone(self.value(name), name)
        self.assertIsNone(self.value("genset_frequency_hertz", side="generator"))
        self.assertEqual(self.value("genset_frequency_hertz", side="mains"), 50)

    def test_what_is_uncertain_is_left_out(self) -> None:
        """The byte order of change uploads is open with this controller."""
        self.world.register(OTHER, moduletype="HGM4020N")
        self.world.fleet.uploads.change(change_upload({7: 231, 6: 500}, hostid=OTHER), historic=False)
        self.assertIsNotNone(self.world.fleet.live[OTHER].known.undecided)
        self.assertIsNone(self.value("genset_voltage_volts", OTHER, side="generator", phase="l1"))
        self.assertIsNotNone(self.value("genset_last_upload_timestamp_seconds", OTHER))

    def test_two_profiles_share_their_metrics(self) -> None:
        self.world.register(OTHER, moduletype="HGM4020N")
        self.upload()
        plan = self.world.fleet.uploads.plan(OTHER)
        registers = {6: 500, 58: 40}
        frames = [
            read_response(
                request,
                b"\0" * 11
                if request.function.reads_bits
                else b"".join(registers.get(address, 0).to_bytes(2, "big") for address in range(request.count)),
            )
            for request in plan.requests
        ]
        self.world.fleet.uploads.full(ReqData(params=";".join(frames), hostid=OTHER), plan, historic=False)
        self.assertEqual(self.value("genset_frequency_hertz", side="mains"), 50)
        self.assertEqual(self.value("genset_frequency_hertz", OTHER, side="mains"), 50)
        self.assertEqual(self.value("genset_coolant_level_ratio", OTHER), 0.4)
        self.assertIsNone(self.value("genset_coolant_level_ratio"))

    def test_what_is_undecided_is_not_told(self) -> None:
        self.upload()
        self.assertIsNone(self.value("genset_current_amperes", phase="l1"), "52.3 A or 523 A")
        self.assertIsNone(self.value("genset_run_time_seconds"), "65538 h or 10002 h")
        self.assertEqual(self.value("genset_starts"), 12)

    def test_every_point_of_every_profile_is_told(self) -> None:
        """A device whose registers are all known and in range has a sample of every point."""
        for _ in range(3):
            self.upload({**dict.fromkeys(range(56), 0), **RUNNING, 42: 0})
        profile = load_catalog().profile("hgm6120n")
        assert profile is not None
        count = sum(len(metric.samples) for name, metric in self.metrics().items() if name not in self.own)
        states = 16 + 3 + 3
        added_up = 2
        self.assertEqual(count, len(profile.definition.points) - 3 - added_up + states)

    own = frozenset(family.name.removesuffix("_info") for family in OWN)


class DeviceTests(DevicesTestCase):
    def test_labels(self) -> None:
        self.world.register(OTHER, hostname='Yard "3" \\ n', moduletype="HGM6120N")
        (sample,) = (one for one in self.metrics()["genset_up"].samples if one.labels["hostid"] == OTHER)
        self.assertEqual(sample.labels, {"hostid": OTHER, "name": 'Yard "3" \\ n', "model": "HGM6120N"})

    def test_labels_follow_the_device(self) -> None:
        self.assertEqual(self.value("genset_up", name="Genset 1"), 0)
        self.world.register(hostname="Genset 2")
        self.assertEqual(self.value("genset_up", name="Genset 2"), 0)
        self.assertIsNone(self.value("genset_up", name="Genset 1"))

    def test_up(self) -> None:
        self.assertEqual(self.value("genset_up"), 0)
        live = self.world.connect()
        live.deliver(b'{"method":"LongCon","hostid":"%s"}' % HOSTID.encode())
        self.assertEqual(self.value("genset_up"), 1)
        live.hang_up()
        self.assertEqual(self.value("genset_up"), 0)

    def test_alarms(self) -> None:
        self.upload(coils={41, 14, 28})
        self.assertEqual(self.value("genset_alarm", signal="overvoltage_shutdown", severity="shutdown"), 1)
        self.assertEqual(self.value("genset_alarm", signal="low_fuel_warning", severity="warning"), 1)
        self.assertEqual(len(self.metrics()["genset_alarm"].samples), 2)
        self.upload(coils={41})
        self.assertEqual(self.metrics()["genset_alarm"].samples, [])

    def test_what_is_old_disappears(self) -> None:
        came_at = self.world.clock.seconds()
        self.upload(coils={41, 14})
        self.world.clock.advance(MAX_AGE_S - 1)
        self.assertEqual(self.value("genset_battery_volts"), 26.8)
        self.world.clock.advance(2)
        own = {family.name.removesuffix("_info") for family in OWN}
        self.assertLessEqual(set(self.metrics()), own)
        for name in ("genset_mode", "genset_engine_running", "genset_breaker_closed"):
            self.assertIsNone(self.value(name), name)
        self.assertEqual(self.value("genset_up"), 0)
        self.assertEqual(self.value("genset_last_upload_timestamp_seconds"), came_at)
        self.assertEqual(self.value("genset_alarm", signal="overvoltage_shutdown"), 1, "it has not ended")

    def test_what_is_from_before_the_start(self) -> None:
        self.upload()
        again = World(store=self.world.store, start_s=self.world.clock.seconds())
        self.resource = resource_of(again)
        self.assertIsNone(self.value("genset_battery_volts"))
        self.assertEqual(self.value("genset_up"), 0)
        self.assertIsNotNone(self.value("genset_last_upload_timestamp_seconds"))

    def test_a_device_that_never_uploaded(self) -> None:
        self.assertEqual(self.value("genset_up"), 0)
        self.assertIsNone(self.value("genset_last_upload_timestamp_seconds"))

    def test_disabled_devices_are_left_out(self) -> None:
        self.upload()
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.world.registry._devices[HOSTID] = replace(device, enabled=False)
        self.assertEqual([metric.samples for metric in self.metrics().values()], [[]] * len(OWN))

    def test_no_devices(self) -> None:
        self.resource = resource_of(World())
        self.assertEqual({metric.name for metric in self.metrics().values()}, ValueTests.own)

    def test_numbers_are_numbers(self) -> None:
        self.upload()
        for metric in self.metrics().values():
            for sample in metric.samples:
                self.assertTrue(math.isfinite(sample.value), sample)


class AnswerTests(TestCase):
    def setUp(self) -> None:
        self.world = World(max_devices=1000, unknown_per_minute=1000)
        root = Resource()
        self.resource = resource_of(self.world, cast("Any", reactor))
        root.putChild(b"devices", self.resource)
        for number in range(40):
            hostid = f"{number:024X}"
            self.world.register(hostid)
            self.world.fleet.uploads.full(full_upload(RUNNING, ON_LOAD, hostid), HGM6120N_PLAN, historic=False)
        self.world.write_batch()
        port: IListeningPort = cast("Any", reactor).listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{cast('Any', port.getHost()).port}/devices"

    async def test_text(self) -> None:
        answer = await get(self.url)
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        found = {metric.name: metric for metric in text_families(answer.text)}
        self.assertEqual(len(found["genset_battery_volts"].samples), 40)

    async def test_openmetrics_compressed(self) -> None:
        answer = await get(self.url, accept="application/openmetrics-text;version=1.0.0", accept_encoding="gzip")
        self.assertEqual(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.assertEqual(answer.headers["content-encoding"], "gzip")
        found = {metric.name: metric for metric in openmetrics_families(gzip.decompress(answer.body).decode())}
        self.assertEqual(len(found["genset_battery_volts"].samples), 40)

    async def test_head(self) -> None:
        answer = await get(self.url, method="HEAD")
        self.assertEqual((answer.code, answer.body), (200, b""))
        self.assertEqual(self.resource._under_way, 0)

    async def test_too_many_at_once(self) -> None:
        self.resource._under_way = MOST_AT_ONCE
        answer = await get(self.url)
        self.assertEqual((answer.code, json.loads(answer.body)["code"]), (429, "too_many_requests"))
        self.assertEqual(answer.headers["retry-after"], "5")
        self.resource._under_way = 0
        for _ in range(MOST_AT_ONCE + 1):
            self.assertEqual((await get(self.url)).code, 200)
