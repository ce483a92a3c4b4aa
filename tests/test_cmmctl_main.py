"""cmmctl as a process: exit statuses, terminals, signals, TLS, completion."""

import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd import __version__
from cmmd.control.cmmctl.ends import ADVICE, Status
from cmmd.control.cmmctl.main import cli
from cmmd.control.cmmctl.texts import KEYS
from cmmd.control.doors import TLSSettings, tls_doors
from cmmd.fleet.presence import Lost
from tests.cmmctl_world import Called, CmmctlTestCase, reactor
from tests.control_world import Authority, opened, until
from tests.support import REPOSITORY
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"


class ProcessTests(CmmctlTestCase):
    async def prepare(self) -> None:
        self.at = ["--state", str(self.state)]

    def begin_process(self, *arguments: str) -> Deferred[Called]:
        return Deferred.fromCoroutine(self.process(*self.at, *arguments))

    async def test_done(self) -> None:
        asked = self.begin_process("--json", "send", HOSTID, "auto")
        (await self.sent()).obeyed()
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        called = await asked
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertEqual((called.json["outcome"], called.json["confirmed"]), ("done", True))

    async def test_refused(self) -> None:
        asked = self.begin_process("send", HOSTID, "auto")
        (await self.sent()).obeyed(0)
        self.assertEqual((await asked).status, 1)

    async def test_not_allowed(self) -> None:
        called = await self.begin_process("send", "nobody", "auto")
        self.assertEqual((called.status, called.out, len(called.err.splitlines())), (1, "", 1))

    async def test_usage(self) -> None:
        for arguments in (
            [],
            ["nonsense"],
            ["send", HOSTID],
            ["--connect", "unix:x", "status"],
            ["send", HOSTID, "start"],  # nobody is at a terminal
        ):
            called = await self.begin_process(*arguments)
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (2, "", 1), called.err)
        self.assertEqual(self.control.sent, [])

    async def test_outcome_unknown(self) -> None:
        asked = self.begin_process("send", HOSTID, "auto")
        await self.sent()
        await self.programs.stop()
        called = await asked
        self.assertEqual((called.status, called.out, len(called.err.splitlines())), (3, "", 1))
        self.assertIn(ADVICE.format(hostid=HOSTID), called.err)
        self.assertEqual(len(self.control.sent), 1)

    async def test_cannot_connect(self) -> None:
        long = f"unix:{self.state}/{'x' * 200}"
        for arguments in (
            ["--state", str(self.state / "missing")],
            ["--connect", long],
            ["--connect", "unix:/dev/null"],
        ):
            called = await self.process(*arguments, "status")
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (4, "", 1), called.err)

    async def test_interrupted_while_waiting(self) -> None:
        for signal in ("INT", "TERM"):
            process = self.spawn(*self.at, "send", HOSTID, "auto")
            sent = await self.sent()
            process.transport.signalProcess(signal)
            self.assertEqual((await process.ended, len(process.err.splitlines())), (3, 1))
            self.control.sent.clear()
            sent.answer.errback(Lost("gone"))
            self.assertIn("interrupted", process.err)

    async def test_watch_is_ended_by_an_interrupt(self) -> None:
        process = self.spawn(*self.at, "--json", "watch")
        await self.watched()
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        await until(lambda: process.out)
        process.transport.signalProcess("INT")
        self.assertEqual((await process.ended, process.err), (0, ""))
        self.assertEqual(json.loads(process.out.splitlines()[0])["upload"]["hostid"], HOSTID)

    async def test_question_at_a_terminal(self) -> None:
        for answer, status, sent in ((b"n\n", 1, 0), (b"y\n", 0, 1)):
            process = self.spawn(*self.at, "send", HOSTID, "start", "--confirm", "0", terminal=True)
            await until(lambda: "[y/N]" in process.out)  # noqa: B023
            self.assertEqual(self.control.sent, [])
            process.transport.write(answer)
            if sent:
                (await self.sent()).obeyed(0 if status else 1)
            self.assertEqual(await process.ended, status, process.out)
            self.assertEqual(len(self.control.sent), sent)
            self.assertNotIn("Traceback", process.out)

    async def test_interrupted_at_the_question(self) -> None:
        process = self.spawn(*self.at, "send", HOSTID, "start", terminal=True)
        await until(lambda: "[y/N]" in process.out)
        process.transport.write(b"\x03")
        self.assertEqual(await process.ended, 130, process.out)
        self.assertEqual(self.control.sent, [])

    async def test_view_at_a_terminal(self) -> None:
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        process = self.spawn(*self.at, "watch", HOSTID, terminal=True)
        await until(lambda: "Mains frequency" in process.out)
        process.transport.write(b"\x03")
        self.assertEqual(await process.ended, 0, process.out)
        self.assertNotIn("Traceback", process.out)
        self.assertTrue(process.out.endswith("\x1b[?25h\x1b[?1049l"), process.out[-40:].encode())

    async def test_reader_that_has_had_enough(self) -> None:
        process = self.spawn(*self.at, "--json", "devices")
        process.transport.closeStdout()
        self.assertEqual((await process.ended, process.err), (1, ""))

    async def test_outcome_that_nobody_reads(self) -> None:
        process = self.spawn(*self.at, "send", HOSTID, "auto", "--confirm", "0")
        process.transport.closeStdout()
        (await self.sent()).obeyed()
        self.assertEqual((await process.ended, process.err), (0, ""))

    async def test_names_in_any_language(self) -> None:
        self.control.world.register(OTHER, hostname="機é")
        called = await self.process(
            *self.at, "--json", "devices", env={"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        )
        self.assertEqual((called.status, called.json[1]["hostname"]), (0, "機é"))
        called = await self.process(*self.at, "devices", env={"PYTHONIOENCODING": "ascii"})
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn("??", called.out)

    async def test_environment(self) -> None:
        called = await self.process("--json", "status", env={"CMMCTL_STATE": str(self.state)})
        self.assertEqual(called.status, 0)
        connect = {"CMMCTL_CONNECT": f"unix:{self.state}/control.sock"}
        self.assertEqual((await self.process("status", env=connect)).status, 0)
        nowhere = {"CMMCTL_CONNECT": "unix:/nowhere"}
        self.assertEqual((await self.process("status", env=nowhere)).status, 4)
        self.assertEqual((await self.process(*self.at, "status", env=nowhere)).status, 0)
        yes = {"CMMCTL_SEND_YES": "1", "CMMCTL_YES": "1"}
        self.assertEqual((await self.process(*self.at, "send", HOSTID, "start", env=yes)).status, 2)

    async def test_help_and_version(self) -> None:
        called = await self.process("--version")
        self.assertEqual((called.status, called.out), (0, f"cmmctl {__version__}\n"))
        called = await self.process("send", "--help")
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn("--yes", called.out)

    async def completed(self, *words: str) -> list[str]:
        env = {"_CMMCTL_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        called = await self.process(env=env)
        self.assertEqual(called.err, "")
        return [line.partition(",")[2] for line in called.out.splitlines() if line]

    async def test_completion(self) -> None:
        self.control.world.register(OTHER)
        self.assertEqual(await self.completed("cmmctl", "sen"), ["send"])
        start = ("cmmctl", *self.at)
        self.assertEqual(await self.completed(*start, "send", "34"), [HOSTID])
        self.assertEqual(await self.completed(*start, "send", HOSTID, "ma"), ["manual", "mains_breaker_toggle"])
        self.assertEqual(await self.completed(*start, "device", HOSTID, "set", "data"), ["data-mode="])
        self.assertEqual(await self.completed("cmmctl", "--state", "/nowhere", "show", "3"), [])


class TLSTests(CmmctlTestCase):
    """Over a network; tests of the client say who gets in."""

    async def prepare(self) -> None:
        authority = Authority(self.state)
        server = authority.issue("cmmd", host="127.0.0.1")
        self.files = authority.issue("alice")
        doors = tls_doors(TLSSettings(["tcp:0:interface=127.0.0.1"], server), reactor)
        programs = await opened(self, self.control, doors)
        address: Any = programs.ports[0].getHost()
        self.connect = ["--connect", f"tls:127.0.0.1:{address.port}"]

    def options(self, **others: Path) -> list[str]:
        files = {"ca": self.files.ca, "certificate": self.files.certificate, "key": self.files.key, **others}
        return [*self.connect, *(word for name, path in files.items() for word in (f"--{name}", str(path)))]

    async def test_who_has_a_certificate_gets_in(self) -> None:
        called = await self.process(*self.options(), "--json", "status")
        self.assertEqual((called.status, called.err, called.json["devices"]), (0, "", 1))

    async def test_others_do_not(self) -> None:
        (self.state / "foreign").mkdir()
        foreign = Authority(self.state / "foreign").issue("mallory")
        called = await self.process(*self.options(certificate=foreign.certificate, key=foreign.key), "status")
        self.assertEqual((called.status, called.out, len(called.err.splitlines())), (4, "", 1))

    async def test_usage(self) -> None:
        for options in (
            self.connect,
            [*self.connect, "--ca", str(self.files.ca)],
            self.options(key=self.files.ca),
            self.options(key=self.state / "missing"),
            ["--connect", "tcp:127.0.0.1:1"],
        ):
            called = await self.process(*options, "status")
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (2, "", 1), called.err)


class DocumentTests(SynchronousTestCase):
    """docs/cmmctl.md names what there is."""

    def test_every_command_and_status(self) -> None:
        text = (REPOSITORY / "docs" / "cmmctl.md").read_text(encoding="utf-8")
        examples = set(re.findall(r"^ {4}cmmctl (\w[\w-]*)", text, re.MULTILINE))
        self.assertEqual(examples, set(cli.commands))
        statuses = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
        self.assertEqual(statuses, set(Status))
        for key in KEYS:
            self.assertIn(f"`{key}`", text)
