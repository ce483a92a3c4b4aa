"""History that is decoded anew leaves alone what another controller, or a glitch, has said."""

from unittest import mock

from twisted.internet.defer import Deferred, fail

from cmmd.fleet.history.rereading import PAGE, PAUSE_S
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Query
from tests.test_evidence import TENTHS
from tests.test_evidence_doubt import COUNTERS, DoubtTestCase
from tests.uploads import AT_REST
from tests.world import HOSTID, World

GOOD = {**TENTHS, **COUNTERS}
GLITCH = {**GOOD, 13: 5000, 43: 77, 47: 11, 49: 9, 14: 999}
IDLE = {**GOOD, 6: 0, 13: 0, 34: 5}


class RereadingTests(DoubtTestCase):
    def points(self, name: str) -> list[float | None]:
        found = self.successResultOf(
            Deferred.fromCoroutine(self.world.fleet.history.page(Query(hostid=HOSTID, limit=1000)))
        )
        return [one.points.get(name) for one in found.readings]

    def settle(self) -> None:
        for _ in range(40):
            self.world.clock.advance(0.2)

    def oldest(self) -> int | None:
        return self.world.fleet.live[HOSTID].device.oldest_undecided_at

    def test_a_glitch_after_good_readings(self) -> None:
        self.set(read_as="run_time_hours=decimal, starts=decimal, energy_generated=decimal")
        self.full(GOOD, times=8)
        self.settle()
        self.assertIsNone(self.oldest())
        self.full(GLITCH)
        self.full(GOOD, times=3)
        self.set(history_interval=5)
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 8 + [None] + [42] * 3)

    def test_a_glitch_before_all_others(self) -> None:
        self.full({**IDLE, 47: 9000, 14: 999}, AT_REST - {65})
        self.full(IDLE, AT_REST - {65}, times=7)
        self.full(GOOD, times=3)
        self.settle()
        self.assertEqual(self.points("current_l1"), [None] + [42] * 10)

    def test_a_setting_just_before_a_restart(self) -> None:
        self.full(IDLE, AT_REST - {65}, times=5)
        self.set(read_as="scale=tenths")
        self.restart()
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 5)

    def test_a_restart_days_later(self) -> None:
        self.full(IDLE, AT_REST - {65}, times=5)
        with mock.patch.object(self.world.store, "redecode", lambda _: fail(StoreUnavailable("disk full"))):
            self.full(GOOD, times=3)
            self.set(read_as="run_time_hours=binary")
            self.settle()
            self.successResultOf(self.world.fleet.save())
        self.assertEqual(self.points("current_l1")[0], None)
        start_s = self.world.clock.seconds() + 5 * 86_400
        self.world = World(store=self.world.store, start_s=start_s, interval_s=1.0)
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 8)

    def test_a_restart_in_the_middle(self) -> None:
        count = PAGE + 20
        self.full(IDLE, AT_REST - {65}, times=count)
        self.set(read_as="scale=tenths")
        while self.points("current_l1")[0] is None:
            self.world.clock.advance(PAUSE_S / 2)
        self.assertIsNone(self.points("current_l1")[-1])
        self.restart()
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * count)

    def test_what_is_done_is_not_done_again(self) -> None:
        self.full({**IDLE, 42: 1}, AT_REST - {65}, times=3)
        self.set(read_as="scale=tenths")
        self.settle()
        self.assertIsNotNone(self.oldest(), "run time stays undecided")
        self.restart()
        with (
            mock.patch.object(self.world.store, "redecode", side_effect=AssertionError),
            mock.patch.object(self.world.store, "readings", side_effect=AssertionError) as read,
        ):
            self.settle()
        read.assert_not_called()

    def test_from_before_a_contradiction(self) -> None:
        """What is decided again counts for earlier readings that speak for it themselves, and for no others."""
        self.full(GOOD, times=3)
        self.settle()
        hundredths = {**GOOD, 6: 5000, 13: 5010}
        self.full(hundredths, times=2)
        self.full({**hundredths, 6: 0, 13: 0, 34: 5}, AT_REST - {65})
        for _ in range(2):
            self.assertEqual(self.points("current_l1")[:6], [42] * 3 + [None] * 3)
            self.full(hundredths, times=3)
        self.settle()
        self.assertEqual(self.choice("scale"), "hundredths")
        self.assertEqual(self.points("current_l1"), [42] * 3 + [4.2] * 2 + [None] + [4.2] * 6)
        self.assertIsNone(self.oldest())
        self.restart()
        self.settle()
        self.assertEqual(self.points("current_l1"), [42] * 3 + [4.2] * 2 + [None] + [4.2] * 6)

    def test_another_model(self) -> None:
        for by_login in (True, False):
            self.setUp()
            self.full({**GOOD, 42: 1, 46: 2, 48: 3}, AT_REST - {65} | {64})
            before = {name: self.points(name) for name in ("run_time_hours", "remote_start_delay", "starts")}
            self.assertIsNotNone(self.oldest())
            if by_login:
                self.world.register(moduletype="HGM4020N")
                device = self.world.registry.device(HOSTID)
                assert device is not None
                self.world.fleet.logged_in(device)
            else:
                self.set(profile="hgm4000n")
            self.assertIsNone(self.oldest())
            self.set(read_as="run_time_hours=binary, starts=binary, energy_generated=binary, fuel_used=binary")
            self.settle()
            self.assertEqual({name: self.points(name) for name in before}, before)
