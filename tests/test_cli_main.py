"""cmmctl as a process. Each exit status, more of terminals and signals, completion: tests_slow."""

import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd import __version__
from cmmd.cli.exit_status import ADVICE, ExitStatus
from cmmd.cli.formatting import KEYS
from cmmd.cli.main import cli
from cmmd.control.listeners import TLSSettings, tls_doors
from cmmd.fleet.devices.presence import Lost
from tests.cli_world import Called, CmmctlTestCase, reactor
from tests.control_world import Authority, opened, until
from tests.support import REPOSITORY
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAA"


class ProcessTestCase(CmmctlTestCase):
    async def prepare(self) -> None:
        self.at = ["--state", str(self.state)]

    def begin_process(self, *arguments: str) -> Deferred[Called]:
        return Deferred.fromCoroutine(self.process(*self.at, *arguments))

    async def assert_interrupted(self, signal: str) -> None:
        process = self.spawn(*self.at, "send", HOSTID, "auto")
        sent = await self.sent()
        process.transport.signalProcess(signal)
        self.assertEqual((await process.ended, len(process.err.splitlines())), (3, 1))
        sent.answer.errback(Lost("gone"))
        self.assertIn("interrupted", process.err)

    async def assert_asks(self, answer: bytes, status: int, sent: int) -> None:
        process = self.spawn(*self.at, "send", HOSTID, "start", "--confirm", "0", terminal=True)
        await until(lambda: "[y/N]" in process.out)
        self.assertEqual(self.control.sent, [])
        process.transport.write(answer)
        if sent:
            (await self.sent()).obeyed(0 if status else 1)
        self.assertEqual(await process.ended, status, process.out)
        self.assertEqual(len(self.control.sent), sent)
        self.assertNotIn("Traceback", process.out)


class ProcessTests(ProcessTestCase):
    async def test_done(self) -> None:
        asked = self.begin_process("--json", "send", HOSTID, "auto")
        (await self.sent()).obeyed()
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        called = await asked
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertEqual((called.json["outcome"], called.json["confirmed"]), ("done", True))

    async def test_outcome_unknown(self) -> None:
        asked = self.begin_process("send", HOSTID, "auto")
        await self.sent()
        await self.programs.stop()
        called = await asked
        self.assertEqual((called.status, called.out, len(called.err.splitlines())), (3, "", 1))
        self.assertIn(ADVICE.format(hostid=HOSTID), called.err)
        self.assertEqual(len(self.control.sent), 1)

    async def test_watch_is_ended_by_an_interrupt(self) -> None:
        process = self.spawn(*self.at, "--json", "watch")
        await self.watched()
        self.control.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        await until(lambda: process.out)
        process.transport.signalProcess("INT")
        self.assertEqual((await process.ended, process.err), (0, ""))
        self.assertEqual(json.loads(process.out.splitlines()[0])["upload"]["hostid"], HOSTID)

    async def test_help_and_version(self) -> None:
        called = await self.process("--version")
        self.assertEqual((called.status, called.out), (0, f"cmmctl {__version__}\n"))
        called = await self.process("send", "--help")
        self.assertEqual((called.status, called.err), (0, ""))
        self.assertIn("--yes", called.out)

    async def test_interrupted_while_waiting(self) -> None:
        await self.assert_interrupted("INT")

    async def test_question_at_a_terminal(self) -> None:
        await self.assert_asks(b"y\n", 0, 1)


class TLSTestCase(CmmctlTestCase):
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


class TLSTests(TLSTestCase):
    async def test_who_has_a_certificate_gets_in(self) -> None:
        called = await self.process(*self.options(), "--json", "status")
        self.assertEqual((called.status, called.err, called.json["devices"]), (0, "", 1))


class DocumentTests(SynchronousTestCase):
    """docs/cmmctl.md names what there is."""

    def test_every_command_and_status(self) -> None:
        text = (REPOSITORY / "docs" / "cmmctl.md").read_text(encoding="utf-8")
        examples = set(re.findall(r"^ {4}cmmctl (\w[\w-]*)", text, re.MULTILINE))
        self.assertEqual(examples, set(cli.commands))
        statuses = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
        self.assertEqual(statuses, set(ExitStatus))
        for key in KEYS:
            self.assertIn(f"`{key}`", text)
