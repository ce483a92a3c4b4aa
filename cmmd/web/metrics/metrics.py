"""``/metrics``: the daemon's own, in Prometheus' text format or as OpenMetrics."""

import gzip
from collections.abc import Iterator, Mapping

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
from twisted.web.resource import Resource
from twisted.web.server import Request

from cmmd.fleet.counters.histogram import Histogram
from cmmd.web.http.content_negotiation import accept_of, wants_gzip
from cmmd.web.metrics.families import FAMILIES, Family, Numbers, Watched

__all__ = ["DaemonCollector", "MetricsResource", "new_registry"]


class DaemonCollector(Collector):
    """Reads what has been counted when somebody asks: counting itself costs no more than an integer.

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
        """The format is what ``Accept`` asks for; compressed where that is asked for."""
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
