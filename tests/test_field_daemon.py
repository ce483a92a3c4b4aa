"""Cases from the field on a whole daemon: a real process, real sockets, the vectors as they stand."""

import json
import shutil
import sys
from pathlib import Path
from subprocess import run
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import DEADLINE_S, Daemon, environment, until
from tests.gateway_chain import Called, cmmctl
from tests.plain_device import PlainDevice, message
from tests.support import compact, load_cases
from tests.world import CATALOG

NOT_DONE = 1


class DaemonTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(mkdtemp(prefix="cmmd-field-"))
        self.addCleanup(shutil.rmtree, folder)
        self.daemon = Daemon(folder, {"control": {"listen": ["unix:control.sock:mode=600"]}})
        self.addCleanup(self.daemon.kill)
        self.daemon.start()

    def call(self, *arguments: object) -> Called:
        return cmmctl(self.daemon.state, *arguments)

    def kinds(self, hostid: str) -> list[str]:
        """The kinds of a device's events."""
        state = str(self.daemon.state)
        done = run(
            [sys.executable, "-m", "cmmd.cli", "--state", state, "--json", "events", hostid],
            capture_output=True,
            env=environment(),
            timeout=2 * DEADLINE_S,
            check=True,
        )
        return [json.loads(line)["kind"] for line in done.stdout.splitlines()]

    def connected(self) -> PlainDevice:
        device = PlainDevice(self.daemon.port)
        self.addCleanup(device.socket.close)
        return device

    def attached(self, *messages: dict[str, Any]) -> PlainDevice:
        """Say the messages of a vector: the login on a connection of its own, all others on a long one."""
        login, *others = messages
        self.assertEqual(self.connected().ask(compact(login))["retcode"], "000000")
        device = self.connected()
        for other in others:
            self.assertEqual(device.ask(compact(other))["retcode"], "000000")
        return device

    def test_a_place_in_a_change_upload(self) -> None:
        (case,) = load_cases("place_in_change_upload")
        self.attached(*case["messages"])
        hostid = case["messages"][1]["hostid"]

        def placed() -> bool:
            said = self.call("show", hostid).said["device"]
            return (said["wgs84_longitude"], said["wgs84_latitude"]) == (113.6253, 34.7472)

        until(placed, "the place is shown")

    def test_another_plan_and_a_reconnect(self) -> None:
        """Its coils are taken, its connection is closed once, and there are no events of that."""
        (case,) = load_cases("plan_of_other_servers")
        device = self.attached(*case["messages"])
        hostid = case["messages"][1]["hostid"]
        kinds = self.kinds(hostid)
        self.assertIn("alarm_raised", kinds)
        self.assertEqual(device.rest(), b"")  # closed, in order, without a word
        self.attached(*case["messages"]).send(message("HB", hostid))
        kinds = self.kinds(hostid)
        self.assertEqual((kinds.count("online"), kinds.count("offline")), (1, 0))

    def test_one_breaker(self) -> None:
        for case in load_cases("one_breaker"):
            model = case["moduletype"]
            with self.subTest(model):
                params = {"hostid": model, "hostname": "G", "password": "1", "moduletype": model}
                device = self.attached({"method": "login", "params": params}, {"method": "LongCon", "hostid": model})
                for name in case["commands"]:  # nobody has tried them: an administrator has to set the profile
                    called = self.call("send", model, name, "--yes")
                    self.assertEqual(called.status, NOT_DONE)
                    self.assertIn("unknown_command", called.said)
                for by_hand in (model.lower(), "hgm6120n"):
                    offered = {
                        one["name"]: CATALOG.of(model, by_hand).command_by_name[one["name"]].frame
                        for one in self.call("device", model, "set", f"profile={by_hand}").said["commands"]
                    }
                    for name, frame in case["commands"].items():
                        expected = frame if by_hand == model.lower() else None
                        self.assertEqual(offered.get(name), expected, (by_hand, name))
                device.socket.close()
