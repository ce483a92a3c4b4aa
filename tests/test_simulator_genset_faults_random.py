"""``cmmd.simulator.genset.faults``: faults that come by themselves, rarely, and go again."""

from collections import Counter
from math import inf
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.genset.faults import (
    FIRST_WITHIN_S,
    LONGEST_REPAIR_S,
    SHORTEST_REPAIR_S,
    WEIGHTS,
    Fault,
    RandomFaults,
)
from cmmd.simulator.genset.genset import Genset
from tests.watched_genset import WatchedGenset, coils_of

COMMON_ALARM, COMMON_SHUTDOWN = 0, 2
DAY_S = 86_400.0


class MishapsTests(SynchronousTestCase):
    def life(self, seed: int, days: float, *, turning: bool = False) -> list[tuple[float, float, Fault]]:
        """When each fault came and went, and which it was."""
        mishaps = RandomFaults(Random(seed), schedule=True)
        faults = []
        while mishaps.until < days * DAY_S:
            came = mishaps.until
            mishaps.elapse(came, turning=turning)
            assert mishaps.present is not None
            fault, went = mishaps.present, mishaps.until
            mishaps.elapse(went, turning=turning)
            self.assertIsNone(mishaps.present)
            faults.append((came, went, fault))
        return faults

    def test_one_in_two_hours(self) -> None:
        faults = sum(len(self.life(seed, 10)) for seed in range(100))
        self.assertTrue(0.95 < faults / (100 * 10 * 12) < 1.1, faults)

    def test_the_first_one_comes_soon(self) -> None:
        first = [self.life(seed, 1)[0][0] for seed in range(200)]
        self.assertTrue(all(60 <= one <= FIRST_WITHIN_S for one in first))
        self.assertTrue(800 < sum(first) / 200 < 1060)

    def test_it_lasts_some_minutes(self) -> None:
        for came, went, _ in self.life(1, 100):
            self.assertTrue(SHORTEST_REPAIR_S <= went - came <= LONGEST_REPAIR_S)

    def test_only_what_is_seen_in_that_state(self) -> None:
        for turning in (False, True):
            kinds = Counter(fault for _, _, fault in self.life(1, 100, turning=turning))
            self.assertEqual(set(kinds), {fault for fault, weights in WEIGHTS.items() if weights[turning]})

    def test_not_before_its_time(self) -> None:
        mishaps = RandomFaults(Random(1), schedule=True)
        mishaps.elapse(mishaps.until - 1, turning=False)
        self.assertIsNone(mishaps.present)

    def test_off(self) -> None:
        mishaps = RandomFaults(Random(1), schedule=False)
        mishaps.elapse(1e9, turning=True)
        self.assertEqual((mishaps.until, mishaps.present), (inf, None))


class GensetTests(SynchronousTestCase):
    """What a controller shows of it."""

    def genset(self, seed: int, *, running: bool) -> Genset:
        self.clock = Clock()
        return Genset(Random(seed), self.clock.seconds, running=running, mains_schedule=False, fault_schedule=True)

    def test_each_is_seen_within_a_minute_and_over_after_the_repair(self) -> None:
        for running in (False, True):
            seen = set()
            for seed in range(60):
                genset = self.genset(seed, running=running)
                while not genset.faults:
                    self.clock.advance(1)
                    genset.look()
                (fault,) = genset.faults
                self.clock.advance(60)
                self.assertIn(COMMON_ALARM, coils_of(genset.look()), fault)
                seen.add(fault)
                self.clock.advance(LONGEST_REPAIR_S)
                self.assertEqual(genset.faults, ())
                self.clock.advance(120)
                self.assertEqual(coils_of(genset.look()) & {COMMON_ALARM, COMMON_SHUTDOWN}, set(), fault)
                self.assertEqual((genset.mode, genset.engine_state), ("auto", 9 if running else 0))
            self.assertEqual(seen, {fault for fault, weights in WEIGHTS.items() if weights[running]})

    def test_a_fault_of_somebody_else_is_not_repaired(self) -> None:
        genset = self.genset(1, running=False)
        genset.inject("remote_lock")
        self.clock.advance(7 * DAY_S)
        genset.look()
        self.assertIn(Fault.REMOTE_LOCK, genset.faults)

    def test_how_often_somebody_looks_makes_no_difference(self) -> None:
        often, seldom = (Clock(), Clock())
        for seed in range(5):
            lives = []
            for clock, step in ((often, 3), (seldom, 60)):
                clock.rightNow = 0.0
                genset = Genset(Random(seed), clock.seconds, fault_schedule=True)
                life = []
                for _ in range(0, 2 * 3600, 60):
                    for _ in range(0, 60, step):
                        clock.advance(step)
                        picture = genset.look()
                    life.append((picture.coils, picture.registers[34:42], genset.faults))
                lives.append(life)
            self.assertEqual(*lives)

    def test_a_demo_of_ten_shows_an_alarm_within_minutes(self) -> None:
        """As ``cmm-sim --devices 10`` has them."""
        clock = Clock()
        gensets = [Genset(Random(f"genset 1 {index}"), clock.seconds, fault_schedule=True) for index in range(10)]
        clock.advance(10 * 60)
        for genset in gensets:
            genset.look()
        self.assertTrue(any(genset.faults for genset in gensets))

    def test_off_unless_asked_for(self) -> None:
        watched = WatchedGenset(mains_schedule=True)
        watched.watch(DAY_S, 600.0)
        self.assertEqual(watched.genset.faults, ())
