"""Kills directly after an answer: what a door has said is so after the next start."""

import contextlib
import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.service.tokens import Tokens
from tests.daemon import DEADLINE_S, Daemon, Sections, endpoint, service_port
from tests.plain_device import PlainDevice, message, register


class KillTests(SynchronousTestCase):
    """Each round has one change made, and kills the daemon when that is answered.

    :cvar rounds: of all changes in turn.
    """

    rounds = 6
    timeout = 900.0

    def store(self) -> Sections:
        """The section of the configuration: SQLite."""
        return {}

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="cmmd"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.port = service_port()
        self.daemon = Daemon(folder, {"web": {"listen": [endpoint(self.port)]}, **self.store()})
        self.addCleanup(self.daemon.kill)
        self.start()
        self.headers = {
            "Authorization": f"Bearer {Tokens(self.daemon.state).add('me', 'admin')}",
            "Content-Type": "application/json",
        }
        register(self.daemon.port, "A")

    def start(self) -> None:
        self.daemon.start([self.daemon.port, self.port])

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask until the answer is durable: a disk that stalls makes it `"recorded": false`, which promises nothing.

        All changes here may be done twice.
        """
        until_s = time.monotonic() + DEADLINE_S
        while (said := self.answered(method, path, body)) is not None and said.get("recorded") is False:
            self.assertLess(time.monotonic(), until_s, said)
        return said

    def answered(self, method: str, path: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            headers = {name: value for name, value in self.headers.items() if text or name != "Content-Type"}
            connection.request(method, f"/api/v1{path}", text, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read() or b"null")
        self.assertLess(answer.status, 300, said)
        return said

    def kinds(self, hostid: str) -> list[str]:
        return [one["kind"] for one in self.ask("GET", f"/events?hostid={hostid}&limit=1000")["events"]]

    # --- changes: each is answered, and gives what has to hold afterwards --------------------------------------------

    def first_login(self, number: int) -> Callable[[], None]:
        hostid = f"NEW{number}"
        self.assertEqual(register(self.daemon.port, hostid)["retcode"], "000000")

        def holds() -> None:
            self.assertEqual(self.ask("GET", f"/devices/{hostid}")["row"]["hostid"], hostid)
            self.assertIn("device_registered", self.kinds(hostid))

        return holds

    def setting(self, number: int) -> Callable[[], None]:
        self.ask("PATCH", "/devices/A/settings", {"history_interval": 30 + number})

        def holds() -> None:
            self.assertEqual(self.ask("GET", "/devices/A")["settings"]["history_interval"], 30 + number)
            (newest, *_) = self.ask("GET", "/events?hostid=A&limit=1")["events"]
            self.assertEqual((newest["kind"], newest["details"]["after"]), ("setting_changed", 30 + number))

        return holds

    def acknowledgement(self, _: int) -> Callable[[], None]:
        """Of an alarm that a door contact raises; a later one is another alarm."""
        with PlainDevice(self.daemon.port) as device:
            device.ask(message("LongCon", "A"))
            for state in (0, 1):
                device.ask(message("reqdatachange", "A", params={}, AccessAlarm=state))
            (alarm,) = self.ask("GET", "/alarms?hostid=A")["alarms"]
            self.ask("POST", f"/alarms/{alarm['number']}/acknowledge")

        def holds() -> None:
            (now,) = self.ask("GET", "/alarms?hostid=A&open=false&limit=1")["alarms"]
            self.assertEqual((now["number"], now["acknowledged_by"]), (alarm["number"], "token me"))
            self.assertIn("alarm_acknowledged", self.kinds("A")[:5])

        return holds

    def lock(self, number: int) -> Callable[[], None]:
        self.ask("PUT", "/devices/A/lock", {"reason": f"work {number}"})

        def holds() -> None:
            self.assertEqual(self.ask("GET", "/devices/A")["row"]["lock"]["reason"], f"work {number}")
            self.assertIn("device_locked", self.kinds("A")[:5])
            self.ask("DELETE", "/devices/A/lock")

        return holds

    def outcome(self, _: int) -> Callable[[], None]:
        with PlainDevice(self.daemon.port) as device:
            device.ask(message("LongCon", "A"))
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
            with contextlib.closing(connection):
                connection.request(
                    "POST", "/api/v1/devices/A/commands?wait=30", json.dumps({"kind": "reset"}), self.headers
                )
                order = json.loads(device.receive())
                self.assertEqual(order["method"], "reset")
                device.send(message("reset", "A", retcode="000000"))
                command = json.loads(connection.getresponse().read())
            self.assertEqual(command["outcome"], "done", command)
            if command.get("recorded") is False:
                command = self.ask("GET", f"/commands/{command['number']}")

        def holds() -> None:
            now = self.ask("GET", f"/commands/{command['number']}")
            self.assertEqual((now["outcome"], now["ended_at"]), ("done", command["ended_at"]))

        return holds

    def streamed(self, _: int) -> Callable[[], None]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/events", headers={**self.headers, "Accept": "text/event-stream"})
            stream = connection.getresponse()
            while b"ready" not in stream.readline():
                pass
            with PlainDevice(self.daemon.port) as device:
                device.ask(message("LongCon", "A"))
                event: dict[str, Any] = {"recorded": False}
                while event.get("recorded") is False:
                    device.send(message("timing", "A"))
                    told = b""
                    while b"clock_asked" not in told:
                        told = stream.readline()
                    event = json.loads(told.removeprefix(b"data: "))
                self.daemon.kill()

        def holds() -> None:
            self.assertIn(event, self.ask("GET", "/events?hostid=A&limit=20")["events"])

        return holds

    def test_what_was_told_holds(self) -> None:
        changes = (self.first_login, self.setting, self.acknowledgement, self.lock, self.outcome, self.streamed)
        for number in range(self.rounds):
            holds = changes[number % len(changes)](number)
            self.daemon.kill()
            self.start()
            holds()
        self.assertNotIn("Traceback", self.daemon.log)
