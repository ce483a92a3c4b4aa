"""Commands from end to end: a program, a real daemon, real processes of simulated devices, and what each misbehaviour
becomes. More manners, cmmctl, PostgreSQL: tests_slow."""

import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from cmmd.control.client import ControlClient
from cmmd.control.errors import OutcomeUnknown
from cmmd.store.records import Command
from tests.daemon import DEADLINE_S, Daemon, Sections
from tests.fleet_process import FleetProcess

reactor: Any = cast("Any", _reactor)

CONTROL = {"control": {"listen": ["unix:control.sock:mode=600"]}}


class CommandsTestCase(TestCase):
    """A daemon, and devices of which each order is answered in the next of these manners."""

    timeout = 4 * DEADLINE_S

    def store(self) -> dict[str, dict[str, object]]:
        """What the configuration says of it."""
        return {}

    def start(self, *manners: str, **commands: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cmmd"))  # a socket's path may have 107 characters
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        sections: Sections = {**CONTROL, **self.store(), "commands": {"gap": 0.0, **commands}}
        self.daemon = Daemon(self.folder, sections).start()
        self.addCleanup(self.daemon.kill)
        self.devices = FleetProcess(
            self.folder, self.daemon.port, 1, "--calm", *(("--misbehave", ",".join(manners)) if manners else ())
        )
        self.addCleanup(self.devices.terminate)

    def client(self) -> ControlClient:
        return ControlClient(self.daemon.state, reactor, requester="test")

    async def until(self, client: ControlClient, online: int = 1) -> str:
        """Wait for devices; the hostid of the first."""
        for _ in range(int(DEADLINE_S / 0.05)):
            hostids = [row.hostid async for row in client.devices(online=True)]
            if len(hostids) >= online:
                return hostids[0]
            await deferLater(reactor, 0.05)
        raise AssertionError(f"not online: {self.daemon.log}\n{self.devices.log}")

    async def settled(self, client: ControlClient, hostid: str, number: int) -> Command:
        """A command when it is confirmed, or not."""
        for _ in range(int(2 * DEADLINE_S / 0.1)):
            (command,) = [one async for one in client.commands(hostid) if one.number == number]
            if command.confirmed is not None:
                return command
            await deferLater(reactor, 0.1)
        raise AssertionError(f"never confirmed: {command}")


class ObedientTests(CommandsTestCase):
    async def test_done_and_confirmed(self) -> None:
        self.start()
        async with self.client() as client:
            hostid = await self.until(client)
            for name in ("manual", "auto"):
                ended = await client.send_command(hostid, name)
                self.assertEqual(ended.outcome, "done")
                command = await self.settled(client, hostid, ended.number)
                self.assertEqual((command.confirmed, command.name, command.door), (True, name, "amp"))
                assert command.sent_at is not None
                assert command.ended_at is not None
                assert command.confirmed_at is not None
                self.assertTrue(command.accepted_at <= command.sent_at <= command.ended_at <= command.confirmed_at)
                self.assertIn("test", command.requester)
            live = await client.live(hostid)
            self.assertEqual(live.view.mode, "auto")
            ended = await client.reset(hostid)
            self.assertEqual(ended.outcome, "done")
            self.assertTrue((await self.settled(client, hostid, ended.number)).confirmed)
            await self.until(client)
            ended = await client.write_port(hostid, 2, 1)
            self.assertEqual(ended.outcome, "done")
            ended = await client.write_config(hostid, "000600000001")
            self.assertEqual(ended.outcome, "refused", "the controller has no such register to write")


class MisbehaviourTests(CommandsTestCase):
    """Each ends in its outcome within its timeout, and the next command works."""

    expected: tuple[tuple[str, str], ...] = (
        ("silent", "timeout"),
        ("twice", "done"),
        ("refuses", "refused"),
        ("hangs_up", "lost"),
    )
    timeout_s = 1.0
    longest_delay_s = DEADLINE_S

    async def test_every_manner(self) -> None:
        manners = [one for manner, _ in self.expected for one in (manner, "none")]
        self.start(*manners)
        async with self.client() as client:
            for manner, outcome in self.expected:
                hostid = await self.until(client)
                ended = await client.send_command(hostid, "manual", timeout=self.timeout_s)
                self.assertEqual(ended.outcome, outcome, manner)
                self.assertLess(ended.seconds, self.timeout_s + self.longest_delay_s)
                hostid = await self.until(client)
                if manner == "hangs_up":
                    await deferLater(reactor, 0.5)
                ended = await client.send_command(hostid, "auto", timeout=self.timeout_s)
                self.assertEqual(ended.outcome, "done", f"after {manner}")
            numbers = [one.number async for one in client.commands(hostid)]
            self.assertEqual(sorted(numbers), list(range(1, 2 * len(self.expected) + 1)))


class KilledTests(CommandsTestCase):
    async def test_what_is_in_flight_is_lost_and_not_sent_again(self) -> None:
        self.start("silent")
        async with self.client() as client:
            hostid = await self.until(client)
            asked = [
                Deferred.fromCoroutine(_outcome(client.send_command(hostid, name)))
                for name in ("manual", "auto", "test")
            ]
            for _ in range(int(DEADLINE_S / 0.05)):
                there = [one async for one in client.commands(hostid)]
                if len(there) == 3 and any(one.sent_at for one in there):
                    break
                await deferLater(reactor, 0.05)
            await deferToThread(self.daemon.kill)
            self.assertEqual(await gatherResults(asked), [OutcomeUnknown] * 3)
        await deferToThread(self.daemon.start)
        async with self.client() as client:
            hostid = await self.until(client)
            outcomes = {one.number: (one.name, one.outcome) async for one in client.commands(hostid)}
            self.assertEqual(outcomes, {1: ("manual", "lost"), 2: ("auto", "lost"), 3: ("test", "lost")})
        self.assertIn(" 1 commands", self.devices.log, "the device has seen the first one, once")
        self.assertNotIn(" 2 commands", self.devices.log)


async def _outcome(asking: Coroutine[Any, Any, Any]) -> object:
    try:
        return await asking
    except OutcomeUnknown as error:
        return type(error)
