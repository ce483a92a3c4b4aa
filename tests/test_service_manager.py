"""systemd is told when the process serves, that it is alive, and that it stops."""

import os
import socket
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.service_manager import ServiceManager


class NotifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        path = f"\0cmmd-test-{os.getpid()}-{id(self)}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(path)
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": "@" + path[1:], "WATCHDOG_USEC": "60000000", "HOME": "/"}

    def told(self) -> list[str]:
        found: list[str] = []
        while True:
            try:
                found.append(self.socket.recv(200).decode())
            except BlockingIOError:
                return found

    def test_ready_alive_stopping(self) -> None:
        manager = ServiceManager(self.clock, self.environment)
        self.assertEqual(self.told(), [])
        manager.startService()
        self.assertEqual(self.told(), [f"READY=1\nMAINPID={os.getpid()}", "WATCHDOG=1"])
        self.clock.pump([30.0] * 3)
        self.assertEqual(self.told(), ["WATCHDOG=1"] * 3)
        manager.stopService()
        self.clock.advance(30.0)
        self.assertEqual(self.told(), ["STOPPING=1", "WATCHDOG=1"])
        manager.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_this_process_starts_does_not_speak_for_it(self) -> None:
        ServiceManager(self.clock, self.environment)
        self.assertEqual(self.environment, {"HOME": "/"})

    def test_the_watchdog_of_another_process(self) -> None:
        self.environment["WATCHDOG_PID"] = "1"
        ServiceManager(self.clock, self.environment).startService()
        self.assertEqual(len(self.told()), 1)

    def test_without_systemd(self) -> None:
        manager = ServiceManager(self.clock, {})
        manager.startService()
        manager.stopService()
        manager.end()

    def test_a_socket_that_is_gone(self) -> None:
        manager = ServiceManager(self.clock, {"NOTIFY_SOCKET": str(Path(self.mktemp()))})
        manager.startService()
        manager.stopService()
