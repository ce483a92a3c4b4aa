"""Commands from end to end: each misbehaviour, cmmctl, a daemon that stands still; and all of it in PostgreSQL."""

import json
import os
import signal
import sys
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from cmmd.control.errors import Expired
from cmmd.stall_detector import STANDSTILL_S
from tests import test_commands as short
from tests.daemon import environment
from tests.postgres import cluster

reactor: Any = cast("Any", _reactor)


class CommandLineTests(short.CommandsTestCase):
    async def test_send_auto(self) -> None:
        """As an operator does it: cmmctl, a daemon, a simulated device."""
        self.start()
        async with self.client() as client:
            hostid = await self.until(client)
            arguments = (
                "-m",
                "cmmd.cli",
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


class StandstillTests(short.CommandsTestCase):
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


class MisbehaviourTests(short.MisbehaviourTests):
    """Every manner."""

    expected = (
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
    timeout_s = 2.0


class OnPostgres(short.CommandsTestCase):
    """The same with the audit in PostgreSQL."""

    def store(self) -> dict[str, dict[str, object]]:
        url = cluster().new_database()
        self.addCleanup(cluster().drop_database, url)
        return {"store": {"url": url}}


class ObedientOnPostgresTests(OnPostgres, short.ObedientTests):
    pass


class CommandLineOnPostgresTests(OnPostgres, CommandLineTests):
    pass


class MisbehaviourOnPostgresTests(OnPostgres, MisbehaviourTests):
    pass


class KilledOnPostgresTests(OnPostgres, short.KilledTests):
    pass
