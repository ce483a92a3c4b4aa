"""``cmmd.simulator.genset.mains``: the utility supply, as the panel shows it."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.genset.mains import CONDITIONS, Mains, MainsCondition
from tests.watched_genset import WatchedGenset


class ConditionTests(SynchronousTestCase):
    """Registers 0 to 6 and coils 64 to 69 say the same."""

    def setUp(self) -> None:
        self.watched = WatchedGenset()

    def mains(self) -> tuple[tuple[int, ...], set[int]]:
        return self.watched.genset.look().registers[:7], self.watched.coils & set(range(64, 70))

    def test_normal(self) -> None:
        registers, coils = self.mains()
        self.assertEqual(coils, {65})
        self.assertTrue(all(220 < volts < 242 for volts in registers[:3]), registers)
        self.assertTrue(all(381 < volts < 420 for volts in registers[3:6]), registers)
        self.assertTrue(4990 < registers[6] < 5010, registers)

    def test_blackout(self) -> None:
        self.watched.genset.fail_mains()
        self.assertEqual(self.mains(), ((0,) * 7, {64, 67, 69}))
        self.watched.wait(1000)
        self.assertEqual(self.mains(), ((0,) * 7, {64, 67, 69}))

    def test_undervoltage(self) -> None:
        self.watched.genset.fail_mains("undervoltage")
        registers, coils = self.mains()
        self.assertEqual(coils, {64, 67})
        self.assertTrue(all(165 < volts < 190 for volts in registers[:3]), registers)
        self.assertTrue(4990 < registers[6] < 5010, registers)

    def test_overvoltage(self) -> None:
        self.watched.genset.fail_mains(MainsCondition.OVERVOLTAGE)
        registers, coils = self.mains()
        self.assertEqual(coils, {64, 66})
        self.assertTrue(all(262 < volts < 290 for volts in registers[:3]), registers)

    def test_phase_loss(self) -> None:
        self.watched.genset.fail_mains("phase_loss")
        registers, coils = self.mains()
        self.assertEqual(coils, {64, 68})
        self.assertTrue(registers[1] < 20 < 220 < min(registers[0], registers[2]), registers)
        self.assertTrue(max(registers[3], registers[4]) < 250 < 380 < registers[5], registers)

    def test_one_after_the_other(self) -> None:
        for condition in ("undervoltage", "blackout", "phase_loss"):
            self.watched.genset.fail_mains(condition)
            self.assertEqual(self.watched.genset.mains_condition, condition)
            self.watched.wait(60)
        self.assertEqual(self.watched.state, 9)
        self.watched.genset.return_mains()
        self.watched.genset.return_mains()
        self.assertEqual(self.mains()[1], {65})

    def test_every_failure_starts_the_genset(self) -> None:
        for condition in MainsCondition:
            if condition is not MainsCondition.NORMAL:
                with self.subTest(condition=condition):
                    self.setUp()
                    self.watched.genset.fail_mains(condition)
                    self.watched.wait(60)
                    self.assertIn(7, self.watched.coils)

    def test_no_such_condition(self) -> None:
        self.assertRaises(ValueError, self.watched.genset.fail_mains, "lightning")


class ScheduleTests(SynchronousTestCase):
    def changes(self, mains: Mains, seconds: float) -> list[tuple[float, MainsCondition]]:
        changes = []
        while mains.until < seconds:
            now = mains.until
            mains.elapse(now)
            changes.append((now, mains.condition))
        return changes

    def test_off(self) -> None:
        for condition in MainsCondition:
            mains = Mains(Random(1), condition, schedule=False)
            self.assertEqual(self.changes(mains, 1e9), [])

    def test_the_mains_fail_and_return_in_turn(self) -> None:
        changes = self.changes(Mains(Random(1), MainsCondition.NORMAL, schedule=True), 30 * 86400)
        self.assertTrue(1000 < len(changes) < 8000, len(changes))
        self.assertTrue(all(condition is not MainsCondition.NORMAL for _, condition in changes[::2]))
        self.assertTrue(all(condition is MainsCondition.NORMAL for _, condition in changes[1::2]))
        self.assertEqual({condition for _, condition in changes}, set(CONDITIONS))

    def test_something_happens_within_the_first_minutes_of_a_demo(self) -> None:
        for seed in range(20):
            firsts = [Mains(Random(f"{seed} {n}"), MainsCondition.NORMAL, schedule=True).until for n in range(10)]
            self.assertLess(min(firsts), 300)
            self.assertLessEqual(max(firsts), 600)

    def test_mains_failed_at_first_return(self) -> None:
        mains = Mains(Random(1), MainsCondition.BLACKOUT, schedule=True)
        self.assertTrue(60 <= mains.until <= 300)
        mains.elapse(mains.until)
        self.assertIs(mains.condition, MainsCondition.NORMAL)

    def test_a_failure_on_demand_lasts_until_the_return_on_demand(self) -> None:
        watched = WatchedGenset(mains_schedule=True)
        watched.genset.fail_mains()
        watched.wait(80_000)
        self.assertEqual(watched.genset.mains_condition, "blackout")
        watched.genset.return_mains()
        self.assertEqual(watched.genset.mains_condition, "normal")
        pictures = watched.watch(30_000, 60)
        self.assertEqual({picture.coils >> 64 & 3 for picture in pictures}, {0b01, 0b10})

    def test_through_a_genset(self) -> None:
        watched = WatchedGenset(running=False, mains_schedule=True)
        supplies = {picture.coils >> 6 & 3 for picture in watched.watch(10_000, 1)}
        self.assertEqual(supplies, {0b00, 0b01, 0b10})  # nothing, mains, generator
