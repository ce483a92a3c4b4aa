"""cmmctl watch: lines, JSON lines, a view."""

import io
import json
from typing import Any

from twisted.internet.defer import Deferred

from cmmd.cli.output import Output
from cmmd.cli.watch import tell_json, tell_lines
from cmmd.control.link import Notification
from cmmd.fleet.events import Kind
from cmmd.wire.messages import WriteConfigAnswer
from tests.cli_world import Called, CmmctlTestCase, Terminal
from tests.control_world import until
from tests.uploads import HGM6120N_PLAN, STANDBY, full_upload
from tests.world import HOSTID

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"


class WatchTests(CmmctlTestCase):
    async def prepare(self) -> None:
        self.out = io.StringIO()

    async def watch(self, *arguments: str, out: Any = None) -> Deferred[Called]:
        watching = self.begin(*arguments, out=out or self.out)
        await self.watched()
        return watching

    async def said(self, count: int) -> list[str]:
        await until(lambda: len(self.out.getvalue().splitlines()) >= count)
        return self.out.getvalue().splitlines()

    def upload(self, **registers: int) -> None:
        given = {int(name[1:]): value for name, value in registers.items()}
        self.control.fleet.uploads.full(full_upload({**STANDBY, **given}), HGM6120N_PLAN, historic=False)

    async def test_json_lines(self) -> None:
        watching = await self.watch("--json", "watch")
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, OTHER)
        self.upload()
        asked = self.begin("--json", "send", HOSTID, "auto", "--confirm", "0")
        (await self.sent()).obeyed()
        await asked
        await until(lambda: '"commanded"' in self.out.getvalue() and '"done"' in self.out.getvalue())
        watching.cancel()
        self.assertEqual((await watching).status, 0)
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        self.assertTrue(all(len(line) == 1 for line in lines))
        events = [line["event"]["kind"] for line in lines if "event" in line]
        self.assertEqual((events[0], events[-1]), ("clock_asked", "commanded"))
        self.assertIn({"upload": {"hostid": HOSTID, "upload": 1}}, lines)
        self.assertEqual([line["command"]["outcome"] for line in lines if "command" in line][-1], "done")

    async def test_lines_about_one_device(self) -> None:
        watching = await self.watch("watch", HOSTID)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, OTHER)
        self.control.fleet.events.emit(Kind.BREAKER_CHANGED, HOSTID, breaker="mains", closed=False)
        (line,) = await self.said(1)
        self.assertTrue(line.endswith(f"  {HOSTID}  breaker_changed  breaker mains, closed False"), line)
        watching.cancel()
        self.assertEqual((await watching).status, 0)

    async def test_unknown_device(self) -> None:
        called = await self.call("watch", "nobody")
        self.assertEqual((called.status, called.err[-17:]), (1, "[unknown_device]\n"))

    async def test_goes_on_after_a_restart(self) -> None:
        watching = await self.watch("--json", "watch")
        await self.programs.stop()
        await self.open()
        self.assertEqual(json.loads((await self.said(1))[0]), {"interrupted": True})
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        await self.said(2)
        watching.cancel()
        await watching

    async def test_ends_when_nobody_reads(self) -> None:
        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError(32, "Broken pipe")

        watching = await self.watch("watch", out=Gone())
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        called = await watching
        self.assertEqual((called.status, called.err), (1, ""))

    def test_what_is_missing_is_told(self) -> None:
        news = Notification(events=[], live={}, commands=[], missed=7, interrupted=True)
        tell_lines(Output(self.out, io.StringIO()), news)
        self.assertEqual(len(self.out.getvalue().splitlines()), 2)
        self.out = io.StringIO()
        tell_json(Output(self.out, io.StringIO()), news)
        self.assertEqual(self.out.getvalue(), '{"interrupted":true}\n{"missed":7}\n')

    async def seen(self, terminal: Terminal, *texts: str) -> None:
        await until(lambda: all(text in terminal.seen for text in texts))

    async def test_view_of_a_device(self) -> None:
        self.upload()
        terminal = Terminal(self)
        watching = await self.watch("watch", HOSTID, out=terminal.out)
        await self.seen(terminal, "Genset 1", "online", "Mains frequency", "50.0 Hz", "Auto mode", "Ctrl-C")
        self.upload(r6=5012)
        await self.seen(terminal, "50.12 Hz")
        asked = self.begin("send", HOSTID, "auto", "--confirm", "0")
        message: Any = (await self.sent()).message
        self.control.sent[0].answer.callback(
            WriteConfigAnswer(params=f"{message.result},1", hostid=HOSTID, uid=message.uid)
        )
        await asked
        await self.seen(terminal, "auto (command 1): done", "commanded")
        watching.cancel()
        self.assertEqual((await watching).status, 0)
        self.assertIn("\x1b[?1049l", terminal.seen)  # the screen is as it was before

    async def test_view_of_all(self) -> None:
        for number in range(50):
            self.control.world.register(f"{number:024}", hostname=f"[red]{number}")
        terminal = Terminal(self)
        watching = await self.watch("watch", out=terminal.out)
        await self.seen(terminal, "1 of 51 devices online", HOSTID, "[red]3", "more")
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        await self.seen(terminal, "clock_asked")
        await self.programs.stop()
        await self.seen(terminal, "as of ")
        watching.cancel()
        self.assertEqual((await watching).status, 0)
        self.assertNotIn("Traceback", terminal.seen)

    async def test_lines_at_a_terminal(self) -> None:
        terminal = Terminal(self)
        watching = await self.watch("watch", "--lines", out=terminal.out)
        self.control.fleet.events.emit(Kind.CLOCK_ASKED, HOSTID)
        await self.seen(terminal, "clock_asked")
        self.assertNotIn("\x1b", terminal.seen)
        watching.cancel()
        await watching
