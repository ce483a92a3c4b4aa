"""``cmmd.gateway.store_and_forward.backfill``: when something was, although the clock was or is wrong."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.store_and_forward import backfill as timestamps
from cmmd.gateway.store_and_forward.backfill import EARLIEST_S, Timestamps, boot_id
from cmmd.gateway.store_and_forward.buffer import Stamp
from cmmd.stall_detector import ticks_s

TRUTH_S = 1_790_000_000.0
WRONG_S = 1_000.0
"""1970, as a box without a battery has it."""


class TimekeeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calendar_s = TRUTH_S
        self.ticks_s = 50.0
        self.keeper = self.boot("one")

    def boot(self, name: str) -> Timestamps:
        return Timestamps(lambda: self.calendar_s, lambda: self.ticks_s, name)

    def pass_time(self, seconds: float) -> None:
        self.calendar_s += seconds
        self.ticks_s += seconds

    def test_a_clock_that_is_right(self) -> None:
        stamp = self.keeper.stamp()
        self.assertEqual(stamp, Stamp(TRUTH_S, "one", 50.0))
        self.pass_time(3600)
        self.assertEqual(self.keeper.itime(stamp), int(TRUTH_S * 1000))
        self.assertTrue(self.keeper.knows)

    def test_a_clock_that_is_put_right_afterwards(self) -> None:
        """Nobody sets the ticks: they tell how long ago it was."""
        self.calendar_s = WRONG_S
        stamp = self.keeper.stamp()
        self.pass_time(600)
        self.assertFalse(self.keeper.knows)
        self.calendar_s = TRUTH_S
        self.assertEqual(self.keeper.itime(stamp), int((TRUTH_S - 600) * 1000))

    def test_a_clock_that_is_set_back(self) -> None:
        self.calendar_s = TRUTH_S + 86_400
        stamp = self.keeper.stamp()
        self.pass_time(600)
        self.calendar_s = TRUTH_S
        self.assertEqual(self.keeper.itime(stamp), int((TRUTH_S - 600) * 1000))

    def test_the_servers_clock_counts(self) -> None:
        self.calendar_s = WRONG_S
        stamp = self.keeper.stamp()
        self.pass_time(600)
        self.keeper.learn(TRUTH_S - self.ticks_s)
        self.assertTrue(self.keeper.knows)
        self.assertEqual(self.keeper.itime(stamp), int((TRUTH_S - 600) * 1000))
        self.calendar_s = TRUTH_S + 7  # ours is put right meanwhile; that changes nothing
        self.pass_time(10)
        self.assertEqual(self.keeper.itime(stamp), int((TRUTH_S - 600) * 1000))

    def test_of_before_the_machine_was_switched_off(self) -> None:
        stamp = self.keeper.stamp()
        self.pass_time(3600)
        self.ticks_s = 5.0
        self.keeper = self.boot("two")
        self.assertEqual(self.keeper.itime(stamp), int(TRUTH_S * 1000))
        self.keeper.learn(self.calendar_s + 120 - self.ticks_s)
        self.assertEqual(self.keeper.itime(stamp), int((TRUTH_S + 120) * 1000))

    def test_of_before_that_with_a_wrong_clock(self) -> None:
        self.calendar_s = WRONG_S
        early = self.keeper.stamp()
        self.calendar_s = TRUTH_S + 86_400
        late = self.keeper.stamp()
        self.calendar_s = TRUTH_S
        self.keeper = self.boot("two")
        for stamp in (early, late):
            self.assertIsNone(self.keeper.itime(stamp), "nobody knows")

    def test_2024(self) -> None:
        self.calendar_s = EARLIEST_S - 1
        self.assertFalse(self.keeper.knows)
        self.calendar_s = EARLIEST_S + 1
        self.assertTrue(self.keeper.knows)


class MachineTests(SynchronousTestCase):
    def test_ticks_go_on(self) -> None:
        first = ticks_s()
        self.assertGreater(first, 0)
        self.assertGreaterEqual(ticks_s(), first)

    def test_the_boot_has_a_name(self) -> None:
        self.assertEqual(boot_id(), boot_id())
        self.assertGreater(len(boot_id()), 10)

    def test_a_kernel_that_does_not_say(self) -> None:
        self.patch(timestamps, "_BOOT_ID", Path(self.mktemp()))
        self.assertNotEqual(boot_id(), boot_id())
