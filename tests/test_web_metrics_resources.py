"""The metrics of one daemon, put together."""

from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from cmmd.web.metrics.lag import PERIOD_S
from cmmd.web.metrics.metrics import Monitoring
from tests.world import World


class MonitoringTests(SynchronousTestCase):
    def test_put_together(self) -> None:
        world = World()
        true = [0.0]
        monitoring = Monitoring(
            fleet=world.fleet,
            counters=world.counters,
            connections=lambda: {"login": 1, "live": 2, "historic": 3},
            now=world.clock.seconds,
            monotonic=lambda: true[0],
            clock=world.clock,
            max_age_s=300.0,
        )
        monitoring.start()
        true[0] += PERIOD_S + 0.5
        world.clock.advance(PERIOD_S)
        request = DummyRequest([b"metrics"])
        text = monitoring.metrics.render_GET(cast("Any", request)).decode()
        values = {sample.name: sample.value for one in text_string_to_metric_families(text) for sample in one.samples}
        self.assertAlmostEqual(values["cmmd_reactor_lag_seconds"], 0.5)
        self.assertEqual(values["cmmd_start_time_seconds"], world.clock.seconds() - PERIOD_S)
        self.assertIn("genset_up", "".join(monitoring.device_metrics.pieces(openmetrics=False)))
        monitoring.stop()
        self.assertEqual(world.clock.getDelayedCalls(), [])
