"""The metrics of one daemon, put together: two resources, and what measures for them."""

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime

from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.fleet import Fleet
from cmmd.web.metrics.device_metrics import DeviceMetricsResource
from cmmd.web.metrics.families import Watched
from cmmd.web.metrics.lag import ReactorLag
from cmmd.web.metrics.metrics import MetricsResource, new_registry

__all__ = ["Monitoring"]


class Monitoring:
    """What Prometheus asks for.

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
        """Measure no more."""
        self._lag.stopService()
