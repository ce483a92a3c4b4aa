"""``/metrics``: what the daemon says of itself."""

import gzip
from typing import Any, cast
from unittest.mock import Mock

from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from cmmd import __version__
from cmmd.fleet.commands.queue import CommandRequest, Requester
from cmmd.fleet.counters.counters import FrameOutcome
from cmmd.fleet.counters.error_counter import count_bugs
from cmmd.fleet.events import Kind
from cmmd.web.metrics.families import FAMILIES, Watched
from cmmd.web.metrics.lag import ReactorLag
from cmmd.web.metrics.metrics import MetricsResource, new_registry
from cmmd.wire.errors import Reason
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.web_client import Answer, get
from tests.world import HOSTID, World

DESIGNED = {
    *("cmmd_connections", "cmmd_sessions", "cmmd_devices", "cmmd_messages_total", "cmmd_bytes_received_total"),
    *("cmmd_peer_errors_total", "cmmd_logins_total", "cmmd_commands_total", "cmmd_command_seconds"),
    *("cmmd_uploads_total", "cmmd_modbus_frames_total", "cmmd_history_rows_total", "cmmd_history_backlog_rows"),
    *("cmmd_store_up", "cmmd_store_write_seconds", "cmmd_alarms", "cmmd_reactor_lag_seconds"),
}
"""The names that were promised."""


def registry_of(world: World, **connections: int) -> CollectorRegistry:
    lag = ReactorLag(world.clock, world.clock.seconds)
    return new_registry(
        Watched(
            fleet=world.fleet,
            counters=world.counters,
            connections=lambda: {"login": 0, "live": 0, "historic": 0, **connections},
            lag=lag,
            started_at=1_700_000_000.0,
        )
    )


class ValuesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.registry = registry_of(self.world, live=3)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def test_names(self) -> None:
        self.assertLessEqual(DESIGNED, {family.exposed for family in FAMILIES})
        self.assertEqual(len({family.exposed for family in FAMILIES}), len(FAMILIES))
        for family in FAMILIES:
            self.assertTrue(family.means.endswith("."), family)

    def test_every_metric_is_there_from_the_start(self) -> None:
        """Whatever can be counted is 0, so that the first one counted is a rise."""
        found = {metric.name: metric for metric in self.registry.collect()}
        for family in FAMILIES:
            self.assertEqual(found[family.name].type, family.kind)
            self.assertTrue(found[family.name].samples, family.name)
            if family.kind not in ("info", "histogram"):
                for sample in found[family.name].samples:
                    self.assertEqual(tuple(sample.labels), family.labels)
        self.assertEqual(len(found["cmmd_peer_errors"].samples), len(Reason))
        self.assertEqual(len(found["cmmd_events"].samples), len(Kind))
        self.assertEqual(len(found["cmmd_modbus_frames"].samples), len(FrameOutcome))
        self.assertEqual(self.value("cmmd_messages_total", method="reqdatachange"), 0)
        self.assertEqual(self.value("cmmd_commands_total", kind="reset", outcome="not sent"), 0)
        self.assertEqual(self.value("cmmd_logins_total", outcome="wrong_password"), 0)
        self.assertEqual(self.value("cmmd_history_rows_total", reason="historic"), 0)

    def test_counted(self) -> None:
        world = self.world
        self.addCleanup(count_bugs(world.counters))
        world.fleet.events.subscribe(Mock(side_effect=[ZeroDivisionError, *[None] * 9]))
        device = world.connect()
        device.deliver(b'{"method":"HB","hostid":"X","params":""}')
        device.deliver(b"}")
        world.register()
        live = world.connect()
        live.deliver(b'{"method":"LongCon","hostid":"%s"}' % HOSTID.encode())
        world.counters.logins["000004"] += 2
        world.fleet.uploads.full(full_upload(coils={41, 14}), HGM6120N_PLAN, historic=False)
        world.write_batch()
        for expected, name, labels in (
            (3, "cmmd_connections", {"role": "live"}),
            (1, "cmmd_devices", {}),
            (1, "cmmd_devices_online", {}),
            (1, "cmmd_sessions", {}),
            (1, "cmmd_messages_total", {"method": "HB"}),
            (1, "cmmd_messages_total", {"method": "LongCon"}),
            (1, "cmmd_peer_errors_total", {"reason": "unknown_device"}),
            (1, "cmmd_peer_errors_total", {"reason": "garbage"}),
            (2, "cmmd_logins_total", {"outcome": "wrong_password"}),
            (3, "cmmd_modbus_frames_total", {"outcome": "taken"}),
            (1, "cmmd_history_rows_total", {"reason": "first"}),
            (1, "cmmd_alarms", {"severity": "shutdown"}),
            (0, "cmmd_alarms", {"severity": "warning"}),
            (1, "cmmd_events_total", {"kind": "alarm_raised"}),
            (1, "cmmd_store_up", {}),
            (0, "cmmd_history_backlog_rows", {}),
            (1, "cmmd_bugs_total", {}),
            (1_700_000_000, "cmmd_start_time_seconds", {}),
        ):
            self.assertEqual(self.value(name, **labels), expected, name)
        self.assertGreater(self.value("cmmd_store_write_seconds_count") or 0, 0)
        self.assertGreater(self.value("cmmd_bytes_received_total") or 0, 40)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        live.hang_up()
        device.hang_up()

    def test_commands(self) -> None:
        audit = self.world.fleet.dispatch.audit
        command = audit.accepted(HOSTID, CommandRequest("port", "", "command"), Requester("bob", "amp"), "100000")
        self.world.clock.advance(3)
        audit.close(replace(command, outcome="timeout", ended_at=audit.now_ms()))
        self.assertEqual(self.value("cmmd_commands_total", kind="port", outcome="timeout"), 1)
        self.assertEqual(self.value("cmmd_command_seconds_bucket", le="2.0"), 0)
        self.assertEqual(self.value("cmmd_command_seconds_bucket", le="5.0"), 1)
        self.assertEqual(self.value("cmmd_command_seconds_sum"), 3)
        self.assertEqual(self.value("cmmd_commands_under_way"), 0)

    def test_two_daemons_in_one_process(self) -> None:
        other = World()
        other.register()
        self.assertEqual(self.value("cmmd_devices"), 0)
        self.assertEqual(registry_of(other).get_sample_value("cmmd_devices"), 1)

    def test_build_and_process(self) -> None:
        (build,) = next(metric for metric in self.registry.collect() if metric.name == "cmmd_build").samples
        self.assertEqual((build.labels["version"], set(build.labels)), (__version__, {"version", "python", "twisted"}))
        self.assertGreater(self.value("process_resident_memory_bytes") or 0, 0)
        self.assertGreater(self.value("process_cpu_seconds_total") or 0, 0)


class FormatTests(TestCase):
    def setUp(self) -> None:
        root = Resource()
        root.putChild(b"metrics", MetricsResource(registry_of(World())))
        port: IListeningPort = cast("Any", reactor).listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{cast('Any', port.getHost()).port}/metrics"

    def get(self, **headers: str) -> "Deferred[Answer]":
        return get(self.url, **headers)

    async def test_text(self) -> None:
        answer = await self.get()
        self.assertEqual(
            (answer.code, answer.headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8")
        )
        found = {metric.name for metric in text_families(answer.text)}
        self.assertLessEqual({family.name for family in FAMILIES if family.kind != "info"}, found)

    async def test_openmetrics(self) -> None:
        accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        answer = await self.get(accept=accept)
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0"))
        self.assertTrue(answer.text.endswith("# EOF\n"))
        types = {metric.name: metric.type for metric in openmetrics_families(answer.text)}
        self.assertEqual({family.name: family.kind for family in FAMILIES}.items() - types.items(), set())

    async def test_compressed(self) -> None:
        answer = await self.get(accept_encoding="br;q=1.0, gzip;q=0.8")
        self.assertEqual(answer.headers["content-encoding"], "gzip")
        self.assertIn(b"cmmd_store_up 1.0\n", gzip.decompress(answer.body))

    async def test_not_compressed(self) -> None:
        for coding in ("br", "gzip;q=0", "gzip; q=0.00", "identity"):
            answer = await self.get(accept_encoding=coding)
            self.assertNotIn("content-encoding", answer.headers)
            self.assertIn(b"cmmd_store_up 1.0\n", answer.body)
