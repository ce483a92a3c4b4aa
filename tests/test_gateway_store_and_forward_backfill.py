"""``cmmd.gateway.store_and_forward.backfill``: when something was, although the clock was or is wrong."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.store_and_forward import backfill as timestamps
from cmmd.gateway.store_and_forward.backfill import EARLIEST_S, Timestamps, boot_id
from cmmd.gateway.store_and_forward.buffer import BufferFailed, Stamp
from cmmd.stall_detector import ticks_s
from tests.scripted_server import UPLOAD_ANSWER, Accepted, refusal, run
from tests.test_gateway_store_and_forward import OutageTestCase

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


class SentAgainTests(OutageTestCase):
    """One upload is one row at the server: sent again, it has the time that it was sent with first."""

    def lose_answer(self, offset_s: float = 0.0) -> None:
        """A session whose server shows another time by so much, and that ends before history is answered."""

        def lose(connection: Accepted) -> dict[str, Any] | None:
            if "itime" not in connection.received[-1]:
                return UPLOAD_ANSWER
            self.server.accepting = False
            connection.lose()
            return None

        self.answer_time(offset_s)
        before = len(self.history())
        self.server.replies["reqdata"] = lose
        self.server.accepting = True
        self.until(lambda: len(self.history()) > before)

    def answer(self, reply: Any = UPLOAD_ANSWER, offset_s: float = 0.0) -> None:
        """Sessions from now on."""
        self.server.replies["reqdata"] = reply
        self.answer_time(offset_s)
        self.back(300)

    def test_clocks_of_two_sessions_that_differ_by_7_ms(self) -> None:
        self.answer_time()
        self.online()
        self.outage(10)
        self.lose_answer()
        self.lose_answer(0.003)
        self.answer(offset_s=0.007)
        times = [one["itime"] for one in self.history()]
        self.assertEqual(times[:3], [times[0]] * 3)
        self.assertEqual(times[2:], sorted(set(times[2:])), "and no other one twice")
        self.assertEqual(self.buffer.rows, 0)

    def test_over_a_restart(self) -> None:
        for boot in ("boot", "another"):
            self.prepare()
            self.answer_time()
            self.online()
            self.outage(10)
            self.lose_answer()
            self.boot = boot
            self.restart()
            self.answer(offset_s=0.007)
            times = [one["itime"] for one in self.history()]
            self.assertEqual((times[1], self.buffer.rows), (times[0], 0))
            self.assertEqual(len(set(times)), len(times) - 1, "and no other one twice")
            self.stop()

    def test_a_time_that_the_server_refuses_is_forgotten(self) -> None:
        """The clock was wrong then: by a week to come, or by years."""
        for wrong_s in (7 * 86_400.0, -600 * 86_400.0):
            self.prepare()
            self.answer_time()
            self.online()
            asked = self.polled()
            self.outage(10)
            self.lose_answer(wrong_s)

            def judge(connection: Accepted) -> dict[str, Any]:
                age_s = self.clock.seconds() - connection.received[-1].get("itime", self.clock.seconds() * 1000) / 1000
                return UPLOAD_ANSWER if -60 <= age_s <= 400 * 86_400 else refusal("reqdata", "000001")

            self.answer(judge)
            ages = self.ages(asked)
            self.assertGreater(abs(ages[0]), 86_400)
            self.assertEqual(ages[1], ages[0])
            self.assertAlmostEqual(ages[2], 3, delta=0.5)
            assert self.link.outages is not None
            historian = self.link.outages.historian
            self.assertEqual((self.buffer.rows, historian.sent, historian.refused), (0, len(ages) - 2, 0))
            self.stop()

    def test_what_is_refused_at_any_time_holds_up_nothing(self) -> None:
        self.answer_time()
        self.online()
        self.outage(10)
        self.lose_answer()
        self.answer(lambda one: refusal("reqdata", "000001") if "itime" in one.received[-1] else UPLOAD_ANSWER)
        assert self.link.outages is not None
        refused = self.link.outages.historian.refused
        self.assertEqual((len(self.history()), self.buffer.rows), (refused + 2, 0), "the first one three times")

    def test_nothing_is_sent_with_a_time_that_is_not_on_the_disk(self) -> None:
        self.answer_time()
        self.online()
        self.outage(10)

        async def note(*_: object) -> None:
            raise BufferFailed("No space left on device")

        patch = self.patch(self.buffer, "note", note)
        self.back()
        self.assertEqual((self.history(), self.buffer.rows), ([], 1))
        patch.restore()
        run(self.clock, 310)
        self.assertEqual((len(self.history()), self.buffer.rows), (1, 0))
