"""More of cmmctl as a process: exit statuses, terminals, signals, TLS, completion."""

from tests import test_cli_main as short
from tests.control_world import Authority, until
from tests.test_cli_main import OTHER
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID


class ProcessTests(short.ProcessTestCase):
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

    async def test_cannot_connect(self) -> None:
        long = f"unix:{self.state}/{'x' * 200}"
        for arguments in (
            ["--state", str(self.state / "missing")],
            ["--connect", long],
            ["--connect", "unix:/dev/null"],
        ):
            called = await self.process(*arguments, "status")
            self.assertEqual((called.status, called.out, len(called.err.splitlines())), (4, "", 1), called.err)

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

    async def test_terminated_while_waiting(self) -> None:
        await self.assert_interrupted("TERM")

    async def test_no_at_a_terminal(self) -> None:
        await self.assert_asks(b"n\n", 1, 0)


class TLSTests(short.TLSTestCase):
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
