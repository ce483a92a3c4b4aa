"""History over HTTP: pages, streams with back-pressure, and many readings as few numbers."""

import csv
import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import PointColumn, ProfileVersion, Reading
from cmmd.web.api import readings as readings_module
from cmmd.web.api.readings import Stretches
from tests import support  # noqa: F401 - hypothesis' settings
from tests.web_world import WebTestCase
from tests.world import HOSTID

PATH = f"/devices/{HOSTID}/readings"
COLUMN = PointColumn(name="mains_frequency", title="Mains frequency", unit="Hz", decimals=2)


def reading(number: int, at: int, value: float | None) -> Reading:
    return Reading(number=number, hostid=HOSTID, at=at, reason="interval", profile=1, image=b"\1", points=(value,))


class ReadingTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.keep(450)

    def keep(self, count: int) -> None:
        """Readings at 1000, 2000 ..., 50.01 Hz and up."""
        version = ProfileVersion(number=1, name="hgm6120n", fingerprint="x", points=(COLUMN,))
        self.world.fleet.history._versions[1] = version
        rows = [reading(number, number * 1000, 50 + number / 100) for number in range(1, count + 1)]
        self.successResultOf(self.world.world.store.write([version, *rows]))

    def test_pages(self) -> None:
        numbers: list[int] = []
        after = ""
        for _ in range(3):
            page = self.get(f"{PATH}?{after}").json
            numbers += [one["number"] for one in page["readings"]]
            after = f"after={page['next']}"
        self.assertEqual((numbers, page["next"]), (list(range(1, 451)), None))
        self.assertEqual(page["readings"][0]["points"], {"mains_frequency": 54.01})

    def test_span(self) -> None:
        page = self.get(f"{PATH}?since=3000&until=6000&order=desc&limit=2&points=mains_frequency").json
        self.assertEqual([one["number"] for one in page["readings"]], [5, 4])

    def test_csv(self) -> None:
        for query, accept in (("?format=csv", ""), ("", "text/csv")):
            answer = self.get(PATH + query + ("&" if query else "?") + "points=mains_frequency", Accept=accept)
            self.assertEqual(answer.headers["content-type"], "text/csv; charset=utf-8")
            self.assertIn("attachment", answer.headers["content-disposition"])
            rows = list(csv.reader(io.StringIO(answer.body.decode())))
            self.assertEqual(rows[0], ["time", "number", "reason", "mains_frequency"])
            self.assertEqual(rows[1], ["1970-01-01T00:00:01.000Z", "1", "interval", "50.01"])
            self.assertEqual(len(rows), 451)

    def test_csv_of_all_points(self) -> None:
        rows = list(csv.reader(io.StringIO(self.get(f"{PATH}?format=csv&limit=1").body.decode())))
        names = [point.name for point in self.world.fleet.live[HOSTID].profile.definition.points]
        self.assertEqual(rows[0][3:], names)
        self.assertEqual(dict(zip(rows[0], rows[1], strict=True))["mains_frequency"], "50.01")

    def test_lines(self) -> None:
        answer = self.get(f"{PATH}?format=jsonl&limit=201")
        lines = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual([one["number"] for one in lines], list(range(1, 202)))

    def test_who_does_not_read_is_waited_for(self) -> None:
        asked = self.count_queries()
        client = self.world.begin("GET", f"/api/v1{PATH}?format=csv", token=self.tokens["viewer"])
        client.pause()
        for _ in range(20):
            self.clock.advance(0)
        self.assertEqual(len(asked), 2)
        client.resume()
        self.assertIsNotNone(self.world.settle(client))
        self.assertEqual(len(asked), 3)

    def test_who_never_reads_is_cut_off(self) -> None:
        client = self.world.begin("GET", f"/api/v1{PATH}?format=csv", token=self.tokens["viewer"])
        client.pause()
        self.clock.pump([1.0] * 61)
        self.assertTrue(client.transport.lost)

    def test_who_has_gone_is_not_read_for(self) -> None:
        asked = self.count_queries()
        client = self.world.begin("GET", f"/api/v1{PATH}?format=csv", token=self.tokens["viewer"])
        client.transport.loseConnection()
        self.clock.pump([0.0] * 20)
        self.assertLessEqual(len(asked), 2)

    def test_a_stream_that_breaks_off_does_not_look_whole(self) -> None:
        store = self.world.world.store
        query = store.readings
        times: list[int] = []

        def once(wanted: Any) -> Deferred[list[Reading]]:
            times.append(1)
            return query(wanted) if len(times) == 1 else fail(StoreUnavailable("away"))

        self.patch(store, "readings", once)
        client = self.world.begin("GET", f"/api/v1{PATH}?format=csv", token=self.tokens["viewer"])
        self.assertIsNone(self.world.settle(client))
        self.assertTrue(client.transport.lost)
        self.assertNotIn(b"\r\n0\r\n\r\n", client.received)

    def count_queries(self) -> list[object]:
        store = self.world.world.store
        query = store.readings
        asked: list[object] = []

        def counted(wanted: Any) -> Deferred[list[Reading]]:
            asked.append(wanted)
            return query(wanted)

        self.patch(store, "readings", counted)
        return asked

    def test_refused(self) -> None:
        self.assertEqual(self.get(f"{PATH}?points=nothing").code, "no_such_point")
        self.assertEqual(self.get("/devices/nobody/readings").code, "unknown_device")
        self.patch(self.world.world.store, "readings", lambda _: fail(StoreUnavailable("away")))
        for query in ("", "?format=csv", "/buckets?points=mains_frequency"):
            answer = self.get(PATH + query)
            self.assertEqual((answer.status, answer.code), (503, "unavailable"))

    def test_buckets(self) -> None:
        found = self.get(f"{PATH}/buckets?points=mains_frequency&since=1000&until=401000&buckets=4").json
        self.assertEqual((found["width"], found["counts"], found["scanned"]), (100_000, [100] * 4, 400))
        self.assertEqual((found["complete"], found["covered_until"]), (True, 401_000))
        (series,) = found["series"]
        self.assertEqual((series["unit"], series["min"][0], series["max"][0]), ("Hz", 50.01, 51.0))
        self.assertAlmostEqual(series["mean"][0], 50.505, 3)

    def test_buckets_of_the_last_day(self) -> None:
        found = self.get(f"{PATH}/buckets?points=mains_frequency").json
        self.assertEqual((found["until"] - found["since"], found["scanned"]), (86_400_000, 0))
        self.assertEqual(found["series"][0]["mean"], [None] * 300)

    def test_buckets_of_too_much(self) -> None:
        self.keep(2500)
        self.patch(readings_module, "MOST_SCANNED", 2000)
        found = self.get(f"{PATH}/buckets?points=mains_frequency&since=0&until=2501000&buckets=5").json
        self.assertEqual((found["complete"], found["scanned"], found["covered_until"]), (False, 2000, 2_000_000))

    def test_buckets_of_nothing(self) -> None:
        for query in ("points=nothing", "points=mains_frequency&since=5&until=5"):
            self.assertEqual(self.get(f"{PATH}/buckets?{query}").status, 400)
        self.assertEqual(self.get("/devices/nobody/readings/buckets?points=mains_frequency").code, "unknown_device")


class StretchTests(SynchronousTestCase):
    @given(
        st.integers(0, 10**6),
        st.integers(1, 10**6),
        st.integers(1, 50),
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.none() | st.integers(-1000, 1000)), max_size=60),
    )
    def test_as_one_would_count_them(
        self, since: int, length: int, wanted: int, rows: list[tuple[float, int | None]]
    ) -> None:
        until = since + length
        stretches = Stretches(since, until, wanted, [PointColumn(name="a", title="", unit="V", decimals=0)])
        placed = [(since + int(part * length), value) for part, value in rows]
        for at, value in placed:
            stretches.add(at, [value])
        found = stretches.done(scanned=len(rows), covered_until=None)
        self.assertLessEqual(len(found.counts), wanted)
        self.assertGreaterEqual(found.width * len(found.counts), length)
        (series,) = found.series
        for number, count in enumerate(found.counts):
            begin = since + number * found.width
            inside = [value for at, value in placed if begin <= at < begin + found.width]
            known = [value for value in inside if value is not None]
            self.assertEqual(count, len(inside))
            self.assertEqual(series.min[number], min(known, default=None))
            self.assertEqual(series.max[number], max(known, default=None))
            if known:
                self.assertLessEqual(abs((series.mean[number] or 0) - sum(known) / len(known)), 0.00501)  # two decimals
            else:
                self.assertIsNone(series.mean[number])
