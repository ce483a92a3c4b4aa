"""``/metrics/devices``: what every device reports, in base units."""

from collections.abc import Callable, Iterator

from prometheus_client.exposition import choose_encoder
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from cmmd.fleet.fleet import Fleet
from cmmd.web.http.problems import Refused, refuse
from cmmd.web.http.request import accept_of, wants_gzip
from cmmd.web.http.streaming_body import SlicedBody
from cmmd.web.metrics.device_families import Families, Row, Rows

__all__ = ["MOST_AT_ONCE", "DeviceMetricsResource"]

MOST_AT_ONCE = 4
"""Scrapes under way; each holds what all devices report, some kilobytes a device."""

RETRY_S = "5"
"""Seconds after which the next one may come."""

_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

_DEVICES_A_PIECE = 10


class DeviceMetricsResource(Resource):
    """Answers with the metrics of all devices that are not disabled.

    :param fleet: has them.
    :param now: Unix time in seconds.
    :param monotonic: seconds that go on evenly. :param clock: for the time that a scrape may take.
    :param max_age_s: how old, in seconds, the newest upload of a device may be for its values to be shown.
    """

    isLeaf = True

    def __init__(
        self,
        fleet: Fleet,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        clock: IReactorTime,
        max_age_s: float,
    ) -> None:
        super().__init__()
        self._rows = Rows(fleet, now, max_age_s)
        self._families = Families()
        self._monotonic = monotonic
        self._clock = clock
        self._under_way = 0

    def render_GET(self, request: Request) -> bytes | int:
        """The format is what ``Accept`` asks for; compressed where that is requested."""
        if self._under_way >= MOST_AT_ONCE:
            refuse(request, Refused("too_many_requests", "too many scrapes at once", Retry_After=RETRY_S))
            return NOT_DONE_YET
        openmetrics = choose_encoder(accept_of(request))[1].startswith("application/openmetrics-text")
        compress = wants_gzip(request)
        request.setHeader(b"content-type", _OPENMETRICS if openmetrics else _TEXT)
        request.setHeader(b"vary", b"accept, accept-encoding")
        request.setHeader(b"cache-control", b"no-store")
        if compress:
            request.setHeader(b"content-encoding", b"gzip")
        if request.method == b"HEAD":
            return b""
        self._under_way += 1
        body = SlicedBody(
            request,
            self.pieces(openmetrics=openmetrics),
            compress=compress,
            monotonic=self._monotonic,
            clock=self._clock,
            ended=self._ended,
        )
        body.start()
        return NOT_DONE_YET

    def _ended(self) -> None:
        self._under_way -= 1

    def pieces(self, *, openmetrics: bool) -> Iterator[str]:
        """The whole text; first nothing, as often as it takes to look at all devices."""
        rows: list[Row] = []
        for count, device in enumerate(self._rows.devices(), 1):
            rows.append(self._rows.row(device))
            if count % _DEVICES_A_PIECE == 0:
                yield ""
        yield from self._families.pieces(rows, openmetrics=openmetrics)
