"""``/metrics``: the daemon's own, in Prometheus' text format or as OpenMetrics."""

import gzip
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from cmmd.fleet.counters.counters import Counters, Histogram
from cmmd.fleet.fleet import Fleet
from cmmd.web.http.request import accept_of, wants_gzip
from cmmd.web.metrics.device_metrics import DeviceMetricsResource
from cmmd.web.metrics.families import FAMILIES, Family, Numbers, Watched
from cmmd.web.metrics.lag import ReactorLag

__all__ = ["DaemonCollector", "MetricsResource", "Monitoring", "new_registry"]


class DaemonCollector(Collector):
    """Reads the counters on request: counting itself costs no more than an integer.

    :param watched: where it is read.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Metric]:
        """Every family with its numbers now."""
        for family in FAMILIES:
            yield _metric(family, family.read(self._watched))

    def describe(self) -> Iterator[Metric]:
        """Every family without numbers, so that to register this reads nothing."""
        for family in FAMILIES:
            yield Metric(family.name, family.means, family.kind)


def _metric(family: Family, numbers: Numbers) -> Metric:
    name, means, labels = family.name, family.means, family.labels
    if isinstance(numbers, Histogram):
        buckets = [(floatToGoString(bound), count) for bound, count in numbers.cumulative()]
        return HistogramMetricFamily(name, means, buckets=buckets, sum_value=numbers.total)
    by_values = numbers if isinstance(numbers, Mapping) else {(): numbers}
    if family.kind == "info":
        (values,) = by_values
        return InfoMetricFamily(name, means, value=dict(zip(labels, values, strict=True)))
    metric = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(name, means, labels=labels)
    for values, number in by_values.items():
        metric.add_metric((values,) if isinstance(values, str) else values, number)
    return metric


def new_registry(watched: Watched) -> CollectorRegistry:
    """A registry of one daemon: its own metrics, and those of its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DaemonCollector(watched))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class MetricsResource(Resource):
    """Answers with all metrics of a registry.

    :param registry: see :func:`new_registry`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def render_GET(self, request: Request) -> bytes:
        """The format is what ``Accept`` asks for; compressed where that is requested."""
        encode, content_type = choose_encoder(accept_of(request))
        body = encode(self._registry)
        request.setHeader(b"content-type", content_type.encode("ascii"))
        request.setHeader(b"vary", b"accept, accept-encoding")
        request.setHeader(b"cache-control", b"no-store")
        if wants_gzip(request):
            request.setHeader(b"content-encoding", b"gzip")
            body = gzip.compress(body, compresslevel=1)
        request.setHeader(b"content-length", b"%d" % len(body))
        return body


class Monitoring:
    """The resources that Prometheus scrapes.

    :param fleet: all devices. :param counters: what has been counted.
    :param connections: how many of devices stand, by role.
    :param now: Unix time in seconds. :param monotonic: seconds that go on evenly. :param clock: the reactor.
    :param max_age_s: see :class:`~cmmd.web.metrics.device_metrics.DeviceMetricsResource`.
    :ivar metrics: for ``/metrics``. :ivar device_metrics: for ``/metrics/devices``.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        counters: Counters,
        connections: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        clock: IReactorTime,
        max_age_s: float,
    ) -> None:
        self._lag = ReactorLag(clock, monotonic)
        watched = Watched(fleet=fleet, counters=counters, connections=connections, lag=self._lag, started_at=now())
        self.metrics = MetricsResource(new_registry(watched))
        self.device_metrics = DeviceMetricsResource(
            fleet, now=now, monotonic=monotonic, clock=clock, max_age_s=max_age_s
        )

    def start(self) -> None:
        """Measure from now on how late the reactor is."""
        self._lag.startService()

    def stop(self) -> None:
        """Stop measuring for the metrics."""
        self._lag.stopService()
