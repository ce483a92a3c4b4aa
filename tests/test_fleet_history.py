"""How readings are found again: pages, points by name, profile versions."""

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.errors import NoSuchPoint
from cmmd.fleet.history.history import Page
from cmmd.store.records import Cursor, Query
from tests.uploads import HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID, World

FREQUENCIES = (5000, 5001, 4999, 5002, 4998)


class PageTests(SynchronousTestCase):
    """Five readings a minute apart, of two devices in turn."""

    def setUp(self) -> None:
        self.world = World()
        for hostid in (HOSTID, "B"):
            self.world.register(hostid)
        for frequency in FREQUENCIES:
            for hostid in (HOSTID, "B"):
                self.world.fleet.uploads.full(
                    full_upload({**STANDBY, 6: frequency}, hostid=hostid), HGM6120N_PLAN, historic=False
                )
            self.world.clock.advance(61)

    def page(self, points: list[str] | None = None, **query: object) -> Page:
        asked = Query(**{"hostid": HOSTID, **query})  # type: ignore[arg-type]
        return self.successResultOf(Deferred.fromCoroutine(self.world.fleet.history.page(asked, points)))

    def frequencies(self, page: Page) -> list[float | None]:
        return [one.points["mains_frequency"] for one in page.readings]

    def test_oldest_and_newest_first(self) -> None:
        expected = [frequency / 100 for frequency in FREQUENCIES]
        self.assertEqual(self.frequencies(self.page()), expected)
        self.assertEqual(self.frequencies(self.page(newest_first=True)), expected[::-1])
        self.assertEqual(len(self.page(hostid=None).readings), 10)

    def test_page_by_page(self) -> None:
        for newest_first in (False, True):
            found: list[float | None] = []
            after: Cursor | None = None
            sizes = []
            while True:
                page = self.page(limit=2, after=after, newest_first=newest_first)
                found += self.frequencies(page)
                sizes.append(len(page.readings))
                after = page.after
                if after is None:
                    break
            self.assertEqual(sizes, [2, 2, 1])
            self.assertEqual(found, self.frequencies(self.page(newest_first=newest_first)))

    def test_limits_that_make_no_sense(self) -> None:
        for limit in (0, -5):
            self.assertEqual(len(self.page(limit=limit).readings), 1)
        self.assertIsNone(self.page(limit=10**9).after)
        self.assertEqual(self.page(hostid="nobody", limit=0), Page(readings=[], after=None))

    def test_points_by_name(self) -> None:
        page = self.page(["battery_voltage", "mains_frequency"], limit=1)
        self.assertEqual(page.readings[0].points, {"battery_voltage": 26.8, "mains_frequency": 50.0})
        error = self.failureResultOf(
            Deferred.fromCoroutine(self.world.fleet.history.page(Query(), ["speed"])), NoSuchPoint
        )
        self.assertEqual(str(error.value), "there was never a point speed")

    def test_whole_numbers_stay_whole(self) -> None:
        voltage = self.page(limit=1).readings[0].points["mains_voltage_l1_n"]
        self.assertEqual(repr(voltage), "230")

    def test_a_profile_that_changes_between_two_starts(self) -> None:
        """Readings keep the names that they were made with; each version stands in the store once."""
        self.successResultOf(self.world.fleet.save())
        world = World(store=self.world.store, start_s=self.world.clock.seconds())
        record = world.fleet.live[HOSTID]
        definition = replace(record.profile.as_written, variants=())
        points = tuple(replace(one, name="grid_frequency") if one.address == 6 else one for one in definition.points)
        record.profile = type(record.profile)("hgm6120n", replace(definition, points=points))
        record.states = (0,) * len(record.profile.hypotheses.all)
        for _ in range(2):
            world.fleet.uploads.full(full_upload({**STANDBY, 6: 5050}), HGM6120N_PLAN, historic=False)
            world.clock.advance(61)
        self.successResultOf(world.fleet.save())
        kept = self.successResultOf(world.store.open())
        self.assertEqual({one.name for one in kept.profiles}, {"hgm6120n"})
        self.assertEqual(len({one.fingerprint for one in kept.profiles}), len(kept.profiles))
        self.world = World(store=world.store)
        readings = self.page().readings
        self.assertEqual([one.points.get("mains_frequency") for one in readings][-3:], [49.98, None, None])
        self.assertEqual([one.points.get("grid_frequency") for one in readings][-3:], [None, 50.5, 50.5])
        self.assertEqual(self.page(["grid_frequency"], limit=1).readings[0].points, {"grid_frequency": None})
