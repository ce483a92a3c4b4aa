"""Simulated devices: they come, the daemon is killed, they come back, none is lost or registered twice.

A thousand of them: tests_slow. How fast that goes is for bench/bench_storm.py; the deadlines here are for machines that
are busy with something else.
"""

import sqlite3
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.fleet import identities
from tests.daemon import Daemon
from tests.fleet_process import FleetProcess

DEADLINE_S = 120.0


class StormTests(SynchronousTestCase):
    devices = 30
    longest_end_s = DEADLINE_S

    def test_they_come_back_after_a_kill(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="cmmd-storm-")
        self.addCleanup(folder.cleanup)
        daemon = Daemon(Path(folder.name)).start()
        self.addCleanup(daemon.kill)
        fleet = FleetProcess(Path(folder.name), daemon.port, self.devices)
        self.addCleanup(fleet.terminate)
        fleet.wait_until_all_are(online=True, deadline_s=DEADLINE_S)
        registered = self.registered(daemon)
        self.assertEqual({hostid for _, hostid in registered}, {one.hostid for one in identities(self.devices, 1, "")})
        self.assertEqual(len(registered), self.devices)

        daemon.kill()
        fleet.wait_until_all_are(online=False, deadline_s=DEADLINE_S)
        daemon.start()
        fleet.wait_until_all_are(online=True, deadline_s=DEADLINE_S)
        self.assertEqual(self.registered(daemon), registered)

        before = time.monotonic()
        self.assertEqual(daemon.terminate(), 0)
        self.assertLess(time.monotonic() - before, self.longest_end_s)
        self.assertEqual(fleet.terminate(), 0)
        for log in (daemon.log, fleet.log):
            self.assertNotIn("Traceback", log)
            self.assertNotIn("Unhandled", log)

    def registered(self, daemon: Daemon) -> list[tuple[int, str]]:
        """Number and hostid of what the store has."""
        connection = sqlite3.connect(daemon.state / "cmmd.sqlite")
        try:
            return connection.execute("SELECT number, hostid FROM device ORDER BY number").fetchall()
        finally:
            connection.close()
