"""``cmmd.gateway.store_and_forward.recorder``: a server that does not get what is polled."""

from itertools import groupby, pairwise
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from cmmd.gateway.link.connection import ANSWER_TIMEOUT_S
from cmmd.gateway.link.source import NO_INPUTS, InputStates
from cmmd.gateway.link.uploads import INPUTS_REPEATED_S
from cmmd.gateway.store_and_forward.recorder import MOST_ADDS_UNDER_WAY, Delivery, UploadTracker
from cmmd.keep_policy import CHANGE_GAP_S
from cmmd.wire.messages import ChangeParams
from tests.scripted_server import RESET, UPLOAD_ANSWER, Accepted, login_answer, refusal, run
from tests.test_gateway_store_and_forward import ALL_SENT_S, OutageTestCase

PERIOD_S = 3.0
Asked = list[tuple[Accepted, float]]


def _settle(delivery: Delivery, *, arrived: bool) -> None:
    if arrived:
        delivery.arrived()
    else:
        delivery.missed()


class DeliveryTestCase(OutageTestCase):
    """:ivar polls: when the controller was polled. :ivar unanswered: uploads that the server keeps waiting."""

    def prepare(self, seed: int = 1, **options: Any) -> None:
        super().prepare(seed, **options)
        self.polls: list[float] = []
        self.unanswered: Asked = []
        upload = self.source.full_upload

        async def noting() -> str:
            self.polls.append(self.clock.seconds())
            return await upload()

        self.patch(self.source, "full_upload", noting)

    @property
    def recorder(self) -> Any:
        assert self.link.outages is not None
        return self.link.outages.recorder

    def hold(self, connection: Accepted) -> None:
        """A reply of the server: none, for now."""
        self.unanswered.append((connection, self.clock.seconds()))

    def silence(self) -> None:
        """The server takes uploads, and does not answer them."""
        self.server.replies["reqdata"] = self.server.replies["reqdatachange"] = self.hold
        self.polls.clear()

    def answers_again(self) -> None:
        """Late, and from now on at once."""
        self.server.replies["reqdata"] = self.server.replies["reqdatachange"] = UPLOAD_ANSWER
        for connection, _ in self.unanswered:
            connection.send(UPLOAD_ANSWER)
        self.unanswered = []

    def first_unanswered(self) -> float:
        """Let time pass until there is one; when that was."""
        self.until(lambda: self.unanswered)
        return self.unanswered[0][1]


class SilenceTests(DeliveryTestCase):
    """Of a line that is dead nobody knows that for a while."""

    def test_polling_goes_on_and_the_first_is_kept_after_two_periods(self) -> None:
        live = self.online()
        self.silence()
        begun = self.first_unanswered()
        self.server.accepting = False
        run(self.clock, 2 * PERIOD_S - 0.1)
        self.assertEqual((self.buffer.rows, len(self.polls)), (0, 2))
        run(self.clock, 0.2)
        self.assertEqual((self.buffer.rows, live.gone), (1, False))
        run(self.clock, ANSWER_TIMEOUT_S)
        self.assertTrue(live.gone)
        run(self.clock, 160)
        for earlier, later in pairwise(self.polls):
            self.assertAlmostEqual(later - earlier, PERIOD_S, places=5, msg="in its step, whatever ends")
        self.unanswered = []
        self.answers_again()
        self.back()
        self.assertEqual(self.ages(begun)[0], 0)
        self.assertLess(max(later - earlier for earlier, later in pairwise(self.ages(begun))), 60 + 2 * PERIOD_S)

    def test_one_upload_at_a_time(self) -> None:
        self.online()
        self.outage(100)
        self.server.accepting = True
        self.until(self.history)
        live = self.server.last
        self.silence()
        self.first_unanswered()
        run(self.clock, ANSWER_TIMEOUT_S - 1)
        self.assertEqual((len(self.unanswered), live.gone), (1, False), "no live one and no kept one beside it")

    def test_a_coil_for_a_while(self) -> None:
        self.online()
        self.silence()
        begun = self.first_unanswered()
        self.server.accepting = False
        run(self.clock, 4)
        self.show(coils=3)
        run(self.clock, 6)
        self.show(coils=1)
        run(self.clock, 60)
        self.unanswered = []
        self.answers_again()
        self.back()
        self.assertEqual(self.ages(begun)[:3], [0, 6, 12])
        self.assertEqual([one["params"][6:8] for one in self.history()][:3], ["01", "03", "01"])

    def test_an_answer_that_is_late_takes_it_back(self) -> None:
        live = self.online()
        self.silence()
        self.first_unanswered()
        run(self.clock, 10)
        self.assertEqual((self.buffer.rows, self.recorder.kept), (1, 1))
        self.answers_again()
        run(self.clock, 60)
        self.assertEqual((self.buffer.rows, self.recorder.kept, self.history(), live.gone), (0, 0, [], False))
        self.silence()
        self.first_unanswered()
        run(self.clock, 10)
        self.assertEqual(self.buffer.rows, 1, "the next one is as due as the first one was")

    def test_a_coil_that_changed_behind_one_that_comes_late(self) -> None:
        """Only what the server has not got is kept, and sent in the same session."""
        live = self.online()
        self.silence()
        begun = self.first_unanswered()
        run(self.clock, 4)
        self.show(coils=3)
        run(self.clock, 6)
        self.assertEqual(self.buffer.rows, 2)
        self.answers_again()
        run(self.clock, ALL_SENT_S)
        self.assertEqual((self.ages(begun), live.gone), ([6], False))
        self.assertEqual((self.buffer.rows, self.recorder.kept), (0, 1))

    def test_a_server_that_takes_longer_than_a_period(self) -> None:
        """It gets every other upload; of the others only what would be missing is kept."""
        live = self.online()
        self.server.latency = 4.0
        run(self.clock, 600)
        self.assertEqual((self.history(), self.recorder.kept, live.gone), ([], 0, False))
        while live.times_of("reqdata")[-1] < self.clock.seconds() - 1:
            run(self.clock, 0.1)
        self.show(coils=3)
        run(self.clock, PERIOD_S)
        self.show(coils=1)
        run(self.clock, 120)
        self.assertEqual([one["params"][6:8] for one in self.history()], ["03", "01"][: len(self.history())])
        self.assertIn(len(self.history()), (1, 2))
        self.assertEqual((self.buffer.rows, live.gone), (0, False))

    def test_a_server_that_takes_longer_than_two_periods(self) -> None:
        for inputs in (NO_INPUTS, InputStates(0, 0, None, None)):
            with self.subTest(inputs):
                self.prepare()
                self.source.input_states = inputs
                live = self.online()
                self.server.latency = 7.5
                run(self.clock, 600)
                self.assertEqual((self.history(), live.gone), ([], False))
                self.assertLessEqual(self.buffer.rows, 2 if any(one is not None for one in inputs) else 1)
                self.stop()

    def test_an_answer_that_comes_late_and_during_a_poll(self) -> None:
        """That poll is left out, and the server misses nothing of it."""
        poll = self.source.full_upload

        async def slow() -> str:
            await deferLater(self.clock, 1.0)
            return await poll()

        self.patch(self.source, "full_upload", slow)
        live = self.online()
        self.silence()
        self.first_unanswered()
        run(self.clock, 3 * PERIOD_S - 0.5)  # the third one is being polled
        self.assertEqual((self.buffer.rows, len(self.polls)), (1, 3))
        self.answers_again()
        run(self.clock, 0.6)
        self.assertEqual((self.buffer.rows, self.recorder.kept), (0, 0))
        run(self.clock, 60)
        self.assertEqual((self.buffer.rows, self.history(), live.gone), (0, [], False))

    def test_changes_that_were_polled_meanwhile(self) -> None:
        """They have been read, so that they are no changes any more: everything is sent next."""
        self.server.replies["login"] = login_answer(data_mode=0)
        self.source.changes = [ChangeParams(f01=[{"0000": "03"}])]
        live = self.attached()
        self.until(lambda: live.of("reqdata"))
        run(self.clock, 1)
        self.server.latency = PERIOD_S + 1
        self.until(lambda: live.of("reqdatachange"))
        self.server.latency = 0.01
        run(self.clock, 3 * PERIOD_S)
        uploads = [one["method"] for one in live.received if one["method"].startswith("reqdata")]
        self.assertEqual(uploads, ["reqdata", "reqdatachange", "reqdata"])

    def test_under_way_when_the_session_ends(self) -> None:
        for how in ("lost", "reset"):
            with self.subTest(how):
                self.prepare()
                live = self.online()
                self.silence()
                begun = self.first_unanswered()
                if how == "lost":
                    live.lose()
                else:
                    live.send({"message": "ok", "retcode": "000000", "method": "reset"})
                run(self.clock, 0.1)
                self.assertEqual(self.buffer.rows, 1)
                self.answers_again()
                run(self.clock, ALL_SENT_S)
                self.assertEqual((self.ages(begun), self.buffer.rows), ([0], 0))
                self.stop()

    def test_what_waits_for_its_turn_when_the_session_ends(self) -> None:
        """It is not sent any more."""
        self.source.input_states = InputStates(0, 0, None, None)
        live = self.online()
        self.silence()
        self.source.input_states = InputStates(0, 1, None, None)
        self.first_unanswered()
        self.assertEqual(live.methods[-1], "reqdatachange", "the values wait behind it")
        live.send(RESET)
        run(self.clock, 1)
        self.assertEqual(live.methods[-2:], ["reqdatachange", "reset"])
        self.assertEqual(len([one for one, _ in self.unanswered if one is live]), 1)

    def test_under_way_when_the_gateway_ends(self) -> None:
        self.online()
        self.silence()
        self.first_unanswered()
        self.stop()
        self.assertEqual(self.buffer.rows, 1)

    def test_inputs(self) -> None:
        self.source.input_states = InputStates(0, 0, None, None)
        self.online()
        self.silence()
        self.first_unanswered()
        self.server.accepting = False
        run(self.clock, 4)
        self.source.input_states = InputStates(0, 1, None, None)
        run(self.clock, 30)
        self.unanswered = []
        self.answers_again()
        self.back()
        self.assertEqual([one["method"] for one in self.history()][:4], ["reqdata", "reqdatachange"] * 2)
        self.assertEqual([one["FireAlarm"] for one in self.history()[1:4:2]], [0, 1])

    def test_a_contact_that_closes_during_a_poll_whose_answer_is_late(self) -> None:
        """What the server gets late is taken back; the contact, of which that says nothing, is not."""
        self.source.input_states = InputStates(0, 0, None, None)
        live = self.online()
        self.server.replies["reqdata"] = self.hold

        async def closing() -> str:
            self.source.input_states = InputStates(0, 1, None, None)
            return self.source.full

        poll = self.patch(self.source, "full_upload", closing)
        begun = self.first_unanswered()
        poll.restore()
        run(self.clock, 2 * PERIOD_S + 0.2)
        self.source.input_states = InputStates(0, 0, None, None)
        self.answers_again()
        run(self.clock, 60)
        self.assertEqual({one["FireAlarm"] for one in live.of("reqdatachange") if "itime" not in one}, {0})
        told = [(one["method"], one.get("FireAlarm")) for one in self.history()]
        self.assertEqual((told[0], self.ages(begun)[0]), (("reqdatachange", 1), 0))
        self.assertNotIn(1, [fire for _, fire in told[1:]])
        self.assertEqual(self.buffer.rows, 0)

    def test_inputs_that_are_told_late_are_taken_back(self) -> None:
        self.source.input_states = InputStates(0, 0, None, None)
        live = self.online()
        self.silence()
        self.source.input_states = InputStates(0, 1, None, None)
        self.first_unanswered()
        run(self.clock, 2 * PERIOD_S + 0.2)
        self.assertGreater(self.buffer.rows, 0)
        self.answers_again()
        run(self.clock, 60)
        told = groupby(one["FireAlarm"] for one in live.of("reqdatachange"))
        self.assertEqual([state for state, _ in told], [0, 1])
        self.assertEqual((self.buffer.rows, self.recorder.kept, self.history()), (0, 0, []))

    def test_nothing_is_polled_for_nobody(self) -> None:
        """Without a buffer."""
        self.prepare()
        self.link.outages = None
        live = self.attached(30)
        self.silence()
        self.first_unanswered()
        run(self.clock, 15)
        self.assertEqual((len(self.polls), live.gone), (1, False))


class InputsTests(DeliveryTestCase):
    """The inputs are told again and again: that is no upload with values."""

    def prepare(self, seed: int = 1, **options: Any) -> None:
        super().prepare(seed, **options)
        self.source.input_states = InputStates(0, 0, None, 0)

    def refuse_values(self, retcode: str = "000006") -> None:
        self.server.replies["reqdata"] = refusal("reqdata", retcode)

    def test_polls_stay_in_their_step(self) -> None:
        live = self.online()
        self.polls.clear()
        self.until(lambda: len(live.of("reqdatachange")) == 2)
        run(self.clock, 0.5)
        self.server.accepting = False
        live.lose()
        run(self.clock, 60)
        for earlier, later in pairwise(self.polls):
            self.assertAlmostEqual(later - earlier, PERIOD_S, places=5)

    def test_history_is_not_sent_for_their_sake(self) -> None:
        """A server that takes them has not said that it takes values again."""
        live = self.online()
        self.refuse_values()
        run(self.clock, 10 * INPUTS_REPEATED_S)
        self.assertFalse(live.gone)
        self.assertEqual(self.history(), [])
        self.assertEqual(len([one for one in live.of("reqdatachange") if "itime" not in one]), 11)

    def test_a_change_that_is_owed_stays_owed(self) -> None:
        """A coil changed too soon after the last upload that was kept; then the inputs arrive, then nothing does."""
        self.online()
        inputs = self.source.input_states
        polls = len(self.polls)
        self.until(lambda: len(self.polls) > polls)

        def missed(coils: int) -> bool:
            self.show(coils=coils)
            return self.recorder.missed(self.recorder.moment(self.source.full, inputs)) is not None

        self.assertTrue(missed(3))
        run(self.clock, CHANGE_GAP_S / 2)
        self.assertFalse(missed(1))
        self.recorder.arrived(self.recorder.moment("", inputs, polled=False), tells_inputs=True)
        run(self.clock, CHANGE_GAP_S)
        self.assertTrue(missed(1))

    def test_what_becomes_of_them_says_nothing_of_values(self) -> None:
        """Whether a poll that is left out is kept for the interval's sake depends on the values before it."""
        self.online()
        inputs, full = self.source.input_states, self.source.full
        asked: list[bool] = []
        for arrives in (True, False):
            deliveries = UploadTracker(self.recorder, lambda: None)
            values, alone = deliveries.sent(full, inputs, tells_inputs=False), deliveries.inputs_sent(inputs)
            _settle(values, arrived=arrives)
            _settle(alone, arrived=not arrives)
            patch = self.patch(self.recorder, "missed", lambda _, changes_only: asked.append(changes_only))
            deliveries.left_out(full, inputs)
            patch.restore()
        self.assertEqual(asked, [True, False])

    def test_values_stay_as_due_as_they_were(self) -> None:
        """A contact changes while the controller is silent: the first values after that are kept at once."""
        self.online()
        self.server.accepting = False
        self.server.last.lose()
        params, self.source.full = self.source.full, ""
        run(self.clock, 10)
        self.source.input_states = InputStates(1, 0, None, 0)
        run(self.clock, PERIOD_S + 0.1)
        self.assertEqual(self.buffer.rows, 1)
        self.source.full = params
        run(self.clock, PERIOD_S)
        self.assertEqual(self.buffer.rows, 3, "the values, and the inputs at their time")

    def test_a_contact_that_flaps_while_the_controller_is_silent(self) -> None:
        """At most one change a second is kept."""
        self.server.replies["login"] = login_answer(online_rate=100)
        self.online()
        self.source.full = ""
        self.server.accepting = False
        self.server.last.lose()
        for turn in range(100):
            self.source.input_states = InputStates(turn % 2, 0, None, 0)
            run(self.clock, 0.1)
        self.assertLessEqual(self.buffer.rows, 11)
        self.assertGreater(self.buffer.rows, 4)


class RefusalTests(DeliveryTestCase):
    def refuse(self, *, taken: bool = False) -> None:
        """What the server does with the next uploads."""
        self.server.replies["reqdata"] = UPLOAD_ANSWER if taken else refusal("reqdata", "000006")

    def test_a_change_that_was_not_kept_and_that_the_server_has(self) -> None:
        """At most one is kept in a second; what the server has got by then is not owed any more."""
        self.server.replies["login"] = login_answer(online_rate=500)
        self.online()
        self.refuse()
        run(self.clock, 0.5)
        self.show(coils=3)
        run(self.clock, 0.5)
        self.assertEqual(self.recorder.kept, 1)
        self.refuse(taken=True)
        run(self.clock, 0.5)
        self.refuse()
        run(self.clock, 10)
        self.assertEqual(self.recorder.kept, 1)

    def test_inputs_that_the_server_has_been_told(self) -> None:
        self.source.input_states = InputStates(0, 0, None, None)
        live = self.online()
        self.refuse()
        run(self.clock, PERIOD_S)
        self.assertEqual(self.recorder.kept, 2, "the first one, and the inputs")
        self.source.input_states = InputStates(0, 1, None, None)
        run(self.clock, 3 * PERIOD_S)
        self.assertEqual([one["FireAlarm"] for one in live.of("reqdatachange")], [0, 1])
        self.assertEqual(self.recorder.kept, 2)

    def test_try_again(self) -> None:
        """Kept as without a session, and sent as soon as the server takes something again."""
        live = self.online()
        self.server.replies["reqdata"] = refusal("reqdata", "000006")
        begun = self.clock.seconds()
        run(self.clock, 310)
        self.assertEqual((self.buffer.rows, live.gone), (6, False))
        self.show(coils=3)
        run(self.clock, 30)
        self.assertEqual(self.buffer.rows, 7)
        self.server.replies["reqdata"] = UPLOAD_ANSWER
        run(self.clock, ALL_SENT_S)
        self.assertEqual((self.buffer.rows, len(self.history()), live.gone), (0, 7, False))
        self.assertLessEqual(self.ages(begun)[0], PERIOD_S)
        run(self.clock, 600)
        self.assertEqual(len(self.history()), 7)

    def test_try_again_while_history_waits_for_that(self) -> None:
        self.online()
        self.outage(130)
        self.server.replies["reqdata"] = refusal("reqdata", "000006")
        live = self.back(300)
        self.assertEqual((self.buffer.rows, live.gone), (8, False))
        self.server.replies["reqdata"] = UPLOAD_ANSWER
        run(self.clock, 400)
        times = [one["itime"] for one in self.history() if one]
        self.assertEqual((self.buffer.rows, live.gone, len(set(times))), (0, False, 8))

    def test_history_that_waits_grows_and_is_told_of_once(self) -> None:
        self.prepare(server_type="other")
        self.online()
        self.outage(130)
        self.refuse()
        with capturedLogs() as events:
            self.back(3600)
        self.assertGreater(self.buffer.rows, 50)
        self.assertEqual(len([event for event in events if "kept uploads wait" in event["log_format"]]), 1)

    def test_now_and_then(self) -> None:
        """A server with too much to do is not given twice as much."""
        count = 0

        def every_other(connection: Accepted) -> Any:
            nonlocal count
            count += 1
            historic = "itime" in connection.received[-1]
            return UPLOAD_ANSWER if historic or count % 2 else refusal("reqdata", "000006")

        self.online()
        self.server.replies["reqdata"] = every_other
        run(self.clock, 600)
        self.assertIn(len(self.history()), range(8, 12))
        self.assertEqual(self.buffer.rows, 0)

    def test_a_disk_that_hangs(self) -> None:
        """Nothing waits for it in a session; so not without end is it told what to keep."""
        self.online()
        poll = self.source.full_upload

        async def flapping() -> str:
            self.show(coils=len(self.polls))
            return await poll()

        polling = self.patch(self.source, "full_upload", flapping)
        self.refuse()
        works = self.hang()
        with capturedLogs() as events:
            run(self.clock, 100 * PERIOD_S)
            self.assertEqual((len(works), self.recorder.failed), (MOST_ADDS_UNDER_WAY, 100 - MOST_ADDS_UNDER_WAY))
            for _ in range(3):  # one is done, and another one takes its place
                work, done = works.pop(0)
                done.callback(work())
                run(self.clock, 10 * PERIOD_S)
        self.assertEqual((len(works), self.recorder.kept), (MOST_ADDS_UNDER_WAY, 3))
        self.assertEqual(len([event for event in events if "is not kept" in event["log_format"]]), 1)
        self.hanging.restore()
        polling.restore()
        for work, done in works:
            done.callback(work())
        self.assertEqual((self.buffer.rows, self.recorder.kept), (MOST_ADDS_UNDER_WAY + 3,) * 2)
        self.refuse(taken=True)
        run(self.clock, ALL_SENT_S)
        self.assertEqual(self.buffer.rows, 0)

    def test_for_good(self) -> None:
        self.online()
        self.server.replies["reqdata"] = refusal("reqdata", "000001")
        run(self.clock, 9)
        self.assertEqual((self.buffer.rows, self.recorder.kept), (0, 0))

    def test_a_server_that_does_not_know_us_any_more(self) -> None:
        self.online()
        self.server.replies["reqdata"] = refusal("reqdata", "000003")
        run(self.clock, 3.1)
        self.assertEqual(self.buffer.rows, 1)

    def test_changes(self) -> None:
        """A change packet says nothing alone: all that was polled is kept."""
        self.server.replies["login"] = login_answer(data_mode=0)
        self.source.changes = [ChangeParams(f01=[{"0000": "03"}])]
        live = self.attached(3.2)
        self.server.replies["reqdatachange"] = refusal("reqdata", "000006")
        self.show(coils=3)
        run(self.clock, 3)
        self.assertEqual((len(live.of("reqdatachange")), self.buffer.rows), (1, 1))
        run(self.clock, ALL_SENT_S)
        (kept,) = self.history()
        self.assertEqual((kept["method"], kept["params"]), ("reqdata", self.source.full))
        self.assertEqual([one for one in live.methods if one.startswith("reqdata")][:3:2], ["reqdata"] * 2)
