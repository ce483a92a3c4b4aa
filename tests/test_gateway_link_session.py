"""``cmmd.gateway.link.session``: what goes over the long connection, when, and how a device obeys."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.link.command_executor import ORDER_PATIENCE_S
from cmmd.gateway.link.orders import Orders, Step, at_once
from cmmd.gateway.link.session import MOST_REFUSALS, TIMING_INTERVAL_S, WAITING_COMMANDS
from cmmd.gateway.link.source import NO_INPUTS, InputStates, OutcomeUnknown
from cmmd.gateway.link.uploads import FIRST_INPUTS_S, INPUTS_REPEATED_S
from cmmd.wire.messages import ChangeParams, LoginAnswer, LoginResult, ResetAnswer, WriteConfigAnswer
from cmmd.wire.reading import read_from_server
from tests.scripted_server import (
    HOSTID,
    LOGIN_SERVER,
    RESET,
    UPLOAD_ANSWER,
    Accepted,
    login_answer,
    refusal,
    run,
)
from tests.support import FIELD_EXAMPLES, compact
from tests.test_gateway_link import START, LinkTestCase

AUTO = "00050003FF007DEB"
STOP = "00050001FF00DC2B"
ANY = ResetAnswer(hostid=HOSTID)
"""Stands for whatever the answer is."""


def write_config(result: str, uid: str = "123456") -> dict[str, Any]:
    return {"result": result, "datatype": 1, "uid": uid, "method": "writeConfig"}


class UploadTests(LinkTestCase):
    """Everything, at the rate of the server (4.4)."""

    def test_everything_at_the_ordered_rate(self) -> None:
        live = self.attached(33)
        uploads = live.of("reqdata")
        self.assertEqual(uploads[0], {"method": "reqdata", "params": "01030200017984", "hostid": HOSTID})
        times = live.times_of("reqdata")
        self.assertGreaterEqual(len(times), 10)
        for number, time in enumerate(times):
            self.assertAlmostEqual(time, times[0] + 3 * number, places=5)
        self.assertEqual(self.link.counters.uploads, len(uploads))

    def test_the_first_one_is_spread_over_the_period(self) -> None:
        firsts = []
        for seed in range(100):
            self.prepare(seed)
            live = self.attached(3.2)
            firsts.append(live.times_of("reqdata")[0] - START)
            self.stop()
        self.assertLess(min(firsts), 0.2)
        self.assertGreater(max(firsts), 2.8)
        self.assertEqual(len(set(firsts)), 100)

    def test_steps_that_pass_unanswered_are_left_out(self) -> None:
        live = self.attached(4)
        self.server.latency = 7.5
        run(self.clock, 60)
        times = live.times_of("reqdata")
        late = [later - earlier for earlier, later in pairwise(times[1:])]
        self.assertGreater(len(late), 5)
        for gap in late:
            self.assertAlmostEqual(gap, 9, places=5)

    def test_nothing_new_is_uploaded_as_an_empty_text(self) -> None:
        self.source.full = ""
        self.assertEqual(self.attached(4).of("reqdata")[0]["params"], "")

    def test_try_again(self) -> None:
        """000006 is no reason to part; it is told once a session."""
        self.server.replies["reqdata"] = refusal("reqdata", "000006")
        with capturedLogs() as events:
            live = self.attached(31)
        self.assertFalse(live.gone)
        self.assertGreaterEqual(len(live.of("reqdata")), 10)
        self.assertEqual((self.link.counters.uploads, self.link.counters.refused), (0, len(live.of("reqdata"))))
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)

    def test_a_server_that_does_not_know_us_any_more(self) -> None:
        for retcode in ("000003", "000004", "000005"):
            for method in ("LongCon", "HB", "reqdata"):
                with self.subTest(method, retcode=retcode):
                    self.prepare()
                    self.server.replies[method] = refusal(method, retcode)
                    self.start(0.5)
                    run(self.clock, 3)
                    self.assertTrue(self.server.connections[1].gone)
                    self.assert_comes_back(within=4)
                    self.stop()

    def test_longcon_must_be_accepted(self) -> None:
        self.server.replies["LongCon"] = refusal("LongCon", "000006")
        self.start(0.3)
        self.assertTrue(self.server.connections[1].gone)
        self.assertEqual(self.server.connections[1].methods, ["LongCon"])


class ChangeTests(LinkTestCase):
    """Changes only (4.5)."""

    def attached_for_changes(self, changes: int, **result: Any) -> Accepted:
        self.server.replies["login"] = login_answer(data_mode=0, online_rate=1000, **result)
        self.source.changes = [ChangeParams(f03=[{"0000": f"{number:02X}00"}]) for number in range(changes)]
        return self.attached()

    def uploads(self, live: Accepted) -> list[int | str]:
        """Packet numbers of the change uploads; ``full`` stands for a full one."""
        return [
            "full" if message["method"] == "reqdata" else message["params"]["packetnum"]
            for message in live.received
            if message["method"].startswith("reqdata")
        ]

    def test_first_everything_then_changes(self) -> None:
        live = self.attached_for_changes(4)
        run(self.clock, 5)
        self.assertEqual(self.source.followed[0][1], 0)
        self.assertEqual(self.uploads(live), ["full", 1, 2, 3, 4])
        self.assertEqual(
            live.of("reqdatachange")[1],
            {"method": "reqdatachange", "params": {"packetnum": 2, "03": [{"0000": "0100"}]}, "hostid": HOSTID},
        )
        self.assertEqual(self.link.counters.uploads, 5)

    def test_no_change_no_upload(self) -> None:
        live = self.attached_for_changes(2)
        self.source.changes.insert(1, None)
        run(self.clock, 20)
        self.assertEqual(self.uploads(live), ["full", 1, 2])
        self.assertFalse(live.gone)

    def test_starts_over_after_reset_packet_num(self) -> None:
        live = self.attached_for_changes(100, reset_packet_num=3)
        run(self.clock, 9)
        self.assertEqual(self.uploads(live), ["full", 1, 2, 3, "full", 1, 2, 3, "full"])

    def test_a_new_session_starts_with_everything(self) -> None:
        live = self.attached_for_changes(100)
        run(self.clock, 3)
        live.lose()
        run(self.clock, 5)
        self.assertIsNot(self.server.last, live)
        self.assertEqual(self.uploads(self.server.last)[:2], ["full", 1])

    def test_what_was_refused_comes_again_with_everything(self) -> None:
        live = self.attached_for_changes(100)
        run(self.clock, 2)
        self.assertEqual(self.uploads(live), ["full", 1])
        self.server.replies["reqdatachange"] = refusal("reqdata", "000006")
        run(self.clock, 1)
        self.server.replies["reqdatachange"] = UPLOAD_ANSWER
        run(self.clock, 2)
        self.assertEqual(self.uploads(live), ["full", 1, 2, "full", 1])


class InputTests(LinkTestCase):
    """The device's own four inputs (4.5)."""

    def told(self, live: Accepted) -> list[dict[str, Any]]:
        """Change packets without values, without what all have."""
        return [
            {key: value for key, value in message.items() if key not in ("method", "hostid")}
            for message in live.of("reqdatachange")
            if not message["params"].get("03")
        ]

    def test_a_device_without_any_says_nothing_of_them(self) -> None:
        self.assertEqual(self.attached(10).of("reqdatachange"), [])

    def test_at_first_and_when_they_change(self) -> None:
        for data_mode in (0, 1):
            with self.subTest(data_mode=data_mode):
                self.prepare(data_mode=data_mode)
                self.source.input_states = InputStates(0, 0, None, 0)
                live = self.attached(10)
                first = {"params": {}, "AccessAlarm": 0, "FireAlarm": 0, "InhbitRemote": 0}
                self.assertEqual(self.told(live), [first])
                self.source.input_states = InputStates(0, 1, None, 0)
                run(self.clock, 10)
                self.assertEqual(self.told(live), [first, {**first, "FireAlarm": 1}])
                self.source.input_states = NO_INPUTS
                run(self.clock, 10)
                self.assertEqual(len(self.told(live)), 2)
                self.stop()

    def test_before_the_values(self) -> None:
        """Right after attaching, and at each change: a controller may take its time to answer."""
        self.source.input_states = InputStates(fire_alarm=1)
        live = self.attached(3.2)
        self.source.input_states = InputStates(fire_alarm=0)
        run(self.clock, 3)
        told = [method for method in live.methods if "req" in method]
        self.assertEqual(told, ["reqdatachange", "reqdata", "reqdatachange", "reqdata"])
        attached_at = live.times_of("LongCon")[0] + self.server.latency
        self.assertAlmostEqual(live.times_of("reqdatachange")[0], attached_at + FIRST_INPUTS_S, places=3)

    def test_of_a_controller_that_never_answers(self) -> None:
        """The inputs do not wait for values."""
        self.patch(self.source, "full_upload", Deferred)
        self.source.input_states = InputStates(inhibit_remote=1)
        live = self.attached(INPUTS_REPEATED_S + 1)
        self.assertEqual([one["InhbitRemote"] for one in live.of("reqdatachange")], [1, 1])

    def test_again_and_again(self) -> None:
        """Though nothing has changed: a server may have lost what it was told, and looks at how long ago that was."""
        for data_mode in (0, 1):
            with self.subTest(data_mode=data_mode):
                self.prepare(data_mode=data_mode)
                self.source.input_states = InputStates(None, 0, None, 1)
                live = self.attached(4 * INPUTS_REPEATED_S + 1)
                packet = {"params": {}, "FireAlarm": 0, "InhbitRemote": 1}
                self.assertEqual(self.told(live), [packet] * 5)
                for earlier, later in pairwise(live.times_of("reqdatachange")):
                    self.assertLess(abs(later - earlier - INPUTS_REPEATED_S), 0.1)
                self.stop()

    def test_a_server_that_does_not_understand_them(self) -> None:
        """It gets them again with the next repetition, and keeps its session."""
        for data_mode in (0, 1):
            with self.subTest(data_mode=data_mode):
                self.prepare(data_mode=data_mode)
                self.source.input_states = InputStates(alarm_input=1)
                self.server.replies["reqdatachange"] = refusal("reqdata", "000001")
                live = self.attached(20 * INPUTS_REPEATED_S + 1)
                self.assertEqual((len(self.told(live)), live.gone), (21, False))
                self.assertEqual(self.link.counters.refused, 21)
                self.stop()

    def test_that_they_are_taken_says_nothing_of_values(self) -> None:
        """A server that refuses all values is left after five of them, though it takes the inputs in between."""
        self.server.replies["login"] = login_answer(online_rate=40_000)
        self.server.replies["reqdata"] = refusal("reqdata", "000001")
        self.source.input_states = InputStates(alarm_input=1)
        live = self.attached(0.2)
        run(self.clock, 40 * MOST_REFUSALS)
        self.assertEqual((len(live.of("reqdata")), live.gone), (MOST_REFUSALS, True))

    def test_a_server_that_does_not_know_the_device_any_more(self) -> None:
        self.source.input_states = InputStates(alarm_input=1)
        self.server.replies["reqdatachange"] = refusal("reqdata", "000003")
        self.start(0.5)
        self.assertEqual((self.server.connections[1].gone, self.link.counters.failures), (True, 1))

    def test_in_every_change_packet(self) -> None:
        self.prepare(data_mode=0)
        self.source.input_states = InputStates(1, 0, 0, 0)
        self.source.changes = [ChangeParams(f03=[{"0000": "0100"}])]
        live = self.attached(10)
        (packet,) = [one for one in live.of("reqdatachange") if one["params"]]
        self.assertEqual((packet["params"]["packetnum"], packet["AccessAlarm"], packet["InhbitRemote"]), (1, 1, 0))

    def test_in_a_new_session_again(self) -> None:
        self.source.input_states = InputStates(alarm_input=1)
        live = self.attached(5)
        live.lose()
        run(self.clock, 6)
        self.assertEqual(self.told(self.server.last), self.told(live))

    def test_what_was_refused_is_told_again(self) -> None:
        self.source.input_states = InputStates(alarm_input=1)
        self.server.replies["reqdatachange"] = refusal("reqdata", "000006")
        live = self.attached(7)
        self.server.replies["reqdatachange"] = UPLOAD_ANSWER
        run(self.clock, 20)
        self.assertIn(len(self.told(live)), (3, 4))
        self.assertFalse(live.gone)


class RefusalTests(LinkTestCase):
    """A server that refuses and refuses: something is wrong that a new login may put right."""

    def refused(self, method: str, retcode: str, seconds: float) -> Accepted:
        self.server.replies[method] = refusal(method, retcode)
        self.start(0.3)
        live = self.server.last
        run(self.clock, seconds)
        return live

    def test_uploads_in_a_row(self) -> None:
        live = self.refused("reqdata", "000001", 11)
        self.assertFalse(live.gone)
        while not live.gone:
            run(self.clock, 0.1)
        self.assertEqual(len(live.of("reqdata")), MOST_REFUSALS)
        self.assertEqual(self.link.counters.failures, 1)
        self.assert_comes_back(5)

    def test_with_back_off(self) -> None:
        self.refused("reqdata", "999999", 600)
        logins = [time for time, address in self.server.attempts if address == LOGIN_SERVER]
        gaps = [later - earlier for earlier, later in pairwise(logins)]
        self.assertGreater(len(gaps), 8)
        for gap in gaps[5:]:
            self.assertGreater(gap, 12 + 15, "five uploads, and half of the longest wait")

    def test_heartbeats_in_a_row(self) -> None:
        live = self.refused("HB", "000001", 4 * 60 + 3)
        self.assertEqual((live.gone, len(live.of("HB"))), (True, MOST_REFUSALS))

    def test_heartbeats_taken_do_not_make_up_for_uploads_refused(self) -> None:
        self.prepare(heartbeat_interval=2.0)
        self.assertTrue(self.refused("reqdata", "000001", 16).gone)

    def test_one_taken_in_between(self) -> None:
        count = 0

        def every_fifth(_: Accepted) -> dict[str, Any]:
            nonlocal count
            count += 1
            return UPLOAD_ANSWER if count % MOST_REFUSALS == 0 else refusal("reqdata", "000001")

        self.server.replies["reqdata"] = every_fifth
        self.assertFalse(self.attached(100).gone)

    def test_try_again_is_no_reason(self) -> None:
        """A server that cannot take it now does not need a login more."""
        live = self.refused("reqdata", "000006", 300)
        self.assertEqual((live.gone, self.link.counters.online), (False, 1))


class HeartbeatTests(LinkTestCase):
    def test_soon_after_attaching_then_at_its_interval(self) -> None:
        live = self.attached(200)
        self.assertEqual(live.of("HB")[0], {"method": "HB", "hostid": HOSTID, "params": ""})
        first, *others = live.times_of("HB")
        self.assertLess(first - START, 2.1)
        self.assertEqual(len(others), 3)
        for earlier, later in zip([first, *others], others, strict=False):
            self.assertAlmostEqual(later - earlier, 60.01, places=5)

    def test_other_interval(self) -> None:
        self.prepare(heartbeat_interval=10.0)
        first, second, *_ = self.attached(15).times_of("HB")
        self.assertAlmostEqual(second - first, 10.01, places=5)

    def test_a_refused_one_counts(self) -> None:
        self.server.replies["HB"] = refusal("HB", "000001")
        self.assertFalse(self.attached(10).gone)
        self.assertEqual(self.link.counters.refused, 1)


class TimingTests(LinkTestCase):
    def test_once_and_the_offset_is_kept(self) -> None:
        self.server.latency = 0.5
        self.server.replies["timing"] = {
            "message": "ok",
            "retcode": "000000",
            "method": "timing",
            "result": str(int((START + 7) * 1000)),
        }
        live = self.attached(10)
        self.assertEqual(len(live.of("timing")), 1)
        assert self.link.session is not None
        assert self.link.session.clock_offset is not None
        self.assertAlmostEqual(
            self.link.session.clock_offset, START + 7 - (live.times_of("timing")[0] + 0.25), places=2
        )

    def answer_time(self, offset_s: float) -> None:
        self.server.replies["timing"] = lambda _: {
            "message": "ok",
            "retcode": "000000",
            "method": "timing",
            "result": str(int((self.clock.seconds() + self.server.latency / 2 + offset_s) * 1000)),
        }

    def said(self, events: Sequence[LogEvent]) -> list[float]:
        return [round(event["offset_s"]) for event in events if "offset_s" in event]

    def test_the_link_keeps_it_and_says_when_it_changes(self) -> None:
        self.clock.rightNow = 1_790_000_000.0
        offsets = (0.5, -0.4, 100.0, 100.8, 101.6, -3.0)
        with capturedLogs() as events:
            for number, offset_s in enumerate(offsets):
                self.answer_time(offset_s)
                if number == 0:
                    self.attached(1)
                else:
                    self.server.last.lose()
                    run(self.clock, 40)
                assert self.link.clock_offset is not None
                self.assertAlmostEqual(self.link.clock_offset, offset_s, places=2)
        self.assertEqual(self.said(events), [100, 102, -3])
        self.stop()
        self.assertEqual(round(self.link.clock_offset or 0), -3, "it outlives the session")

    def test_it_is_asked_again_every_day(self) -> None:
        self.prepare(heartbeat_interval=3600.0)
        self.server.replies["login"] = login_answer(online_rate=3_600_000)
        live = self.attached(2.5 * TIMING_INTERVAL_S)
        self.assertEqual((len(live.of("timing")), live.gone), (3, False))

    def test_a_server_that_does_not_know_the_time_either(self) -> None:
        self.clock.rightNow = 1_790_000_000.0
        with capturedLogs() as events:
            self.attached(5)  # the paper's example is of 2017
        self.assertEqual((self.link.clock_offset, self.said(events)), (None, []))

    def test_a_clock_that_makes_no_sense(self) -> None:
        for result in ("UTC", "", "-5", "9" * 17, "1e999", "²"):
            with self.subTest(result):
                self.prepare()
                self.server.replies["timing"] = {"method": "timing", "retcode": "000000", "result": result}
                live = self.attached(10)
                assert self.link.session is not None
                self.assertIsNone(self.link.session.clock_offset)
                self.assertFalse(live.gone)
                self.stop()


class CommandTests(LinkTestCase):
    """writeConfig (4.6)."""

    def answers(self, live: Accepted) -> list[dict[str, Any]]:
        return live.of("writeConfig")

    def test_refused(self) -> None:
        live = self.attached()
        live.send(write_config(AUTO))
        self.assertEqual(
            self.answers(live),
            [{"method": "writeConfig", "params": AUTO + ",0", "hostid": HOSTID, "uid": "123456"}],
        )
        self.assertEqual(self.source.written, [AUTO])

    def test_the_fields_command_and_answer(self) -> None:
        self.source.obey = lambda frame: True
        command, answer = (one for one in FIELD_EXAMPLES if one.object["method"] == "writeConfig")
        live = self.attached()
        live.send(command.wire)
        self.assertEqual(self.answers(live), [{**answer.object, "hostid": HOSTID}])

    def test_several_frames(self) -> None:
        self.source.obey = lambda frame: frame == STOP
        live = self.attached()
        live.send(write_config(f" {AUTO}; {STOP};"))
        self.assertEqual(self.answers(live)[0]["params"], f"{AUTO},0;{STOP},1")

    def test_nothing_to_do_is_not_done(self) -> None:
        self.source.obey = lambda frame: True
        self.source.port_works = True
        live = self.attached()
        for result in ("", " ; ;"):
            live.send(write_config(result))
        live.send({"datatype": 1, "uid": "123456", "method": "writeConfig"})
        run(self.clock, 1)
        self.assertEqual([answer["params"] for answer in self.answers(live)], [",0"] * 3)
        self.assertEqual((self.source.written, self.source.ports), ([], []))

    def test_one_after_the_other(self) -> None:
        waiting: list[Deferred[bool]] = []

        def obey(frame: str) -> Deferred[bool]:
            waiting.append(Deferred())
            return waiting[-1]

        self.source.obey = obey
        live = self.attached()
        live.send(compact(write_config(AUTO, "1")) + compact(write_config(STOP, "2")))
        self.assertEqual((self.source.written, self.answers(live)), ([AUTO], []))
        run(self.clock, 5)
        self.assertGreaterEqual(len(live.of("reqdata")), 1)  # uploads go on meanwhile
        waiting[0].callback(True)
        self.assertEqual(self.source.written, [AUTO, STOP])
        waiting[1].callback(False)
        run(self.clock, 0.2)
        self.assertEqual(
            [(answer["uid"], answer["params"]) for answer in self.answers(live)],
            [("1", AUTO + ",1"), ("2", STOP + ",0")],
        )

    def test_what_has_waited_too_long_is_not_done(self) -> None:
        """Behind an order that takes long: neither its own next frame, nor what came after it and waited as long."""
        first: Deferred[bool] = Deferred()
        self.source.obey = lambda frame: first if frame == AUTO else True
        self.source.port_works = True
        live = self.attached()
        live.send(write_config(f"{AUTO};{STOP}", "1"))
        live.send(write_config(STOP, "2"))
        live.send({"modulePort": 2, "moduleBaud": 1, "datatype": 1, "uid": "3", "method": "writeConfig"})
        run(self.clock, ORDER_PATIENCE_S - 0.5)
        live.send(write_config(STOP, "4"))
        run(self.clock, 0.5)
        first.callback(True)
        run(self.clock, 1)
        self.assertEqual(
            [(answer["uid"], answer.get("params")) for answer in self.answers(live)],
            [("1", f"{AUTO},1;{STOP},0"), ("2", f"{STOP},0"), ("3", ",0"), ("4", f"{STOP},1")],
        )
        self.assertEqual((self.source.written, self.source.ports), ([AUTO, STOP], []))

    def test_in_the_segment_of_the_longcon_answer(self) -> None:
        self.server.replies["LongCon"] = b'{"method":"LongCon","retcode":"000000"}' + compact(write_config(AUTO))
        self.assertEqual(len(self.answers(self.attached())), 1)

    def test_before_the_longcon_answer(self) -> None:
        self.server.replies["LongCon"] = compact(write_config(AUTO)) + b'{"method":"LongCon","retcode":"000000"}'
        self.assertEqual(len(self.answers(self.attached())), 1)

    def test_port(self) -> None:
        port = {"modulePort": 1, "moduleBaud": 0, "datatype": 1, "uid": "7", "method": "writeConfig"}
        live = self.attached()
        live.send(port)
        self.source.port_works = True
        live.send(port)
        del port["moduleBaud"]
        live.send(port)
        run(self.clock, 1)
        self.assertEqual(
            self.answers(live),
            [
                {"method": "writeConfig", "params": ",0", "hostid": HOSTID, "uid": "7"},
                {"method": "writeConfig", "modulePort": 1, "moduleBaud": 0, "hostid": HOSTID, "uid": "7"},
                {"method": "writeConfig", "modulePort": 1, "hostid": HOSTID, "uid": "7"},
            ],
        )
        self.assertEqual(self.source.ports, [(1, 0), (1, 0), (1, None)])

    def test_where_the_source_fails_there_is_no_answer(self) -> None:
        def obey(frame: str) -> bool:
            if frame == AUTO:
                raise OSError("serial port gone")
            return True

        self.source.obey = obey
        live = self.attached()
        live.send(write_config(f"{STOP};{AUTO}", "1"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        live.send(write_config(STOP, "2"))
        self.assertEqual([answer["uid"] for answer in self.answers(live)], ["2"])

    def test_what_nobody_knows_is_not_answered(self) -> None:
        """And what stands behind it is not begun."""

        def obey(frame: str) -> bool:
            if frame == AUTO:
                raise OutcomeUnknown("no valid answer in time")
            return True

        self.source.obey = obey
        live = self.attached()
        with capturedLogs() as events:
            live.send(write_config(f"{STOP};{AUTO};{STOP}", "1"))
        self.assertEqual((self.answers(live), self.source.written), ([], [STOP, AUTO]))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
        live.send(write_config(STOP, "2"))
        self.assertEqual([answer["uid"] for answer in self.answers(live)], ["2"])

    def test_a_source_that_gives_up(self) -> None:
        def obey(frame: str) -> bool:
            raise CancelledError

        self.source.obey = obey
        live = self.attached()
        live.send(write_config(AUTO))
        run(self.clock, 0.1)
        self.assertEqual((live.gone, self.answers(live)), (True, []))
        self.assert_comes_back()

    def test_a_write_ends_with_the_session(self) -> None:
        cancelled: list[object] = []
        self.source.obey = lambda frame: Deferred(cancelled.append)
        live = self.attached()
        live.send(write_config(AUTO))
        live.lose()
        self.assertEqual((len(cancelled), self.answers(live)), (1, []))
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assert_comes_back()

    def test_behind_a_reset(self) -> None:
        live = self.attached()
        live.send(compact(RESET) + compact(write_config(AUTO)))
        self.assert_comes_back()
        self.assertEqual((self.source.written, self.link.counters.commands), ([], 1))

    def test_behind_one_at_work_when_the_line_ends(self) -> None:
        """Even if the source says that it is done instead of giving up."""
        at_work: Deferred[bool] = Deferred(lambda cancelled: cancelled.callback(True))
        self.source.obey = lambda frame: at_work
        live = self.attached()
        live.send(compact(write_config(AUTO, "1")) + compact(write_config(STOP, "2")))
        live.lose()
        self.assert_comes_back()
        self.assertEqual(self.source.written, [AUTO])

    def test_a_stop_outlives_the_session(self) -> None:
        """Under way or waiting: each is sent once. Only the answer is lost; nothing else that waits is begun."""
        self.source.stops = {STOP}
        stopping: list[Deferred[bool]] = [Deferred(), Deferred()]
        given = list(stopping)
        self.source.obey = lambda frame: given.pop(0)
        live = self.attached()
        for number, frame in enumerate((STOP, STOP, AUTO)):
            live.send(write_config(frame, str(number)))
        live.send({"modulePort": 2, "moduleBaud": 1, "datatype": 1, "uid": "3", "method": "writeConfig"})
        self.assertEqual(self.source.written, [STOP])
        live.lose()
        self.assertEqual(self.source.written, [STOP] * 2)
        self.assert_comes_back()
        with capturedLogs() as events:
            for one in stopping:
                one.callback(True)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn] * 2)
        run(self.clock, 20)
        self.assertEqual((self.source.written, self.source.ports), ([STOP] * 2, []))
        self.assertEqual([self.answers(one) for one in self.server.connections], [[]] * 4)
        self.assertEqual(self.link.counters.commands, 2)

    def test_a_stop_of_a_session_that_never_began(self) -> None:
        self.source.stops = {STOP}
        refused = compact({"method": "LongCon", "message": "no", "retcode": "000006"})
        self.server.replies["LongCon"] = compact(write_config(AUTO)) + compact(write_config(STOP)) + refused
        self.start(0.2)
        self.assertEqual((self.source.written, self.link.counters.online), ([STOP], 0))
        self.server.replies["LongCon"] = compact(write_config(STOP)) + b"nonsense"
        run(self.clock, 3.0)
        self.assertEqual((self.source.written, self.link.counters.online), ([STOP] * 2, 0))

    def test_the_link_does_not_end_before_a_stop(self) -> None:
        self.source.stops = {STOP}
        stopping: Deferred[bool] = Deferred()
        self.source.obey = lambda frame: stopping
        live = self.attached()
        live.send(write_config(STOP))
        stopped = self.link.stopService()
        assert stopped is not None
        run(self.clock, 1.0)
        self.assertTrue(live.gone)
        self.assertNoResult(stopped)
        stopping.callback(True)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many_at_once(self) -> None:
        self.source.obey = lambda frame: Deferred()
        live = self.attached()
        live.send(compact(write_config(AUTO)) * (WAITING_COMMANDS + 1))
        run(self.clock, 0.1)
        self.assertEqual(self.answers(live), [])
        live.send(write_config(f"{AUTO};{STOP}", "2"))
        live.send({"modulePort": 2, "datatype": 1, "uid": "3", "method": "writeConfig"})
        live.send(RESET)
        run(self.clock, 0.5)
        self.assertEqual(
            [(answer["uid"], answer["params"]) for answer in self.answers(live)],
            [("2", f"{AUTO},0;{STOP},0"), ("3", ",0")],
        )
        self.assertEqual((live.gone, live.of("reset"), self.source.written), (False, [], [AUTO]))


class AnswersTests(LinkTestCase):
    """Answers that go out otherwise."""

    def answering(self, *steps: Step) -> Accepted:
        self.prepare(answers=lambda answer: [step._replace(message=step.message and answer) for step in steps])
        return self.attached()

    def times(self, live: Accepted) -> list[float]:
        return [round(time - self.sent_at, 3) for time in live.times_of("writeConfig")]

    def send(self, live: Accepted, order: dict[str, Any] | None = None) -> None:
        live.send(order or write_config(AUTO))
        self.sent_at = self.clock.seconds()

    def test_at_once(self) -> None:
        answer = WriteConfigAnswer(params=AUTO + ",1", hostid=HOSTID, uid="1")
        self.assertEqual(list(at_once(answer)), [Step(0.0, answer)])

    def test_steps_follow_each_other(self) -> None:
        live = self.answering(Step(2.0, ANY), Step(0.0, ANY), Step(0.5, ANY))
        self.send(live)
        run(self.clock, 10)
        self.assertEqual(self.times(live), [2.0, 2.2, 2.5])  # never two in one segment

    def test_the_next_order_does_not_wait_for_a_late_answer(self) -> None:
        live = self.answering(Step(2.0, ANY))
        self.send(live)
        run(self.clock, 1)
        live.send(write_config(STOP, "2"))
        self.assertEqual(self.source.written, [AUTO, STOP])
        run(self.clock, 10)
        self.assertEqual(self.times(live), [2.0, 3.0])

    def test_no_answer(self) -> None:
        live = self.answering()
        self.send(live)
        run(self.clock, 100)
        self.assertEqual((self.times(live), live.gone, self.source.written), ([], False, [AUTO]))

    def test_the_line_is_dropped(self) -> None:
        live = self.answering(Step(0.0, None))
        self.send(live)
        run(self.clock, 0.1)
        self.assertEqual((self.times(live), live.gone, self.source.written), ([], True, [AUTO]))
        self.assert_comes_back()

    def test_nothing_is_carried_out_after_the_end(self) -> None:
        live = self.answering(Step(0.0, None))
        live.send(compact(write_config(AUTO)) + compact(write_config(STOP)))
        self.assertEqual(self.source.written, [AUTO])
        self.assert_comes_back()
        self.assertEqual(self.source.written, [AUTO])

    def test_a_late_answer_ends_with_its_session(self) -> None:
        live = self.answering(Step(50.0, ANY))
        self.send(live)
        live.lose()
        self.assert_comes_back()
        run(self.clock, 100)
        self.assertEqual(self.server.last.of("writeConfig"), [])
        live = self.server.last
        self.send(live)
        stopped = self.link.stopService()
        assert stopped is not None
        run(self.clock, 0.5)
        self.successResultOf(stopped)
        self.assertEqual((self.clock.getDelayedCalls(), live.of("writeConfig")), ([], []))

    def test_a_reset_waits_for_its_answer(self) -> None:
        live = self.answering(Step(5.0, ANY))
        self.send(live, RESET)
        run(self.clock, 4.9)
        self.assertEqual((live.gone, live.of("reset")), (False, []))
        run(self.clock, 0.2)
        self.assertEqual((live.gone, live.of("reset")), (True, [{"method": "reset", "hostid": HOSTID}]))
        self.assert_comes_back()

    def test_a_reset_without_an_answer_is_none(self) -> None:
        live = self.answering()
        self.send(live, RESET)
        run(self.clock, 100)
        self.assertEqual((live.gone, live.of("reset"), len(self.server.connections)), (False, [], 2))


class OrdersTests(SynchronousTestCase):
    """What a login answer means for a session (4.1)."""

    def result(self, **members: Any) -> LoginResult:
        answer = read_from_server(compact(login_answer(**members)))
        assert isinstance(answer, LoginAnswer)
        return answer.result

    def test_period(self) -> None:
        for rate, period in (
            (3000, 3.0),
            (100, 0.1),
            (99, 99.0),
            (5, 5.0),
            (15, 15.0),
            (1, 1.0),
            ("5", 5.0),
            (2.5, 2.5),
            (0.01, 0.1),
            (0, 3.0),
            (-5, 3.0),
            (None, 3.0),
            ("", 3.0),
            ("often", 3.0),
            ([], 3.0),
            (2**53, 3600.0),
            (2**70, 3.0),
        ):
            self.assertEqual(Orders.of(self.result(online_rate=rate)).upload_period, period)

    def test_data_mode(self) -> None:
        for ordered, mode in ((0, 0), (1, 1), (2, 1), (-1, 1)):
            self.assertEqual(Orders.of(self.result(data_mode=ordered)).data_mode, mode)
            self.assertEqual(Orders.of(self.result(data_mode=ordered), 0).data_mode, 0)
            self.assertEqual(Orders.of(self.result(data_mode=ordered), 1).data_mode, 1)

    def test_reset_packet_num(self) -> None:
        self.assertEqual(Orders.of(self.result()).reset_packet_num, 0)
        for ordered, packets in ((1500, 1500), (0, 0), (-1, 0)):
            self.assertEqual(Orders.of(self.result(reset_packet_num=ordered)).reset_packet_num, packets)
