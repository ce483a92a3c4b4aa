"""Commands from end to end: a program, a real daemon, real processes of simulated devices, and what each misbehaviour
becomes."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from cmmd.control.client import ControlClient
from cmmd.control.errors import Expired, OutcomeUnknown
from cmmd.pulse import STANDSTILL_S
from cmmd.store.records import Command
from tests.daemon import DEADLINE_S, Daemon, Sections, environment
from tests.fleet_process import FleetProcess
from tests.postgres import cluster

reactor: Any = cast("Any", _reactor)

CONTROL = {"control": {"listen": ["unix:control.sock:mode=600"]}}
TIMEOUT_S = 2.0


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


class CommandLineTests(CommandsTestCase):
    async def test_send_auto(self) -> None:
        """As an operator does it: cmmctl, a daemon, a simulated device."""
        self.start()
        async with self.client() as client:
            hostid = await self.until(client)
            arguments = (
                "-m",
                "cmmd.control.cmmctl",
                "--state",
                str(self.daemon.state),
                "--json",
                "send",
                hostid,
                "auto",
            )
            out, err, status = await getProcessOutputAndValue(sys.executable, arguments, environment())
            self.assertEqual((err, status), (b"", 0))
            said = json.loads(out)
            self.assertEqual((said["outcome"], said["confirmed"], said["name"]), ("done", True, "auto"))
            (command,) = [one async for one in client.commands(hostid)]
            self.assertEqual((command.number, command.outcome, command.confirmed), (said["commandId"], "done", True))
            out, err, status = await getProcessOutputAndValue(
                sys.executable, (*arguments[:-2], "NOBODY", "auto"), environment()
            )
            self.assertEqual(status, 1)


class StandstillTests(CommandsTestCase):
    async def test_what_came_meanwhile_is_not_sent(self) -> None:
        """Somebody asks, gets no answer, and goes to see for himself: the engine must not start when cmmd wakes up."""
        self.start()
        async with self.client() as client:
            hostid = await self.until(client)
            os.kill(self.daemon.pid, signal.SIGSTOP)
            asking = Deferred.fromCoroutine(client.send_command(hostid, "manual"))
            await deferLater(reactor, STANDSTILL_S)
            os.kill(self.daemon.pid, signal.SIGCONT)
            with self.assertRaises(Expired):
                await asking
            for _ in range(200):
                if (await client.live(hostid)).blocked is None:
                    break
                await deferLater(reactor, 0.1)
            ended = await client.send_command(hostid, "auto")
            self.assertEqual((ended.outcome, ended.number), ("done", 1))


class MisbehaviourTests(CommandsTestCase):
    """Each ends in its outcome within its timeout, and the next command works."""

    EXPECTED = (
        ("silent", "timeout"),
        ("late=3", "timeout"),
        ("twice", "done"),
        ("wrong_uid", "done"),
        ("without_uid", "done"),
        ("garbled", "lost"),
        ("foreign", "timeout"),
        ("refuses", "refused"),
        ("exception", "refused"),
        ("pretends", "done"),
        ("hangs_up", "lost"),
    )

    async def test_every_manner(self) -> None:
        manners = [one for manner, _ in self.EXPECTED for one in (manner, "none")]
        self.start(*manners)
        async with self.client() as client:
            for manner, outcome in self.EXPECTED:
                hostid = await self.until(client)
                ended = await client.send_command(hostid, "manual", timeout=TIMEOUT_S)
                self.assertEqual(ended.outcome, outcome, manner)
                self.assertLess(ended.seconds, TIMEOUT_S + 2)
                hostid = await self.until(client)
                if manner == "hangs_up":
                    await deferLater(reactor, 0.5)
                ended = await client.send_command(hostid, "auto", timeout=TIMEOUT_S)
                self.assertEqual(ended.outcome, "done", f"after {manner}")
            numbers = [one.number async for one in client.commands(hostid)]
            self.assertEqual(sorted(numbers), list(range(1, 2 * len(self.EXPECTED) + 1)))


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


class OnPostgres(CommandsTestCase):
    """The same with the audit in PostgreSQL."""

    def store(self) -> dict[str, dict[str, object]]:
        url = cluster().new_database()
        self.addCleanup(cluster().drop_database, url)
        return {"store": {"url": url}}


class ObedientOnPostgresTests(OnPostgres, ObedientTests):
    pass


class CommandLineOnPostgresTests(OnPostgres, CommandLineTests):
    pass


class MisbehaviourOnPostgresTests(OnPostgres, MisbehaviourTests):
    pass


class KilledOnPostgresTests(OnPostgres, KilledTests):
    pass
