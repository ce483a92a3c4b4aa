"""Commands to devices by cmmctl: sent once or not at all, asked about first, never called done when nobody knows."""

from typing import Any

from twisted.internet.defer import Deferred, succeed

from cmmd.cli.exit_status import ADVICE, BY_OUTCOME
from cmmd.fleet.devices.presence import Lost, NoAnswer, NotSent
from cmmd.fleet.service.records import Ended
from cmmd.wire.messages import WriteConfigAnswer
from tests.cli_world import Called, CmmctlTestCase, Terminal
from tests.control_world import until
from tests.uploads import HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID

AUTO = "00050003FF007DEB"


class _TestCase(CmmctlTestCase):
    def upload(self, **registers: int) -> None:
        given = {int(name[1:]): value for name, value in registers.items()}
        self.control.fleet.uploads.full(full_upload({**STANDBY, **given}), HGM6120N_PLAN, historic=False)


class OutcomeTests(_TestCase):
    async def answered(self, *arguments: str, status: int = 1) -> Called:
        asked = self.begin(*arguments)
        (await self.sent()).obeyed(status)
        return await asked

    async def test_done_and_confirmed(self) -> None:
        asked = self.begin("--json", "send", HOSTID, "auto")
        (await self.sent()).obeyed()
        self.upload()
        called = await asked
        self.assertEqual((called.status, called.err), (0, ""))
        result = called.json
        self.assertEqual((result["outcome"], result["confirmed"], result["reply"]), ("done", True, f"{AUTO},1"))
        self.assertEqual((result["hostid"], result["kind"], result["name"]), (HOSTID, "modbus", "auto"))
        (kept,) = (await self.done("--json", "commands", HOSTID)).json
        self.assertEqual((kept["number"], kept["uid"]), (result["commandId"], result["uid"]))

    async def test_done_and_not_recorded(self) -> None:
        self.patch(self.control.fleet.journal, "recorded", lambda: succeed(False))
        for words, said in ((("--json",), '"recorded":false'), ((), "not recorded yet")):
            self.control.sent.clear()
            asked = self.begin(*words, "send", HOSTID, "stop", "--confirm", "0")
            (await self.sent()).obeyed()
            called = await asked
            self.assertEqual(called.status, 0, called.err)
            self.assertIn(said, called.out)

    async def test_shown_before_the_answer(self) -> None:
        asked = self.begin("send", HOSTID, "auto")
        sent = await self.sent()
        self.upload()
        sent.obeyed()
        called = await asked
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn(f"auto to {HOSTID}: done, confirmed (command 1, ", called.out)

    async def test_not_shown(self) -> None:
        asked = self.begin("send", HOSTID, "auto")
        (await self.sent()).obeyed()
        await until(lambda: self.control.dispatch.confirmations.of(HOSTID))
        self.control.clock.advance(31)
        called = await asked
        self.assertEqual(called.status, 0)
        self.assertIn("done, but later uploads do not show it", called.out)

    async def test_not_shown_in_time(self) -> None:
        called = await self.answered("send", HOSTID, "auto", "--confirm", "0.05")
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn("done, not confirmed within 0.05 s", called.out)

    async def test_nobody_waits_for_it_to_show(self) -> None:
        called = await self.answered("--json", "send", HOSTID, "auto", "--confirm", "0")
        self.assertEqual((called.status, called.json["confirmed"]), (0, None))

    async def test_not_offered(self) -> None:
        self.control.world.register(moduletype="HGM6110N")
        called = await self.call("send", HOSTID, "stop", "--yes")
        self.assertEqual((called.status, called.err[-18:]), (1, "[unknown_command]\n"))
        self.assertIn("hgm6110n: stop is not offered: no commands are verified for this model", called.err)
        called = await self.done("show", HOSTID)
        self.assertIn("not offered", called.out)
        called = await self.done("--json", "device", HOSTID, "set", "profile=hgm6110n")
        self.assertEqual((called.json["withheld"], called.json["commands"][1]["name"]), ({}, "stop"))

    async def test_refused(self) -> None:
        called = await self.answered("send", HOSTID, "auto", status=0)
        self.assertEqual((called.status, called.err), (1, ""))
        self.assertIn(f"refused: {AUTO},0", called.out)

    async def test_nobody_knows(self) -> None:
        for error, outcome in ((NoAnswer("no answer"), "timeout"), (Lost("gone"), "lost")):
            asked = self.begin("send", HOSTID, "auto")
            (await self.sent()).answer.errback(error)
            self.control.sent.clear()
            called = await asked
            self.assertEqual((called.status, called.err), (3, f"cmmctl: {ADVICE.format(hostid=HOSTID)}\n"))
            self.assertIn(f": {outcome}: ", called.out)

    async def test_not_sent(self) -> None:
        asked = self.begin("--json", "send", HOSTID, "auto")
        (await self.sent()).answer.errback(NotSent("no quiet"))
        called = await asked
        self.assertEqual((called.status, called.json["outcome"], called.err), (1, "not sent", ""))

    def test_an_outcome_of_a_newer_daemon_is_no_success(self) -> None:
        self.assertEqual({name for name, status in BY_OUTCOME.items() if status == 0}, {"done"})

    async def test_write(self) -> None:
        asked = self.begin("--json", "write", HOSTID, "00050003FF00", AUTO, "--timeout", "7")
        sent: Any = await self.sent()
        self.assertEqual((sent.message.result, sent.timeout_s), (f"{AUTO};{AUTO}", 7.0))
        sent.answer.callback(WriteConfigAnswer(params=f"{AUTO},1;{AUTO},1", hostid=HOSTID, uid=sent.message.uid))
        called = await asked
        self.assertEqual((called.status, called.json["outcome"], called.json["name"]), (0, "done", None))

    async def test_port(self) -> None:
        asked = self.begin("port", HOSTID, "--port", "rs485", "--baud", "19200")
        message: Any = (await self.sent()).message
        self.assertEqual((message.modulePort, message.moduleBaud), (2, 1))
        self.control.sent[0].answer.callback(
            WriteConfigAnswer(modulePort=2, moduleBaud=1, hostid=HOSTID, uid=message.uid)
        )
        called = await asked
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn("port RS485, 19200 bit/s", called.out)

    async def test_reset(self) -> None:
        called = await self.answered("--json", "reset", HOSTID)
        self.assertEqual((called.status, called.json["kind"], called.json["confirmed"]), (0, "reset", None))

    async def test_reset_that_has_logged_in_again(self) -> None:
        asked = self.begin("--json", "reset", HOSTID, "--confirm", "30")
        (await self.sent()).obeyed()
        self.control.dispatch.confirmations.logged_in(HOSTID)
        called = await asked
        self.assertEqual((called.status, called.json["confirmed"]), (0, True))

    async def test_cancel(self) -> None:
        first = self.begin("send", HOSTID, "auto", "--confirm", "0")
        await self.sent()
        second = self.begin("send", HOSTID, "manual", "--confirm", "0")
        await until(lambda: self.control.dispatch.under_way(2))
        called = await self.done("--json", "cancel", "2")
        self.assertEqual((called.json["number"], called.json["outcome"]), (2, "not sent"))
        self.assertEqual((await second).status, 1)
        called = await self.call("cancel", "1")
        self.assertEqual((called.status, called.err[-11:]), (1, "[too_late]\n"))
        self.control.sent[0].obeyed()
        self.assertEqual((await first).status, 0)
        self.assertEqual(len(self.control.sent), 1)


class RefusalTests(_TestCase):
    """Nothing reaches the device."""

    async def refused(self, status: int, code: str, *arguments: str) -> str:
        called = await self.call("--json", *arguments)
        self.assertEqual((called.status, called.out, called.error["error"]), (status, "", code))
        self.assertEqual(self.control.sent, [])
        message: str = called.error["message"]
        return message

    async def test_not_allowed(self) -> None:
        for code, arguments in (
            ("unknown_device", ("send", "nobody", "auto")),
            ("unknown_device", ("reset", "nobody")),
            ("bad_frame", ("write", HOSTID, "0103000000")),
            ("bad_argument", ("reset", HOSTID, "--timeout", "0")),
            ("no_such_command", ("cancel", "7")),
        ):
            await self.refused(1, code, *arguments)
        message = await self.refused(1, "unknown_command", "send", HOSTID, "explode")
        self.assertIn("'explode', but start, stop, test, auto", message)
        self.control.fleet.presence.detach(HOSTID, self.control.session)
        await self.refused(1, "device_offline", "send", HOSTID, "auto")
        called = await self.call("send", HOSTID, "auto")
        self.assertEqual(called.err, f"cmmctl: not allowed, nothing was sent: {HOSTID} is offline [device_offline]\n")

    async def test_nobody_can_be_asked(self) -> None:
        for name in ("start", "generator_breaker_toggle", "mains_breaker_toggle"):
            message = await self.refused(2, "not_confirmed", "send", HOSTID, name)
            self.assertIn("--yes", message)

    async def test_usage(self) -> None:
        for arguments in (
            ("send", HOSTID),
            ("write", HOSTID),
            ("port", HOSTID, "--port", "9", "--baud", "0"),
            ("port", HOSTID, "--port", "1", "--baud", "300"),
            ("port", HOSTID, "--port", "1"),
            ("cancel", "x"),
            ("send", HOSTID, "auto", "--confirm", "-1"),
        ):
            called = await self.call(*arguments)
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (2, "", 1), arguments)
        self.assertEqual(self.control.sent, [])

    async def test_yes(self) -> None:
        asked = self.begin("send", HOSTID, "start", "--yes", "--confirm", "0")
        (await self.sent()).obeyed()
        self.assertEqual((await asked).status, 0)


class QuestionTests(_TestCase):
    """Somebody sits at a terminal."""

    async def prepare(self) -> None:
        self.terminal = Terminal(self)

    def asking(self, *arguments: str) -> Deferred[Called]:
        return self.begin(*arguments, err=self.terminal.out, inp=self.terminal.inp)

    async def asked(self) -> str:
        await until(lambda: "[y/N] " in self.terminal.seen)
        self.assertEqual(self.control.sent, [])
        return self.terminal.seen

    async def test_yes(self) -> None:
        for answer in ("y\n", "YES\n"):
            terminal = self.terminal = Terminal(self)
            asking = self.asking("send", HOSTID, "start", "--confirm", "0")
            seen = await self.asked()
            for expected in (HOSTID, "Genset 1", "HGM6120N", "start: Start", "engine"):
                self.assertIn(expected, seen)
            terminal.type(answer)
            (await self.sent()).obeyed()
            self.control.sent.clear()
            self.assertEqual((await asking).status, 0)

    async def test_whatever_is_sent(self) -> None:
        for arguments, expected in (
            (("send", HOSTID, "auto"), "starts by itself when the mains fail"),
            (("send", HOSTID, "test"), "moves an engine or a breaker"),
            (("port", HOSTID, "--port", "off", "--baud", "9600"), "hears nothing"),
            (("reset", HOSTID), "restarts"),
        ):
            self.terminal = Terminal(self)
            asking = self.asking(*arguments)
            self.assertIn(expected, await self.asked())
            self.terminal.type("n\n")
            self.assertEqual((await asking).status, 1)
        self.assertEqual(self.control.sent, [])

    async def test_anything_else_is_no(self) -> None:
        for answer in ("\n", "n\n", "yy\n", "start\n", "\x04"):
            self.terminal = Terminal(self)
            asking = self.asking("send", HOSTID, "start")
            await self.asked()
            self.terminal.type(answer)
            called = await asking
            self.assertEqual((called.status, called.out), (1, ""))
            self.assertIn("nothing was sent", self.terminal.seen)
        self.assertEqual(self.control.sent, [])

    async def test_what_was_typed_before_is_no_answer(self) -> None:
        self.terminal.type("y\n")
        asking = self.asking("send", HOSTID, "start")
        await self.asked()
        self.terminal.type("n\n")
        self.assertEqual((await asking).status, 1)

    async def test_mode_in_which_it_will_not_obey(self) -> None:
        for coils, expected in (({0, 6, 41, 65}, "obeys in manual mode only; its mode is "), (None, None)):
            self.terminal = Terminal(self)
            if coils is None:
                manual = {6, self.coil("manual_mode")}
                self.control.fleet.uploads.full(full_upload(coils=manual), HGM6120N_PLAN, historic=False)
            asking = self.asking("send", HOSTID, "start")
            seen = await self.asked()
            self.assertEqual("obeys in manual mode only" in seen, expected is not None)
            self.terminal.type("n\n")
            await asking

    def coil(self, name: str) -> int:
        return self.control.fleet.live[HOSTID].profile.signal_by_name[name].address

    async def test_frames(self) -> None:
        asking = self.asking("write", HOSTID, AUTO)
        self.assertIn(AUTO, await self.asked())
        self.terminal.type("y\n")
        (await self.sent()).obeyed()
        self.assertEqual((await asking).status, 0)

    async def test_interrupted_while_asked(self) -> None:
        asking = self.asking("send", HOSTID, "start")
        await self.asked()
        self.cancel(asking)
        self.assertEqual((await asking).status, 130)
        self.assertEqual(self.control.sent, [])

    def cancel(self, asking: Deferred[Called]) -> None:
        asking.cancel()

    async def test_progress(self) -> None:
        asking = self.asking("send", HOSTID, "auto", "--yes", "--confirm", "0")
        sent = await self.sent()
        await until(lambda: f"auto: waiting for {HOSTID}" in self.terminal.seen)
        sent.obeyed()
        await asking


class ConnectionTests(_TestCase):
    """The daemon goes away."""

    async def test_lost_while_waiting(self) -> None:
        for arguments in (
            ("send", HOSTID, "auto"),
            ("write", HOSTID, AUTO),
            ("port", HOSTID, "--port", "1", "--baud", "0"),
            ("reset", HOSTID),
        ):
            asked = self.begin(*arguments)
            sent = await self.sent()
            self.control.sent.clear()
            await self.programs.stop()
            called = await asked
            self.assertEqual((called.status, called.out), (3, ""))
            self.assertTrue(called.err.startswith(f"cmmctl: {ADVICE.format(hostid=HOSTID)} ("), called.err)
            self.assertEqual(len(called.err.splitlines()), 1)
            self.assertEqual(self.control.sent, [])
            sent.answer.errback(Lost("gone"))
            await self.open()

    async def test_interrupted_while_waiting(self) -> None:
        asked = self.begin("--json", "send", HOSTID, "auto")
        await self.sent()
        asked.cancel()
        called = await asked
        self.assertEqual((called.status, called.out, called.error["error"]), (3, "", "outcome_unknown"))

    async def test_interrupted_when_it_was_done(self) -> None:
        asked = self.begin("--json", "send", HOSTID, "auto")
        (await self.sent()).obeyed()
        await until(lambda: self.control.dispatch.under_way(1) is None)
        (await self.done("--json", "status"))  # its answer comes behind that of the command
        asked.cancel()
        called = await asked
        self.assertEqual((called.status, called.json["outcome"], called.json["confirmed"]), (0, "done", None))

    async def test_nobody_there(self) -> None:
        await self.programs.stop()
        for arguments in (("send", HOSTID, "auto"), ("status",), ("watch",), ("cancel", "1")):
            called = await self.call(*arguments)
            self.assertEqual((called.status, called.out), (4, ""))
            self.assertIn(str(self.state), called.err)
            self.assertEqual(len(called.err.splitlines()), 1)

    async def test_bug_of_the_daemon(self) -> None:
        async def fails(*_: object) -> Ended:
            raise ZeroDivisionError

        self.control.operations.submit = fails  # type: ignore[method-assign,assignment]
        called = await self.call("send", HOSTID, "auto")
        self.assertEqual((called.status, called.out), (3, ""))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
