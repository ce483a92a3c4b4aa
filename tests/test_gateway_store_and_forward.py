"""Times without a session: what is kept on disk, and how it gets to the server afterwards."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from sqlite3 import OperationalError
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from cmmd.gateway.link.address import Address
from cmmd.gateway.link.link import Link
from cmmd.gateway.link.source import InputStates
from cmmd.gateway.store_and_forward.backfill import FIRST_WITHIN_S, GAP_S
from cmmd.gateway.store_and_forward.buffer import Buffer, BufferFailed, Kept, Ordered
from cmmd.gateway.store_and_forward.store_and_forward import LONGEST_MENDING_S, OutageTerms
from cmmd.modbus.frames import parse_plan, read_response
from tests.prompt_worker import PromptWorker
from tests.scripted_server import (
    HOSTID,
    LIVE_SERVER,
    LOGIN_SERVER,
    PLAN,
    RESET,
    UPLOAD_ANSWER,
    Accepted,
    ScriptedServer,
    ScriptedSource,
    login_answer,
    refusal,
    run,
)
from tests.test_gateway_link import LinkTestCase
from tests.test_gateway_link_session import AUTO, write_config

START = 1_790_000_000.0
HISTORIC_SERVER = Address("historic.example", 21320)
COILS, FIRST, SECOND = parse_plan(PLAN)
ALL_SENT_S = FIRST_WITHIN_S + 10.0


class OutageTestCase(LinkTestCase):
    """A link that bridges outages.

    :ivar ticks: of the machine; they go on with the clock, and begin at 0 where it is switched on anew.
    """

    def prepare(self, seed: int = 1, **options: Any) -> None:
        self.clock = Clock()
        self.clock.rightNow = START
        self.switched_on = START - 100
        self.boot = "boot"
        self.server = ScriptedServer(self.clock)
        self.source = ScriptedSource()
        self.show(coils=1)
        self.path = Path(self.mktemp())
        self.options = options
        self.make(seed)

    def hang(self) -> list[tuple[Callable[[], Any], Deferred[Any]]]:
        """The disk does not do what it is told, for now; what that is."""
        works: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def wait(work: Callable[[], Any]) -> Deferred[Any]:
            works.append((work, Deferred()))
            return works[-1][1]

        self.hanging = self.patch(self.worker, "run", wait)
        return works

    def make(self, seed: int = 1) -> None:
        """The link anew, as after a restart of the process."""
        terms = {key: self.options.pop(key) for key in ("server_type", "interval_s") if key in self.options}
        self.terms = {**getattr(self, "terms", {}), **terms}
        self.worker = PromptWorker()
        self.buffer = Buffer(self.path, self.worker)
        self.link = Link(
            self.source,
            LOGIN_SERVER,
            clock=self.clock,
            endpoints=self.server.endpoint,
            random=Random(seed),
            outages=OutageTerms(
                buffer=self.buffer,
                ticks=lambda: self.clock.seconds() - self.switched_on,
                boot=self.boot,
                **self.terms,
            ),
            **self.options,
        )

    def restart(self) -> None:
        self.stop()
        self.make()
        self.start()

    def show(self, coils: int = 0, registers: int = 0) -> None:
        """What the next polls read."""
        frames = [read_response(COILS, coils.to_bytes(12, "little"))]
        frames += [read_response(request, registers.to_bytes(2, "big") * request.count) for request in (FIRST, SECOND)]
        self.source.full = ";".join(frames)

    def online(self) -> Accepted:
        """Start, and be attached for a while."""
        live = self.attached(30)
        self.assertEqual(self.buffer.rows, 0)
        return live

    def polled(self) -> float:
        """When the last upload was polled."""
        return self.server.last.times_of("reqdata")[-1]

    def outage(self, seconds: float) -> None:
        """No server for so long."""
        self.server.accepting = False
        if self.server.connections and not self.server.last.gone:
            self.server.last.lose()
        run(self.clock, seconds)

    def back(self, seconds: float = 60.0) -> Accepted:
        """The server is there again; the live connection, after a while."""
        before = len(self.server.connections)
        self.server.accepting = True
        run(self.clock, seconds)
        return next(one for one in self.server.connections[before:] if one.address == LIVE_SERVER)

    def until(self, holds: Callable[[], object]) -> None:
        """Let time pass until something holds."""
        end = self.clock.seconds() + 60
        while not holds():
            run(self.clock, 0.1)
            self.assertLess(self.clock.seconds(), end, "it does not happen")

    def answer_time(self, offset_s: float = 0.0) -> None:
        self.server.replies["timing"] = lambda _: {
            "method": "timing",
            "message": "ok",
            "retcode": "000000",
            "result": str(int((self.clock.seconds() + self.server.latency / 2 + offset_s) * 1000)),
        }

    def history(self) -> list[dict[str, Any]]:
        """All uploads that said when they were, in the order they were sent."""
        found = []
        for connection in self.server.connections:
            for time, message in zip(connection.times, connection.received, strict=True):
                if "itime" in message:
                    found.append((time, message))
        return [message for _, message in sorted(found, key=lambda pair: pair[0])]

    def uploads(self, live: Accepted) -> list[tuple[float, dict[str, Any]]]:
        """What was uploaded on a connection, and when."""
        return list(zip(live.times_of("reqdata"), live.of("reqdata"), strict=True))

    def ages(self, since: float) -> list[float]:
        """When they were, in seconds after a moment."""
        return [round(message["itime"] / 1000 - since, 2) for message in self.history()]

    def warnings(self, events: Any) -> list[str]:
        return [event["log_format"] for event in events if event["log_level"] is not LogLevel.info]


class RecordingTests(OutageTestCase):
    def test_at_an_interval(self) -> None:
        self.online()
        asked = self.polled()
        self.outage(600)
        self.assertEqual(self.buffer.rows, 10)
        assert self.link.outages is not None
        self.assertEqual(self.link.outages.recorder.kept, 10)
        self.back()
        self.assertEqual(self.ages(asked), [3.0 + 60 * n for n in range(10)])

    def test_another_interval(self) -> None:
        self.prepare(interval_s=10.0)
        self.online()
        self.outage(60)
        self.assertEqual(self.buffer.rows, 5, "every 12 s: the steps of 3 s in which 10 s are over")

    def test_whenever_a_coil_changed(self) -> None:
        self.online()
        asked = self.polled()
        self.outage(10)
        for coils, registers in ((3, 0), (3, 7), (1, 7), (1, 9)):
            self.show(coils, registers)
            run(self.clock, 6)
        self.back()
        self.assertEqual(self.ages(asked), [3, 12, 24], "and not when a register did")
        self.assertEqual([one["params"][6:8] for one in self.history()], ["01", "03", "01"])

    def test_a_coil_that_flaps(self) -> None:
        self.server.replies["login"] = login_answer(online_rate=100)
        self.online()
        self.server.accepting = False
        self.server.last.lose()
        for step in range(100):
            self.show(step % 2)
            run(self.clock, 0.1)
        self.assertIn(self.buffer.rows, (9, 10, 11), "one a second")

    def test_a_frame_of_coils_that_is_missing_is_no_change(self) -> None:
        self.online()
        self.outage(10)
        whole = self.source.full
        for _ in range(3):
            self.source.full = ";".join(whole.split(";")[1:])
            run(self.clock, 3)
            self.source.full = whole
            run(self.clock, 3)
        self.assertEqual(self.buffer.rows, 1)

    def test_nothing_read_is_nothing_kept(self) -> None:
        self.online()
        self.source.full = ""
        self.outage(300)
        self.assertEqual(self.buffer.rows, 0)

    def test_inputs_when_they_change(self) -> None:
        self.source.input_states = InputStates(0, 0, None, None)
        self.online()
        self.outage(10)
        self.source.input_states = InputStates(0, 1, None, None)
        run(self.clock, 30)
        self.back()
        self.assertEqual([one["method"] for one in self.history()], ["reqdata", "reqdatachange"] * 2)
        first, second = self.history()[1::2]
        self.assertEqual([one["itime"] for one in self.history()[::2]], [first["itime"], second["itime"]])
        self.assertEqual((first["params"], first["AccessAlarm"], first["FireAlarm"]), ({}, 0, 0))
        self.assertEqual((second["FireAlarm"], "AlarmInput" in second), (1, False))

    def test_each_outage_begins_anew(self) -> None:
        self.online()
        for _ in range(3):
            self.outage(10)
            self.assertEqual(self.buffer.rows, 1)
            self.back()
            self.assertEqual(self.buffer.rows, 0)

    def test_a_short_interruption_is_none(self) -> None:
        live = self.online()
        live.lose()
        run(self.clock, 30)
        self.server.last.send(RESET)
        run(self.clock, 30)
        self.assertEqual((self.link.counters.online, self.history()), (1, []))

    def test_polling_goes_on_as_ordered_and_ends_with_the_session(self) -> None:
        polls: list[float] = []
        source = self.source

        async def upload() -> str:
            polls.append(self.clock.seconds())
            return source.full

        self.patch(source, "full_upload", upload)
        self.server.replies["login"] = login_answer(online_rate=5000)
        self.online()
        self.outage(1)
        polls.clear()
        run(self.clock, 100)
        self.assertEqual(len(polls), 20)
        self.back()
        polls.clear()
        run(self.clock, 100)
        self.assertEqual(len(polls), 20, "once a step, not twice")

    def test_while_the_server_refuses_logins(self) -> None:
        self.online()
        self.server.replies["login"] = {**login_answer(register=0), "retcode": "000005"}
        self.server.last.lose()
        run(self.clock, 130)
        self.assertEqual(self.buffer.rows, 3)

    def test_while_logins_are_taken_and_nothing_else(self) -> None:
        self.online()
        self.server.replies["LongCon"] = refusal("LongCon", "000006")
        self.server.last.lose()
        run(self.clock, 600)
        self.assertIn(self.buffer.rows, (9, 10))

    def test_attempts_that_come_more_often_than_polls(self) -> None:
        self.server.replies["login"] = login_answer(online_rate=60_000)
        self.start(100)
        self.server.replies["LongCon"] = refusal("LongCon", "000006")
        self.server.last.lose()
        run(self.clock, 610)
        self.assertIn(self.buffer.rows, (9, 10))

    def test_another_plan_meanwhile(self) -> None:
        self.online()
        self.server.replies["LongCon"] = refusal("LongCon", "000006")
        self.server.last.lose()
        run(self.clock, 70)
        one = PLAN.split(";")[0]
        self.server.replies["login"] = login_answer(para_command=one)
        run(self.clock, 70)
        self.source.full = self.source.full.split(";")[0]
        run(self.clock, 120)
        self.server.replies["LongCon"] = {"method": "LongCon", "message": "OK", "retcode": "000000"}
        kept = self.buffer.rows
        run(self.clock, 60)
        assert self.link.outages is not None
        historian = self.link.outages.historian
        self.assertEqual(historian.outdated + historian.sent, self.link.outages.recorder.kept)
        self.assertGreaterEqual(min(historian.outdated, historian.sent), 2)
        self.assertGreaterEqual(historian.outdated + historian.sent, kept)

    def test_a_disk_that_fails_is_told_once_and_survived(self) -> None:
        self.online()
        self.worker.fails = OSError(28, "No space left on device")
        with capturedLogs() as events:
            self.outage(300)
        self.assertEqual(len([one for one in self.warnings(events) if "not kept" in one]), 1)
        self.worker.fails = None
        run(self.clock, 120)
        self.assertEqual(self.buffer.rows, 2)
        assert self.link.outages is not None
        self.assertEqual(self.link.outages.recorder.failed, 5)

    def test_a_bug_in_the_source_is_told_and_survived(self) -> None:
        self.online()
        self.outage(10)

        async def upload() -> str:
            return str(1 // 0)

        patch = self.patch(self.source, "full_upload", upload)
        run(self.clock, 6)
        patch.restore()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        run(self.clock, 60)
        self.assertEqual(self.buffer.rows, 2)


class StartTests(OutageTestCase):
    """A start without a server."""

    def test_as_ordered_before(self) -> None:
        self.server.replies["login"] = login_answer(online_rate=5000)
        self.online()
        self.stop()
        self.make()
        self.server.accepting = False
        self.source.followed.clear()
        self.start(125)
        self.assertEqual(self.source.followed, [(PLAN, 1)])
        self.assertEqual(self.buffer.rows, 3)
        self.back(60)
        self.assertEqual((len(self.history()), self.buffer.rows), (3, 0))

    def test_where_nothing_was_ever_ordered(self) -> None:
        self.server.accepting = False
        self.start(300)
        self.assertEqual((self.source.followed, self.buffer.rows), ([], 0))

    def test_what_was_kept_before_is_sent_after(self) -> None:
        self.online()
        self.outage(70)
        self.restart()
        run(self.clock, 70)
        self.assertEqual(self.buffer.rows, 4)
        self.back()
        self.assertEqual(self.buffer.rows, 0)
        times = [one["itime"] for one in self.history()]
        self.assertEqual((len(times), times), (4, sorted(times)))

    def test_a_plan_that_makes_no_sense_any_more(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.buffer.open()))
        self.successResultOf(Deferred.fromCoroutine(self.buffer.remember(Ordered("nonsense", 3.0))))
        self.successResultOf(Deferred.fromCoroutine(self.buffer.close()))

        def follow(plan: str, data_mode: int) -> None:
            raise ValueError("nonsense")

        patch = self.patch(self.source, "follow", follow)
        self.server.accepting = False
        with capturedLogs() as events:
            self.start(10)
        self.assertEqual(len([one for one in self.warnings(events) if "makes no sense" in one]), 1)
        patch.restore()
        self.back(10)
        self.assertEqual(self.link.counters.online, 1)

    def test_a_buffer_that_cannot_be_opened(self) -> None:
        """It is tried again, as often as it takes."""
        self.path = Path(self.mktemp()) / "missing" / "file"
        self.make()
        with capturedLogs() as events:
            self.attached(30)
            self.outage(300)
        self.assertEqual(self.buffer.rows, 0)
        self.assertEqual(len([one for one in self.warnings(events) if "opened again" in one]), 1)
        self.path.parent.mkdir(parents=True)
        with capturedLogs() as events:
            run(self.clock, LONGEST_MENDING_S)
        self.assertEqual(
            [event["log_format"] for event in events], ["the buffer is open again", "uploads are kept again"]
        )
        self.assertGreater(self.buffer.rows, 0)
        self.back()
        self.assertEqual((self.link.counters.online, self.buffer.rows), (1, 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_buffer_that_is_locked_at_the_start(self) -> None:
        """Its plan is what is polled by when it can be read; and what waits in it is sent."""
        self.online()
        self.outage(100)
        self.stop()
        self.make()
        self.worker.fails = OperationalError("database is locked")
        self.start(30)
        self.assertEqual((self.buffer.rows, self.source.followed[-1]), (0, (PLAN, 1)))
        self.source.followed.clear()
        self.worker.fails = None
        run(self.clock, 30)
        self.assertEqual(self.source.followed, [(PLAN, 1)])
        self.assertEqual(self.buffer.rows, 3)
        self.back()
        self.assertEqual((len(self.history()), self.buffer.rows), (3, 0))

    def test_a_buffer_that_is_locked_until_the_session_stands(self) -> None:
        self.online()
        self.outage(100)
        self.stop()
        self.make()
        self.worker.fails = OperationalError("database is locked")
        self.server.accepting = True
        self.start(30)
        self.assertEqual((self.link.counters.online, self.history()), (1, []))
        self.worker.fails = None
        run(self.clock, 90)
        self.assertEqual((len(self.history()), self.buffer.rows, len(self.source.followed)), (2, 0, 2))

    def test_a_plan_that_could_not_be_remembered(self) -> None:
        self.worker.fails = OSError(30, "Read-only file system")
        self.attached(10)
        self.worker.fails = None
        run(self.clock, 60)
        self.stop()
        self.make()
        self.server.accepting = False
        self.source.followed.clear()
        self.start(100)
        self.assertEqual((self.source.followed, self.buffer.rows), ([(PLAN, 1)], 2))

    def test_a_buffer_that_is_gone_after_the_start(self) -> None:
        """Deleted, or on a disk that was taken out: it is opened anew where it belongs."""
        self.online()
        self.path.unlink()
        self.outage(300)
        self.assertGreater(self.buffer.rows, 2)
        self.assertTrue(self.path.exists())
        self.back()
        self.assertEqual(self.buffer.rows, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_disk_that_is_full_for_uploads_only(self) -> None:
        """It can be opened, which does not mean that it can be used."""
        self.online()

        def no(_: object) -> None:
            raise OperationalError("database or disk is full")

        async def add(kept: Kept) -> Kept:
            await self.buffer._do(no)
            return kept

        full = self.patch(self.buffer, "add", add)
        opened: list[float] = []
        buffer_open = self.buffer.open

        async def noting() -> Ordered | None:
            opened.append(self.clock.seconds())
            return await buffer_open()

        self.patch(self.buffer, "open", noting)
        with capturedLogs() as events:
            self.outage(3600)
            self.assertEqual(len([one for one in self.warnings(events) if "is not kept" in one]), 1)
            self.assertEqual([event["log_format"] for event in events][-1], "the buffer is open again")
            self.assertLess(len(opened), 25)
            full.restore()
            run(self.clock, 120)
        said = [event["log_format"] for event in events if "again" in event["log_format"]]
        self.assertEqual(said, ["the buffer is open again", "uploads are kept again"])
        self.assertEqual(self.buffer.rows, 2)
        self.patch(self.worker, "fails", OperationalError("database is locked"))
        opened.clear()
        run(self.clock, 70)
        self.assertGreater(len(opened), 1, "the next trouble begins with short waits")

    def test_a_disk_that_stays_full_is_not_tried_all_the_time(self) -> None:
        self.online()
        self.worker.fails = OSError(28, "No space left on device")
        works = 0
        work = self.worker.run

        def counting(what: Callable[[], Any]) -> Deferred[Any]:
            nonlocal works
            works += 1
            return work(what)

        self.patch(self.worker, "run", counting)
        self.outage(3600)
        self.assertLess(works, 60 + 30)
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SendingTests(OutageTestCase):
    """On the live address, which is the historic one, too."""

    def test_between_the_live_uploads(self) -> None:
        self.online()
        self.outage(300)
        self.assertEqual(self.buffer.rows, 5)
        live = self.back()
        self.assertEqual([one.address for one in self.server.connections[-2:]], [LOGIN_SERVER, LIVE_SERVER])
        dated = [message for message in live.of("reqdata") if "itime" in message]
        self.assertEqual(dated, self.history())
        self.assertEqual(len(dated), 5)
        self.assertEqual(set(dated[0]), {"method", "params", "hostid", "itime"})
        self.assertEqual(dated[0]["hostid"], HOSTID)
        at = [
            time for time, one in zip(live.times_of("reqdata"), live.of("reqdata"), strict=True) if "itime" not in one
        ]
        self.assertGreater(len(at), 15)
        for place, time in enumerate(at):
            self.assertLess(abs(time - at[0] - 3 * place), 0.1, "live uploads are hardly late")
        self.assertEqual(self.link.counters.uploads + 5, sum(len(c.of("reqdata")) for c in self.server.connections))

    def test_one_at_a_time_paced_and_each_only_after_the_answer(self) -> None:
        self.online()
        self.outage(300)
        self.server.latency = 0.4
        live = self.back()
        times = [one["itime"] for one in self.history()]
        self.assertEqual(times, sorted(set(times)))
        dated = [time for time, one in self.uploads(live) if "itime" in one]
        for earlier, later in pairwise(dated):
            self.assertGreaterEqual(later - earlier, 0.4 + GAP_S - 0.001)
        self.assertEqual(self.buffer.rows, 0)

    def test_devices_do_not_come_in_step(self) -> None:
        firsts = set()
        for seed in range(10):
            self.prepare(seed)
            self.online()
            self.outage(60)
            live = self.back()
            firsts.add(
                next(t for t, one in zip(live.times, live.received, strict=True) if "itime" in one) - live.times[0]
            )
            self.stop()
        self.assertEqual(len(firsts), 10)
        self.assertGreater(max(firsts) - min(firsts), 3)

    def test_what_is_not_answered_is_not_removed(self) -> None:
        self.online()
        self.outage(300)
        answered = 0

        def answer(connection: Accepted) -> dict[str, Any] | None:
            nonlocal answered
            if "itime" in connection.received[-1]:
                answered += 1
                if answered == 3:
                    connection.lose()
                    return None
            return UPLOAD_ANSWER

        self.server.replies["reqdata"] = answer
        self.server.accepting = True
        self.until(lambda: answered == 3)
        self.assertEqual(self.buffer.rows, 3)
        run(self.clock, 60)
        self.assertEqual(self.buffer.rows, 0)
        times = [one["itime"] for one in self.history()]
        self.assertEqual(times[2], times[3], "the third one twice")
        self.assertEqual(times[3:], sorted(set(times[3:])))

    def test_try_again_later(self) -> None:
        self.try_again("000006")

    def test_a_code_that_nobody_knows_is_not_for_good(self) -> None:
        self.try_again("123456")

    def try_again(self, retcode: str) -> None:
        self.online()
        self.outage(300)
        self.server.replies["reqdata"] = lambda connection: (
            refusal("reqdata", retcode) if "itime" in connection.received[-1] else UPLOAD_ANSWER
        )
        with capturedLogs() as events:
            live = self.back(600)
        self.assertFalse(live.gone)
        self.assertEqual(self.buffer.rows, 5)
        self.assertIn(len(self.history()), range(5, 12), "with back-off")
        self.assertEqual(len([one for one in self.warnings(events) if "kept uploads wait" in one]), 1)
        self.server.replies["reqdata"] = UPLOAD_ANSWER
        run(self.clock, 310)
        self.assertEqual((self.buffer.rows, live.gone), (0, False))

    def test_what_the_server_does_not_want_holds_up_nothing(self) -> None:
        self.answer_time()
        self.online()
        self.outage(300)
        self.server.replies["reqdata"] = lambda connection: (
            refusal("reqdata", "000001") if "itime" in connection.received[-1] else UPLOAD_ANSWER
        )
        with capturedLogs() as events:
            live = self.back()
        assert self.link.outages is not None
        historian = self.link.outages.historian
        self.assertEqual((self.buffer.rows, historian.refused, historian.sent, live.gone), (0, 5, 0, False))
        self.assertEqual(len([one for one in self.warnings(events) if "refuses a kept" in one]), 1)

    def test_what_is_still_on_its_way_to_the_disk(self) -> None:
        self.online()
        works = self.hang()
        self.outage(4)
        self.assertEqual((len(works), self.buffer.rows), (1, 0))
        self.back()
        self.assertEqual(self.history(), [])
        self.hanging.restore()
        for work, done in works:
            done.callback(work())
        run(self.clock, FIRST_WITHIN_S + 3)
        self.assertEqual((len(self.history()), self.buffer.rows), (1, 0))
        assert self.link.outages is not None
        self.assertEqual(self.link.outages.recorder.kept, 1, "counted, though nobody waited for it any more")

    def test_what_cannot_be_removed_is_not_sent_again(self) -> None:
        self.online()
        self.outage(300)

        async def remove(kept: Kept) -> None:
            raise BufferFailed("No space left on device")

        patch = self.patch(self.buffer, "remove", remove)
        with capturedLogs() as events:
            live = self.back(600)
        assert self.link.outages is not None
        self.assertEqual((len(self.history()), self.link.outages.historian.sent, self.buffer.rows), (1, 1, 5))
        self.assertEqual(len([one for one in self.warnings(events) if "kept uploads wait" in one]), 1)
        patch.restore()
        run(self.clock, 310)
        self.assertEqual((len(self.history()), self.buffer.rows, live.gone), (5, 0, False))

    def test_a_server_that_does_not_know_us_any_more(self) -> None:
        self.online()
        self.outage(300)
        self.server.replies["reqdata"] = lambda connection: (
            refusal("reqdata", "000003") if "itime" in connection.received[-1] else UPLOAD_ANSWER
        )
        self.server.accepting = True
        self.until(self.history)
        live = self.server.last
        self.until(lambda: live.gone)
        self.assertEqual((len(self.history()), self.buffer.rows), (1, 5))
        self.assert_comes_back(31)

    def test_another_plan(self) -> None:
        """Nobody could tell the frames apart."""
        self.online()
        self.outage(300)
        self.server.replies["login"] = login_answer(para_command=PLAN.split(";")[0])
        with capturedLogs() as events:
            self.back()
        self.assertEqual((self.history(), self.buffer.rows), ([], 5))
        assert self.link.outages is not None
        self.assertEqual(self.link.outages.historian.outdated, 5)
        self.assertEqual(len([one for one in self.warnings(events) if "another polling plan" in one]), 1)
        self.server.replies["login"] = login_answer()
        self.server.last.lose()
        self.back()
        self.assertEqual((len(self.history()), self.buffer.rows, self.link.outages.historian.outdated), (5, 0, 0))

    def test_no_plan_at_all_takes_nothing(self) -> None:
        self.online()
        self.outage(300)
        self.server.replies["login"] = login_answer(para_command="")
        self.back()
        self.assertEqual((self.history(), self.buffer.rows), ([], 5))

    def test_the_same_plan_written_otherwise(self) -> None:
        self.online()
        self.outage(300)
        self.server.replies["login"] = login_answer(para_command=PLAN.lower().rstrip(";") + ";")
        self.back()
        self.assertEqual((len(self.history()), self.buffer.rows), (5, 0))

    def test_those_of_another_plan_hold_up_nothing(self) -> None:
        self.online()
        self.outage(300)
        self.server.replies["login"] = login_answer(para_command=PLAN.split(";")[0])
        self.source.full = self.source.full.split(";")[0]
        self.back()
        self.outage(130)
        self.assertEqual(self.buffer.rows, 8)
        self.back()
        self.assertEqual((len(self.history()), self.buffer.rows), (3, 5))

    def test_a_server_that_is_no_cmmd(self) -> None:
        """It would take old values for new ones."""
        self.prepare(server_type="other")
        self.online()
        self.outage(300)
        with capturedLogs() as events:
            live = self.back(1800)
        self.assertEqual((self.history(), self.buffer.rows, live.gone), ([], 5, False))
        self.assertEqual([event["count"] for event in events if "kept uploads wait" in event["log_format"]], [5])

    def test_stop_in_the_middle(self) -> None:
        self.online()
        self.outage(300)
        self.server.accepting = True
        self.until(lambda: len(self.history()) == 2)
        self.stop()
        self.assertIn(self.buffer.rows, (3, 4))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OwnAddressTests(OutageTestCase):
    """To a historic address of its own."""

    def prepare(self, seed: int = 1, **options: Any) -> None:
        super().prepare(seed, **options)
        self.server.replies["login"] = login_answer(historic=str(HISTORIC_SERVER))

    def historic(self) -> list[Accepted]:
        return [one for one in self.server.connections if one.address == HISTORIC_SERVER]

    def test_on_a_connection_of_its_own_that_ends_when_all_is_sent(self) -> None:
        for server_type in ("cmmd", "other"):
            with self.subTest(server_type):
                self.prepare(server_type=server_type)
                self.online()
                self.assertEqual(self.historic(), [])
                self.outage(300)
                live = self.back()
                (connection,) = self.historic()
                self.assertEqual(connection.methods, ["LongCon"] + ["reqdata"] * 5)
                self.assertEqual(connection.of("reqdata"), self.history())
                self.assertTrue(connection.gone)
                self.assertTrue(connection.disconnecting, "in good order")
                self.assertEqual((self.buffer.rows, live.gone), (0, False))
                self.stop()

    def test_trouble_there_is_none_of_the_live_connection(self) -> None:
        for trouble in ("refused", "silent", "nonsense", "lost", "unknown"):
            with self.subTest(trouble):
                self.prepare()
                self.online()
                self.outage(300)
                replies: dict[str, Any] = {
                    "silent": None,
                    "nonsense": b"nonsense",
                    "lost": lambda connection: connection.lose(),
                    "unknown": refusal("LongCon", "000003"),
                }
                accept = self.server.accept

                def refuse(address: Address, factory: Any, accept: Any = accept) -> Any:
                    self.server.accepting = address != HISTORIC_SERVER
                    return accept(address, factory)

                def reply(connection: Accepted, trouble: str = trouble, replies: Any = replies) -> Any:
                    if connection.address != HISTORIC_SERVER:
                        return {"method": "LongCon", "message": "OK", "retcode": "000000"}
                    answer = replies[trouble]
                    return answer(connection) if callable(answer) else answer

                if trouble == "refused":
                    self.patch(self.server, "accept", refuse)
                else:
                    self.server.replies["LongCon"] = reply
                with capturedLogs() as events:
                    live = self.back(400)
                self.assertEqual((live.gone, self.buffer.rows), (False, 5))
                self.assertEqual(len([one for one in self.warnings(events) if "kept uploads wait" in one]), 1)
                self.assertLess(len(self.historic()), 15, "with back-off")
                self.server.accept = accept  # type: ignore[method-assign]
                self.server.accepting = True
                self.server.replies["LongCon"] = {"method": "LongCon", "message": "OK", "retcode": "000000"}
                run(self.clock, 400)
                self.assertEqual((live.gone, self.buffer.rows), (False, 0))
                self.assertEqual(self.flushLoggedErrors(), [])
                self.stop()

    def test_orders_that_come_there_are_obeyed_and_answered_there(self) -> None:
        obeying: list[Deferred[bool]] = []

        def obey(frame: str) -> Deferred[bool]:
            obeying.append(Deferred())
            return obeying[-1]

        self.source.obey = obey
        self.online()
        self.outage(10)
        self.server.accepting = True
        self.until(self.historic)
        live = next(one for one in reversed(self.server.connections) if one.address == LIVE_SERVER)
        (connection,) = self.historic()
        connection.send(write_config(AUTO))
        run(self.clock, 5)
        self.assertEqual((connection.gone, self.buffer.rows), (False, 0), "it stands until that is answered")
        obeying[0].callback(True)
        run(self.clock, 1)
        self.assertEqual(connection.of("writeConfig")[0]["params"], AUTO + ",1")
        self.assertEqual((live.of("writeConfig"), connection.gone), ([], True))
        self.assertEqual(self.source.written, [AUTO])

    def test_an_order_whose_connection_has_gone_is_not_answered_elsewhere(self) -> None:
        obeying: list[Deferred[bool]] = []

        def obey(frame: str) -> Deferred[bool]:
            obeying.append(Deferred())
            return obeying[-1]

        self.source.obey = obey
        self.online()
        self.outage(10)
        self.server.accepting = True
        self.until(self.historic)
        live = next(one for one in reversed(self.server.connections) if one.address == LIVE_SERVER)
        self.historic()[0].send(write_config(AUTO))
        self.historic()[0].lose()
        obeying[0].callback(True)
        run(self.clock, 100)
        self.assertEqual((live.of("writeConfig"), live.gone, self.source.written), ([], False, [AUTO]))

    def test_the_end_of_the_session_is_its_end(self) -> None:
        self.online()
        self.outage(300)
        self.server.accepting = True
        self.until(self.history)
        live = next(one for one in reversed(self.server.connections) if one.address == LIVE_SERVER)
        live.lose()
        run(self.clock, 0.1)
        self.assertTrue(self.historic()[0].gone)
        run(self.clock, 60)
        self.assertEqual((self.buffer.rows, self.link.counters.online), (0, 1))

    def test_an_address_that_is_none(self) -> None:
        """Then the live one serves."""
        self.server.replies["login"] = login_answer(historic="")
        self.online()
        self.outage(300)
        self.back()
        self.assertEqual((len(self.history()), self.buffer.rows, self.historic()), (5, 0, []))


class TimeTests(OutageTestCase):
    """When it was, although the box did not know (``itime``)."""

    def calendar(self, wrong_by_s: float) -> None:
        self.wrong_by_s = wrong_by_s
        self.options["now"] = lambda: self.clock.seconds() + self.wrong_by_s
        self.make()

    def test_a_box_that_wakes_up_in_1970(self) -> None:
        self.calendar(-START)
        self.online()
        asked = self.polled()
        self.outage(150)
        self.wrong_by_s = 0.0  # the network tells it better
        self.back()
        self.assertEqual(self.ages(asked), [3, 63, 123])

    def test_a_box_that_nobody_tells_but_the_server(self) -> None:
        self.calendar(-START)
        self.answer_time()
        self.online()
        asked = self.clock.seconds()
        self.outage(150)
        self.back()
        self.assertEqual([round(age) for age in self.ages(asked)], [3, 63, 123])

    def test_not_before_the_server_has_answered_what_time_it_is(self) -> None:
        self.calendar(86_400.0)
        self.online()
        asked = self.clock.seconds()
        self.outage(150)
        self.server.replies["timing"] = None
        live = self.back(FIRST_WITHIN_S + 10)
        self.assertEqual((live.of("timing") != [], live.gone, self.history()), (True, False, []))
        live.send({"method": "timing", "retcode": "000000", "result": str(int(self.clock.seconds() * 1000))})
        run(self.clock, 10)
        self.assertEqual(len(self.history()), 3)
        for age, expected in zip(self.ages(asked), (3, 63, 123), strict=True):
            self.assertLess(abs(age - expected), 15, "half of the long way of the answer")

    def test_a_box_that_is_told_between_the_question_and_the_answer(self) -> None:
        self.calendar(-START)
        self.answer_time()
        self.online()
        asked = self.clock.seconds()
        self.outage(150)
        self.server.latency = 1.0

        def answer(_: Accepted) -> dict[str, Any]:
            self.wrong_by_s = 0.0
            return {"method": "timing", "retcode": "000000", "result": str(int((self.clock.seconds() + 0.5) * 1000))}

        self.server.replies["timing"] = answer
        self.back()
        self.assertEqual(self.wrong_by_s, 0.0)
        for age, expected in zip(self.ages(asked), (3, 63, 123), strict=True):
            self.assertLess(abs(age - expected), 1)
        assert self.link.clock_offset is not None
        self.assertLess(abs(self.link.clock_offset), 1)

    def test_a_time_that_is_still_to_come_by_the_servers_clock(self) -> None:
        """It is not refused for good: a server's clock is put right, too."""
        for first_s, then_s in ((86_400.0, 0.0), (-START, -START)):
            with self.subTest(first_s=first_s):
                self.prepare()
                self.server_s = first_s

                def answer(connection: Accepted) -> dict[str, Any]:
                    ahead = connection.received[-1].get("itime", 0) / 1000 > self.clock.seconds() + self.server_s + 60
                    return refusal("reqdata", "000001") if ahead else UPLOAD_ANSWER

                self.answer_time(first_s)
                self.online()
                asked = self.clock.seconds()
                self.outage(150)
                before = self.server.last
                self.server.accepting = True
                self.until(lambda: self.server.last is not before and self.server.last.of("timing"))  # noqa: B023
                run(self.clock, 0.1)
                self.server.replies["reqdata"] = answer
                self.server_s = then_s
                self.answer_time(then_s)
                run(self.clock, 300)
                self.server_s = 0.0
                self.answer_time()
                run(self.clock, 400)
                assert self.link.outages is not None
                historian = self.link.outages.historian
                self.assertEqual((self.buffer.rows, historian.sent, historian.refused), (0, 3, 0))
                self.assertGreater(len(self.history()), 3, "some were refused")
                self.assertEqual([round(age) for age in self.ages(asked)[-3:]], [3, 63, 123])
                self.stop()

    def test_a_box_that_nobody_tells(self) -> None:
        """It keeps what it has until somebody does."""
        self.calendar(-START)
        self.online()
        self.outage(150)
        with capturedLogs() as events:
            self.back(1000)
        self.assertEqual((self.history(), self.buffer.rows), ([], 3))
        self.assertEqual(len([event for event in events if "what time it is" in event.get("trouble", "")]), 1)
        self.wrong_by_s = 0.0
        run(self.clock, 310)
        self.assertEqual((len(self.history()), self.buffer.rows), (3, 0))

    def test_what_nobody_can_date_any_more_is_dropped(self) -> None:
        self.calendar(-START)
        self.online()
        self.outage(150)
        self.stop()
        self.switched_on = self.clock.seconds()
        self.boot = "another"
        self.calendar(0.0)
        with capturedLogs() as events:
            self.start(0)
            self.back(30)
        self.assertEqual((self.history(), self.buffer.rows), ([], 0))
        self.assertEqual(len([one for one in self.warnings(events) if "its time is unknown" in one]), 1)
        assert self.link.outages is not None
        self.assertEqual(self.link.outages.historian.undated, 3)

    def test_a_power_cut_with_a_clock_that_is_right(self) -> None:
        self.online()
        asked = self.polled()
        self.outage(150)
        self.stop()
        run(self.clock, 3600)
        self.switched_on = self.clock.seconds()
        self.boot = "another"
        self.make()
        self.start(0)
        self.back(30)
        self.assertEqual(self.ages(asked), [3, 63, 123])
