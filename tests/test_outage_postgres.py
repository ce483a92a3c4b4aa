"""A database that goes away under a daemon: nothing acknowledged is lost or doubled, and nobody is cut off."""

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import DEADLINE_S
from tests.outage import Outage
from tests.plain_device import PlainDevice, message, register
from tests.postgres import PostgresServer

DEVICES = 60
INTERVAL_S = 1.0


class OutageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = PostgresServer().start()
        self.addCleanup(self.server.remove)
        folder = Path(tempfile.mkdtemp(prefix="cmmd"))  # a socket's path may have 107 characters
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.outage = Outage(folder, self.server, DEVICES, INTERVAL_S)
        self.daemon = self.outage.daemon
        self.addCleanup(self.daemon.kill)

    def test_stopped_and_started(self) -> None:
        report = self.outage.run(2, 4, 2, kill=False, deadline_s=DEADLINE_S)
        self.assertEqual((report.lost, report.doubled, report.refused, report.cut_off), (0, 0, 0, 0))
        self.assertGreater(report.acknowledged, 5 * DEVICES)
        self.assertGreater(report.backlog, 2 * DEVICES)
        said = self.daemon.log
        self.assertEqual(said.count("the store is away"), 1, said)
        self.assertEqual(said.count("the store takes rows again"), 1, said)
        self.assertNotIn("Traceback", said)
        self.assertNotIn("s3cret", said)

    def test_the_daemon_is_killed_meanwhile(self) -> None:
        report = self.outage.run(2, 6, 2, kill=True, deadline_s=DEADLINE_S)
        self.assertEqual((report.lost, report.doubled, report.refused), (0, 0, 0))
        self.assertEqual(report.cut_off, DEVICES)
        self.assertGreater(report.acknowledged, 5 * DEVICES)
        self.assertNotIn("Traceback", self.daemon.log)

    def test_a_start_without_the_database(self) -> None:
        """Devices that are known log in and upload; others have to wait; a start that knows nothing is impossible."""
        self.server.stop()
        self.daemon.begin()
        self.assertEqual(self.daemon.ended(), 1)
        self.assertIn("cmmd: ", self.daemon.log)
        self.server.start()
        self.daemon.start()
        self.assertEqual(register(self.daemon.port, "KNOWN")["retcode"], "000000")
        self.assertEqual(self.daemon.terminate(), 0)
        self.server.stop("immediate")
        self.daemon.start()
        self.assertEqual(register(self.daemon.port, "KNOWN")["retcode"], "000000")
        self.assertEqual(register(self.daemon.port, "UNKNOWN")["retcode"], "000006")
        with PlainDevice(self.daemon.port) as device:
            for sent in (message("LongCon", "KNOWN"), message("reqdata", "KNOWN", params="")):
                self.assertEqual(device.ask(sent)["retcode"], "000000")
        self.assertFalse(self.outage.status()["store_up"])
        self.server.start()
        self.outage.wait_until_nothing_waits(DEADLINE_S)
        self.assertEqual(register(self.daemon.port, "UNKNOWN")["retcode"], "000000")
        self.assertEqual(self.daemon.terminate(), 0)
        self.assertNotIn("Traceback", self.daemon.log)
